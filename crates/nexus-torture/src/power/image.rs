//! What a power cut leaves of a [`Disk`]: what is durable, and a choice from what is not.

use std::collections::{BTreeMap, HashMap};

use super::model::{Disk, Effect, File, Node, Order, ROOT};
use crate::support::Rng;
use crate::tree::{Tree, is_memory};

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// How what is not durable is chosen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Plan {
    /// Nothing of it.
    Nothing,
    /// All of it: a process that was killed.
    Everything,
    /// All changes of names, none of content: files that are there and empty.
    Names,
    /// All content, no change of names.
    Contents,
    /// Of each file its first changes, the last of them torn; some changes of names.
    Prefixes,
    /// Of each page of each file its first changes, one page torn; some changes of names.
    Pages,
}

impl Plan {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Nothing, Self::Pages, Self::Names, Self::Prefixes, Self::Contents, Self::Everything];
}

/// One disk after a power cut.
pub(crate) fn image(disk: &Disk, plan: Plan, rng: &mut Rng) -> Tree {
    let mut names = HashMap::new();
    let mut order = Order::default();
    let percent = [30, 60, 90][rng.index(3)];
    for (_, change) in disk.pending_names() {
        let wanted = match plan {
            Plan::Nothing | Plan::Contents => false,
            Plan::Everything | Plan::Names => true,
            Plan::Prefixes | Plan::Pages => rng.chance(percent),
        };
        for dir in change.dirs() {
            let durable = || disk.durable_names(dir).cloned().unwrap_or_default();
            names.entry(dir).or_insert_with(durable);
        }
        if order.allows(change, wanted) {
            change.apply_to(&mut names);
        }
    }
    let mut tree = Tree::default();
    collect(disk, ROOT, "", &names, plan, rng, &mut tree);
    tree
}

fn collect(
    disk: &Disk,
    dir: Node,
    below: &str,
    changed: &HashMap<Node, BTreeMap<String, Node>>,
    plan: Plan,
    rng: &mut Rng,
    tree: &mut Tree,
) {
    let Some(names) = changed.get(&dir).or_else(|| disk.durable_names(dir)) else { return };
    for (name, node) in names {
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        match disk.file(*node) {
            Some(_) if is_memory(name) => {}
            Some(file) => tree.files.push((path, content(file, plan, rng))),
            None => {
                tree.dirs.push(path.clone());
                collect(disk, *node, &path, changed, plan, rng, tree);
            }
        }
    }
}

fn content(file: &File, plan: Plan, rng: &mut Rng) -> Vec<u8> {
    match plan {
        _ if file.pending.is_empty() => file.durable.clone(),
        Plan::Nothing | Plan::Names => file.durable.clone(),
        Plan::Everything | Plan::Contents => file.current.clone(),
        Plan::Prefixes => prefix(file, rng),
        Plan::Pages => pages(file, rng),
    }
}

fn prefix(file: &File, rng: &mut Rng) -> Vec<u8> {
    let mut content = file.durable.clone();
    let whole = rng.index(file.pending.len() + 1);
    let (first, rest) = file.pending.split_at(whole);
    first.iter().for_each(|pending| pending.effect.apply(&mut content));
    if let Some(Effect::Write(offset, data)) = rest.first().map(|pending| &pending.effect) {
        // The disk tears at its own sectors, wherever the write began.
        let end = (*offset as usize + rng.index(data.len() + 1)) / SECTOR * SECTOR;
        let part = end.saturating_sub(*offset as usize).min(data.len());
        if part > 0 {
            Effect::Write(*offset, data[..part].into()).apply(&mut content);
        }
    }
    content
}

/// Where in the series of a file's changes each page was caught.
struct Caught {
    /// How many changes there are.
    count: usize,
    pages: HashMap<usize, usize>,
    /// A page of which the sectors from here on were caught elsewhere.
    torn: Option<(usize, usize, usize)>,
    /// How often a page was caught with all changes, and with none, of a hundred.
    all: u64,
    none: u64,
}

impl Caught {
    fn new(file: &File, rng: &mut Rng) -> Self {
        let count = file.pending.len();
        let (all, none) = [(0, 0), (85, 0), (0, 85), (45, 45)][rng.index(4)];
        let pages = file.current.len().max(file.durable.len()).div_ceil(PAGE);
        let torn = rng
            .chance(50)
            .then(|| (rng.index(pages), 1 + rng.index(PAGE / SECTOR - 1), rng.index(count + 1)));
        Self { count, pages: HashMap::new(), torn, all, none }
    }

    fn at(&mut self, sector: usize, rng: &mut Rng) -> usize {
        let (page, within) = (sector * SECTOR / PAGE, sector % (PAGE / SECTOR));
        if let Some((torn, from, caught)) = self.torn
            && torn == page
            && within >= from
        {
            return caught;
        }
        let (count, all, none) = (self.count, self.all, self.none);
        *self.pages.entry(page).or_insert_with(|| draw(count, all, none, rng))
    }
}

fn draw(count: usize, all: u64, none: u64, rng: &mut Rng) -> usize {
    match rng.below(100) {
        roll if roll < all => count,
        roll if roll < all + none => 0,
        _ => rng.index(count + 1),
    }
}

fn pages(file: &File, rng: &mut Rng) -> Vec<u8> {
    let mut caught = Caught::new(file, rng);
    let size_caught = draw(caught.count, caught.all, caught.none, rng);
    let mut size = file.durable.len();
    let mut content = file.durable.clone();
    for (index, pending) in file.pending.iter().enumerate() {
        match &pending.effect {
            Effect::Write(offset, data) => {
                let (mut at, end) = (*offset as usize, *offset as usize + data.len());
                if content.len() < end {
                    content.resize(end, 0);
                }
                while at < end {
                    let next = ((at / SECTOR + 1) * SECTOR).min(end);
                    if caught.at(at / SECTOR, rng) > index {
                        let from = at - *offset as usize;
                        content[at..next].copy_from_slice(&data[from..from + next - at]);
                    }
                    at = next;
                }
            }
            Effect::Resize(to) => {
                // What is cut off is zeros when it comes back.
                let mut at = *to as usize;
                while at < content.len() {
                    let next = ((at / SECTOR + 1) * SECTOR).min(content.len());
                    if caught.at(at / SECTOR, rng) > index {
                        content[at..next].fill(0);
                    }
                    at = next;
                }
            }
        }
        if index < size_caught {
            size = match &pending.effect {
                Effect::Write(offset, data) => size.max(*offset as usize + data.len()),
                Effect::Resize(to) => *to as usize,
            };
        }
    }
    content.resize(size, 0);
    content
}
