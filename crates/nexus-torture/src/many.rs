//! The rig `many`: processes put the same contents at the same paths, each in an order of its own,
//! from the moment on at which the store is made. Nothing fails, every content is kept once, every
//! path has what it was given, and where only one may create a path, exactly one does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use futures_util::{StreamExt, stream};
use nexus_fs::{Digest, ErrorKind, Kernel, WriteMode, WriteOptions};

use crate::census::{self, INLINE, Kept};
use crate::check::{Fault, Findings};
use crate::support::{self, Result, Rng, Scratch};
use crate::work::{Content, at};

/// How many puts of a process are on their way at once.
const AT_ONCE: usize = 4;

/// How the line of a creation begins that was won.
const WON: &str = "won ";

/// What the rig is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Puts of each process.
    #[arg(long, default_value_t = 1_000)]
    pub puts: u64,
    /// How many processes put.
    #[arg(long, default_value_t = 4)]
    pub processes: u64,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Options of the mount URI.
    #[arg(long, default_value = "layout=cas")]
    pub uri_options: String,
    /// Where to work, instead of in memory.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// What one of the processes is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Putter {
    /// The directory of the store.
    #[arg(long)]
    pub store: PathBuf,
    /// Which of the processes it is.
    #[arg(long)]
    pub process: u64,
    /// What the rig was told.
    #[command(flatten)]
    pub rig: Options,
}

/// One of the things that every process puts.
struct Put {
    path: String,
    content: Content,
    create: bool,
}

impl Put {
    /// What a process puts as its `item`th: in three of five cases what all others put there, else a
    /// content of its own choice, once in five only where nothing is.
    fn of(item: u64, process: u64, puts: u64) -> Self {
        let pool = (puts / 2).max(8);
        let (path, choice) = match item % 5 {
            0 => (format!("created/{item}"), item + process),
            1 => (format!("replaced/d{}/{item}", item % 17), item + 3 * process),
            _ => (format!("same/d{}/{item}", item % 17), item),
        };
        Self { path, content: content(choice % pool), create: is_creation(item) }
    }
}

fn is_creation(item: u64) -> bool {
    item.is_multiple_of(5)
}

/// One of the contents: around where a ref holds it itself, around where a tree is kept, and between.
fn content(seed: u64) -> Content {
    let len = match seed % 6 {
        0 => 16_383 + seed % 3,
        1 => 65_535 + seed % 3,
        2 => 16_384 + seed % 4_096,
        3 => 65_536 + seed % 8_192,
        4 => 8_192 + seed % 8_192,
        _ => 32_768 + seed % 16_384,
    };
    Content { seed: seed as u32, len: len as u32 }
}

/// Runs the rig; answers whether all is well.
///
/// # Errors
/// When a process can not be started, or a directory can not be made.
pub fn run(options: &Options) -> Result<bool> {
    let begin = Instant::now();
    let scratch = Scratch::new(options.dir.as_deref())?;
    let store = scratch.path().join("store");
    std::fs::create_dir(&store)?;
    let mut findings = Findings::default();
    let winners = work(options, &store, &mut findings)?;
    let blobs = on_disk(options, &store, &mut findings)?;
    let runtime = support::runtime()?;
    let files = runtime.block_on(compare(options, &store, &winners, &mut findings))?;
    runtime.block_on(census::take(&store, &options.uri_options, &mut findings));
    for (fault, text) in &findings.0 {
        support::complain(&format!("many: {}: {text}", fault.as_str()));
    }
    support::say(&format!(
        "many: {} processes, {} puts each: {files} files, {blobs} blobs, {} creations each won once; \
         {} findings (seed {}, {:.1} s)",
        options.processes,
        options.puts,
        winners.len(),
        findings.0.len(),
        options.seed,
        begin.elapsed().as_secs_f64(),
    ));
    if !findings.is_empty() {
        support::complain(&format!("many: the store is in {}", scratch.keep().display()));
    }
    Ok(findings.is_empty())
}

/// Lets all processes work; answers who won which creation.
fn work(options: &Options, store: &Path, findings: &mut Findings) -> Result<BTreeMap<u64, u64>> {
    let start = |process: u64| {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("putter").arg("--store").arg(store);
        let numbers =
            [("process", process), ("puts", options.puts), ("processes", options.processes)];
        for (name, number) in numbers.into_iter().chain([("seed", options.seed)]) {
            command.args([format!("--{name}"), number.to_string()]);
        }
        command.args(["--uri-options", &options.uri_options]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
    };
    let children: Vec<_> = (0..options.processes).map(start).collect::<std::io::Result<_>>()?;
    let mut winners = BTreeMap::new();
    let mut add = |fault, text| findings.0.push((fault, text));
    // What they say waits in memory: none of them waits for another.
    let waiting: Vec<_> = children
        .into_iter()
        .map(|child| std::thread::spawn(move || child.wait_with_output()))
        .collect();
    for (process, waiting) in (0..).zip(waiting) {
        let output = waiting.join().map_err(|_| "a thread of the rig panicked")??;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Some(item) = line.strip_prefix(WON) else {
                add(Fault::Refused, format!("process {process}: {line}"));
                continue;
            };
            if let Some(other) = winners.insert(item.parse()?, process) {
                add(Fault::Extra, format!("created/{item} was created by {other} and {process}"));
            }
        }
        if !output.status.success() {
            add(Fault::Refused, format!("process {process} ended by {}", output.status));
        }
    }
    let creations = (0..options.puts).filter(|item| is_creation(*item));
    for item in creations.filter(|item| !winners.contains_key(item)) {
        add(Fault::Lost, format!("created/{item} was created by nobody"));
    }
    Ok(winners)
}

/// Before anything is collected: every content that was certainly put, and none that was not.
fn on_disk(options: &Options, store: &Path, findings: &mut Findings) -> Result<usize> {
    let found = Kept::below(&store.join(".nexus"), findings)?.blobs;
    let (mut sure, mut put) = (BTreeSet::new(), BTreeSet::new());
    for process in 0..options.processes {
        for item in 0..options.puts {
            let Put { content, create, .. } = Put::of(item, process, options.puts);
            if u64::from(content.len) <= INLINE {
                continue;
            }
            put.insert(content);
            // Whoever comes too late for a creation may not have stored anything.
            if !create {
                sure.insert(content);
            }
        }
    }
    let digests = |contents: BTreeSet<Content>| -> BTreeSet<Digest> {
        contents.into_iter().map(|content| Digest::of(&content.bytes())).collect()
    };
    let (sure, put) = (digests(sure), digests(put));
    let found: BTreeSet<_> = found.into_keys().collect();
    let mut count = |fault, what: &str, count: usize| {
        if count > 0 {
            findings.0.push((fault, format!("{count} {what}")));
        }
    };
    count(Fault::Lost, "contents that were put are not there", sure.difference(&found).count());
    count(Fault::Extra, "contents are there that nobody put", found.difference(&put).count());
    Ok(found.len())
}

/// Reads every path back; answers how many there are.
async fn compare(
    options: &Options,
    dir: &Path,
    winners: &BTreeMap<u64, u64>,
    findings: &mut Findings,
) -> Result<usize> {
    let store = support::open(dir, &options.uri_options).await?;
    let mut files = crate::check::collect(&store).await?;
    let count = files.len();
    for item in 0..options.puts {
        let put = |process| Put::of(item, process, options.puts);
        let path = put(0).path;
        let found = files.remove(&path);
        let may: Vec<_> = match winners.get(&item) {
            Some(winner) => vec![put(*winner).content],
            None => (0..options.processes).map(|process| put(process).content).collect(),
        };
        if !found.as_ref().is_some_and(|found| may.iter().any(|content| found.is(Some(content)))) {
            let found = found.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
            findings.0.push((Fault::Lost, format!("{path}: {found}, not one of {may:?}")));
        }
    }
    for path in files.keys() {
        findings.0.push((Fault::Extra, format!("{path}: nobody put it")));
    }
    store.close().await?;
    Ok(count)
}

/// One of the processes.
///
/// # Errors
/// When the store can not be opened or closed.
pub fn put_all(putter: &Putter) -> Result {
    let Putter { store: dir, process, rig } = putter;
    let mut items: Vec<_> = (0..rig.puts).collect();
    let mut rng = Rng::of(rig.seed, *process);
    for last in (1..items.len()).rev() {
        items.swap(last, rng.index(last + 1));
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let store = support::open(dir, &rig.uri_options).await?;
        let puts = items.into_iter().map(|item| {
            let (store, put) = (store.clone(), Put::of(item, *process, rig.puts));
            async move { one(&store, item, put).await }
        });
        let mut lines = stream::iter(puts).buffer_unordered(AT_ONCE);
        let mut stdout = std::io::stdout().lock();
        while let Some(line) = lines.next().await {
            if let Some(line) = line {
                writeln!(stdout, "{line}")?;
            }
        }
        Ok(store.close().await?)
    })
}

/// Puts one; answers what there is to say about it.
async fn one(store: &Kernel, item: u64, put: Put) -> Option<String> {
    let mode = if put.create { WriteMode::Create } else { WriteMode::Overwrite };
    let options = WriteOptions::from(mode);
    match store.write(at(&put.path), put.content.bytes(), &options).await {
        Ok(_) => put.create.then(|| format!("{WON}{item}")),
        Err(error) if put.create && error.kind() == ErrorKind::AlreadyExists => None,
        Err(error) => Some(format!("{}: {error} ({})", put.path, error.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_overlap_in_paths_and_contents() {
        for item in 0..100 {
            let puts = [0, 1, 2, 3].map(|process| Put::of(item, process, 100));
            let paths: BTreeSet<_> = puts.iter().map(|put| put.path.clone()).collect();
            let contents: BTreeSet<_> = puts.iter().map(|put| put.content).collect();
            assert_eq!((paths.len(), contents.len()), (1, if item % 5 < 2 { 4 } else { 1 }));
        }
    }
}
