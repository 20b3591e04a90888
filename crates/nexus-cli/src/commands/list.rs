//! `ls`, `tree` and `du`.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use nexus_fs::{
    Entry, EntryKind, ErrorKind, ListOptions, Metadata, Result as FsResult, VfsPath, WalkOptions,
};
use serde_json::json;

use super::each;
use crate::args::LsArgs;
use crate::exit::Failure;
use crate::output::{Color, Output};
use crate::render;
use crate::session::{Reach, Session};

/// Up to this many entries are sorted; more are printed as they come, so that memory stays small.
const SORTED: usize = 10_000;

pub(crate) async fn ls(
    args: &LsArgs,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    each(&args.paths, output, |operand| async move {
        let reach = if args.recursive { Reach::Below } else { Reach::Here };
        let path = session.path(operand, reach).await?;
        let printer = Printer { args, session, output, below: &path };
        match session.kernel.list(&path, &list_options(args)).await {
            Ok(listing) => {
                if args.paths.len() > 1 && !output.json {
                    output.line(&format!("{path}:"))?;
                }
                let saved = if args.recursive { Vec::new() } else { session.saved_below(&path) };
                printer.all(with_saved(listing, saved).await).await
            }
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                let metadata = session.kernel.stat(&path).await?;
                let parent = path.parent().unwrap_or_else(VfsPath::root);
                let printer = Printer { below: &parent, ..printer };
                printer.print(&Entry::new(path.clone(), metadata)).await
            }
            // A directory that only leads to saved mounts.
            Err(error) => match session.saved_below(&path) {
                saved if saved.is_empty() => Err(error.into()),
                saved => {
                    printer
                        .all(futures_util::stream::iter(saved.into_iter().map(dir)).boxed())
                        .await
                }
            },
        }
    })
    .await
}

fn list_options(args: &LsArgs) -> ListOptions {
    ListOptions { recursive: args.recursive, ..ListOptions::default() }
}

fn dir(path: VfsPath) -> FsResult<Entry> {
    Ok(Entry::new(path, Metadata::directory()))
}

/// A listing, with the mount points of saved mounts that were not opened for it.
async fn with_saved(listing: nexus_fs::Listing, saved: Vec<VfsPath>) -> nexus_fs::Listing {
    if saved.is_empty() {
        return listing;
    }
    // Only directories above mount points have such children: there are few.
    let mut entries: Vec<_> = listing.collect().await;
    let known: Vec<_> = entries.iter().flatten().map(|entry| entry.path.clone()).collect();
    entries.extend(saved.into_iter().filter(|path| !known.contains(path)).map(dir));
    futures_util::stream::iter(entries).boxed()
}

/// Prints entries of one listing.
struct Printer<'a> {
    args: &'a LsArgs,
    session: &'a Session<'a>,
    output: &'a Output,
    below: &'a VfsPath,
}

impl Printer<'_> {
    async fn all(&self, mut listing: nexus_fs::Listing) -> Result<(), Failure> {
        let mut held = Vec::new();
        let mut sorting = !self.args.unsorted;
        while let Some(entry) = listing.next().await {
            match entry {
                Ok(entry) if sorting => held.push(entry),
                Ok(entry) => self.print(&entry).await?,
                Err(error) => self.output.one_failed(&error.into()),
            }
            if held.len() > SORTED {
                sorting = false;
                for entry in held.drain(..) {
                    self.print(&entry).await?;
                }
            }
        }
        held.sort_by(|a, b| a.path.cmp(&b.path));
        for entry in &held {
            self.print(entry).await?;
        }
        self.output.end_of(2);
        Ok(())
    }

    async fn print(&self, entry: &Entry) -> Result<(), Failure> {
        let Entry { path, metadata } = entry;
        let known;
        let metadata = match self.args.long || self.output.json {
            // A listing tells what the store gives for free; the digest may cost a look.
            true if metadata.is_file() && metadata.digest.is_none() => {
                known = self.session.kernel.stat(path).await.ok();
                known.as_ref().unwrap_or(metadata)
            }
            _ => metadata,
        };
        if self.output.json {
            return self.output.json(&render::entry(path, metadata));
        }
        let name = path.strip_prefix(self.below).unwrap_or_else(|| path.clone());
        let (name, end) = (name.key(), end_of(metadata.kind));
        let color = color_of(metadata.kind);
        if !self.args.long {
            return self.output.colored(&[(color, name), (Color::Plain, end)]);
        }
        let size = metadata.size.map_or_else(|| "-".to_owned(), render::size);
        let digest = metadata.digest.map_or_else(|| "-".to_owned(), |digest| self.digest(&digest));
        let facts = format!(
            "{:<9} {size:>10}  {}  {digest}  ",
            metadata.kind,
            render::time(metadata.modified)
        );
        self.output.colored(&[(Color::Faint, &facts), (color, name), (Color::Plain, end)])
    }

    /// The whole digest where there is room or no reader's eye; its beginning on a narrow terminal.
    fn digest(&self, digest: &nexus_fs::Digest) -> String {
        let text = digest.to_string();
        match self.output.width {
            Some(width) if width < 140 => format!("{:<12}", &text[..12]),
            _ => text,
        }
    }
}

fn color_of(kind: EntryKind) -> Color {
    match kind {
        EntryKind::Directory => Color::Directory,
        EntryKind::Symlink => Color::Link,
        _ => Color::Plain,
    }
}

fn end_of(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Directory => "/",
        EntryKind::Symlink => "@",
        _ => "",
    }
}

pub(crate) async fn tree(
    operand: &str,
    depth: Option<usize>,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let top = session.path(operand, Reach::Below).await?;
    if !output.json {
        output.line(top.as_str())?;
    }
    let (mut files, mut directories) = (0, 0);
    // One level at a time is held, sorted; the levels above wait on a stack.
    let mut levels = vec![level(&top, session).await?.into_iter()];
    while let Some(entries) = levels.last_mut() {
        let Some(entry) = entries.next() else {
            levels.pop();
            continue;
        };
        let is_last = entries.as_slice().is_empty();
        if output.json {
            output.json(&render::entry(&entry.path, &entry.metadata))?;
        } else {
            let mut line = String::new();
            for above in &levels[..levels.len() - 1] {
                line.push_str(if above.as_slice().is_empty() { "    " } else { "│   " });
            }
            line.push_str(if is_last { "└── " } else { "├── " });
            let kind = entry.metadata.kind;
            let name = entry.path.file_name().unwrap_or_default();
            output.colored(&[
                (Color::Faint, &line),
                (color_of(kind), name),
                (Color::Plain, end_of(kind)),
            ])?;
        }
        if !entry.metadata.is_dir() {
            files += 1;
            continue;
        }
        directories += 1;
        if depth.is_none_or(|depth| levels.len() < depth) {
            match level(&entry.path, session).await {
                Ok(below) => levels.push(below.into_iter()),
                Err(failure) => output.one_failed(&failure),
            }
        }
    }
    if !output.json {
        let (directories, files) =
            (render::count(directories, "directory"), render::count(files, "file"));
        output.line(&format!("\n{directories}, {files}"))?;
    }
    output.end_of(2);
    Ok(())
}

async fn level(path: &VfsPath, session: &Session<'_>) -> Result<Vec<Entry>, Failure> {
    let options = ListOptions { names_only: true, ..ListOptions::default() };
    let listing = session.kernel.list(path, &options).await?;
    let mut entries =
        listing.collect::<Vec<_>>().await.into_iter().collect::<FsResult<Vec<_>>>()?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

pub(crate) async fn du(
    paths: &[String],
    summarize: bool,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    each(paths, output, |operand| async move {
        let top = session.path(operand, Reach::Below).await?;
        let print = |path: &VfsPath, sum: &Sum| {
            if output.json {
                return output
                    .json(&json!({ "path": path, "size": sum.bytes, "files": sum.files }));
            }
            output.line(&format!("{:>10}  {path}", render::size(sum.bytes)))
        };
        let metadata = session.kernel.stat(&top).await?;
        if !metadata.is_dir() {
            let sum = Sum { bytes: metadata.size.unwrap_or_default(), files: 1 };
            return print(&top, &sum);
        }
        let mut sums: BTreeMap<VfsPath, Sum> = BTreeMap::from([(top.clone(), Sum::default())]);
        let mut walk = session.kernel.walk(&top, &WalkOptions::default()).await?;
        while let Some(entry) = walk.next().await {
            match entry {
                Ok(entry) => add(&mut sums, &top, &entry, summarize),
                Err(error) => output.one_failed(&error.into()),
            }
        }
        for (path, sum) in sums.iter().rev() {
            print(path, sum)?;
        }
        output.end_of(2);
        Ok(())
    })
    .await
}

/// What is in a directory, and below it.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    bytes: u64,
    files: u64,
}

fn add(sums: &mut BTreeMap<VfsPath, Sum>, top: &VfsPath, entry: &Entry, summarize: bool) {
    if entry.metadata.is_dir() {
        if !summarize {
            sums.entry(entry.path.clone()).or_default();
        }
        return;
    }
    let bytes = entry.metadata.size.unwrap_or_default();
    let mut above = entry.path.parent();
    while let Some(dir) = above.filter(|dir| dir.starts_with(top)) {
        if !summarize || dir == *top {
            let sum = sums.entry(dir.clone()).or_default();
            sum.bytes += bytes;
            sum.files += 1;
        }
        above = dir.parent();
    }
}
