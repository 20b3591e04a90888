//! The reference model: what a namespace with two mounts does, as a map of paths. It knows the
//! rules of the verbs and no store; it was written from the documentation alone.
//!
//! A verb answers what must come of it: a value, or the kinds of error one of which must come.

use std::collections::BTreeMap;

use nexus_core::{Bytes, Capabilities, Directories, ErrorKind, VfsPath};

use super::op::{MOUNTS, Mode, Op, Pick, Which};
use crate::support::path;

/// What a verb must do: succeed with this, or fail with one of these kinds.
pub(super) type Expect<T> = Result<T, Vec<ErrorKind>>;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    File(File),
}

/// A file, and the number of its state: every write and every copy makes a new one, a rename keeps
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) content: Bytes,
    pub(super) state: u64,
}

/// Where a path leads, before anything is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    Root,
    MountPoint,
    /// Inside the mount with this number.
    Inside(usize),
    Nowhere,
}

/// What becomes of a tree operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) files: u64,
    pub(super) directories: u64,
    /// One of these kinds for each failure.
    pub(super) failures: Vec<Vec<ErrorKind>>,
}

/// The namespace. Directories above a node are always there; both mount points are directories. In
/// a store whose directories are only keys, one is there while something is below it.
pub(super) struct Tree {
    nodes: BTreeMap<VfsPath, Node>,
    capabilities: [Capabilities; 2],
    states: u64,
}

/// Succeeds when none of the lists names an error.
fn none_of(errors: [Vec<ErrorKind>; 2]) -> Expect<()> {
    let all = errors.concat();
    if all.is_empty() { Ok(()) } else { Err(all) }
}

/// What is not there is `NotFound` for verbs that need not look at what is above.
fn or_not_found(mut kinds: Vec<ErrorKind>) -> Vec<ErrorKind> {
    if kinds == [ErrorKind::NotADirectory] {
        kinds.push(ErrorKind::NotFound);
    }
    kinds
}

impl Tree {
    pub(super) fn new(capabilities: [Capabilities; 2]) -> Self {
        let nodes = MOUNTS.map(|at| (path(at), Node::Directory)).into();
        Self { nodes, capabilities, states: 0 }
    }

    pub(super) fn zone(&self, at: &VfsPath) -> Zone {
        if at.is_root() {
            return Zone::Root;
        }
        match MOUNTS.iter().position(|mount| at.starts_with(&path(mount))) {
            Some(mount) if at.as_str() == MOUNTS[mount] => Zone::MountPoint,
            Some(mount) => Zone::Inside(mount),
            None => Zone::Nowhere,
        }
    }

    pub(super) fn capabilities(&self, at: &VfsPath) -> Option<&Capabilities> {
        let mount = MOUNTS.iter().position(|mount| at.starts_with(&path(mount)))?;
        Some(&self.capabilities[mount])
    }

    /// The path that a pick means in this moment.
    pub(super) fn choose(&self, pick: &Pick) -> VfsPath {
        let nth = |number: u8, wanted: &dyn Fn(&VfsPath, &Node) -> bool| {
            let all = self.nodes.iter().filter(|(at, node)| wanted(at, node));
            let all: Vec<_> = all.map(|(at, _)| at).collect();
            let index = usize::from(number).checked_rem(all.len());
            index.map(|index| all[index].clone())
        };
        let is_inside = |at: &VfsPath| matches!(self.zone(at), Zone::Inside(_));
        let chosen = match pick {
            Pick::File(number) => nth(*number, &|_, node| *node != Node::Directory),
            Pick::Directory(number) => {
                nth(*number, &|at, node| *node == Node::Directory && is_inside(at))
            }
            Pick::Inside(number, name) => {
                let shallow = |at: &VfsPath| at.segments().count() < 4;
                let directory = nth(*number, &|at, node| *node == Node::Directory && shallow(at));
                directory.map(|directory| directory.join(name).expect("a short path"))
            }
            Pick::Path(path) => Some(path.clone()),
        };
        // Nothing of the kind is there yet.
        chosen.unwrap_or_else(|| path(MOUNTS[0]))
    }

    /// Every path below `top`, and what is there, a directory before what is in it.
    pub(super) fn below(&self, top: &VfsPath) -> Vec<(VfsPath, Node)> {
        let below = self.nodes.iter().filter(|(at, _)| *at != top && at.starts_with(top));
        below.map(|(at, node)| (at.clone(), node.clone())).collect()
    }

    pub(super) fn file_at(&self, at: &VfsPath) -> Option<&File> {
        match self.nodes.get(at) {
            Some(Node::File(file)) => Some(file),
            _ => None,
        }
    }

    fn has_file_above(&self, at: &VfsPath) -> bool {
        let mut above = at.parent();
        while let Some(directory) = above {
            if self.file_at(&directory).is_some() {
                return true;
            }
            above = directory.parent();
        }
        false
    }

    fn node(&self, at: &VfsPath) -> Expect<Node> {
        match self.nodes.get(at) {
            _ if at.is_root() => Ok(Node::Directory),
            Some(node) => Ok(node.clone()),
            None if self.has_file_above(at) => Err(vec![ErrorKind::NotADirectory]),
            None => Err(vec![ErrorKind::NotFound]),
        }
    }

    fn file(&self, at: &VfsPath) -> Expect<File> {
        match self.node(at)? {
            Node::File(file) => Ok(file),
            Node::Directory => Err(vec![ErrorKind::IsADirectory]),
        }
    }

    /// Why a file of this mode can not be put at `to`; empty when it can.
    fn refusals(&self, to: &VfsPath, mode: Mode) -> Vec<ErrorKind> {
        let mut kinds = match (self.zone(to), self.node(to)) {
            (Zone::Root | Zone::MountPoint, _) => vec![ErrorKind::IsADirectory],
            (Zone::Nowhere, _) => vec![ErrorKind::NotFound],
            (_, Ok(Node::Directory)) => vec![ErrorKind::IsADirectory],
            (_, Err(kinds)) if kinds == [ErrorKind::NotADirectory] => kinds,
            (_, Ok(Node::File(_))) => match mode {
                Mode::Create => vec![ErrorKind::AlreadyExists],
                Mode::ReplaceStale => vec![ErrorKind::PreconditionFailed],
                Mode::Overwrite | Mode::ReplaceRight => vec![],
            },
            (_, Err(_)) => match mode {
                Mode::ReplaceRight | Mode::ReplaceStale => vec![ErrorKind::NotFound],
                Mode::Overwrite | Mode::Create => vec![],
            },
        };
        let can = self.capabilities(to).is_none_or(|capabilities| match mode {
            Mode::Overwrite => true,
            Mode::Create => capabilities.create,
            Mode::ReplaceRight | Mode::ReplaceStale => capabilities.replace,
        });
        if !can {
            kinds.push(ErrorKind::Unsupported);
        }
        kinds
    }

    fn has_virtual_directories(&self, at: &VfsPath) -> bool {
        let capabilities = self.capabilities(at);
        matches!(self.zone(at), Zone::Inside(_))
            && capabilities.is_some_and(|has| has.directories == Directories::Virtual)
    }

    /// Whether what must come of an operation depends on the store: where directories are only
    /// keys, the contract leaves open what happens to a key that is a directory as well.
    pub(super) fn is_open(&self, op: &Op) -> bool {
        let is_dir = |at: &VfsPath| self.node(at) == Ok(Node::Directory);
        let taken = |to: &VfsPath| {
            self.has_virtual_directories(to) && (is_dir(to) || self.has_file_above(to))
        };
        let hidden = |at: &VfsPath| self.has_virtual_directories(at) && is_dir(at);
        match op {
            Op::Write(to, ..) | Op::Upload(to, ..) | Op::Copy(_, to, _) | Op::Rename(_, to, _) => {
                taken(to)
            }
            Op::CopyAll(from, to, _) => {
                let occupied = self.has_virtual_directories(to) && self.node(to).is_ok();
                taken(to) || is_dir(from) && occupied
            }
            Op::Delete(at) => hidden(at),
            Op::DeleteMany(targets) => targets.iter().any(|(at, _)| hidden(at)),
            _ => false,
        }
    }

    /// Lets go of directories that are only keys and have none left below them.
    fn prune(&mut self) {
        // In this order what is in a directory comes before it.
        let directories: Vec<_> = self.nodes.keys().rev().cloned().collect();
        for at in directories {
            if self.has_virtual_directories(&at)
                && self.file_at(&at).is_none()
                && self.below(&at).is_empty()
            {
                self.nodes.remove(&at);
            }
        }
    }

    fn make_parents(&mut self, at: &VfsPath) {
        let mut above = at.parent();
        while let Some(directory) = above.filter(|directory| !directory.is_root()) {
            above = directory.parent();
            self.nodes.insert(directory, Node::Directory);
        }
    }

    fn put(&mut self, at: &VfsPath, content: Bytes) -> File {
        self.states += 1;
        let file = File { content, state: self.states };
        self.make_parents(at);
        self.nodes.insert(at.clone(), Node::File(file.clone()));
        file
    }

    pub(super) fn stat(&self, at: &VfsPath) -> Expect<Node> {
        self.node(at).map_err(or_not_found)
    }

    pub(super) fn read(&self, at: &VfsPath) -> Expect<File> {
        self.file(at).map_err(or_not_found)
    }

    pub(super) fn read_range(
        &self,
        at: &VfsPath,
        start: u64,
        end: Option<u64>,
    ) -> Expect<(File, Bytes)> {
        let file = self.read(at)?;
        let size = file.content.len() as u64;
        if start > size {
            return Err(vec![ErrorKind::RangeNotSatisfiable]);
        }
        let end = end.unwrap_or(size).min(size);
        let part = file.content.slice(start as usize..end as usize);
        Ok((file, part))
    }

    pub(super) fn read_if_match(&self, at: &VfsPath, which: Which) -> Expect<File> {
        let file = self.read(at)?;
        if which == Which::Right { Ok(file) } else { Err(vec![ErrorKind::PreconditionFailed]) }
    }

    pub(super) fn read_if_none_match(&self, at: &VfsPath, which: Which) -> Expect<File> {
        let file = self.read(at)?;
        if which == Which::Stale { Ok(file) } else { Err(vec![ErrorKind::NotModified]) }
    }

    /// What `write` and a finished upload do.
    pub(super) fn write(&mut self, at: &VfsPath, content: Bytes, mode: Mode) -> Expect<File> {
        none_of([self.refusals(at, mode), vec![]])?;
        Ok(self.put(at, content))
    }

    /// What an upload that does not finish may answer.
    pub(super) fn upload_refusals(&self, at: &VfsPath, mode: Mode) -> Vec<ErrorKind> {
        self.refusals(at, mode)
    }

    /// The entries below a directory, in the order of path bytes.
    pub(super) fn list(&self, at: &VfsPath, recursive: bool) -> Expect<Vec<(VfsPath, Node)>> {
        match self.node(at)? {
            Node::File(_) => Err(vec![ErrorKind::NotADirectory]),
            Node::Directory => {
                let mut entries = self.below(at);
                entries.retain(|(entry, _)| recursive || entry.parent().as_ref() == Some(at));
                Ok(entries)
            }
        }
    }

    /// Why nothing can be deleted or removed here; empty when it can.
    fn fixed(&self, at: &VfsPath) -> Vec<ErrorKind> {
        match self.zone(at) {
            Zone::Root | Zone::MountPoint => vec![ErrorKind::MountConflict],
            Zone::Nowhere => vec![ErrorKind::NotFound],
            Zone::Inside(_) => vec![],
        }
    }

    pub(super) fn delete(&mut self, at: &VfsPath) -> Expect<()> {
        none_of([self.fixed(at), vec![]])?;
        self.file(at).map_err(or_not_found)?;
        self.nodes.remove(at);
        self.prune();
        Ok(())
    }

    /// One target of many: whether it was there.
    pub(super) fn delete_target(&mut self, at: &VfsPath, only: Option<Which>) -> Expect<bool> {
        none_of([self.fixed(at), vec![]])?;
        let can = self.capabilities(at).is_none_or(|has| has.delete_if_version);
        if only.is_some() && !can {
            return Err(vec![ErrorKind::Unsupported]);
        }
        match self.file(at) {
            Ok(_) if only == Some(Which::Stale) => Err(vec![ErrorKind::PreconditionFailed]),
            Ok(_) => {
                self.nodes.remove(at);
                self.prune();
                Ok(true)
            }
            Err(kinds) if kinds == [ErrorKind::NotFound] => Ok(false),
            Err(kinds) => Err(kinds),
        }
    }

    pub(super) fn copy(&mut self, from: &VfsPath, to: &VfsPath, mode: Mode) -> Expect<File> {
        let source = self.file(from).map_err(or_not_found);
        if from == to {
            let file = source?;
            return match mode {
                Mode::Create => Err(vec![ErrorKind::AlreadyExists]),
                Mode::ReplaceStale => Err(vec![ErrorKind::PreconditionFailed]),
                Mode::Overwrite | Mode::ReplaceRight => Ok(file),
            };
        }
        none_of([source.clone().err().unwrap_or_default(), self.refusals(to, mode)])?;
        Ok(self.put(to, source?.content))
    }

    pub(super) fn rename(&mut self, from: &VfsPath, to: &VfsPath, mode: Mode) -> Expect<()> {
        none_of([self.fixed(from), self.fixed(to)])?;
        let source = self.node(from).map_err(or_not_found);
        if from == to {
            return source.map(drop);
        }
        let is_dir = source == Ok(Node::Directory);
        if to.starts_with(from) {
            source?;
            let kind = if is_dir { ErrorKind::InvalidPath } else { ErrorKind::NotADirectory };
            return Err(vec![kind]);
        }
        if from.starts_with(to) {
            source?;
            let kind = if is_dir { ErrorKind::AlreadyExists } else { ErrorKind::IsADirectory };
            return Err(vec![kind]);
        }
        let target = match self.node(to) {
            _ if !is_dir => self.refusals(to, mode),
            Ok(_) => vec![ErrorKind::AlreadyExists],
            Err(kinds) if kinds == [ErrorKind::NotADirectory] => kinds,
            Err(_) => vec![],
        };
        none_of([source.err().unwrap_or_default(), target])?;
        let mut moved = self.below(from);
        moved.extend(self.nodes.get(from).cloned().map(|node| (from.clone(), node)));
        self.make_parents(to);
        for (old, node) in moved {
            self.nodes.remove(&old);
            self.nodes.insert(rebase(&old, from, to), node);
        }
        self.prune();
        Ok(())
    }

    pub(super) fn create_dir(&mut self, at: &VfsPath) -> Expect<()> {
        match (self.zone(at), self.node(at)) {
            (Zone::Nowhere, _) => Err(vec![ErrorKind::NotFound]),
            _ if self.has_virtual_directories(at) => Err(vec![ErrorKind::Unsupported]),
            (_, Ok(Node::Directory)) => Ok(()),
            (_, Ok(Node::File(_))) => Err(vec![ErrorKind::AlreadyExists]),
            (_, Err(kinds)) if kinds == [ErrorKind::NotADirectory] => Err(kinds),
            (_, Err(_)) => {
                self.make_parents(at);
                self.nodes.insert(at.clone(), Node::Directory);
                Ok(())
            }
        }
    }

    pub(super) fn remove_dir(&mut self, at: &VfsPath) -> Expect<()> {
        none_of([self.fixed(at), vec![]])?;
        if self.has_virtual_directories(at) {
            return Err(vec![ErrorKind::Unsupported]);
        }
        match self.node(at)? {
            Node::File(_) => Err(vec![ErrorKind::NotADirectory]),
            Node::Directory if !self.below(at).is_empty() => {
                Err(vec![ErrorKind::DirectoryNotEmpty])
            }
            Node::Directory => {
                self.nodes.remove(at);
                Ok(())
            }
        }
    }

    pub(super) fn remove_all(&mut self, at: &VfsPath) -> Expect<Report> {
        none_of([self.fixed(at), vec![]])?;
        let top = self.node(at).map_err(or_not_found)?;
        let mut report = Report::default();
        let counted = u64::from(!self.has_virtual_directories(at));
        for (gone, node) in self.below(at).into_iter().chain([(at.clone(), top)]) {
            self.nodes.remove(&gone);
            match node {
                Node::File(_) => report.files += 1,
                Node::Directory => report.directories += counted,
            }
        }
        self.prune();
        Ok(report)
    }

    pub(super) fn copy_all(&mut self, from: &VfsPath, to: &VfsPath, mode: Mode) -> Expect<Report> {
        let source = self.node(from).map_err(or_not_found)?;
        let mut report = Report::default();
        if source != Node::Directory {
            self.copy(from, to, mode)?;
            report.files = 1;
            return Ok(report);
        }
        if to.starts_with(from) {
            return Err(vec![ErrorKind::InvalidPath]);
        }
        self.make_dir(to)?;
        for (entry, node) in self.below(from) {
            let target = rebase(&entry, from, to);
            let done = match node {
                Node::Directory => self.make_dir(&target).map(|()| report.directories += 1),
                Node::File(_) => self.copy(&entry, &target, mode).map(|_| report.files += 1),
            };
            report.failures.extend(done.err());
        }
        Ok(report)
    }

    /// A directory of a tree that is copied: a file in its place is no directory, and where
    /// directories are only keys there is nothing to make.
    fn make_dir(&mut self, at: &VfsPath) -> Expect<()> {
        if self.has_virtual_directories(at) {
            return Ok(());
        }
        self.create_dir(at).map_err(|kinds| {
            let other = |kind| match kind {
                ErrorKind::AlreadyExists => ErrorKind::NotADirectory,
                kind => kind,
            };
            kinds.into_iter().map(other).collect()
        })
    }

    /// Whether another program can put a file here without being in the way of anybody.
    pub(super) fn takes_file(&self, at: &VfsPath) -> bool {
        matches!(self.zone(at), Zone::Inside(_)) && self.refusals(at, Mode::Overwrite).is_empty()
    }

    /// Whether another program can make a directory here.
    pub(super) fn takes_directory(&self, at: &VfsPath) -> bool {
        matches!(self.zone(at), Zone::Inside(_))
            && !self.has_virtual_directories(at)
            && !matches!(self.node(at), Ok(Node::File(_)))
            && !self.has_file_above(at)
    }
}

/// `path` below `from`, as a path below `to`.
fn rebase(at: &VfsPath, from: &VfsPath, to: &VfsPath) -> VfsPath {
    let tail = at.strip_prefix(from).expect("a path below it");
    to.concat(&tail).expect("a short path")
}
