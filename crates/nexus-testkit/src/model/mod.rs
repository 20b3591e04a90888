//! The kernel against a reference model: random sequences of operations over two mounts, from few
//! names so that they collide often, done by the kernel and by a simple tree beside it. Every result
//! is compared, by kind or by value, and in the end both trees are.
//!
//! - `op`: what can be done, and how it is drawn
//! - `tree`: the model, which knows the rules and no store
//! - `run`: doing it both ways, and comparing

mod op;
mod run;
mod tree;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use nexus_core::{Backend, VfsPath};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

/// A case that takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Another program that changes a store behind the kernel's back, between two operations.
///
/// Paths are those of the mount. Each call is one that must succeed: the model has checked it.
pub trait Foreign: Send + Sync {
    /// Puts a file where nothing or a file is, and makes the directories above it. The store must
    /// be able to tell the new state from the old one (a file system: by a new inode).
    fn write(&mut self, path: &VfsPath, content: &[u8]);

    /// Removes a file.
    fn remove(&mut self, path: &VfsPath);

    /// Makes a directory, and those above it.
    fn create_dir(&mut self, path: &VfsPath);
}

/// One of the two stores of a case.
pub struct Store {
    /// The store, fresh and empty.
    pub backend: Arc<dyn Backend>,
    /// Who else changes it.
    pub foreign: Option<Box<dyn Foreign>>,
}

impl Store {
    /// A store that nobody else changes.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend, foreign: None }
    }
}

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many sequences.
    pub cases: u32,
    /// The most operations of a sequence.
    pub steps: usize,
    /// Where the random numbers begin; the same seed draws the same sequences. The environment
    /// variable `PROPTEST_RNG_SEED` overrides it.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { cases: 256, steps: 40, seed: 0x6e65_7875_7366_7321 }
    }
}

impl Plan {
    /// Tries it with a kernel that has the two stores of `make` mounted at `/a` and `/b`. Both must
    /// take writes and give versions; whatever else they lack the kernel composes or refuses.
    ///
    /// Brings its own runtime: call it from outside of one.
    ///
    /// # Panics
    /// When kernel and model disagree: with the shortest sequence that was found to show it, and
    /// the seed.
    pub fn check<F, Made>(self, make: F)
    where
        F: Fn() -> Made,
        Made: Future<Output = [Store; 2]>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let mut config =
            Config { cases: self.cases, failure_persistence: None, ..Config::default() };
        if config.rng_seed == RngSeed::Random {
            config.rng_seed = RngSeed::Fixed(self.seed);
        }
        let seed = config.rng_seed;
        let outcome = TestRunner::new(config).run(&op::sequence(self.steps), |ops| {
            let case = async {
                let done =
                    tokio::time::timeout(DEADLINE, async { run::case(make().await, &ops).await });
                done.await.unwrap_or_else(|_| Err(format!("not done after {DEADLINE:?}")))
            };
            runtime.block_on(case).map_err(TestCaseError::fail)
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Abort(why)) => panic!("given up ({seed:?}): {why}"),
            // The sequence is part of the reason, with the paths that were picked.
            Err(TestError::Fail(why, _)) => {
                panic!("kernel and model disagree ({seed:?}): {why}");
            }
        }
    }
}

/// [`Plan::check`] with `cases` sequences.
///
/// # Panics
/// As [`Plan::check`].
pub fn check<F, Made>(cases: u32, make: F)
where
    F: Fn() -> Made,
    Made: Future<Output = [Store; 2]>,
{
    Plan { cases, ..Plan::default() }.check(make);
}
