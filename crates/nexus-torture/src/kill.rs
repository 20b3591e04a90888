//! The rig `kill`: a process works on a store and is killed at a random moment, a check looks what
//! it left, and the next process goes on from there, so that damage adds up.
//!
//! A control writes files in place, as no store may: a rig that sees no torn file then sees nothing.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, ExitStatus};
use std::time::{Duration, Instant};

use crate::check::{self, Fault, Findings, Tally};
use crate::support::{self, Result, Rng, Scratch};
use crate::tree::Tree;
use crate::work::Lanes;
use crate::worker;

/// A store lives for so many rounds.
const LIFE: u64 = 20;

/// After so many rounds with findings the rest adds nothing.
const ENOUGH: u64 = 5;

/// Rounds in which a control must have torn a file.
const CONTROL: u64 = 60;

/// How the names of files begin that are not published yet.
const TEMPORARY: &str = ".nexus-fs-tmp-";

/// What the rig is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How many processes are killed.
    #[arg(long, default_value_t = 200)]
    pub rounds: u64,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Options of the mount URI.
    #[arg(long, default_value = "layout=cas")]
    pub uri_options: String,
    /// The largest content, in bytes. Above 4 MiB content is cut where the mount cuts it.
    #[arg(long, default_value_t = 1 << 20)]
    pub most: u32,
    /// How many operations run beside each other.
    #[arg(long, default_value_t = 3)]
    pub lanes: usize,
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
    let blind = control(options)? == 0;
    if blind {
        support::complain("kill: files written in place were never torn: this rig sees nothing");
    }
    let mut all = Totals::default();
    let mut store = None;
    while all.rounds < options.rounds && all.failed < ENOUGH {
        let (scratch, lanes) = match store.take() {
            Some(store) if all.rounds % LIFE != 0 => store,
            _ => (Scratch::new(options.dir.as_deref())?, Lanes::new(options.lanes)),
        };
        let round = match one(options, all.rounds, scratch.path(), lanes, false) {
            Ok(round) => round,
            Err(error) => {
                support::complain(&format!(
                    "kill: what there was is in {}",
                    scratch.keep().display()
                ));
                return Err(error);
            }
        };
        scratch.check()?;
        for (fault, text) in &round.findings.0 {
            support::complain(&format!("kill: round {}: {}: {text}", all.rounds, fault.as_str()));
        }
        if all.add(&round) {
            store = Some((scratch, round.lanes));
        } else {
            support::complain(&format!(
                "kill: all that proves it is in {}",
                scratch.keep().display()
            ));
        }
    }
    support::say(&format!(
        "kill: {} rounds, {} operations acknowledged, {} in flight; {} (seed {}, {:.1} s)",
        all.rounds,
        all.operations,
        all.in_flight,
        all.tally,
        options.seed,
        begin.elapsed().as_secs_f64(),
    ));
    Ok(all.failed == 0 && !blind)
}

/// How many rounds tear a file that is written in place; ends with the first.
fn control(options: &Options) -> Result<u64> {
    let options = Options { uri_options: "layout=plain".to_owned(), ..options.clone() };
    let mut torn = 0;
    for round in 0..CONTROL {
        let scratch = Scratch::new(options.dir.as_deref())?;
        let round = one(&options, round, scratch.path(), Lanes::new(options.lanes), true)?;
        torn += u64::from(round.findings.0.iter().any(|(fault, _)| *fault == Fault::Torn));
        if torn > 0 {
            break;
        }
    }
    Ok(torn)
}

#[derive(Default)]
struct Totals {
    rounds: u64,
    failed: u64,
    operations: usize,
    in_flight: usize,
    tally: Tally,
}

impl Totals {
    /// Adds a round; answers whether it found nothing.
    fn add(&mut self, round: &Round) -> bool {
        self.rounds += 1;
        self.operations += round.operations;
        self.in_flight += round.in_flight;
        self.tally.add(&round.findings);
        self.failed += u64::from(!round.findings.is_empty());
        round.findings.is_empty()
    }
}

struct Round {
    lanes: Lanes,
    findings: Findings,
    operations: usize,
    in_flight: usize,
}

/// One process, its death, and the check. What would prove a finding stays in `scratch` until the next
/// round: `found` is the store as the death left it, `ROUND-state` and `ROUND-said-N`, of all rounds of
/// the store, are the files before and what each process said.
fn one(
    options: &Options,
    round: u64,
    scratch: &Path,
    mut lanes: Lanes,
    careless: bool,
) -> Result<Round> {
    let mut rng = Rng::of(options.seed, round);
    let store = scratch.join("store");
    std::fs::create_dir_all(&store)?;
    let state = scratch.join(format!("{round}-state"));
    std::fs::write(&state, lanes.to_text())?;
    let count = options.lanes;
    // In one round of three the last lane is another process's, which sees the first one die.
    let first = if count > 1 && rng.chance(33) { count - 1 } else { count };
    let worker = worker::Options {
        dir: store.clone(),
        uri_options: options.uri_options.clone(),
        seed: rng.next_u64(),
        lanes: count,
        first: 0,
        end: first,
        ops: None,
        most: options.most,
        care: if careless { 0 } else { support::care(&options.uri_options) },
        careless,
        state,
    };
    let victim = Victim::start(&worker)?;
    let witness =
        (first < count).then(|| Victim::start(&worker::Options { first, end: count, ..worker }));
    let witness = witness.transpose()?;
    let mut text = String::new();
    let mut findings = Findings::default();
    for (index, victim) in [Some(victim), witness].into_iter().flatten().enumerate() {
        let (said, early) = victim.kill(&mut rng)?;
        std::fs::write(scratch.join(format!("{round}-said-{index}")), &said)?;
        let absorbed = said.lines().try_for_each(|line| lanes.absorb(line));
        let alive =
            early.map_or(Ok(()), |status| Err(format!("ended by itself ({status})").into()));
        if let Err(error) = absorbed.and(alive) {
            findings.0.push((Fault::Refused, format!("a worker: {error}")));
        }
        text += &said;
    }
    let operations = text.lines().filter(|line| line.starts_with('<')).count();
    let in_flight = lanes.0.iter().filter(|lane| lane.in_flight.is_some()).count();
    let found = scratch.join("found");
    if found.exists() {
        std::fs::remove_dir_all(&found)?;
    }
    Tree::load(&store)?.store(&found)?;
    let mut settled = lanes.clone();
    let visit = check::visit(&store, &options.uri_options, &mut settled);
    findings.0.extend(support::runtime()?.block_on(visit).0);
    // What was in flight was done again.
    for lane in &mut lanes.0 {
        if let Some(op) = lane.in_flight.take() {
            op.apply(&mut lane.files);
        }
    }
    leftovers(&store, &mut findings)?;
    Ok(Round { lanes, findings, operations, in_flight })
}

/// Files that only a process in the middle of its work has, left after the check.
fn leftovers(dir: &Path, findings: &mut Findings) -> Result {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            leftovers(&entry.path(), findings)?;
        } else if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            findings.0.push((Fault::Extra, format!("{} was left", entry.path().display())));
        }
    }
    Ok(())
}

/// A process that will be killed.
struct Victim {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Victim {
    fn start(worker: &worker::Options) -> Result<Self> {
        let mut child = worker.start(0)?;
        let output = BufReader::new(child.stdout.take().ok_or("the worker has no output")?);
        Ok(Self { child, output })
    }

    /// Kills it at a random moment, and answers all that it said; and how it ended, when it was
    /// dead before.
    fn kill(mut self, rng: &mut Rng) -> Result<(String, Option<ExitStatus>)> {
        // One in eight dies while it opens the store, or soon after; of the others half soon after
        // an operation began.
        let (lines, aimed, spin) = match rng.below(8) {
            0 => (0, false, rng.below(20_000)),
            1..4 => (1 + rng.below(90), true, rng.below(400)),
            _ => (1 + rng.below(90), false, rng.below(2_500)),
        };
        let mut text = String::new();
        let mut read = 0;
        while read < lines || aimed && !last_line(&text).starts_with('>') {
            read += 1;
            if self.output.read_line(&mut text)? == 0 {
                break;
            }
        }
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_micros(spin) {
            std::hint::spin_loop();
        }
        let early = self.child.try_wait()?;
        self.child.kill()?;
        self.child.wait()?;
        // What it said before it died, read or not.
        self.output.read_to_string(&mut text)?;
        Ok((text, early))
    }
}

fn last_line(text: &str) -> &str {
    text.lines().next_back().unwrap_or_default()
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Dead already, unless the round ended early.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
