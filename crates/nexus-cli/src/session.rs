//! What the operands of a command mean, and mounting no more than they need.
//!
//! A saved mount is opened when an operand leads into it, or above it for commands that go down.
//! Files of this computer that are written as such are reached through one mount of the whole
//! computer at `/file`, so that copies between two of them stay in the system.

use std::path::{Path, PathBuf};

use nexus_fs::{Kernel, MountRequest, MountUri, VfsPath};

use crate::environment::Environment;
use crate::exit::Failure;
use crate::mount_file::{MountFileStore, SavedMount};

/// Where files of this computer are when they are written as such.
const COMPUTER: &str = "/file";

/// The kernel of one command.
pub(crate) struct Session<'a> {
    pub(crate) kernel: Kernel,
    pub(crate) environment: &'a Environment,
    saved: Vec<SavedMount>,
    /// Why the saved mounts are not known; said when one is needed.
    unsaved: Option<Failure>,
}

/// How far a command goes from an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The path itself, and what is directly in it.
    Here,
    /// Everything below.
    Below,
}

impl<'a> Session<'a> {
    /// A session with the mounts that were named on the command line.
    pub(crate) async fn new(
        environment: &'a Environment,
        mounts: &[String],
    ) -> Result<Self, Failure> {
        let saved =
            MountFileStore::new(environment.state_dir.as_ref()).and_then(|store| store.load());
        let (saved, unsaved) = match saved {
            Ok(file) => (file.mounts, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        let kernel = environment.kernel(nexus_fs::registry()?);
        let session = Self { kernel, environment, saved, unsaved };
        let requests = mounts.iter().map(|text| session.request(text)).collect::<Result<_, _>>()?;
        session.kernel.mount(requests).await?;
        Ok(session)
    }

    /// The saved mounts.
    pub(crate) fn saved(&self) -> &[SavedMount] {
        &self.saved
    }

    /// A mount as it is written: a URI, a folder of this computer, or `PATH=` before either.
    pub(crate) fn request(&self, text: &str) -> Result<MountRequest, Failure> {
        let (at, text) = match text.split_once('=') {
            Some((at, uri))
                if at.starts_with('/')
                    && (uri.contains("://") || uri.starts_with(['.', '/', '~'])) =>
            {
                (Some(at), uri)
            }
            _ => (None, text),
        };
        let request = MountRequest::new(self.mount_uri(text)?);
        Ok(match at {
            Some(at) => request.at(VfsPath::parse(trim(at))?),
            None => request,
        })
    }

    /// A URI as it is written; a folder of this computer is one, too.
    pub(crate) fn mount_uri(&self, text: &str) -> Result<MountUri, Failure> {
        if !text.contains("://") {
            let path = self.expand_home(text)?;
            let path = path.to_str().ok_or_else(|| Failure::usage("a path that is not UTF-8"))?;
            let whole: MountUri = "local://".parse()?;
            return Ok(if path.starts_with('/') {
                whole.rooted_at(path)
            } else {
                format!("local://./{}", percent(path.trim_start_matches("./"))).parse()?
            });
        }
        let home = text.split_once("://").and_then(|(_, rest)| rest.strip_prefix('~'));
        match home {
            Some(rest) if rest.is_empty() || rest.starts_with(['/', '?']) => {
                let home = self.home()?;
                let (scheme, _) = text.split_once("://").unwrap_or_default();
                let home = percent(&home.to_string_lossy());
                Ok(format!("{scheme}://{home}{rest}").parse()?)
            }
            _ => Ok(text.parse()?),
        }
    }

    /// A URI as it is written, in the form in which it is saved.
    pub(crate) fn saved_uri(&self, text: &str) -> Result<String, Failure> {
        let uri = self.mount_uri(text)?;
        if uri.scheme() != "local" {
            return Ok(uri.to_string());
        }
        let path =
            std::path::absolute(format!("{}{}", uri.authority(), uri.path())).map_err(|error| {
                Failure::usage(format!("the working directory is unknown: {error}"))
            })?;
        Ok(uri.rooted_at(&path.to_string_lossy()).to_string())
    }

    fn home(&self) -> Result<&PathBuf, Failure> {
        let home = self.environment.home.as_ref();
        home.ok_or_else(|| Failure::usage("`~` means the home directory, and HOME is not set"))
    }

    fn expand_home(&self, text: &str) -> Result<PathBuf, Failure> {
        match text.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                Ok(self.home()?.join(rest.trim_start_matches('/')))
            }
            _ => Ok(PathBuf::from(text)),
        }
    }

    /// The path that an operand means, with the mounts that lead there opened.
    pub(crate) async fn path(&self, operand: &str, reach: Reach) -> Result<VfsPath, Failure> {
        if operand.is_empty() {
            return Err(Failure::usage("a path can not be empty"));
        }
        if let Some(path) = self.computer_path(operand)? {
            return self.on_computer(&path).await;
        }
        if operand.contains("://") {
            return self.on_the_spot(operand).await;
        }
        let path = VfsPath::parse(trim(operand))?;
        self.open_saved(&path, reach).await?;
        Ok(path)
    }

    /// The path on this computer, when the operand is written as one.
    fn computer_path(&self, operand: &str) -> Result<Option<PathBuf>, Failure> {
        let path = match operand.strip_prefix("local://") {
            // With options it is a mount of its own.
            Some(rest) if rest.contains('?') => return Ok(None),
            Some(_) => {
                let uri = self.mount_uri(operand)?;
                PathBuf::from(format!("{}{}", uri.authority(), uri.path()))
            }
            None if operand.contains("://") || operand.starts_with('/') => return Ok(None),
            None => self.expand_home(operand)?,
        };
        Ok(Some(path))
    }

    /// A file of this computer: its directory is followed to where it really is, the file itself
    /// need not be there.
    async fn on_computer(&self, path: &Path) -> Result<VfsPath, Failure> {
        let at = VfsPath::parse(COMPUTER)?;
        if !self.kernel.mounts().iter().any(|mount| mount.at == at) {
            let everything: MountUri = "local:///".parse()?;
            self.kernel.mount(vec![MountRequest::new(everything).at(at.clone())]).await?;
        }
        let failure = |error: std::io::Error| {
            let code = match error.kind() {
                std::io::ErrorKind::NotFound => crate::exit::code::NOT_FOUND,
                std::io::ErrorKind::PermissionDenied => crate::exit::code::DENIED,
                _ => crate::exit::code::FAILED,
            };
            Failure::new(code, format!("{}: {error}", path.display()))
        };
        let real = match (path.file_name(), path.parent()) {
            (Some(name), Some(parent)) => {
                let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                std::fs::canonicalize(parent).map_err(failure)?.join(name)
            }
            // `.`, `..` and what ends in them.
            _ => std::fs::canonicalize(path).map_err(failure)?,
        };
        let text = real.to_str().ok_or_else(|| {
            Failure::usage(format!("{}: a name that is not UTF-8", real.display()))
                .with_hint("mount its directory, and use the name that `ls` shows")
        })?;
        Ok(if text == "/" { at } else { at.join(&text[1..])? })
    }

    /// A path written as a URI: the store is mounted, and the path is what follows.
    async fn on_the_spot(&self, operand: &str) -> Result<VfsPath, Failure> {
        let uri = self.mount_uri(operand)?;
        let at = (self.kernel.registry().find(uri.scheme())?.mount_point)(&uri)?;
        if !self.kernel.mounts().iter().any(|mount| mount.at == at) {
            self.kernel.mount(vec![MountRequest::new(uri)]).await?;
        }
        Ok(at)
    }

    /// Opens the saved mounts that lead to `path`, and those below it for commands that go down.
    async fn open_saved(&self, path: &VfsPath, reach: Reach) -> Result<(), Failure> {
        let open = self.kernel.mounts();
        let needed = |saved: &&SavedMount| {
            let leads = path.starts_with(&saved.at);
            let below = reach == Reach::Below && saved.at.starts_with(path);
            (leads || below) && !open.iter().any(|mount| mount.at == saved.at)
        };
        let requests = self
            .saved
            .iter()
            .filter(needed)
            .map(|saved| Ok(MountRequest::parse(&saved.uri)?.at(saved.at.clone())));
        self.kernel.mount(requests.collect::<Result<_, Failure>>()?).await?;
        if self.leads_somewhere(path) {
            return Ok(());
        }
        // What could not be read may be what was meant.
        if let Some(failure) = &self.unsaved {
            return Err(failure.clone());
        }
        let saved = self.saved.iter().map(|saved| saved.at.to_string());
        let here = self.kernel.mounts().into_iter().map(|mount| mount.at.to_string());
        let mounted: std::collections::BTreeSet<_> = saved.chain(here).collect();
        let mounted = match mounted.is_empty() {
            true => "nothing is mounted yet".to_owned(),
            false => format!("mounted: {}", mounted.into_iter().collect::<Vec<_>>().join(", ")),
        };
        let message = format!("{path}: nothing is mounted here");
        Err(Failure::new(crate::exit::code::NOT_FOUND, message)
            .with_hint(format!("{mounted}; a file of this computer is written `local://{path}`")))
    }

    /// Opens every saved mount that is not open yet. Answers why some of them could not be opened.
    pub(crate) async fn open_all(&self) -> Vec<(VfsPath, Failure)> {
        let open = self.kernel.mounts();
        let mut left_out = Vec::new();
        for saved in &self.saved {
            if open.iter().any(|mount| mount.at == saved.at) {
                continue;
            }
            let mounted = async {
                let request = MountRequest::parse(&saved.uri)?.at(saved.at.clone());
                self.kernel.mount(vec![request]).await
            };
            if let Err(error) = mounted.await {
                left_out.push((saved.at.clone(), error.into()));
            }
        }
        left_out
    }

    /// Whether a path is in a mount, above one, or the kernel's own.
    fn leads_somewhere(&self, path: &VfsPath) -> bool {
        let near = |at: &VfsPath| path.starts_with(at) || at.starts_with(path);
        path.segments().next().is_none_or(|first| first == "__sys__")
            || self.kernel.mounts().iter().any(|mount| near(&mount.at))
            || self.saved.iter().any(|saved| near(&saved.at))
    }

    /// The names of saved mounts directly below a path that only leads to them.
    pub(crate) fn saved_below(&self, path: &VfsPath) -> Vec<VfsPath> {
        let next = |saved: &SavedMount| {
            let below = saved.at.strip_prefix(path)?;
            path.join(below.segments().next()?).ok()
        };
        let mut names: Vec<_> = self.saved.iter().filter_map(next).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// One `/` at the end says that a directory is meant; the path is what is before it.
pub(crate) fn trim(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some(trimmed) if !trimmed.is_empty() => trimmed,
        _ => path,
    }
}

/// A path as a URI has it.
fn percent(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3F")
}
