//! The saved mounts: a small JSON file in the state directory.
//!
//! It is replaced whole, under a lock, so that several processes can mount at once; it holds no
//! secrets; it can be deleted at any time. A file that can not be understood is left as it is.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use nexus_fs::{MountUri, VfsPath};
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, code};

/// The format that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// One saved mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedMount {
    /// The mount point.
    pub at: VfsPath,
    /// The URI, absolute and without secrets.
    pub uri: String,
}

/// All saved mounts, in the order in which they were made. No mount point is above another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountFile {
    format: u32,
    /// The mounts.
    pub mounts: Vec<SavedMount>,
}

/// Why a mount file can not be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is not the JSON that this program writes.
    #[error("it is malformed ({0})")]
    Syntax(String),
    /// It was written by a newer version.
    #[error("a newer nexus-fs wrote it (format {0}, this one knows {FORMAT})")]
    Newer(u32),
    /// A mount in it can not be.
    #[error("{0}")]
    Mount(String),
}

/// Reads the text of a mount file.
///
/// # Errors
/// What is wrong with it: syntax, a newer format, a URI that is malformed or holds secrets, mount
/// points above each other.
pub fn parse(text: &[u8]) -> Result<MountFile, Malformed> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let syntax = |error: serde_json::Error| Malformed::Syntax(error.to_string());
    let Format { format } = serde_json::from_slice(text).map_err(syntax)?;
    if format != FORMAT {
        return Err(Malformed::Newer(format));
    }
    let file: MountFile = serde_json::from_slice(text).map_err(syntax)?;
    for (index, mount) in file.mounts.iter().enumerate() {
        let about = |what: &str| Malformed::Mount(format!("the mount at {} {what}", mount.at));
        let uri = MountUri::parse(&mount.uri).map_err(|_| about("has a malformed URI"))?;
        if uri.has_secrets() {
            return Err(about("has a URI with secrets"));
        }
        let clashes =
            |other: &SavedMount| other.at.starts_with(&mount.at) || mount.at.starts_with(&other.at);
        if mount.at.is_root() || file.mounts[..index].iter().any(clashes) {
            return Err(about("is in the way of another"));
        }
    }
    Ok(file)
}

impl MountFile {
    /// The text of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let file = Self { format: FORMAT, mounts: self.mounts.clone() };
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// Where the file is.
#[derive(Clone, Debug)]
pub(crate) struct MountFileStore {
    dir: PathBuf,
}

impl MountFileStore {
    pub(crate) fn new(state_dir: Option<&PathBuf>) -> Result<Self, Failure> {
        let dir = state_dir.cloned().ok_or_else(|| {
            Failure::usage("there is no place for saved mounts: HOME is not set")
                .with_hint("set NEXUS_FS_STATE_DIR, or name the mount with `--mount`")
        })?;
        Ok(Self { dir })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join("mounts.json")
    }

    /// The saved mounts; none when there is no file.
    pub(crate) fn load(&self) -> Result<MountFile, Failure> {
        let path = self.path();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(MountFile::default());
            }
            Err(error) => return Err(self.failure("can not be read", &error)),
        };
        let mut text = Vec::new();
        file.take(MAX_BYTES)
            .read_to_end(&mut text)
            .map_err(|e| self.failure("can not be read", &e))?;
        parse(&text).map_err(|malformed| {
            let message = format!("the file of saved mounts can not be used: {malformed}");
            let hint = match malformed {
                Malformed::Newer(_) => {
                    format!("use the newer nexus-fs, or delete {}", path.display())
                }
                _ => format!("mend or delete {}", path.display()),
            };
            Failure::new(code::FAILED, message).with_hint(hint)
        })
    }

    /// Changes the saved mounts: nobody else changes them meanwhile, and a reader sees the old file
    /// or the new one.
    pub(crate) fn update<T>(
        &self,
        change: impl FnOnce(&mut MountFile) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let about = |error: io::Error| self.failure("can not be written", &error);
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.dir).map_err(about)?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(self.dir.join("mounts.lock")).map_err(about)?;
        lock.lock().map_err(about)?;
        let mut file = self.load()?;
        let before = file.clone();
        let done = change(&mut file)?;
        if file != before {
            self.replace(&file.to_text()).map_err(about)?;
        }
        Ok(done)
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let mut temp = tempfile::Builder::new().prefix(".mounts-").tempfile_in(&self.dir)?;
        temp.write_all(text.as_bytes())?;
        temp.as_file().sync_all()?;
        temp.persist(self.path())?;
        File::open(&self.dir)?.sync_all()
    }

    fn failure(&self, what: &str, error: &io::Error) -> Failure {
        let failure = match error.kind() {
            io::ErrorKind::PermissionDenied => code::DENIED,
            _ => code::FAILED,
        };
        let shown = self.path();
        Failure::new(failure, format!("the saved mounts {what}: {}: {error}", shown.display()))
            .with_hint("choose another directory with NEXUS_FS_STATE_DIR")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mounts: &[(&str, &str)]) -> MountFile {
        let mount = |(at, uri): &(&str, &str)| SavedMount {
            at: VfsPath::parse(at).unwrap(),
            uri: (*uri).to_owned(),
        };
        MountFile { format: FORMAT, mounts: mounts.iter().map(mount).collect() }
    }

    #[test]
    fn text_round_trips() {
        let file = file(&[("/local/a", "local:///a"), ("/s3/b", "s3://b?region=eu")]);
        assert_eq!(parse(file.to_text().as_bytes()).unwrap(), file);
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        for text in ["", "{}", "[]", "null", "{\"format\":1}", "{\"format\":1,\"mounts\":[1]}"] {
            assert!(matches!(parse(text.as_bytes()), Err(Malformed::Syntax(_))), "{text}");
        }
        let newer = "{\"format\":2,\"mounts\":[],\"more\":1}";
        assert_eq!(parse(newer.as_bytes()), Err(Malformed::Newer(2)));
        for bad in [
            file(&[("/a", "nonsense")]),
            file(&[("/a", "s3://b?secret_key=x")]),
            file(&[("/a", "mem://x"), ("/a/b", "mem://y")]),
            file(&[("/", "mem://x")]),
        ] {
            assert!(matches!(parse(bad.to_text().as_bytes()), Err(Malformed::Mount(_))), "{bad:?}");
        }
    }

    #[test]
    fn updates_are_atomic_and_the_file_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let store = MountFileStore::new(Some(&folder.path().join("a/b"))).unwrap();
        assert_eq!(store.load().unwrap().mounts, []);
        store
            .update(|mounts| {
                mounts.mounts = file(&[("/a", "mem://x")]).mounts;
                Ok(())
            })
            .unwrap();
        let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(store.path()), mode(store.dir.clone())), (0o600, 0o700));
        let refused = store.update(|mounts| -> Result<(), _> {
            mounts.mounts.clear();
            Err(Failure::usage("no"))
        });
        assert!(refused.is_err());
        assert_eq!(store.load().unwrap().mounts.len(), 1);
    }
}
