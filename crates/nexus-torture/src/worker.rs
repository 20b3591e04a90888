//! The process that is killed, or recorded: it works on a store and says what it does.
//!
//! On standard output, each line in one write: `> LANE OP` before an operation, `< LANE` once the
//! store acknowledged it, `! LANE OP: ERROR` when it failed; `= opened` and `= closed` around.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nexus_fs::Kernel;

use crate::support::{self, Result, Rng};
use crate::work::{Files, Lanes, Op};

/// What gives a process another clock.
pub const CLOCK: &str = "faketime";

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
        let mut command = match clock {
            0 => Command::new(program),
            seconds => {
                let mut command = Command::new(CLOCK);
                // One that counts on at its pace, in every thread.
                command.args(["-m", "-f", &format!("{seconds:+}s")]).arg(program);
                command
            }
        };
        command.args(self.to_arguments()).stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(command.spawn().map_err(|error| format!("{:?}: {error}", command.get_program()))?)
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
        let store = support::open(&options.dir, &options.uri_options).await?;
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
        store.close().await?;
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
            tell(&format!("! {lane} {op}: {error}"))?;
            return Err(error.into());
        }
        tell(&format!("< {lane}"))?;
        op.apply(&mut files);
    }
    Ok(())
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
