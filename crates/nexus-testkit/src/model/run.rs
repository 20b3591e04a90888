//! One case: a kernel and the model side by side. Every result is compared as it comes, and both
//! trees in the end.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use futures_util::StreamExt;
use nexus_core::kernel::{CopyOptions, RenameMethod, TreeReport, WalkOptions};
use nexus_core::{
    ByteRange, Bytes, Capabilities, CopyMethod, DeleteTarget, Deleted, Digest, Entry, EntryKind,
    Error, ErrorKind, Kernel, ListOptions, ListOrder, Metadata, ReadOptions, Registry, Version,
    VfsPath, WriteMode, WriteOptions,
};

use super::op::{End, MOUNTS, Mode, Op, Pick, Which};
use super::tree::{Expect, File, Node, Report, Tree, Zone};
use super::{Foreign, Store};
use crate::support::path;

/// A disagreement, in words.
type Check<T = ()> = Result<T, String>;

/// More than any content of a case.
const LIMIT: usize = 64 << 20;

/// Does all of `ops` both ways. A disagreement comes with what was done up to it.
pub(super) async fn case(stores: [Store; 2], ops: &[Op<Pick>]) -> Check {
    let mut run = Run::new(stores).await;
    let mut steps = String::new();
    for (index, op) in ops.iter().enumerate() {
        let op = op.resolve(|pick| run.tree.choose(pick));
        let _ = writeln!(steps, "{:3}. {op:?}", index + 1);
        run.step(&op).await.map_err(|why| format!("{why}\nafter\n{steps}"))?;
    }
    run.compare_trees().await.map_err(|why| format!("in the end: {why}\nafter\n{steps}"))?;
    run.kernel.close().await.map_err(|error| format!("close: {error:?}"))
}

struct Run {
    kernel: Kernel,
    tree: Tree,
    foreign: [Option<Box<dyn Foreign>>; 2],
    /// The state that each version stood for, at each path; a number of its content where versions
    /// repeat.
    versions: HashMap<(VfsPath, Version), u64>,
    /// The version that each path had when it was last looked at.
    last: BTreeMap<VfsPath, (u64, Version)>,
}

/// Compares an outcome with what was expected. `Some` when both are successes.
fn compare<T, E>(outcome: nexus_core::Result<T>, expected: Expect<E>) -> Check<Option<(T, E)>> {
    match (outcome, expected) {
        (Ok(value), Ok(expected)) => Ok(Some((value, expected))),
        (Err(error), Err(kinds)) if kinds.contains(&error.kind()) => {
            match error.path().map(VfsPath::parse) {
                Some(Ok(_)) => Ok(None),
                _ => Err(format!("the error names no path of the namespace: {error:?}")),
            }
        }
        (Ok(_), Err(kinds)) => Err(format!("succeeded, the model fails with {kinds:?}")),
        (Err(error), Err(kinds)) => Err(format!("{error:?}the model fails with {kinds:?}")),
        (Err(error), Ok(_)) => Err(format!("{error:?}the model succeeds")),
    }
}

/// A number that differs for different contents.
fn number(content: &Bytes) -> u64 {
    let digest = Digest::of(content).to_string();
    u64::from_str_radix(&digest[..16], 16).expect("hexadecimal digits")
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, one: T, model: T) -> Check {
    if one == model { Ok(()) } else { Err(format!("{what}: {one:?}, in the model {model:?}")) }
}

impl Run {
    async fn new(stores: [Store; 2]) -> Self {
        let kernel = Kernel::new(Registry::default());
        let capabilities: [Capabilities; 2] =
            std::array::from_fn(|index| stores[index].backend.info().capabilities.clone());
        for has in &capabilities {
            assert!(has.write && has.versions, "the model writes, and compares versions");
        }
        let mut foreign = [None, None];
        for (index, store) in stores.into_iter().enumerate() {
            foreign[index] = store.foreign;
            kernel.attach(MOUNTS[index], store.backend).await.expect("a free mount point");
        }
        let (versions, last) = (HashMap::new(), BTreeMap::new());
        Self { kernel, tree: Tree::new(capabilities), foreign, versions, last }
    }

    /// A version names one state of a path, and a state keeps its version while it stays there.
    fn observe(&mut self, at: &VfsPath, file: &File, metadata: &Metadata) -> Check {
        same("kind", metadata.kind, EntryKind::File)?;
        same("size", metadata.size, Some(file.content.len() as u64))?;
        if metadata.digest.is_some() {
            same("digest", metadata.digest, Some(Digest::of(&file.content)))?;
        }
        let Some(version) = &metadata.version else {
            return Err(format!("{at} has no version"));
        };
        let named = (at.clone(), version.clone());
        let repeats = self.tree.capabilities(at).is_some_and(|has| has.versions_repeat);
        let named_state = if repeats { number(&file.content) } else { file.state };
        let state = *self.versions.entry(named).or_insert(named_state);
        if state != named_state {
            return Err(format!("{at}: version {version} stood for another state before"));
        }
        match self.last.insert(at.clone(), (file.state, version.clone())) {
            Some((state, before)) if state == file.state => same("version", version, &before),
            _ => Ok(()),
        }
    }

    /// Forgets the versions of what was moved: a store may give a new one then.
    fn forget(&mut self, top: &VfsPath) {
        self.last.retain(|at, _| !at.starts_with(top));
    }

    /// The version that is there, or one that is not.
    async fn version(&self, at: &VfsPath, which: Which) -> Version {
        let current = self.kernel.stat(at).await.ok().and_then(|metadata| metadata.version);
        match (which, current) {
            (Which::Right, Some(current)) => current,
            (_, current) => {
                let stale = |(named, version): &&(VfsPath, Version)| {
                    named == at && Some(version) != current.as_ref()
                };
                let once = self.versions.keys().find(stale).map(|(_, version)| version.clone());
                once.unwrap_or_else(|| Version::new("never"))
            }
        }
    }

    async fn mode(&self, at: &VfsPath, mode: Mode) -> WriteMode {
        match mode {
            Mode::Overwrite => WriteMode::Overwrite,
            Mode::Create => WriteMode::Create,
            Mode::ReplaceRight => WriteMode::Replace(self.version(at, Which::Right).await),
            Mode::ReplaceStale => WriteMode::Replace(self.version(at, Which::Stale).await),
        }
    }

    async fn step(&mut self, op: &Op) -> Check {
        if self.tree.is_open(op) {
            return Ok(());
        }
        match op {
            Op::Stat(at) => self.stat(at).await,
            Op::Read(at) => {
                let expected = self.tree.read(at).map(with_content);
                self.read(at, ReadOptions::default(), expected).await
            }
            Op::ReadRange(at, start, end) => {
                let range = ByteRange::new(*start, *end).map_err(|error| error.to_string())?;
                let expected = self.tree.read_range(at, *start, *end);
                self.read(at, ReadOptions::range(range), expected).await
            }
            Op::ReadIfMatch(at, which) => {
                let if_match = Some(self.version(at, *which).await);
                let expected = self.tree.read_if_match(at, *which).map(with_content);
                self.read(at, ReadOptions { if_match, ..ReadOptions::default() }, expected).await
            }
            Op::ReadIfNoneMatch(at, which) => {
                let if_none_match = Some(self.version(at, *which).await);
                let expected = self.tree.read_if_none_match(at, *which).map(with_content);
                let options = ReadOptions { if_none_match, ..ReadOptions::default() };
                self.read(at, options, expected).await
            }
            Op::Write(at, content, mode) => {
                let options = WriteOptions::from(self.mode(at, *mode).await);
                let outcome = self.kernel.write(at, content.bytes(), &options).await;
                let expected = self.tree.write(at, content.bytes(), *mode);
                self.written(at, outcome, expected)
            }
            Op::Upload(..) => self.upload(op).await,
            Op::List { .. } => self.list(op).await,
            Op::Delete(at) => {
                let outcome = self.kernel.delete(at).await;
                compare(outcome, self.tree.delete(at)).map(drop)
            }
            Op::DeleteMany(targets) => self.delete_many(targets).await,
            Op::Copy(from, to, mode) => self.copy(from, to, *mode).await,
            Op::Rename(from, to, mode) => self.rename(from, to, *mode).await,
            Op::CreateDir(at) => {
                let outcome = self.kernel.create_dir(at).await;
                compare(outcome, self.tree.create_dir(at)).map(drop)
            }
            Op::RemoveDir(at) => {
                let outcome = self.kernel.remove_dir(at).await;
                compare(outcome, self.tree.remove_dir(at)).map(drop)
            }
            Op::CopyAll(from, to, mode) => self.copy_all(from, to, *mode).await,
            Op::RemoveAll(at) => {
                let outcome = self.kernel.remove_all(at).await;
                reported(compare(outcome, self.tree.remove_all(at))?)
            }
            Op::ForeignWrite(..) | Op::ForeignRemove(_) | Op::ForeignCreateDir(_) => {
                self.foreign(op);
                Ok(())
            }
        }
    }

    async fn stat(&mut self, at: &VfsPath) -> Check {
        let outcome = self.kernel.stat(at).await;
        match compare(outcome, self.tree.stat(at))? {
            Some((metadata, Node::File(file))) => self.observe(at, &file, &metadata),
            Some((metadata, Node::Directory)) => same("kind", metadata.kind, EntryKind::Directory),
            None => Ok(()),
        }
    }

    async fn read(
        &mut self,
        at: &VfsPath,
        options: ReadOptions,
        expected: Expect<(File, Bytes)>,
    ) -> Check {
        let outcome = match self.kernel.read(at, &options).await {
            Ok(object) => object.body.bytes(LIMIT).await.map(|bytes| (object.metadata, bytes)),
            Err(error) => Err(error),
        };
        let Some(((metadata, bytes), (file, part))) = compare(outcome, expected)? else {
            return Ok(());
        };
        if bytes != part {
            return Err(format!("other bytes: {} instead of {}", bytes.len(), part.len()));
        }
        self.observe(at, &file, &metadata)
    }

    fn written(
        &mut self,
        at: &VfsPath,
        outcome: nexus_core::Result<Metadata>,
        expected: Expect<File>,
    ) -> Check {
        match compare(outcome, expected)? {
            Some((metadata, file)) => self.observe(at, &file, &metadata),
            None => Ok(()),
        }
    }

    async fn upload(&mut self, op: &Op) -> Check {
        let Op::Upload(at, contents, mode, end) = op else { return Ok(()) };
        let options = WriteOptions::from(self.mode(at, *mode).await);
        let pieces: Vec<_> = contents.iter().map(|content| content.bytes()).collect();
        let begun = async {
            let mut upload = self.kernel.upload(at, &options).await?;
            for piece in pieces.clone() {
                upload.write(piece).await?;
            }
            Ok::<_, Error>(upload)
        };
        let given_up = match (begun.await, end) {
            (Ok(upload), End::Finish) => {
                let outcome = upload.finish().await;
                let expected = self.tree.write(at, pieces.concat().into(), *mode);
                return self.written(at, outcome, expected);
            }
            (Ok(upload), End::Abort) => upload.abort().await,
            (Ok(upload), End::Drop) => {
                drop(upload);
                Ok(())
            }
            (Err(error), _) => Err(error),
        };
        // A refusal may come at once, but only one that was due when it finishes.
        match given_up {
            Ok(()) => Ok(()),
            Err(error) => {
                compare::<(), ()>(Err(error), Err(self.tree.upload_refusals(at, *mode))).map(drop)
            }
        }
    }

    async fn list(&mut self, op: &Op) -> Check {
        let Op::List { path: at, recursive, limit, after } = op else { return Ok(()) };
        let at_root = self.tree.zone(at) == Zone::Root;
        // The kernel's own tree, which the model does not know, would count.
        let limit = limit.filter(|_| !at_root);
        let start_after = after.map(|after| at.join(after).expect("a short path"));
        let has = self.tree.capabilities(at).cloned().unwrap_or_default();
        let by_store = !*recursive || has.list_recursive;
        let can_start = match self.tree.zone(at) {
            Zone::Root => !*recursive,
            _ => has.list_start_after && by_store,
        };
        let mut expected = self.tree.list(at, *recursive);
        if start_after.is_some() && !can_start {
            let mut kinds = expected.err().unwrap_or_default();
            kinds.push(ErrorKind::Unsupported);
            expected = Err(kinds);
        }
        let options =
            ListOptions { recursive: *recursive, start_after, limit, ..ListOptions::default() };
        let outcome = self.listed(at, &options).await;
        let Some((entries, mut expected)) = compare(outcome, expected)? else { return Ok(()) };
        if let Some(after) = &options.start_after {
            expected.retain(|(path, _)| path > after);
        }
        let ordered = by_store && has.list_order == ListOrder::Bytewise;
        self.compare_entries(entries, expected, limit, ordered)
    }

    async fn listed(&self, at: &VfsPath, options: &ListOptions) -> nexus_core::Result<Vec<Entry>> {
        let mut listing = self.kernel.list(at, options).await?;
        let mut entries = Vec::new();
        while let Some(entry) = listing.next().await {
            entries.push(entry?);
        }
        Ok(entries)
    }

    fn compare_entries(
        &mut self,
        mut entries: Vec<Entry>,
        expected: Vec<(VfsPath, Node)>,
        limit: Option<usize>,
        ordered: bool,
    ) -> Check {
        entries.retain(|entry| !entry.path.starts_with(&path("/__sys__")));
        for (index, entry) in entries.iter().enumerate() {
            let early = entries[..index].iter().any(|early| early.path.starts_with(&entry.path));
            if early {
                return Err(format!("{} came late, or twice", entry.path));
            }
        }
        let came: Vec<_> = entries.iter().map(|entry| entry.path.clone()).collect();
        let mut sorted = came.clone();
        sorted.sort();
        if ordered {
            same("order", &came, &sorted)?;
        }
        let mut due: Vec<_> = expected.iter().map(|(path, _)| path.clone()).collect();
        match limit {
            Some(limit) if ordered => due.truncate(limit),
            Some(limit) => {
                same("number of entries", came.len(), due.len().min(limit))?;
                due.retain(|path| came.contains(path));
            }
            None => {}
        }
        same("entries", sorted, due)?;
        let nodes: BTreeMap<_, _> = expected.into_iter().collect();
        for entry in entries {
            match &nodes[&entry.path] {
                Node::Directory => same("kind", entry.metadata.kind, EntryKind::Directory)?,
                Node::File(file) => self.observe_listed(&entry, file)?,
            }
        }
        Ok(())
    }

    /// A listing may tell less than `stat`, but nothing else.
    fn observe_listed(&mut self, entry: &Entry, file: &File) -> Check {
        let mut metadata = entry.metadata.clone();
        let last = self.last.get(&entry.path).filter(|(state, _)| *state == file.state);
        match (&metadata.version, last) {
            (Some(_), _) => {}
            (None, Some((_, version))) => metadata.version = Some(version.clone()),
            (None, None) => return same("kind", metadata.kind, EntryKind::File),
        }
        self.observe(&entry.path, file, &metadata)
    }

    async fn delete_many(&mut self, named: &[(VfsPath, Option<Which>)]) -> Check {
        let mut targets = Vec::new();
        for (at, only) in named {
            let if_version = match only {
                Some(which) => Some(self.version(at, *which).await),
                None => None,
            };
            targets.push(DeleteTarget { path: at.clone(), if_version });
        }
        let results = self.kernel.delete_many(targets).await;
        same("number of results", results.len(), named.len())?;
        for ((at, only), result) in named.iter().zip(results) {
            let about = |why| format!("{at}: {why}");
            match (self.tree.delete_target(at, *only), result) {
                (Ok(true), Ok(Deleted::Removed | Deleted::Gone))
                | (Ok(false), Ok(Deleted::Absent | Deleted::Gone)) => {}
                // With a precondition, nothing there may also be the wrong version.
                (Ok(false), Err(error))
                    if only.is_some() && error.kind() == ErrorKind::PreconditionFailed => {}
                (Err(kinds), Ok(Deleted::Absent)) if kinds == [ErrorKind::NotADirectory] => {}
                (Ok(_), Ok(other)) => return Err(about(format!("answered {other:?}"))),
                (expected, result) => drop(compare(result, expected).map_err(about)?),
            }
        }
        Ok(())
    }

    async fn copy(&mut self, from: &VfsPath, to: &VfsPath, mode: Mode) -> Check {
        let options = CopyOptions::from(self.mode(to, mode).await);
        let outcome = self.kernel.copy(from, to, &options).await;
        let Some((method, file)) = compare(outcome, self.tree.copy(from, to, mode))? else {
            return Ok(());
        };
        let inside = self.tree.zone(from) == self.tree.zone(to);
        let by_store = inside
            && self.tree.capabilities(to).is_some_and(|has| {
                has.copy && (mode == Mode::Overwrite || !has.copy_overwrites_only)
            });
        same("streamed", method == CopyMethod::Streamed, !by_store && from != to)?;
        let metadata = self.kernel.stat(to).await.map_err(|error| format!("{error:?}"))?;
        self.observe(to, &file, &metadata)
    }

    async fn rename(&mut self, from: &VfsPath, to: &VfsPath, mode: Mode) -> Check {
        let is_file = self.tree.file_at(from).is_some();
        // What a mode that names a version means for a directory is not specified.
        let mode = match mode {
            Mode::ReplaceRight | Mode::ReplaceStale if !is_file => Mode::Overwrite,
            mode => mode,
        };
        let options = CopyOptions::from(self.mode(to, mode).await);
        let outcome = self.kernel.rename(from, to, &options).await;
        let Some((method, ())) = compare(outcome, self.tree.rename(from, to, mode))? else {
            return Ok(());
        };
        self.forget(from);
        self.forget(to);
        let inside = self.tree.zone(from) == self.tree.zone(to);
        let by_store = inside
            && self.tree.capabilities(to).is_some_and(|has| {
                let takes_mode = mode != Mode::Create || has.create;
                has.rename && takes_mode && (is_file || has.rename_dir)
            });
        let expected = match (from == to, by_store) {
            (true, _) => RenameMethod::Unchanged,
            (false, true) => RenameMethod::Atomic,
            (false, false) => RenameMethod::Copied,
        };
        same("method", method, expected)?;
        self.stat(to).await
    }

    async fn copy_all(&mut self, from: &VfsPath, to: &VfsPath, mode: Mode) -> Check {
        // Into a directory above itself, the result depends on the order; and a version names one
        // file, not all of a tree.
        if from.starts_with(to) && from != to {
            return Ok(());
        }
        let mode = match mode {
            Mode::ReplaceRight | Mode::ReplaceStale if self.tree.file_at(from).is_none() => {
                Mode::Overwrite
            }
            mode => mode,
        };
        let options = CopyOptions::from(self.mode(to, mode).await);
        let outcome = self.kernel.copy_all(from, to, &options).await;
        reported(compare(outcome, self.tree.copy_all(from, to, mode))?)
    }

    /// Somebody else changes a store, where that is possible and somebody is there.
    fn foreign(&mut self, op: &Op) {
        let (Op::ForeignWrite(at, _) | Op::ForeignRemove(at) | Op::ForeignCreateDir(at)) = op
        else {
            return;
        };
        let Zone::Inside(mount) = self.tree.zone(at) else { return };
        let Some(foreign) = &mut self.foreign[mount] else { return };
        let inner = at.strip_prefix(&path(MOUNTS[mount])).expect("a path below it");
        match op {
            Op::ForeignWrite(_, content) if self.tree.takes_file(at) => {
                foreign.write(&inner, &content.bytes());
                self.tree.write(at, content.bytes(), Mode::Overwrite).expect("it takes a file");
            }
            Op::ForeignRemove(_) if self.tree.file_at(at).is_some() => {
                foreign.remove(&inner);
                self.tree.delete(at).expect("a file is there");
            }
            Op::ForeignCreateDir(_) if self.tree.takes_directory(at) => {
                foreign.create_dir(&inner);
                self.tree.create_dir(at).expect("it takes a directory");
            }
            _ => {}
        }
    }

    async fn compare_trees(&mut self) -> Check {
        for mount in MOUNTS.map(path) {
            let walk = self.kernel.walk(&mount, &WalkOptions::default()).await;
            let walk = walk.map_err(|error| format!("{error:?}"))?;
            let mut entries = Vec::new();
            for entry in walk.collect::<Vec<_>>().await {
                entries.push(entry.map_err(|error| format!("{error:?}"))?);
            }
            self.compare_entries(entries, self.tree.below(&mount), None, false)?;
            for (at, node) in self.tree.below(&mount) {
                if let Node::File(file) = node {
                    let expected = Ok(with_content(file));
                    let read = self.read(&at, ReadOptions::default(), expected).await;
                    read.map_err(|why| format!("{at}: {why}"))?;
                }
            }
        }
        Ok(())
    }
}

fn with_content(file: File) -> (File, Bytes) {
    let content = file.content.clone();
    (file, content)
}

fn reported(both: Option<(TreeReport, Report)>) -> Check {
    let Some((report, expected)) = both else { return Ok(()) };
    same("files", report.files, expected.files)?;
    same("directories", report.directories, expected.directories)?;
    same("skipped", report.skipped_count, 0)?;
    same("failures", report.failed_count, expected.failures.len() as u64)?;
    let mut due = expected.failures;
    for failure in &report.failures {
        let Some(index) = due.iter().position(|kinds| kinds.contains(&failure.kind())) else {
            return Err(format!("a failure that the model does not know: {failure:?}"));
        };
        due.swap_remove(index);
    }
    Ok(())
}
