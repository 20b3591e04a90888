//! The rig `flip`: every byte of every file of a small store is damaged, one at a time, and files are cut,
//! lost, exchanged and set back, and rows of its refs exchanged and lost; after each a fresh open is asked
//! everything, verifies, deletes and collects.
//!
//! - `subject`: the stores, and what they must answer
//! - `damage`: what is done to their files
//! - `rows`: what is done to rows of their refs
//! - `examine`: what a damaged store answers, and what is wrong with that
//! - `judge`: answers against what must be there
//!
//! An answer that is an error is no harm. Wrong content, a wrong size or digest, a path that nobody made
//! are; so is damage that `verify` does not tell, and content that a collector takes from a path that was
//! well. A path that is missing in silence is counted: `verify` has to tell it.

mod damage;
mod examine;
mod judge;
mod rows;
mod subject;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use nexus_fs::ErrorKind;

use self::damage::Damage;
use self::examine::Examined;
use self::judge::Harm;
use self::subject::Subject;
use crate::support::{self, Result, Rng, Scratch};

/// What the rig is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// About how many damages; without it, every byte of every file.
    #[arg(long)]
    pub cases: Option<usize>,
    /// Seed of which bytes.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many stores are opened at once.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// Only files whose path has this in it.
    #[arg(long)]
    pub only: Option<String>,
    /// Where to work, instead of in memory.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// How many harms of each kind are told in full.
const TOLD: u64 = 4;

/// Runs the rig; answers whether all is well.
///
/// # Errors
/// When a store can not be made, or a directory can not be written.
pub fn run(options: &Options) -> Result<bool> {
    let begin = Instant::now();
    let scratch = Scratch::new(options.dir.as_deref())?;
    let panics = watch_panics();
    let mut sum = Sum::default();
    for subject in subject::all(scratch.path())? {
        let cases = damage::of(&subject, options, &mut Rng::new(options.seed))?;
        let found = flip(&subject, &cases, options, scratch.path(), &panics)?;
        scratch.check()?;
        sum.merge(found);
    }
    let _ = std::panic::take_hook();
    support::say(&format!(
        "flip: {} damages: {} changed nothing, {} refused, {} answered with errors, {} set back to an \
         earlier moment, {} missed a path in silence until verified, {} lost one beside a deleted one; \
         {} (seed {}, {:.1} s)",
        sum.cases,
        sum.harmless,
        sum.refused,
        sum.detected,
        sum.set_back,
        sum.missed,
        sum.lost_beside,
        sum.harms(),
        options.seed,
        begin.elapsed().as_secs_f64(),
    ));
    support::say(&format!("flip: errors by kind: {:?}", sum.kinds));
    if !sum.harm.is_empty() {
        let kept = scratch.keep();
        support::complain(&format!(
            "flip: stores with harm, as they were opened: {}",
            kept.display()
        ));
    }
    Ok(sum.harm.is_empty())
}

/// What all damages did.
#[derive(Default)]
struct Sum {
    cases: u64,
    harmless: u64,
    refused: u64,
    detected: u64,
    set_back: u64,
    missed: u64,
    lost_beside: u64,
    kinds: BTreeMap<&'static str, u64>,
    harm: BTreeMap<Harm, u64>,
}

impl Sum {
    fn add(&mut self, examined: &Examined) {
        self.cases += 1;
        let errors = !examined.kinds.is_empty();
        self.refused += u64::from(examined.refused);
        self.detected += u64::from(errors && !examined.refused);
        self.set_back += u64::from(examined.set_back);
        self.missed += u64::from(examined.missed);
        self.lost_beside += u64::from(examined.lost_beside);
        let noticed = errors || examined.told || examined.set_back || examined.missed;
        self.harmless += u64::from(!noticed && examined.harms.is_empty());
        for kind in &examined.kinds {
            *self.kinds.entry(kind.as_str()).or_default() += 1;
        }
        let harms: std::collections::BTreeSet<_> = examined.harms.iter().map(|(h, _)| *h).collect();
        harms.into_iter().for_each(|harm| *self.harm.entry(harm).or_default() += 1);
    }

    fn merge(&mut self, other: Self) {
        self.cases += other.cases;
        self.harmless += other.harmless;
        self.refused += other.refused;
        self.detected += other.detected;
        self.set_back += other.set_back;
        self.missed += other.missed;
        self.lost_beside += other.lost_beside;
        other.kinds.into_iter().for_each(|(kind, n)| *self.kinds.entry(kind).or_default() += n);
        other.harm.into_iter().for_each(|(harm, n)| *self.harm.entry(harm).or_default() += n);
    }

    fn harms(&self) -> String {
        let count = |harm: &Harm| self.harm.get(harm).copied().unwrap_or_default();
        let texts = Harm::ALL.iter().map(|harm| format!("{} {}", count(harm), harm.as_str()));
        texts.collect::<Vec<_>>().join(", ")
    }
}

/// Does every damage to a store, each alone, on several threads.
fn flip(
    subject: &Subject,
    cases: &[Damage],
    options: &Options,
    scratch: &std::path::Path,
    panics: &Panics,
) -> Result<Sum> {
    let sum = Mutex::new(Sum::default());
    let next = AtomicUsize::new(0);
    let work = |thread: usize| -> Result {
        let dir = scratch.join(format!("{}-{thread}", subject.name));
        let runtime = support::runtime()?;
        while let Some(damage) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            subject.tree.restore(&dir)?;
            damage.apply(subject, &dir)?;
            let mut examined = runtime.block_on(examine::examine(subject, damage, &dir));
            for text in panics.take() {
                examined.harms.push((Harm::Panicked, text));
            }
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            sum.add(&examined);
            let told = |harm: &Harm| sum.harm.get(harm).is_some_and(|count| *count <= TOLD);
            if examined.harms.iter().any(|(harm, _)| told(harm)) {
                let found = scratch.join(format!("{}-found-{}", subject.name, sum.cases));
                subject.tree.restore(&found)?;
                damage.apply(subject, &found)?;
                support::complain(&format!("flip: to look at: {}", found.display()));
            }
            for (harm, text) in &examined.harms {
                if sum.harm.get(harm).is_some_and(|count| *count <= TOLD) {
                    let about = damage.about(subject);
                    support::complain(&format!(
                        "flip: {}: {about}: {}: {text}",
                        subject.name,
                        harm.as_str()
                    ));
                }
            }
            let quiet = [
                (examined.missed && sum.missed <= TOLD, "missed in silence"),
                (examined.lost_beside && sum.lost_beside <= TOLD, "lost beside a deleted one"),
            ];
            for (_, text) in quiet.iter().filter(|(tell, _)| *tell) {
                let about = damage.about(subject);
                support::complain(&format!("flip: {}: {about}: {text}", subject.name));
            }
        }
        // There may have been nothing to do for this thread.
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        Ok(())
    };
    support::on_threads(options.threads, work)?;
    Ok(sum.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// What panicked, in any thread of this process.
#[derive(Clone, Default)]
struct Panics(Arc<Mutex<Vec<String>>>);

impl Panics {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Notes panics from now on: the runtime makes an error of one in a task.
fn watch_panics() -> Panics {
    let panics = Panics::default();
    let noted = panics.clone();
    std::panic::set_hook(Box::new(move |info| {
        noted.0.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
    }));
    panics
}

/// Whether an error says what it is about. A store that is damaged in a way that it does not know calls
/// that an error of its own.
fn is_typed(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::Internal | ErrorKind::Closed)
}
