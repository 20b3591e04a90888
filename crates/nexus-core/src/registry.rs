//! How backends are found: a descriptor for each, submitted at link time, collected and checked
//! here. Which descriptors a program promises is the facade's to say.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use crate::{
    Backend, Error, ErrorKind, Layouts, MemoryBudget, MountUri, Operation, Result, Surroundings,
    VfsPath,
};

/// What sort of store a backend shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// Stores bytes under keys.
    Storage,
    /// Shows a service as files.
    Connector,
}

/// Whether a mount needs credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialNeed {
    /// None are used.
    None,
    /// Used when found; some things work without.
    Optional,
    /// Nothing works without.
    Required,
}

/// An option that a mount URI of a scheme may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OptionSpec {
    /// Its name.
    pub name: &'static str,
    /// The values it takes, as people read it: `full|process`, `BYTES`.
    pub values: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
}

/// What the kernel hands to a backend when it is built.
#[derive(Clone, Debug, Default)]
pub struct MountContext {
    /// Memory for read-ahead and write-behind, shared by all mounts of the kernel.
    pub budget: MemoryBudget,
    /// Where credentials may be found: variables and the home directory.
    pub surroundings: Surroundings,
}

/// A backend that was built from its URI and is not connected yet. Building it does no I/O.
#[async_trait]
pub trait Candidate: Send + Sync {
    /// Looks for credentials and fails fast: within 3 seconds, with `Unauthenticated` and a
    /// [`Report`](crate::Report) of what was tried. A backend that needs none answers at once.
    async fn check_credentials(&mut self) -> Result<()>;

    /// Connects: opens the root, probes what the store can do. Fails when the store is not there.
    async fn open(self: Box<Self>) -> Result<Arc<dyn Backend>>;
}

/// Everything that the kernel knows of a backend before it is mounted. One `const` a backend,
/// submitted by [`register!`](crate::register).
#[derive(Clone, Copy)]
pub struct Descriptor {
    /// The scheme, lower case.
    pub scheme: &'static str,
    /// Other schemes that mean the same.
    pub aliases: &'static [&'static str],
    /// What it is, in one line.
    pub summary: &'static str,
    /// What sort of store it shows.
    pub kind: BackendKind,
    /// Whether it needs credentials.
    pub credentials: CredentialNeed,
    /// Every option that its URI may carry. Any other is refused before the backend is built.
    pub options: &'static [OptionSpec],
    /// The mount point that follows from a URI: [`MountUri::mount_point`] unless the scheme has a
    /// rule of its own.
    pub mount_point: fn(&MountUri) -> Result<VfsPath>,
    /// Builds the backend, without I/O.
    pub build: fn(&MountUri, &MountContext) -> Result<Box<dyn Candidate>>,
}

impl Descriptor {
    /// Checks that every option of `uri` is one of [`Descriptor::options`].
    ///
    /// # Errors
    /// `InvalidOption`, naming the option and the known ones.
    pub fn check_options(&self, uri: &MountUri) -> Result<()> {
        let known = |name: &&str| self.options.iter().any(|option| option.name == *name);
        let Some(unknown) = uri.option_names().find(|name| !known(name)) else {
            return Ok(());
        };
        let names: Vec<_> = self.options.iter().map(|option| option.name).collect();
        let hint = if names.is_empty() {
            format!("`{}` takes no options", self.scheme)
        } else {
            format!("`{}` takes: {}", self.scheme, names.join(", "))
        };
        Err(Error::new(ErrorKind::InvalidOption, format!("unknown option `{unknown}`"))
            .with_operation(Operation::Mount)
            .with_path(uri.to_string())
            .with_hint(hint))
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptor").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

inventory::collect!(Descriptor);

/// Submits a [`Descriptor`] at link time. The argument is a constant expression:
/// `nexus_core::register!(DESCRIPTOR);`. Something of the crate must be named by the program, or
/// the linker leaves it out; `use the_crate as _;` is enough.
#[macro_export]
macro_rules! register {
    ($descriptor:expr) => {
        const _: () = {
            use $crate::inventory;
            inventory::submit! { $descriptor }
        };
    };
}

/// The backends of a program, sorted by scheme.
#[derive(Clone, Default)]
pub struct Registry {
    descriptors: Vec<Descriptor>,
    features: &'static [(&'static str, &'static str)],
    layouts: Option<Arc<dyn Layouts>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("descriptors", &self.descriptors).finish_non_exhaustive()
    }
}

impl Registry {
    /// Collects every descriptor that was linked in.
    ///
    /// `promised` are the ones that the program's features promise. `features` maps every scheme
    /// that the project has to the feature that brings it, so that an unknown scheme can be
    /// explained.
    ///
    /// # Errors
    /// `Internal` when a scheme or alias is claimed twice, or a promised descriptor is missing:
    /// both are defects of the build, and no mount is safe then.
    pub fn discover(
        promised: &[&Descriptor],
        features: &'static [(&'static str, &'static str)],
    ) -> Result<Self> {
        Self::check(inventory::iter::<Descriptor>().copied().collect(), promised, features)
    }

    /// A registry of just these, for programs and tests that do without link-time discovery.
    ///
    /// # Errors
    /// `Internal` when a scheme or alias is claimed twice.
    pub fn of(descriptors: &[Descriptor]) -> Result<Self> {
        Self::check(descriptors.to_vec(), &[], &[])
    }

    fn check(
        mut descriptors: Vec<Descriptor>,
        promised: &[&Descriptor],
        features: &'static [(&'static str, &'static str)],
    ) -> Result<Self> {
        descriptors.sort_by_key(|descriptor| descriptor.scheme);
        let mut schemes: Vec<_> = descriptors
            .iter()
            .flat_map(|descriptor| {
                [descriptor.scheme].into_iter().chain(descriptor.aliases.iter().copied())
            })
            .collect();
        schemes.sort_unstable();
        if let Some(twice) = schemes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(defect(format!("two backends claim the scheme `{}`", twice[0])));
        }
        for promise in promised {
            if schemes.binary_search(&promise.scheme).is_err() {
                return Err(defect(format!(
                    "the backend `{}` was promised but not linked in",
                    promise.scheme
                )));
            }
        }
        Ok(Self { descriptors, features, layouts: None })
    }

    /// Adds what knows layouts beside the plain one.
    #[must_use]
    pub fn with_layouts(mut self, layouts: Arc<dyn Layouts>) -> Self {
        self.layouts = Some(layouts);
        self
    }

    pub(crate) fn layouts(&self) -> Option<&Arc<dyn Layouts>> {
        self.layouts.as_ref()
    }

    /// All descriptors, sorted by scheme.
    #[must_use]
    pub fn descriptors(&self) -> &[Descriptor] {
        &self.descriptors
    }

    /// The descriptor for a scheme or an alias.
    ///
    /// # Errors
    /// `UnknownScheme`, naming the feature that brings it or the schemes that are here.
    pub fn find(&self, scheme: &str) -> Result<&Descriptor> {
        let wanted = |d: &&Descriptor| d.scheme == scheme || d.aliases.contains(&scheme);
        self.descriptors.iter().find(wanted).ok_or_else(|| self.unknown(scheme))
    }

    fn unknown(&self, scheme: &str) -> Error {
        let error = |message: String| {
            Error::new(ErrorKind::UnknownScheme, message).with_operation(Operation::Mount)
        };
        if let Some((_, feature)) = self.features.iter().find(|(known, _)| *known == scheme) {
            return error(format!("`{scheme}` is known, but not part of this build"))
                .with_hint(format!("rebuild with feature `{feature}`"));
        }
        let here: Vec<_> = self.descriptors.iter().map(|d| d.scheme).collect();
        error(format!("unknown scheme `{scheme}`"))
            .with_hint(format!("this build knows: {}", here.join(", ")))
    }
}

fn defect(message: String) -> Error {
    Error::new(ErrorKind::Internal, message)
        .with_operation(Operation::Mount)
        .with_hint("this is a defect of the build; please report it")
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn descriptor(scheme: &'static str, aliases: &'static [&'static str]) -> Descriptor {
        Descriptor {
            scheme,
            aliases,
            summary: "for tests",
            kind: BackendKind::Storage,
            credentials: CredentialNeed::None,
            options: &[OptionSpec { name: "size", values: "BYTES", summary: "how large" }],
            mount_point: MountUri::mount_point,
            build: |_, _| Err(Error::unsupported(Operation::Mount)),
        }
    }

    const ONE: Descriptor = descriptor("one", &["uno"]);
    const TWO: Descriptor = descriptor("two", &[]);
    const CLASH: Descriptor = descriptor("three", &["uno"]);

    #[test]
    fn sorts_and_finds_by_scheme_and_alias() {
        let registry = Registry::of(&[TWO, ONE]).unwrap();
        let schemes: Vec<_> = registry.descriptors().iter().map(|d| d.scheme).collect();
        assert_eq!(schemes, ["one", "two"]);
        assert_eq!(registry.find("uno").unwrap().scheme, "one");
    }

    #[test]
    fn refuses_a_scheme_or_alias_claimed_twice() {
        for pair in [[ONE, ONE], [ONE, CLASH]] {
            let error = Registry::of(&pair).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
        }
        assert!(Registry::of(&[ONE, CLASH]).unwrap_err().message().contains("`uno`"));
    }

    #[test]
    fn refuses_a_promise_that_the_linker_broke() {
        let error = Registry::check(vec![ONE], &[&ONE, &TWO], &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.message().contains("`two`"));
    }

    #[test]
    fn an_unknown_scheme_names_the_feature_or_the_known_ones() {
        let registry = Registry::check(vec![ONE, TWO], &[], &[("s3", "backend-s3")]).unwrap();
        let known = registry.find("s3").unwrap_err();
        assert_eq!(known.kind(), ErrorKind::UnknownScheme);
        assert!(known.hint().unwrap().contains("backend-s3"));
        assert!(registry.find("zip").unwrap_err().hint().unwrap().contains("one, two"));
    }

    #[test]
    fn an_unknown_option_is_named() {
        let uri = MountUri::parse("one://x?size=1&sise=2").unwrap();
        let error = ONE.check_options(&uri).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption);
        assert!(error.message().contains("`sise`"));
        assert!(error.hint().unwrap().contains("size"));
    }
}
