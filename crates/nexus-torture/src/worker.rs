//! The process that is killed, or recorded: it works on a store and says what it does.
//!
//! On standard output, each line in one write: `> LANE OP` before an operation, `< LANE` once the
//! store acknowledged it, `! LANE OP: ERROR [KIND]` when it failed; `= opened` and `= closed` around, or
//! `! open: ERROR [KIND]` and `! close: ERROR [KIND]`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nexus_fs::{Error, Kernel};

use crate::support::{self, Result, Rng};
use crate::work::{Files, Lanes, Op};

/// What gives a process another clock, below the directory of libraries.
const CLOCK: &str = "faketime/libfaketimeMT.so.1";

/// Where that is, in a system that keeps libraries by machine or one that does not.
fn clock_library() -> Result<PathBuf> {
    let libraries = Path::new("/usr/lib");
    let mut places = vec![libraries.to_owned(), libraries.with_file_name("lib64")];
    places.extend(std::fs::read_dir(libraries)?.filter_map(|entry| Some(entry.ok()?.path())));
    places.into_iter().map(|place| place.join(CLOCK)).find(|file| file.is_file()).ok_or_else(|| {
        "`faketime` is not installed: it gives processes their clocks (Debian: `apt-get install \
         faketime`)"
            .into()
    })
}

/// What the worker is told.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The directory of the store.
    #[arg(long)]
    pub dir: PathBuf,
    /// Options of the mount URI.
    #[arg(long)]
    pub uri_options: String,
    /// Seed of what it does.
    #[arg(long)]
    pub seed: u64,
    /// How many lanes the store has.
    #[arg(long)]
    pub lanes: usize,
    /// The first lane that is this process's to work on.
    #[arg(long)]
    pub first: usize,
    /// The lane after the last one.
    #[arg(long)]
    pub end: usize,
    /// Operations a lane; without it, it goes on until it is killed.
    #[arg(long)]
    pub ops: Option<u64>,
    /// The largest content, in bytes.
    #[arg(long)]
    pub most: u32,
    /// Of a hundred operations, how many collect what no path needs or read everything back.
    #[arg(long)]
    pub care: u64,
    /// Writes files in place, past the store: what a store must never do, for a control.
    #[arg(long)]
    pub careless: bool,
    /// The files that are there, as `Lanes::to_text` writes them.
    #[arg(long)]
    pub state: PathBuf,
}

impl Options {
    /// The arguments that make these options, the subcommand first.
    #[must_use]
    pub fn to_arguments(&self) -> Vec<std::ffi::OsString> {
        let mut arguments: Vec<std::ffi::OsString> = vec!["worker".into()];
        arguments.extend(["--dir".into(), self.dir.clone().into()]);
        arguments.extend(["--state".into(), self.state.clone().into()]);
        arguments.extend(["--uri-options".into(), self.uri_options.clone().into()]);
        let mut number = |name: &str, value: u64| {
            arguments.extend([name.into(), value.to_string().into()]);
        };
        number("--seed", self.seed);
        number("--lanes", self.lanes as u64);
        number("--first", self.first as u64);
        number("--end", self.end as u64);
        number("--most", u64::from(self.most));
        number("--care", self.care);
        if let Some(ops) = self.ops {
            number("--ops", ops);
        }
        if self.careless {
            arguments.push("--careless".into());
        }
        arguments
    }
}

impl Options {
    /// Starts the process; its clock is off by so many seconds.
    ///
    /// # Errors
    /// When it can not be started.
    pub fn start(&self, clock: i64) -> Result<Child> {
        let program = std::env::current_exe()?;
        let mut command = Command::new(program);
        if clock != 0 {
            command.env("LD_PRELOAD", clock_library()?);
            command.env("FAKETIME", format!("{clock:+}s"));
        }
        command.args(self.to_arguments()).stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(command.spawn().map_err(|error| format!("{:?}: {error}", command.get_program()))?)
    }
}

/// Removes what gave a process its clock: it has the number of the process, and outlives one that is
/// killed.
pub fn forget_clock(process: u32) {
    for name in [format!("sem.faketime_sem_{process}"), format!("faketime_shm_{process}")] {
        // One that ended by itself took it along.
        let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

/// Works.
///
/// # Errors
/// When the store can not be opened or closed, or an operation fails.
pub fn run(options: &Options) -> Result {
    let lanes = Lanes::parse(&std::fs::read_to_string(&options.state)?, options.lanes)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let store = support::open(&options.dir, &options.uri_options).await;
        let store = store.map_err(|error| failed("open", error))?;
        tell("= opened")?;
        let mut tasks = tokio::task::JoinSet::new();
        let mine = options.first..options.end;
        for (index, lane) in lanes.0.into_iter().enumerate().filter(|(n, _)| mine.contains(n)) {
            let (store, options) = (store.clone(), options.clone());
            tasks.spawn(async move { work(&store, index, lane.files, &options).await });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        store.close().await.map_err(|error| failed("close", error))?;
        tell("= closed")
    })
}

async fn work(store: &Kernel, lane: usize, mut files: Files, options: &Options) -> Result {
    let mut rng = Rng::of(options.seed, lane as u64);
    for _ in 0..options.ops.unwrap_or(u64::MAX) {
        let op = match rng.chance(options.care) {
            true => Op::care(&mut rng),
            false => Op::random(&mut rng, lane, &files, options.most),
        };
        // Made before, so that what is killed is the store and not the making.
        op.prepare();
        tell(&format!("> {lane} {op}"))?;
        let done = match &op {
            Op::Write(path, content) | Op::Upload(path, content) if options.careless => {
                Ok(write_in_place(&options.dir.join(path), &content.bytes())?)
            }
            _ => op.run(store).await,
        };
        if let Err(error) = done {
            return Err(failed(&format!("{lane} {op}"), error).into());
        }
        tell(&format!("< {lane}"))?;
        op.apply(&mut files);
    }
    Ok(())
}

/// Says that something failed.
fn failed(what: &str, error: Error) -> Error {
    // Where nobody can be told, the exit code tells.
    let _ = tell(&format!("! {what}: {error} [{}]", error.kind()));
    error
}

/// The kind in a line that says that something failed.
#[must_use]
pub fn kind_of(line: &str) -> Option<&str> {
    line.strip_suffix(']')?.rsplit_once('[').map(|(_, kind)| kind)
}

fn write_in_place(path: &Path, content: &[u8]) -> Result {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut file = std::fs::File::create(path)?;
    Ok(content.chunks(4096).try_for_each(|piece| file.write_all(piece))?)
}

/// Says a line in one write.
fn tell(line: &str) -> Result {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(format!("{line}\n").as_bytes())?;
    Ok(stdout.flush()?)
}
