//! What a program was started with, as a value: variables and the home directory. The core and the
//! backends read neither by themselves; who makes a kernel hands them in.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Environment variables and the home directory, for those who look for credentials. Cheap to
/// clone. `Debug` shows names of variables, never values: they may be secrets.
///
/// ```
/// use nexus_core::Surroundings;
///
/// let surroundings = Surroundings::new([("AWS_PROFILE", "work")], Some("/home/me".into()));
/// assert_eq!(surroundings.variable("AWS_PROFILE"), Some("work"));
/// assert_eq!(Surroundings::default().variable("AWS_PROFILE"), None);
/// ```
#[derive(Clone, Default)]
pub struct Surroundings(Arc<Inner>);

#[derive(Default)]
struct Inner {
    variables: BTreeMap<OsString, OsString>,
    home: Option<PathBuf>,
}

impl Surroundings {
    /// Surroundings with these variables and this home directory. [`Surroundings::default`] has
    /// neither.
    pub fn new<K: Into<OsString>, V: Into<OsString>>(
        variables: impl IntoIterator<Item = (K, V)>,
        home: Option<PathBuf>,
    ) -> Self {
        let variables = variables.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Self(Arc::new(Inner { variables, home }))
    }

    /// The value of a variable; `None` when it is not set, empty, or not UTF-8.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        let value = self.0.variables.get(OsStr::new(name))?;
        value.to_str().filter(|value| !value.is_empty())
    }

    /// All variables, for a process that is started in these surroundings.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// The home directory.
    #[must_use]
    pub fn home(&self) -> Option<&Path> {
        self.0.home.as_deref()
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("variables", &self.0.variables.keys())
            .field("home", &self.0.home)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_not_set() {
        let surroundings = Surroundings::new([("A", "1"), ("B", "")], None);
        assert_eq!(surroundings.variable("A"), Some("1"));
        assert_eq!(surroundings.variable("B"), None);
        assert_eq!(surroundings.variable("C"), None);
        assert_eq!(surroundings.variables().count(), 2);
    }

    #[test]
    fn debug_shows_names_alone() {
        let surroundings = Surroundings::new([("TOKEN", "canary")], Some("/home/me".into()));
        let text = format!("{surroundings:?}");
        assert!(text.contains("TOKEN") && text.contains("/home/me"));
        assert!(!text.contains("canary"));
    }
}
