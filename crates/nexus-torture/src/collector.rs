//! The rig `collector`: many processes write, one collects all the time, some die in the middle of it, and
//! each has another idea of what time it is. Every path that was acknowledged has its content afterwards.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::check::{self, Fault, Findings};
use crate::support::{self, Result, Rng, Scratch};
use crate::work::Lanes;
use crate::worker;

/// Operations of each writer between two checks.
const ROUND: u64 = 250;

/// Operations of a collecting process.
const COLLECTIONS: u64 = 6;

/// Clocks are off by up to so many seconds, in both directions: ten years.
const CLOCKS: u64 = 10 * 366 * 24 * 3600;

/// What the rig is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// About how many operations are acknowledged.
    #[arg(long, default_value_t = 20_000)]
    pub ops: u64,
    /// How many processes write.
    #[arg(long, default_value_t = 8)]
    pub writers: usize,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Options of the mount URI.
    #[arg(long, default_value = "layout=cas&durability=process")]
    pub uri_options: String,
    /// The largest content, in bytes. Above 4 MiB content is cut where the mount cuts it.
    #[arg(long, default_value_t = 200_000)]
    pub most: u32,
    /// Where to work, instead of in memory.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// Runs the rig; answers whether all is well.
///
/// # Errors
/// When a process can not be started, or a directory can not be made.
pub fn run(options: &Options) -> Result<bool> {
    let begin = Instant::now();
    let scratch = Scratch::new(options.dir.as_deref())?;
    let mut sum = Sum { lanes: Lanes::new(options.writers + 1), ..Sum::default() };
    while sum.operations < options.ops && sum.findings.is_empty() {
        round(options, scratch.path(), &mut sum)?;
        scratch.check()?;
    }
    for (fault, text) in &sum.findings.0 {
        support::complain(&format!("collector: {}: {text}", fault.as_str()));
    }
    support::say(&format!(
        "collector: {} writers, {} operations in {} rounds, {} collections, {} processes killed; {} findings \
         (seed {}, {:.1} s)",
        options.writers,
        sum.operations,
        sum.rounds,
        sum.collections,
        sum.killed,
        sum.findings.0.len(),
        options.seed,
        begin.elapsed().as_secs_f64(),
    ));
    if !sum.findings.is_empty() {
        support::complain(&format!("collector: the store is in {}", scratch.keep().display()));
    }
    // A collector that never comes to its end has proved nothing.
    Ok(sum.findings.is_empty() && sum.collections > 0)
}

#[derive(Default)]
struct Sum {
    lanes: Lanes,
    rounds: u64,
    operations: u64,
    collections: u64,
    killed: u64,
    findings: Findings,
}

/// What the processes of a round have in common.
struct Round {
    worker: worker::Options,
    rng: Mutex<Rng>,
    /// The last writer has ended.
    over: AtomicBool,
}

/// What a process said, and how it ended; `None` for one that was killed.
struct Ended {
    said: String,
    status: Option<ExitStatus>,
}

/// All processes at work, until the last writer has ended; and the check.
fn round(options: &Options, scratch: &Path, sum: &mut Sum) -> Result {
    let store = scratch.join("store");
    std::fs::create_dir_all(&store)?;
    let state = scratch.join("state");
    std::fs::write(&state, sum.lanes.to_text())?;
    let round = Round {
        worker: worker::Options {
            dir: store.clone(),
            uri_options: options.uri_options.clone(),
            seed: 0,
            lanes: options.writers + 1,
            first: 0,
            end: 0,
            ops: None,
            most: options.most,
            care: 0,
            careless: false,
            state,
        },
        rng: Mutex::new(Rng::of(options.seed, sum.rounds)),
        over: AtomicBool::new(false),
    };
    sum.rounds += 1;
    let ended = std::thread::scope(|scope| {
        let collecting = scope.spawn(|| round.collect(options.writers));
        let writing: Vec<_> = (0..options.writers)
            .map(|lane| {
                let round = &round;
                scope.spawn(move || round.process(lane, ROUND, 0))
            })
            .collect();
        let mut ended: Vec<_> = writing.into_iter().map(|writing| writing.join()).collect();
        round.over.store(true, Ordering::Relaxed);
        ended.push(collecting.join().map(|collected| collected.map(merged)));
        ended
    });
    for ended in ended {
        let ended = ended.map_err(|_| "a thread of the rig panicked")??;
        sum.take(&ended);
    }
    let mut settled = sum.lanes.clone();
    let visit = check::visit(&store, &options.uri_options, &mut settled);
    sum.findings.0.extend(support::runtime()?.block_on(visit).0);
    // What was in flight was done again.
    for lane in &mut sum.lanes.0 {
        if let Some(op) = lane.in_flight.take() {
            op.apply(&mut lane.files);
        }
    }
    Ok(())
}

/// One after the other, as if one: each begins with nothing in flight.
fn merged(all: Vec<Ended>) -> Ended {
    let failed = all.iter().find_map(|ended| ended.status.filter(|status| !status.success()));
    let killed = all.iter().any(|ended| ended.status.is_none());
    let status = failed.or(if killed { None } else { all.last().and_then(|last| last.status) });
    Ended { said: all.into_iter().map(|ended| ended.said).collect(), status }
}

impl Round {
    /// Collectors, one after the other, until the writers have ended.
    fn collect(&self, lane: usize) -> Result<Vec<Ended>> {
        let mut all = Vec::new();
        while !self.over.load(Ordering::Relaxed) || all.is_empty() {
            all.push(self.process(lane, COLLECTIONS, 100)?);
        }
        Ok(all)
    }

    /// A process with a clock of its own. One in three is killed somewhere in its work.
    fn process(&self, lane: usize, ops: u64, care: u64) -> Result<Ended> {
        let (seed, clock, lines) = {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            let clock = rng.below(2 * CLOCKS + 1) as i64 - CLOCKS as i64;
            (rng.next_u64(), clock, rng.chance(33).then(|| rng.below(2 * ops)))
        };
        let (first, end, ops) = (lane, lane + 1, Some(ops));
        let worker = worker::Options { seed, first, end, ops, care, ..self.worker.clone() };
        let mut child = worker.start(clock)?;
        let mut output = BufReader::new(child.stdout.take().ok_or("the worker has no output")?);
        let mut said = String::new();
        for _ in 0..lines.unwrap_or(u64::MAX) {
            if output.read_line(&mut said)? == 0 {
                break;
            }
        }
        let early = match lines {
            Some(_) => {
                let early = child.try_wait()?;
                child.kill()?;
                early
            }
            None => None,
        };
        // What it said before it died, read or not.
        output.read_to_string(&mut said)?;
        let status = child.wait()?;
        worker::forget_clock(child.id());
        let killed = lines.is_some() && early.is_none();
        Ok(Ended { said, status: (!killed).then_some(status) })
    }
}

impl Sum {
    fn take(&mut self, ended: &Ended) {
        self.killed += u64::from(ended.status.is_none());
        for line in ended.said.lines() {
            self.operations += u64::from(line.starts_with('<'));
            self.collections += u64::from(line.ends_with(" collect") && line.starts_with('>'));
            if let Err(error) = self.lanes.absorb(line) {
                self.findings.0.push((Fault::Refused, format!("a worker: {error}")));
            }
        }
        if let Some(status) = ended.status
            && !status.success()
        {
            let text = format!("a worker ended by itself ({status})");
            self.findings.0.push((Fault::Refused, text));
        }
    }
}
