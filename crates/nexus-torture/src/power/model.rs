//! A model of a disk behind a cache: what was changed, and how much of it a power cut may leave.
//!
//! The rules are those that journalling file systems (ext4, XFS) honour, and no more:
//!
//! - Content: what was written to a file reaches the disk in any order, by pages of 4 KiB; of one
//!   page, later writes never without the earlier ones. The size reaches it independently: a page
//!   that did not is zeros. One page may be caught in the middle, at a sector of 512 bytes.
//! - `fsync` and `fdatasync` of a file make durable what was written to it by calls that had ended
//!   when the sync began. They say nothing about its names, not even for a file just created.
//! - Names: a link, an unlink, a rename, a creation is one change, there wholly or not at all, in
//!   the directories that it is about. The changes of one directory reach the disk in their order,
//!   those of different directories in any.
//! - `fsync` of a directory makes the changes of its names durable, each with all that came before
//!   it in the other directory that it is about. It says nothing about the names of the directory
//!   itself, and nothing about content.
//!
//! Attributes, owners and times are not modelled.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::support::Result;
use crate::tree::Tree;

/// A file or a directory, by its place in the list of all.
pub(crate) type Node = usize;

/// The root of the store.
pub(crate) const ROOT: Node = 0;

/// A change of a file's content.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Bytes at an offset.
    Write(u64, Arc<[u8]>),
    /// Cut, or grown by zeros.
    Resize(u64),
}

impl Effect {
    pub(crate) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let start = *offset as usize;
                let end = start + data.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[start..end].copy_from_slice(data);
            }
            Self::Resize(size) => content.resize(*size as usize, 0),
        }
    }
}

/// A change that a power cut may undo.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) effect: Effect,
    number: u64,
    /// Whether the call ended: only then a sync that begins later covers it.
    ended: bool,
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    pub(crate) durable: Vec<u8>,
    /// What a process reads.
    pub(crate) current: Vec<u8>,
    pub(crate) pending: Vec<Pending>,
}

type Names = BTreeMap<String, Node>;

#[derive(Clone, Debug, Default)]
struct Dir {
    durable: Names,
    current: Names,
}

#[derive(Clone, Debug)]
enum Inode {
    File(File),
    Dir(Dir),
}

/// Where a name is.
pub(crate) type Place = (Node, String);

/// A change of names.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// The name leads to the node from now on, whatever was there.
    Add(Place, Node),
    /// The name is gone.
    Remove(Place),
    /// The first name is gone, the second leads to the node.
    Move(Place, Place, Node),
}

impl Change {
    /// The directories that it is about.
    pub(crate) fn dirs(&self) -> [Node; 2] {
        match self {
            Self::Add((dir, _), _) | Self::Remove((dir, _)) => [*dir, *dir],
            Self::Move((from, _), (to, _), _) => [*from, *to],
        }
    }

    fn apply(&self, mut set: impl FnMut(&Place, Option<Node>)) {
        match self {
            Self::Add(place, node) => set(place, Some(*node)),
            Self::Remove(place) => set(place, None),
            Self::Move(from, to, node) => {
                set(from, None);
                set(to, Some(*node));
            }
        }
    }
}

/// A sync that has begun: what it makes durable when it ends.
#[derive(Clone, Debug)]
pub(crate) enum Sync {
    /// So many changes of a file, by number.
    File(Node, Vec<u64>),
    /// The changes of a directory's names that were made so far.
    Dir(Node, u64),
    /// Everything that was done so far.
    All(Vec<Self>),
}

/// The disk, the cache before it, and what is in the cache only.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    nodes: Vec<Inode>,
    names: Vec<(u64, Change)>,
    count: u64,
}

impl Disk {
    /// A disk that holds `tree`, durably.
    ///
    /// # Errors
    /// When a directory of the tree is missing.
    pub(crate) fn new(tree: &Tree) -> Result<Self> {
        let root = Inode::Dir(Dir::default());
        let mut disk = Self { nodes: vec![root], names: Vec::new(), count: 0 };
        for dir in &tree.dirs {
            disk.plant(dir, Inode::Dir(Dir::default()))?;
        }
        for (path, content) in &tree.files {
            let (durable, current) = (content.clone(), content.clone());
            disk.plant(path, Inode::File(File { durable, current, pending: Vec::new() }))?;
        }
        Ok(disk)
    }

    fn plant(&mut self, path: &str, inode: Inode) -> Result {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at = ROOT;
        for name in dir.split('/').filter(|name| !name.is_empty()) {
            at = self.lookup(at, name).ok_or("a tree without its directories")?;
        }
        let node = self.add_node(inode);
        if let Some(Inode::Dir(dir)) = self.nodes.get_mut(at) {
            dir.durable.insert(name.to_owned(), node);
            dir.current.insert(name.to_owned(), node);
        }
        Ok(())
    }

    fn add_node(&mut self, inode: Inode) -> Node {
        self.nodes.push(inode);
        self.nodes.len() - 1
    }

    /// A new empty file without a name.
    pub(crate) fn new_file(&mut self) -> Node {
        self.add_node(Inode::File(File::default()))
    }

    /// A new empty directory without a name.
    pub(crate) fn new_dir(&mut self) -> Node {
        self.add_node(Inode::Dir(Dir::default()))
    }

    /// What a name leads to, as a process sees it.
    pub(crate) fn lookup(&self, dir: Node, name: &str) -> Option<Node> {
        match self.nodes.get(dir)? {
            Inode::Dir(dir) => dir.current.get(name).copied(),
            Inode::File(_) => None,
        }
    }

    /// A file's content, as a process sees it.
    pub(crate) fn content(&self, node: Node) -> Option<&[u8]> {
        self.file(node).map(|file| file.current.as_slice())
    }

    pub(crate) fn file(&self, node: Node) -> Option<&File> {
        match self.nodes.get(node)? {
            Inode::File(file) => Some(file),
            Inode::Dir(_) => None,
        }
    }

    /// The durable names of a directory, and the changes on the way; `None` for a file.
    pub(crate) fn durable_names(&self, node: Node) -> Option<&Names> {
        match self.nodes.get(node)? {
            Inode::Dir(dir) => Some(&dir.durable),
            Inode::File(_) => None,
        }
    }

    pub(crate) fn pending_names(&self) -> &[(u64, Change)] {
        &self.names
    }

    /// Whether every change is durable.
    pub(crate) fn is_clean(&self) -> bool {
        let clean = |inode: &Inode| match inode {
            Inode::File(file) => file.pending.is_empty(),
            Inode::Dir(_) => true,
        };
        self.names.is_empty() && self.nodes.iter().all(clean)
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// A change of content begins. The number is for [`Disk::end`].
    pub(crate) fn begin(&mut self, node: Node, effect: Effect) -> u64 {
        let number = self.next();
        if let Some(Inode::File(file)) = self.nodes.get_mut(node) {
            effect.apply(&mut file.current);
            file.pending.push(Pending { effect, number, ended: false });
        }
        number
    }

    /// The call that made a change of content ended.
    pub(crate) fn end(&mut self, node: Node, number: u64) {
        if let Some(Inode::File(file)) = self.nodes.get_mut(node) {
            let ended = file.pending.iter_mut().filter(|pending| pending.number == number);
            ended.for_each(|pending| pending.ended = true);
        }
    }

    /// A change of names.
    pub(crate) fn change(&mut self, change: Change) {
        let number = self.next();
        change.apply(|(dir, name), node| {
            if let Some(Inode::Dir(dir)) = self.nodes.get_mut(*dir) {
                set(&mut dir.current, name, node);
            }
        });
        self.names.push((number, change));
    }

    /// A sync begins.
    pub(crate) fn sync(&self, node: Node) -> Sync {
        match self.nodes.get(node) {
            Some(Inode::File(file)) => {
                let ended = file.pending.iter().filter(|pending| pending.ended);
                Sync::File(node, ended.map(|pending| pending.number).collect())
            }
            _ => Sync::Dir(node, self.count),
        }
    }

    /// A sync of everything begins.
    pub(crate) fn sync_all(&self) -> Sync {
        Sync::All((0..self.nodes.len()).map(|node| self.sync(node)).collect())
    }

    /// A sync ends.
    pub(crate) fn synced(&mut self, sync: &Sync) {
        match sync {
            Sync::File(node, numbers) => {
                let Some(Inode::File(file)) = self.nodes.get_mut(*node) else { return };
                let File { durable, pending, .. } = file;
                pending.retain(|pending| {
                    let covered = numbers.contains(&pending.number);
                    if covered {
                        pending.effect.apply(durable);
                    }
                    !covered
                });
            }
            Sync::Dir(node, upto) => {
                let mut needed = HashMap::from([(*node, *upto)]);
                let mut kept = Vec::new();
                let mut durable = Vec::new();
                // Backwards: what a change needs came before it.
                for (number, change) in std::mem::take(&mut self.names).into_iter().rev() {
                    let dirs = change.dirs();
                    if dirs.iter().any(|dir| needed.get(dir).is_some_and(|upto| *upto >= number)) {
                        for dir in dirs {
                            let upto = needed.entry(dir).or_default();
                            *upto = (*upto).max(number);
                        }
                        durable.push(change);
                    } else {
                        kept.push((number, change));
                    }
                }
                kept.reverse();
                self.names = kept;
                for change in durable.iter().rev() {
                    change.apply(|(dir, name), node| {
                        if let Some(Inode::Dir(dir)) = self.nodes.get_mut(*dir) {
                            set(&mut dir.durable, name, node);
                        }
                    });
                }
            }
            Sync::All(all) => all.iter().for_each(|sync| self.synced(sync)),
        }
    }
}

pub(crate) fn set(names: &mut Names, name: &str, node: Option<Node>) {
    match node {
        Some(node) => names.insert(name.to_owned(), node),
        None => names.remove(name),
    };
}

/// Which changes of names may be left together: each needs those before it in its directories.
#[derive(Default)]
pub(crate) struct Order {
    missing: std::collections::HashSet<Node>,
}

impl Order {
    /// Whether a change is left, when it is `wanted`; asked for each change in turn.
    pub(crate) fn allows(&mut self, change: &Change, wanted: bool) -> bool {
        let left = wanted && !change.dirs().iter().any(|dir| self.missing.contains(dir));
        if !left {
            self.missing.extend(change.dirs());
        }
        left
    }
}

impl Change {
    pub(crate) fn apply_to(&self, names: &mut HashMap<Node, Names>) {
        self.apply(|(dir, name), node| set(names.entry(*dir).or_default(), name, node));
    }
}
