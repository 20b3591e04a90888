//! The rig `faults`: a process works on a store, and one of its system calls fails. What it was told is
//! an error of a kind that says so, and every operation before it is there afterwards, whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::check::{self, Fault, Findings, Tally};
use crate::support::{self, Result, Rng, Scratch};
use crate::tree::Tree;
use crate::work::{Content, Lanes, Op};
use crate::worker;

/// Operations of a process.
const OPS: u64 = 12;

/// Content above this size is cut where the mount cuts it, in bytes.
const CUT_ABOVE: u32 = 4 << 20;

/// A process that has not ended after so many seconds does not end.
const PATIENCE: &str = "60";

/// What `timeout` exits with when it had to end a process.
const HUNG: i32 = 124;

/// Calls that fail, and with what: those that change the disk for want of space, all of them because the
/// disk does not answer, and those that wait because a signal came.
const CALLS: [(&[&str], &[&str]); 3] = [
    (
        &["openat", "openat2", "write", "pwrite64", "mkdirat", "linkat", "fallocate", "ftruncate"],
        &SPACE,
    ),
    (
        &["rename", "renameat", "renameat2", "fsync", "fdatasync", "unlink", "unlinkat", "statx"],
        &DISK,
    ),
    (&["read", "pread64", "lseek", "getdents64", "fcntl", "flock"], &DISK),
];

const SPACE: [&str; 4] = ["ENOSPC", "EDQUOT", "EIO", "EINTR"];
const DISK: [&str; 2] = ["EIO", "EINTR"];

/// Kernels do not interrupt these on a disk, and nobody looks for it.
const NOT_INTERRUPTED: [&str; 14] = [
    "fcntl",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdirat",
    "linkat",
    "statx",
    "lseek",
    "getdents64",
    "fsync",
    "fdatasync",
    "fallocate",
];

/// What the rig is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// About how many calls fail; without it, every call with every error.
    #[arg(long)]
    pub cases: Option<usize>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Options of the mount URI; may be repeated.
    #[arg(long, default_values_t = ["layout=cas".to_owned(), "layout=plain&durability=full".to_owned()])]
    pub uri_options: Vec<String>,
    /// The largest content, in bytes. Above 4 MiB the store has some of that size, and is given more.
    #[arg(long, default_value_t = 150_000)]
    pub most: u32,
    /// How many processes work at once.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// Where to work, instead of in memory.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// One call that fails.
#[derive(Clone, Copy, Debug)]
struct Case {
    call: &'static str,
    /// Which of its calls, from 1.
    nth: u64,
    error: &'static str,
}

/// Runs the rig; answers whether all is well.
///
/// # Errors
/// When a process can not be started or traced, or a directory can not be written.
pub fn run(options: &Options) -> Result<bool> {
    let begin = Instant::now();
    let scratch = Scratch::new(options.dir.as_deref())?;
    let mut sum = Sum::default();
    for uri_options in &options.uri_options {
        let subject = Subject::make(uri_options, options, scratch.path())?;
        let cases = subject.cases(options, &mut Rng::of(options.seed, 1))?;
        sum.merge(all(&subject, &cases, options)?);
        scratch.check()?;
    }
    support::say(&format!(
        "faults: {} calls failed: {} were got over, {} answered as errors, {} ended the process otherwise; \
         {} (seed {}, {:.1} s)",
        sum.cases,
        sum.got_over,
        sum.errors,
        sum.others,
        sum.tally,
        options.seed,
        begin.elapsed().as_secs_f64(),
    ));
    support::say(&format!("faults: errors by kind: {:?}", sum.kinds));
    // A rig that never makes a call fail proves nothing.
    Ok(sum.tally.total() == 0 && sum.errors > 0)
}

#[derive(Default)]
struct Sum {
    cases: u64,
    got_over: u64,
    errors: u64,
    others: u64,
    kinds: BTreeMap<String, u64>,
    tally: Tally,
}

impl Sum {
    fn merge(&mut self, other: Self) {
        self.cases += other.cases;
        self.got_over += other.got_over;
        self.errors += other.errors;
        self.others += other.others;
        other.kinds.into_iter().for_each(|(kind, n)| *self.kinds.entry(kind).or_default() += n);
        self.tally.merge(&other.tally);
    }
}

/// A store to begin with, and the process that goes on with it.
struct Subject {
    uri_options: String,
    scratch: PathBuf,
    tree: Tree,
    lanes: Lanes,
    seed: u64,
    most: u32,
}

impl Subject {
    /// With contents large enough to be cut, in the store and in the work, where `most` lets them be.
    fn make(uri_options: &str, options: &Options, scratch: &Path) -> Result<Self> {
        let mut subject = Self {
            uri_options: uri_options.to_owned(),
            scratch: scratch.to_owned(),
            tree: Tree::default(),
            lanes: Lanes::new(1),
            seed: options.seed,
            most: options.most,
        };
        loop {
            let (said, tree) = subject.rehearse()?;
            let mut lanes = Lanes::new(1);
            said.lines().try_for_each(|line| lanes.absorb(line))?;
            subject.seed += 1;
            if subject.suffices(lanes.0.iter().flat_map(|lane| lane.files.values().copied())) {
                (subject.lanes, subject.tree) = (lanes, tree);
                break;
            }
        }
        while !subject.suffices(written(&subject.rehearse()?.0)) {
            subject.seed += 1;
        }
        Ok(subject)
    }

    fn suffices(&self, mut contents: impl Iterator<Item = Content>) -> bool {
        self.most <= CUT_ABOVE || contents.any(|content| content.len > CUT_ABOVE)
    }

    /// What the process says when no call fails, and what it leaves.
    fn rehearse(&self) -> Result<(String, Tree)> {
        let dir = self.scratch.join("rehearsed");
        self.tree.restore(&dir)?;
        let worker = self.worker(&dir, &self.scratch.join("rehearsed-state"))?;
        let output = worker.start(0)?.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("the worker fails where no call does: {}", output.status).into());
        }
        let tree = Tree::load(&dir)?;
        std::fs::remove_dir_all(&dir)?;
        Ok((String::from_utf8(output.stdout)?, tree))
    }

    fn worker(&self, dir: &Path, state: &Path) -> Result<worker::Options> {
        std::fs::write(state, self.lanes.to_text())?;
        Ok(worker::Options {
            dir: dir.to_owned(),
            uri_options: self.uri_options.clone(),
            seed: self.seed,
            lanes: 1,
            first: 0,
            end: 1,
            ops: Some(OPS),
            most: self.most,
            care: 3 * support::care(&self.uri_options),
            careless: false,
            state: state.to_owned(),
        })
    }

    /// Every call that touches the store, with everything that it can fail with; or so many of them.
    fn cases(&self, options: &Options, rng: &mut Rng) -> Result<Vec<Case>> {
        let dir = self.scratch.join("counted");
        self.tree.restore(&dir)?;
        let worker = self.worker(&dir, &self.scratch.join("counted-state"))?;
        let log = self.scratch.join("counted-log");
        let names: Vec<_> = CALLS.iter().flat_map(|(calls, _)| *calls).copied().collect();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-y", "-qq", "--seccomp-bpf", "-e"]);
        strace.arg(format!("trace={}", names.join(","))).arg("-o").arg(&log);
        let status = program(&mut strace, &worker)?.status()?;
        if !status.success() {
            return Err(format!("the worker that is counted failed: {status}").into());
        }
        let text = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
        let root = dir.to_str().ok_or("a directory is not UTF-8")?;
        let mut cases = Vec::new();
        for (calls, errors) in CALLS {
            for call in calls.iter().copied() {
                let begins = |line: &&str| {
                    line.split_once(' ').is_some_and(|(_, rest)| {
                        rest.trim_start().strip_prefix(call).is_some_and(|r| r.starts_with('('))
                    })
                };
                let touched = text.lines().filter(begins).map(|line| line.contains(root));
                for (nth, _) in (1..).zip(touched).filter(|(_, touched)| *touched) {
                    let errors = errors.iter().copied();
                    let can = |error: &&str| *error != "EINTR" || !NOT_INTERRUPTED.contains(&call);
                    cases.extend(errors.filter(can).map(|error| Case { call, nth, error }));
                }
            }
        }
        std::fs::remove_dir_all(&dir)?;
        if let Some(wanted) = options.cases {
            let wanted = wanted / options.uri_options.len().max(1);
            while cases.len() > wanted {
                cases.swap_remove(rng.index(cases.len()));
            }
        }
        Ok(cases)
    }
}

/// The contents that a process says it writes.
fn written(said: &str) -> impl Iterator<Item = Content> {
    said.lines().filter_map(|line| match Op::parse(line.strip_prefix("> 0 ")?).ok()? {
        Op::Write(_, content) | Op::Upload(_, content) => Some(content),
        _ => None,
    })
}

/// A tracer of the worker that is ended when it takes too long.
fn program(strace: &mut Command, worker: &worker::Options) -> Result<Command> {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", PATIENCE]).arg(strace.get_program()).args(strace.get_args());
    command.arg("--").arg(std::env::current_exe()?).args(worker.to_arguments());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// Makes every call fail, each in a process of its own.
fn all(subject: &Subject, cases: &[Case], options: &Options) -> Result<Sum> {
    let sum = Mutex::new(Sum::default());
    let next = AtomicUsize::new(0);
    let work = |thread: usize| -> Result {
        let dir = subject.scratch.join(format!("store-{thread}"));
        let state = subject.scratch.join(format!("state-{thread}"));
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            subject.tree.restore(&dir)?;
            let one = one(subject, *case, &dir, &state)?;
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            for (fault, text) in &one.findings.0 {
                let Case { call, nth, error } = case;
                let about = format!("{}: {call} {nth} {error}", subject.uri_options);
                support::complain(&format!("faults: {about}: {}: {text}", fault.as_str()));
            }
            sum.cases += 1;
            sum.tally.add(&one.findings);
            match one.ended {
                Ended::GotOver => sum.got_over += 1,
                Ended::Error(kind) => {
                    sum.errors += 1;
                    *sum.kinds.entry(kind).or_default() += 1;
                }
                Ended::Otherwise => sum.others += 1,
            }
        }
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        Ok(())
    };
    support::on_threads(options.threads, work)?;
    Ok(sum.into_inner().unwrap_or_else(PoisonError::into_inner))
}

enum Ended {
    /// It did all that it was told.
    GotOver,
    /// An operation failed, with this kind.
    Error(String),
    /// It could not say how, as that call was the one that failed.
    Otherwise,
}

struct One {
    ended: Ended,
    findings: Findings,
}

/// One process, one call that fails, and the check.
fn one(subject: &Subject, case: Case, dir: &Path, state: &Path) -> Result<One> {
    let worker = subject.worker(dir, state)?;
    let Case { call, nth, error } = case;
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e"]);
    strace.args([format!("trace={call}"), "-e".to_owned()]);
    strace.arg(format!("inject={call}:error={error}:when={nth}"));
    let output = program(&mut strace, &worker)?.output()?;
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let mut findings = Findings::default();
    let mut find = |text: String| findings.0.push((Fault::Refused, text));
    if complained.contains("panicked") {
        find(format!("it panicked: {complained}"));
    }
    match output.status.code() {
        Some(HUNG) => find(format!("it did not end in {PATIENCE} s")),
        None => find(format!("it ended by {}", output.status)),
        Some(_) => {}
    }
    let mut lanes = subject.lanes.clone();
    let mut ended = match output.status.success() {
        true => Ended::GotOver,
        false => Ended::Otherwise,
    };
    for line in said.lines() {
        let Some(failed) = line.strip_prefix("! ") else {
            lanes.absorb(line)?;
            continue;
        };
        let kind = worker::kind_of(failed).ok_or_else(|| format!("`{line}` has no kind"))?;
        if !says_so(call, error, kind) {
            find(format!("answered as {kind}: {failed}"));
        }
        ended = Ended::Error(kind.to_owned());
    }
    let visit = check::visit(dir, &subject.uri_options, &mut lanes);
    findings.0.extend(support::runtime()?.block_on(visit).0);
    Ok(One { ended, findings })
}

/// Whether the kind of an answer fits what happened.
fn says_so(call: &str, error: &str, kind: &str) -> bool {
    match error {
        // SQLite knows a full disk by one error of one call, and calls the others a failure of the disk.
        "ENOSPC" => ["storage full", "unavailable"].contains(&kind),
        "EDQUOT" => ["quota exceeded", "unavailable"].contains(&kind),
        "EINTR" => kind == "unavailable",
        // SQLite calls a database damaged of which a page can not be read.
        "EIO" if call == "pread64" => ["unavailable", "integrity mismatch"].contains(&kind),
        _ => kind == "unavailable",
    }
}
