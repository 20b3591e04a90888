//! What every rig needs: errors, random numbers that come again, places to work in, and output.

use std::fs::{File, Metadata};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nexus_fs::{Builder, Kernel};

/// What ends a rig before it has a result.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Where a store under test is mounted.
pub const MOUNT: &str = "/s";

/// Random numbers that are the same for the same seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Numbers of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Numbers of one of many series of a seed.
    #[must_use]
    pub fn of(seed: u64, series: u64) -> Self {
        Self(Self(seed ^ series.wrapping_mul(0xD6E8_FEB8_6659_FD93)).next_u64())
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }

    /// An index into something of this length; 0 when it is empty.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A directory to work in, in memory where the system has such a place. It is this run's alone: its
/// name has the number of the process and a random part, nobody else may enter, and nothing else is ever
/// removed. Gone when it is dropped, unless it is kept.
#[derive(Debug)]
pub struct Scratch {
    dir: tempfile::TempDir,
    witness: File,
}

/// A file in every directory to work in, open for as long as that is used.
const WITNESS: &str = "witness";

impl Scratch {
    /// A new directory, below `parent` or in the best place there is.
    ///
    /// # Errors
    /// When it can not be made.
    pub fn new(parent: Option<&Path>) -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = match parent {
            Some(parent) => parent.to_owned(),
            None if memory.is_dir() => memory.to_owned(),
            None => std::env::temp_dir(),
        };
        // Recordings name files by their real paths.
        let parent = parent.canonicalize().map_err(|e| format!("{}: {e}", parent.display()))?;
        let prefix = format!(".nexus-torture-{}-", std::process::id());
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent)?;
        let witness = File::create_new(dir.path().join(WITNESS))?;
        Ok(Self { dir, witness })
    }

    /// That nobody removed it, or a part of it, while it was used: what is found in it then proves
    /// nothing.
    ///
    /// # Errors
    /// When somebody did.
    pub fn check(&self) -> Result {
        let identity = |metadata: &Metadata| (metadata.dev(), metadata.ino(), metadata.nlink());
        let there = std::fs::metadata(self.path().join(WITNESS));
        let held = self.witness.metadata()?;
        if there.is_ok_and(|there| identity(&there) == identity(&held)) {
            return Ok(());
        }
        let path = self.path().display();
        Err(format!("{path} was removed from outside while it was used: this run proves nothing")
            .into())
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves it where it is, for people to look at.
    #[must_use]
    pub fn keep(self) -> PathBuf {
        self.dir.keep()
    }
}

/// Opens the store in `dir` at [`MOUNT`]. `options` are those of the mount URI, joined by `&`.
///
/// # Errors
/// What mounting fails with.
pub async fn open(dir: &Path, options: &str) -> nexus_fs::Result<Kernel> {
    let uri = format!("local://{}?{options}", dir.display());
    Builder::new().mount_at(uri, MOUNT)?.open().await
}

/// Of a hundred operations on a store that is mounted so, how many are care of it. One that keeps every
/// file at its own path has nothing to collect, and no digest that what is read back could be compared
/// with.
#[must_use]
pub fn care(options: &str) -> u64 {
    if options.split('&').any(|option| option == "layout=plain") { 0 } else { 6 }
}

/// Works on so many threads, at least one, each with its number; answers the first error.
///
/// # Errors
/// Those of the work, and when it panics.
pub fn on_threads(count: usize, work: impl Fn(usize) -> Result + Sync) -> Result {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..count.max(1)).map(|thread| scope.spawn(move || work(thread))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread of the rig panicked")?)
    })
}

/// A runtime for one thread that waits for a store.
///
/// # Errors
/// When the system gives no more threads or descriptors.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// A line for people, on standard output. A closed pipe is no error.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// A line about what went wrong, on standard error.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_a_seed_differ_and_come_again() {
        let first = |seed, series| Rng::of(seed, series).next_u64();
        assert_eq!(first(1, 2), first(1, 2));
        assert_ne!(first(1, 2), first(1, 3));
        assert_ne!(first(1, 2), first(2, 2));
        assert_eq!(Rng::new(1).below(0), 0);
    }

    #[test]
    fn a_place_to_work_in_knows_that_it_was_touched() {
        let scratch = Scratch::new(None).unwrap();
        let other = Scratch::new(None).unwrap();
        assert_ne!(scratch.path(), other.path());
        scratch.check().unwrap();
        std::fs::remove_dir_all(scratch.path()).unwrap();
        assert!(scratch.check().is_err());
        std::fs::create_dir(scratch.path()).unwrap();
        std::fs::write(scratch.path().join(WITNESS), "").unwrap();
        assert!(scratch.check().is_err());
        drop(scratch);
        other.check().unwrap();
    }
}
