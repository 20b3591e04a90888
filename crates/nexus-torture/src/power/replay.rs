//! Replays a recording on the model of a disk: descriptors, positions and paths.

use std::collections::{HashMap, VecDeque};

use super::call::{Call, Fd, Path};
use super::model::{Change, Disk, Effect, Node, Place, ROOT, Sync};
use super::parse::{Event, Log};
use crate::support::Result;
use crate::tree::{Tree, is_memory};

/// What a process did to a store, and what was there before.
pub(crate) struct Recording {
    /// The absolute path of the store.
    pub(crate) root: String,
    /// What the store held, durably.
    pub(crate) before: Tree,
    /// The calls; none for those that did nothing.
    pub(crate) calls: Vec<Option<Call>>,
    /// Beginnings and ends of calls.
    pub(crate) events: Vec<Event>,
}

impl Recording {
    /// A recording from a log of `strace`.
    ///
    /// # Errors
    /// For a call that can not be understood.
    pub(crate) fn new(root: String, before: Tree, log: &Log) -> Result<Self> {
        let calls = log.calls.iter().map(Call::parse).collect::<Result<_>>()?;
        Ok(Self { root, before, calls, events: log.events.clone() })
    }
}

/// What one event did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing that matters here.
    Nothing,
    /// The disk, or the cache before it, is another.
    Changed,
    /// The process said something on standard output.
    Said(String),
}

/// Standard output, on which the worker speaks.
const OUTPUT: i64 = 1;

/// An open file: descriptors that were duplicated share it.
struct Open {
    /// `None` outside of the store.
    node: Option<Node>,
    position: u64,
    append: bool,
    /// Whether it is the index of a write-ahead log.
    memory: bool,
}

/// Something a path may lead to.
enum Target {
    Outside,
    /// A directory that is given by itself: the root, or a descriptor.
    Dir(Node),
    Place(Place),
}

/// A replay, from the first event on.
pub(crate) struct Replay<'a> {
    recording: &'a Recording,
    /// The disk as it is now.
    pub(crate) disk: Disk,
    next: usize,
    opened: Vec<Open>,
    descriptors: HashMap<i64, usize>,
    writes: HashMap<usize, (Node, u64)>,
    syncs: HashMap<usize, Sync>,
    last: VecDeque<Event>,
}

/// How many of the last changes are told.
const TOLD: usize = 4;

impl<'a> Replay<'a> {
    /// Begins.
    ///
    /// # Errors
    /// When what was there before makes no sense.
    pub(crate) fn new(recording: &'a Recording) -> Result<Self> {
        Ok(Self {
            recording,
            disk: Disk::new(&recording.before)?,
            next: 0,
            opened: Vec::new(),
            descriptors: HashMap::new(),
            writes: HashMap::new(),
            syncs: HashMap::new(),
            last: VecDeque::new(),
        })
    }

    /// The last changes, the latest first.
    pub(crate) fn about(&self) -> String {
        let texts = self.last.iter().rev().filter_map(|event| {
            let (number, how) = match event {
                Event::Begin(number) => (number, "begun"),
                Event::End(number) => (number, "done"),
            };
            let call = self.recording.calls.get(*number)?.as_ref()?;
            Some(format!("{} ({how})", call.about()))
        });
        texts.collect::<Vec<_>>().join(" < ").replace(&self.recording.root, "")
    }

    /// How many events are behind.
    pub(crate) fn position(&self) -> usize {
        self.next
    }

    /// The next event; `None` after the last.
    ///
    /// # Errors
    /// When the model no longer knows what the process did.
    pub(crate) fn step(&mut self) -> Result<Option<Step>> {
        let Some(event) = self.recording.events.get(self.next).copied() else { return Ok(None) };
        self.next += 1;
        let (number, ends) = match event {
            Event::Begin(number) => (number, false),
            Event::End(number) => (number, true),
        };
        let Some(call) = self.recording.calls.get(number).and_then(Option::as_ref) else {
            return Ok(Some(Step::Nothing));
        };
        let step = if ends { self.ends(number, call) } else { self.begins(number, call) };
        let step = step.map_err(|error| format!("event {}: {}: {error}", self.next, call.about()));
        if step.as_ref().is_ok_and(|step| *step == Step::Changed) {
            self.last.push_back(event);
            if self.last.len() > TOLD {
                self.last.pop_front();
            }
        }
        Ok(Some(step?))
    }

    /// What counts from the beginning of a call on.
    fn begins(&mut self, number: usize, call: &Call) -> Result<Step> {
        let (fd, effect) = match call {
            Call::Write { fd, data, .. } if fd.number == OUTPUT => {
                return Ok(Step::Said(String::from_utf8(data.clone())?));
            }
            Call::Write { fd, offset, data } => {
                let length = data.len() as u64;
                let at = self.advance(fd, *offset, length, true)?;
                (fd, Effect::Write(at, data.as_slice().into()))
            }
            Call::Copy { from, from_offset, to, to_offset, length } => {
                let start = self.advance(from, *from_offset, *length, false)?;
                let at = self.advance(to, *to_offset, *length, true)?;
                (to, Effect::Write(at, self.slice(from, start, *length)?.into()))
            }
            Call::Clone { from, to } => {
                let Some(node) = self.node(from)? else {
                    return Err("a clone of a file outside".into());
                };
                let content = self.disk.content(node).ok_or("a clone of a directory")?;
                (to, Effect::Write(0, content.into()))
            }
            Call::Truncate { fd, size } => (fd, Effect::Resize(*size)),
            Call::Allocate { fd, end } => {
                let Some(node) = self.node(fd)? else { return Ok(Step::Nothing) };
                if self.disk.content(node).is_some_and(|content| content.len() as u64 >= *end) {
                    return Ok(Step::Nothing);
                }
                (fd, Effect::Resize(*end))
            }
            Call::Sync { fd } => {
                if let Some(node) = self.node(fd)? {
                    self.syncs.insert(number, self.disk.sync(node));
                }
                return Ok(Step::Nothing);
            }
            // The number may be given to another file before the call has ended.
            Call::Close { fd } => {
                self.descriptors.remove(fd);
                return Ok(Step::Nothing);
            }
            Call::SyncAll => {
                self.syncs.insert(number, self.disk.sync_all());
                return Ok(Step::Nothing);
            }
            _ => return Ok(Step::Nothing),
        };
        let Some(node) = self.node(fd)? else { return Ok(Step::Nothing) };
        let change = self.disk.begin(node, effect);
        self.writes.insert(number, (node, change));
        Ok(Step::Changed)
    }

    /// What counts only when a call has ended.
    fn ends(&mut self, number: usize, call: &Call) -> Result<Step> {
        if let Some((node, change)) = self.writes.remove(&number) {
            self.disk.end(node, change);
        }
        if let Some(sync) = self.syncs.remove(&number) {
            self.disk.synced(&sync);
            return Ok(Step::Changed);
        }
        let change = match call {
            Call::Open { path, create, truncate, append, temporary, fd } => {
                return self.open(path, (*create, *truncate, *append, *temporary), *fd);
            }
            Call::Dup { fd, to } => {
                match self.descriptors.get(&fd.number) {
                    Some(open) => self.descriptors.insert(*to, *open),
                    None => self.descriptors.remove(to),
                };
                return Ok(Step::Nothing);
            }
            Call::Seek { fd, to } => {
                if let Some(open) = self.opened(fd)? {
                    self.opened[open].position = *to;
                }
                return Ok(Step::Nothing);
            }
            Call::Read { fd, length } => {
                self.advance(fd, None, *length, false)?;
                return Ok(Step::Nothing);
            }
            Call::Rename { from, to } => match (self.target(from)?, self.target(to)?) {
                (Target::Place(from), Target::Place(to)) => {
                    let node = self.present(&from)?;
                    if self.disk.lookup(to.0, &to.1) == Some(node) {
                        return Ok(Step::Nothing);
                    }
                    Change::Move(from, to, node)
                }
                (Target::Outside, Target::Outside) => return Ok(Step::Nothing),
                _ => return Err("a rename into or out of the store".into()),
            },
            Call::Link { from, to } => match self.target(to)? {
                Target::Place(to) => Change::Add(to, self.source(from)?),
                Target::Dir(_) => return Err("a link in the place of a directory".into()),
                Target::Outside => return Ok(Step::Nothing),
            },
            Call::Unlink { path } => match self.target(path)? {
                Target::Place(place) => {
                    self.present(&place)?;
                    Change::Remove(place)
                }
                Target::Dir(_) => return Err("a directory is removed by itself".into()),
                Target::Outside => return Ok(Step::Nothing),
            },
            Call::MakeDir { path } => match self.target(path)? {
                Target::Place(place) => Change::Add(place, self.disk.new_dir()),
                Target::Dir(_) => return Err("a directory that is there is made".into()),
                Target::Outside => return Ok(Step::Nothing),
            },
            Call::Map { fd } => match self.opened(fd)?.map(|open| &self.opened[open]) {
                Some(open) if open.node.is_some() && !open.memory => {
                    return Err("writes through a mapping can not be followed".into());
                }
                _ => return Ok(Step::Nothing),
            },
            Call::Unknown { path, .. } => {
                let outside = match path.path.as_str() {
                    "" => self.node(&path.at)?.is_none(),
                    _ => matches!(self.target(path)?, Target::Outside),
                };
                return if outside { Ok(Step::Nothing) } else { Err("not in the model".into()) };
            }
            _ => return Ok(Step::Nothing),
        };
        self.disk.change(change);
        Ok(Step::Changed)
    }

    fn open(&mut self, path: &Path, how: (bool, bool, bool, bool), fd: i64) -> Result<Step> {
        let (create, truncate, append, temporary) = how;
        let target = self.target(path)?;
        let mut changed = Step::Nothing;
        let memory = matches!(&target, Target::Place((_, name)) if is_memory(name));
        let node = match target {
            Target::Outside => None,
            Target::Dir(_) | Target::Place(_) if temporary => Some(self.disk.new_file()),
            Target::Dir(node) => Some(node),
            Target::Place(place) => match self.disk.lookup(place.0, &place.1) {
                Some(node) => Some(node),
                None if create => {
                    let node = self.disk.new_file();
                    self.disk.change(Change::Add(place, node));
                    changed = Step::Changed;
                    Some(node)
                }
                None => return Err("opened, and not there in the model".into()),
            },
        };
        if let Some(node) = node
            && truncate
            && self.disk.content(node).is_some_and(|content| !content.is_empty())
        {
            let change = self.disk.begin(node, Effect::Resize(0));
            self.disk.end(node, change);
            changed = Step::Changed;
        }
        self.descriptors.insert(fd, self.opened.len());
        self.opened.push(Open { node, position: 0, append, memory });
        Ok(changed)
    }

    /// The open file of a descriptor; `None` for one that was not opened below the store.
    fn opened(&self, fd: &Fd) -> Result<Option<usize>> {
        match self.descriptors.get(&fd.number) {
            Some(open) => Ok(Some(*open)),
            None if fd.path.as_deref().is_some_and(|path| self.is_inside(path)) => {
                Err("a descriptor of the store that nobody opened".into())
            }
            None => Ok(None),
        }
    }

    fn node(&self, fd: &Fd) -> Result<Option<Node>> {
        Ok(self.opened(fd)?.and_then(|open| self.opened[open].node))
    }

    fn is_inside(&self, path: &str) -> bool {
        path.strip_prefix(&self.recording.root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Where a call that gives no offset reads or writes; moves the position on.
    fn advance(&mut self, fd: &Fd, offset: Option<u64>, length: u64, writes: bool) -> Result<u64> {
        let Some(open) = self.opened(fd)? else { return Ok(0) };
        let end = self.opened[open].node.and_then(|node| self.disk.content(node)).map(<[u8]>::len);
        let open = &mut self.opened[open];
        if writes && open.append {
            open.position = end.unwrap_or_default() as u64 + length;
            return Ok(open.position - length);
        }
        Ok(offset.unwrap_or_else(|| {
            open.position += length;
            open.position - length
        }))
    }

    fn slice(&self, fd: &Fd, start: u64, length: u64) -> Result<&[u8]> {
        let node = self.node(fd)?.ok_or("bytes from a file outside")?;
        let content = self.disk.content(node).ok_or("bytes from a directory")?;
        let range = start as usize..(start + length) as usize;
        content.get(range).ok_or_else(|| "bytes after the end".into())
    }

    fn present(&self, place: &Place) -> Result<Node> {
        let node = self.disk.lookup(place.0, &place.1);
        node.ok_or_else(|| format!("{} is not there in the model", place.1).into())
    }

    /// The file that a link is made to.
    fn source(&self, path: &Path) -> Result<Node> {
        let number = path.path.strip_prefix("/proc/self/fd/").map(str::parse);
        if let Some(Ok(number)) = number {
            return self
                .node(&Fd { number, path: None })?
                .ok_or_else(|| "a link to a file outside".into());
        }
        if path.path.is_empty() {
            return self.node(&path.at)?.ok_or_else(|| "a link to a file outside".into());
        }
        match self.target(path)? {
            Target::Place(place) => self.present(&place),
            _ => Err("a link to what is outside".into()),
        }
    }

    /// Where a path leads, below the store or out of it.
    fn target(&self, path: &Path) -> Result<Target> {
        let relative = !path.path.starts_with('/');
        let (mut at, rest) = match (relative, self.descriptors.get(&path.at.number)) {
            (true, Some(open)) if self.opened[*open].node.is_some() => {
                (self.opened[*open].node.unwrap_or(ROOT), path.path.clone())
            }
            _ => {
                let absolute = match (relative, &path.at.path) {
                    (false, _) => path.path.clone(),
                    (true, Some(at)) => format!("{at}/{}", path.path),
                    (true, None) => return Ok(Target::Outside),
                };
                if !self.is_inside(&absolute) {
                    return Ok(Target::Outside);
                }
                (ROOT, absolute[self.recording.root.len()..].to_owned())
            }
        };
        let mut names: Vec<_> =
            rest.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
        if names.contains(&"..") {
            return Err("a path with `..`".into());
        }
        let Some(last) = names.pop() else {
            return Ok(Target::Dir(at));
        };
        for name in names {
            at = self.present(&(at, name.to_owned()))?;
        }
        Ok(Target::Place((at, last.to_owned())))
    }
}
