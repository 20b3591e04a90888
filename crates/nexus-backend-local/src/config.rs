//! From a mount URI to a root: options, and the directory that is meant.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nexus_core::{
    Backend, Candidate, Error, ErrorKind, MemoryBudget, MountContext, MountUri, Operation, Result,
    async_trait,
};

use crate::backend::LocalBackend;
use crate::beneath::{Resolver, Root};
use crate::blocking;
use crate::error::from_io;

/// What a URI asks for.
pub(crate) struct Config {
    /// The absolute path of the root.
    pub(crate) root: PathBuf,
    /// The URI with that path.
    pub(crate) uri: String,
    pub(crate) create: bool,
    pub(crate) full: bool,
    pub(crate) resolver: Resolver,
}

impl Config {
    /// Reads a URI. Uses the working directory for a relative path; does no I/O.
    pub(crate) fn from_uri(uri: &MountUri) -> Result<Self> {
        let resolvers = [
            ("auto", Resolver::Auto),
            ("openat2", Resolver::Openat2),
            ("portable", Resolver::Portable),
        ];
        // What the layout makes of it; here it is only checked.
        choose(uri, "chunking", &[("none", ()), ("cdc", ())])?;
        let root = root(uri)?;
        let text = root.to_str().ok_or_else(|| {
            invalid("the working directory is not UTF-8").with_hint("mount an absolute path")
        })?;
        Ok(Self {
            uri: uri.rooted_at(text).to_string(),
            create: choose(uri, "create", &[("false", false), ("true", true), ("", true)])?,
            full: choose(uri, "durability", &[("process", false), ("full", true)])?,
            resolver: choose(uri, "resolver", &resolvers)?,
            root,
        })
    }
}

fn root(uri: &MountUri) -> Result<PathBuf> {
    let authority = uri.authority();
    if authority.starts_with('~') {
        return Err(invalid("`~` is the shell's and the command line's to expand")
            .with_hint("write the absolute path: `local:///home/…`"));
    }
    let path = match (authority, uri.path()) {
        ("", "") => {
            return Err(invalid("no directory is named")
                .with_hint("write it like `local://./data` or `local:///srv/data`"));
        }
        (authority, path) => format!("{authority}{path}"),
    };
    std::path::absolute(path).map_err(|error| {
        invalid("the working directory is unknown")
            .with_hint("mount an absolute path")
            .with_source(error)
    })
}

/// The value that an option chooses; the first when it is not given.
fn choose<T: Copy>(uri: &MountUri, name: &str, values: &[(&str, T)]) -> Result<T> {
    let Some(text) = uri.option(name) else { return Ok(values[0].1) };
    values.iter().find(|(value, _)| *value == text).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = values.iter().map(|(v, _)| *v).filter(|v| !v.is_empty()).collect();
        Error::new(ErrorKind::InvalidOption, format!("option `{name}` can not be `{text}`"))
            .with_operation(Operation::Mount)
            .with_hint(format!("`{name}` is one of: {}", known.join(", ")))
    })
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidUri, message).with_operation(Operation::Mount)
}

struct Prepared {
    config: Config,
    budget: MemoryBudget,
}

pub(crate) fn build(uri: &MountUri, context: &MountContext) -> Result<Box<dyn Candidate>> {
    let config = Config::from_uri(uri)?;
    Ok(Box::new(Prepared { config, budget: context.budget.clone() }))
}

#[async_trait]
impl Candidate for Prepared {
    async fn check_credentials(&mut self) -> Result<()> {
        Ok(())
    }

    async fn open(self: Box<Self>) -> Result<Arc<dyn Backend>> {
        let Self { config, budget } = *self;
        blocking::run(move || {
            if config.create {
                make_root(&config)?;
            }
            let root =
                Root::open(config.root.clone(), config.resolver).map_err(|error| {
                    match error.kind() {
                        ErrorKind::NotFound => {
                            error.with_hint("make it first, or mount it with `create=true`")
                        }
                        ErrorKind::NotADirectory => {
                            error.with_hint("mount the directory that holds it")
                        }
                        _ => error,
                    }
                })?;
            Ok(Arc::new(LocalBackend::new(config, root, budget)) as Arc<dyn Backend>)
        })
        .await
    }
}

/// Makes the root and what is missing above it, so that it survives a power cut.
#[allow(clippy::disallowed_methods, reason = "the root itself is beneath nothing")]
fn make_root(config: &Config) -> Result<()> {
    let about = |error| from_io(error).with_path(config.root.display().to_string());
    let missing = config.root.ancestors().take_while(|dir| !dir.exists()).count();
    std::fs::create_dir_all(&config.root).map_err(about)?;
    let made = config.root.ancestors().take(missing);
    made.filter_map(Path::parent).try_for_each(|holder| {
        std::fs::File::open(holder).and_then(|holder| holder.sync_all()).map_err(about)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(uri: &str) -> Result<Config> {
        Config::from_uri(&uri.parse()?)
    }

    #[test]
    fn relative_roots_become_absolute() {
        let here = std::env::current_dir().unwrap();
        for (uri, below) in [("local://./data", "data"), ("local://data/x", "data/x")] {
            let config = config(uri).unwrap();
            assert_eq!(config.root, here.join(below));
            assert_eq!(config.uri, format!("local://{}/{below}", here.display()));
        }
        assert_eq!(config("local:///a%25b?durability=full").unwrap().root, PathBuf::from("/a%b"));
        let config = config("local:///a%25b?durability=full").unwrap();
        assert_eq!(config.uri, "local:///a%25b?durability=full");
        assert!(config.full);
    }

    #[test]
    fn bad_values_are_named_with_the_good_ones() {
        for (uri, hint) in [
            ("local:///x?durability=some", "process, full"),
            ("local:///x?create=perhaps", "false, true"),
        ] {
            let error = config(uri).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidOption, "{uri}");
            assert!(error.hint().unwrap().contains(hint), "{uri}");
        }
        for uri in ["local://", "local://~/x", "local://~"] {
            assert_eq!(config(uri).err().unwrap().kind(), ErrorKind::InvalidUri, "{uri}");
        }
    }
}
