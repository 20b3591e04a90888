//! The stores that are damaged, and what they must answer.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::StreamExt;
use nexus_fs::{Bytes, CopyOptions, Kernel, ListOptions, Metadata, WriteOptions};

use crate::support::{self, MOUNT, Result};
use crate::tree::Tree;
use crate::work::{Content, at};

/// Options of the mount URI: content as a whole, and large content in chunks.
const WHOLE: &str = "layout=cas";
const CHUNKED: &str = "layout=cas&chunking=cdc";

/// Bytes of a content that is cut into chunks, of as few as can be.
const CUT: u32 = (4 << 20) + 100_000;

/// What is known of a path: its metadata, and the content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) metadata: Metadata,
    pub(super) content: Option<Bytes>,
}

/// Everything that a store answered at one moment, by path below the mount without the first `/`.
pub(super) type Moment = BTreeMap<String, Known>;

/// A store to damage.
pub(super) struct Subject {
    pub(super) name: &'static str,
    /// Options of the mount URI.
    pub(super) options: &'static str,
    /// What the disk holds.
    pub(super) tree: Tree,
    /// What it held when the store was closed before.
    pub(super) older: Tree,
    /// What it answered after each change; the last is now.
    pub(super) moments: Vec<Moment>,
}

/// Paths that are deleted after each damage: the content of each has another path.
pub(super) const DELETED: [&str; 4] = ["copy-small", "deep/copy-blob", "copy-tree", "copy-chunked"];

impl Subject {
    /// What it must answer.
    pub(super) fn now(&self) -> &Moment {
        self.moments.last().unwrap_or(const { &Moment::new() })
    }

    /// Every path that it ever had.
    pub(super) fn paths(&self) -> impl Iterator<Item = &String> {
        let all: std::collections::BTreeSet<_> =
            self.moments.iter().flat_map(Moment::keys).collect();
        all.into_iter()
    }
}

/// How many stores there are.
pub(super) const STORES: usize = 3;

/// A store that was closed, one that was not, as a process that was killed leaves it, and one with content
/// in chunks.
///
/// # Errors
/// When they can not be made.
pub(super) fn all(scratch: &Path) -> Result<[Subject; STORES]> {
    let runtime = support::runtime()?;
    let make =
        |name, options, close| runtime.block_on(make(&scratch.join(name), name, options, close));
    Ok([
        make("closed", WHOLE, true)?,
        make("killed", WHOLE, false)?,
        make("chunked", CHUNKED, true)?,
    ])
}

async fn make(
    dir: &Path,
    name: &'static str,
    options: &'static str,
    close: bool,
) -> Result<Subject> {
    std::fs::create_dir(dir)?;
    let mut moments = vec![Moment::new()];
    let cuts = options == CHUNKED;
    let mut first = Making { store: support::open(dir, options).await?, moments: &mut moments };
    if cuts {
        first.begin_in_chunks().await?
    } else {
        first.begin().await?
    }
    first.store.close().await?;
    // Takes a copy of the refs, as nothing else will as long as it is young.
    support::open(dir, options).await?.close().await?;
    let older = Tree::load(dir)?;
    let mut second = Making { store: support::open(dir, options).await?, moments: &mut moments };
    if cuts {
        second.go_on_in_chunks().await?
    } else {
        second.go_on().await?
    }
    let store = second.store;
    let tree = if close {
        store.close().await?;
        Tree::load(dir)?
    } else {
        let tree = Tree::load(dir)?;
        store.close().await?;
        tree
    };
    std::fs::remove_dir_all(dir)?;
    Ok(Subject { name, options, tree, older, moments })
}

/// A store that is made, and what it answers after each change.
struct Making<'a> {
    store: Kernel,
    moments: &'a mut Vec<Moment>,
}

impl Making<'_> {
    async fn begin(&mut self) -> Result {
        let user = [("owner".to_owned(), "nobody".to_owned())].into();
        let about =
            WriteOptions { content_type: Some("text/plain".into()), user, ..Default::default() };
        self.write("dir/small", 200, &about).await?;
        self.write("large-small", 3_000, &WriteOptions::default()).await?;
        self.write("blob", 20_000, &WriteOptions::default()).await?;
        self.write("deep/er/tree", 66_000, &WriteOptions::default()).await?;
        self.write("replaced", 100, &WriteOptions::default()).await?;
        self.copy("blob", "deep/copy-blob").await
    }

    async fn go_on(&mut self) -> Result {
        self.copy("dir/small", "copy-small").await?;
        self.copy("deep/er/tree", "copy-tree").await?;
        self.store.create_dir(at("empty-dir")).await?;
        self.seen().await?;
        self.write("empty", 0, &WriteOptions::default()).await?;
        self.write("replaced", 150, &WriteOptions::default()).await?;
        self.write("gone", 17_000, &WriteOptions::default()).await?;
        self.store.delete(at("gone")).await?;
        self.seen().await
    }

    async fn begin_in_chunks(&mut self) -> Result {
        self.write("dir/small", 200, &WriteOptions::default()).await?;
        self.write("deep/er/chunked", CUT, &WriteOptions::default()).await
    }

    async fn go_on_in_chunks(&mut self) -> Result {
        self.copy("deep/er/chunked", "copy-chunked").await?;
        // All its chunks but the last are those of the other.
        let mut longer = Vec::from(Content { seed: CUT, len: CUT }.bytes());
        longer.extend(Content { seed: 1, len: 1_000 }.bytes());
        self.store.write(at("longer"), longer, &WriteOptions::default()).await?;
        self.seen().await?;
        self.copy("dir/small", "copy-small").await
    }

    async fn write(&mut self, path: &str, len: u32, options: &WriteOptions) -> Result {
        let content = Content { seed: len, len }.bytes();
        self.store.write(at(path), content, options).await?;
        self.seen().await
    }

    async fn copy(&mut self, from: &str, to: &str) -> Result {
        self.store.copy(at(from), at(to), &CopyOptions::default()).await?;
        self.seen().await
    }

    async fn seen(&mut self) -> Result {
        let moment = look(&self.store).await?;
        self.moments.push(moment);
        Ok(())
    }
}

/// Everything that a store answers.
///
/// # Errors
/// When any of it is an error.
pub(super) async fn look(store: &Kernel) -> Result<Moment> {
    let mut moment = Moment::new();
    let options = ListOptions { recursive: true, ..Default::default() };
    let mut listing = store.list(MOUNT, &options).await?;
    while let Some(entry) = listing.next().await.transpose()? {
        let content = match entry.metadata.is_dir() {
            true => None,
            false => {
                let object = store.read(entry.path.clone(), &Default::default()).await?;
                Some(object.body.bytes(usize::MAX).await?)
            }
        };
        moment.insert(below(entry.path.as_str()), Known { metadata: entry.metadata, content });
    }
    Ok(moment)
}

/// A path of the namespace as one below the mount.
pub(super) fn below(path: &str) -> String {
    path.strip_prefix(MOUNT).unwrap_or(path).trim_start_matches('/').to_owned()
}
