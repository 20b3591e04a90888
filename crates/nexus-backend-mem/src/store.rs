//! The tree itself: a sorted map of paths. It knows the rules of files and directories; locking
//! and streams are `backend`'s.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::SystemTime;

use nexus_core::{
    Bytes, DeleteTarget, Deleted, Digest, Entry, Error, ErrorKind, Metadata, Result, Version,
    VfsPath, WriteMode, WriteOptions,
};

/// A file or a directory. The root directory is implied.
#[derive(Clone)]
enum Node {
    File(File),
    Directory,
}

/// Content in the pieces that it came in, and what is known of it.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) metadata: Metadata,
}

/// Content on its way into the store.
pub(crate) struct Incoming {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) size: u64,
    pub(crate) digest: Digest,
}

pub(crate) struct Store {
    nodes: BTreeMap<VfsPath, Node>,
    limit: Option<u64>,
    used: u64,
    /// The number of versions given out.
    versions: u64,
    closed: bool,
}

impl Store {
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Self { nodes: BTreeMap::new(), limit, used: 0, versions: 0, closed: false }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Lets go of the content, for good.
    pub(crate) fn close(&mut self) {
        self.nodes.clear();
        self.closed = true;
    }

    pub(crate) fn stat(&self, path: &VfsPath) -> Result<Metadata> {
        match self.nodes.get(path) {
            _ if path.is_root() => Ok(Metadata::directory()),
            Some(Node::Directory) => Ok(Metadata::directory()),
            Some(Node::File(file)) => Ok(file.metadata.clone()),
            None => Err(self.missing(path)),
        }
    }

    pub(crate) fn file(&self, path: &VfsPath) -> Result<&File> {
        match self.nodes.get(path) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory) => Err(is_a_directory(path)),
            None if path.is_root() => Err(is_a_directory(path)),
            None => Err(self.missing(path)),
        }
    }

    /// Why nothing is at `path`: `NotADirectory` below a file, else `NotFound`.
    fn missing(&self, path: &VfsPath) -> Error {
        self.check_parents(path).err().unwrap_or_else(|| Error::not_found(path))
    }

    /// Whether a file of this mode may be put at `path`; changes nothing.
    pub(crate) fn check_target(&self, path: &VfsPath, mode: &WriteMode) -> Result<()> {
        if path.is_root() {
            return Err(is_a_directory(path));
        }
        self.check_parents(path)?;
        let current = match self.nodes.get(path) {
            Some(Node::Directory) => return Err(is_a_directory(path)),
            Some(Node::File(file)) => file.metadata.version.as_ref(),
            None => None,
        };
        mode.check(current).map_err(|error| error.with_path(path.as_str()))
    }

    /// Whether everything above `path` is a directory, or nothing yet.
    fn check_parents(&self, path: &VfsPath) -> Result<()> {
        for parent in ancestors(path) {
            match self.nodes.get(&parent) {
                Some(Node::File(_)) => {
                    return Err(Error::new(
                        ErrorKind::NotADirectory,
                        format!("{parent} is a file, not a directory"),
                    )
                    .with_path(path.as_str()));
                }
                Some(Node::Directory) => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }

    /// Whether the store can take a file of `size` bytes at `path`, in the place of what is there.
    pub(crate) fn check_room(&self, path: &VfsPath, size: u64) -> Result<()> {
        let others = self.used - self.size_at(path);
        match self.limit {
            Some(limit) if others.saturating_add(size) > limit => Err(Error::new(
                ErrorKind::StorageFull,
                format!("the store holds no more than its limit of {limit} bytes"),
            )
            .with_path(path.as_str())),
            _ => Ok(()),
        }
    }

    pub(crate) fn put(
        &mut self,
        path: &VfsPath,
        content: Incoming,
        options: &WriteOptions,
    ) -> Result<Metadata> {
        self.check_target(path, &options.mode)?;
        let mut metadata = Metadata::file(content.size);
        metadata.modified = Some(SystemTime::now());
        metadata.digest = Some(content.digest);
        metadata.content_type = options.content_type.as_deref().map(Into::into);
        metadata.user = options.user.clone();
        self.put_file(path, File { pieces: content.pieces, metadata })
    }

    /// Puts a file where [`Store::check_target`] allowed it, under a new version.
    fn put_file(&mut self, path: &VfsPath, mut file: File) -> Result<Metadata> {
        let replaced = self.size_at(path);
        let size = file.metadata.size.unwrap_or_default();
        self.check_room(path, size)?;
        self.versions += 1;
        file.metadata.version = Some(Version::new(self.versions.to_string()));
        let metadata = file.metadata.clone();
        self.make_parents(path);
        self.used = self.used - replaced + size;
        self.nodes.insert(path.clone(), Node::File(file));
        Ok(metadata)
    }

    fn size_at(&self, path: &VfsPath) -> u64 {
        match self.nodes.get(path) {
            Some(Node::File(file)) => file.metadata.size.unwrap_or_default(),
            _ => 0,
        }
    }

    fn make_parents(&mut self, path: &VfsPath) {
        for parent in ancestors(path) {
            if self.nodes.contains_key(&parent) {
                return;
            }
            self.nodes.insert(parent, Node::Directory);
        }
    }

    pub(crate) fn copy(&mut self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<()> {
        let mut file = self.file(from)?.clone();
        self.check_target(to, mode)?;
        file.metadata.modified = Some(SystemTime::now());
        self.put_file(to, file).map(drop)
    }

    pub(crate) fn rename(&mut self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<()> {
        match self.nodes.get(from) {
            None if from.is_root() => Err(root_stays(from)),
            None => Err(self.missing(from)),
            Some(Node::File(_)) => {
                self.check_target(to, mode)?;
                self.used -= self.size_at(to);
                self.make_parents(to);
                if let Some(file) = self.nodes.remove(from) {
                    self.nodes.insert(to.clone(), file);
                }
                Ok(())
            }
            Some(Node::Directory) => self.rename_dir(from, to),
        }
    }

    fn rename_dir(&mut self, from: &VfsPath, to: &VfsPath) -> Result<()> {
        self.check_parents(to)?;
        if to.is_root() || self.nodes.contains_key(to) {
            return Err(Error::new(ErrorKind::AlreadyExists, "something is there already")
                .with_path(to.as_str()));
        }
        if to.starts_with(from) {
            return Err(Error::new(ErrorKind::InvalidPath, "a directory can not go into itself")
                .with_path(from.as_str()));
        }
        let below: Vec<_> =
            self.below(from, Bound::Unbounded).map(|(path, _)| path.clone()).collect();
        let moved =
            |path: &VfsPath| to.concat(&path.strip_prefix(from).unwrap_or_else(VfsPath::root));
        let targets: Vec<_> = below.iter().map(moved).collect::<Result<_>>()?;
        self.make_parents(to);
        for (old, new) in below.iter().zip(targets) {
            if let Some(node) = self.nodes.remove(old) {
                self.nodes.insert(new, node);
            }
        }
        self.nodes.remove(from);
        self.nodes.insert(to.clone(), Node::Directory);
        Ok(())
    }

    pub(crate) fn delete(&mut self, target: &DeleteTarget) -> Result<Deleted> {
        let path = &target.path;
        let file = match self.file(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Deleted::Absent),
            Err(error) => return Err(error),
        };
        if target.if_version.is_some() && target.if_version != file.metadata.version {
            return Err(Error::new(ErrorKind::PreconditionFailed, "the version has changed")
                .with_path(path.as_str()));
        }
        self.used -= self.size_at(path);
        self.nodes.remove(path);
        Ok(Deleted::Removed)
    }

    pub(crate) fn create_dir(&mut self, path: &VfsPath) -> Result<()> {
        if path.is_root() {
            return Ok(());
        }
        self.check_parents(path)?;
        if let Some(Node::File(_)) = self.nodes.get(path) {
            return Err(Error::new(ErrorKind::AlreadyExists, "a file is there already")
                .with_path(path.as_str()));
        }
        self.make_parents(path);
        self.nodes.insert(path.clone(), Node::Directory);
        Ok(())
    }

    pub(crate) fn remove_dir(&mut self, path: &VfsPath) -> Result<()> {
        if path.is_root() {
            return Err(root_stays(path));
        }
        self.check_directory(path)?;
        if self.below(path, Bound::Unbounded).next().is_some() {
            return Err(Error::new(ErrorKind::DirectoryNotEmpty, "the directory is not empty")
                .with_path(path.as_str()));
        }
        self.nodes.remove(path);
        Ok(())
    }

    pub(crate) fn check_directory(&self, path: &VfsPath) -> Result<()> {
        if self.stat(path)?.is_dir() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotADirectory, "is not a directory").with_path(path.as_str()))
    }

    /// Up to `count` entries below `dir` whose path sorts after `after`.
    pub(crate) fn page(
        &self,
        dir: &VfsPath,
        recursive: bool,
        after: Option<&str>,
        count: usize,
    ) -> Vec<Entry> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_owned()));
        if recursive {
            return self.below(dir, from).take(count).map(entry).collect();
        }
        let start = prefix_of(dir).len();
        let (mut page, mut from) = (Vec::new(), from);
        while page.len() < count {
            let Some((path, node)) = self.below(dir, from).next() else { break };
            let text = path.as_str();
            from = match text[start..].find('/') {
                None => {
                    page.push(entry((path, node)));
                    Bound::Excluded(text.to_owned())
                }
                // Everything below a child sorts before the child's name and the byte after `/`.
                Some(end) => Bound::Included(format!("{}0", &text[..start + end])),
            };
        }
        page
    }

    /// Everything below `dir` from a bound on, in the order of path bytes.
    fn below(&self, dir: &VfsPath, from: Bound<String>) -> impl Iterator<Item = (&VfsPath, &Node)> {
        let prefix = prefix_of(dir);
        let begin = match &from {
            Bound::Included(text) | Bound::Excluded(text) if *text > prefix => from,
            _ => Bound::Excluded(prefix.clone()),
        };
        let bounds = (begin.as_ref().map(String::as_str), Bound::Unbounded);
        self.nodes
            .range::<str, _>(bounds)
            .take_while(move |(path, _)| path.as_str().starts_with(&prefix))
    }
}

fn entry((path, node): (&VfsPath, &Node)) -> Entry {
    let metadata = match node {
        Node::Directory => Metadata::directory(),
        Node::File(file) => file.metadata.clone(),
    };
    Entry::new(path.clone(), metadata)
}

fn prefix_of(dir: &VfsPath) -> String {
    if dir.is_root() { "/".to_owned() } else { format!("{dir}/") }
}

/// The directories above `path`, from the nearest up, without the root.
fn ancestors(path: &VfsPath) -> impl Iterator<Item = VfsPath> {
    std::iter::successors(path.parent(), VfsPath::parent).filter(|parent| !parent.is_root())
}

fn is_a_directory(path: &VfsPath) -> Error {
    Error::new(ErrorKind::IsADirectory, "is a directory").with_path(path.as_str())
}

fn root_stays(path: &VfsPath) -> Error {
    Error::new(ErrorKind::Unsupported, "the root of a store stays").with_path(path.as_str())
}
