//! The command `nexus-torture`: one rig a run. Everything is in the library of this crate.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nexus_torture::{collector, faults, flip, kill, many, power, support, worker};

/// Puts a store through what kills stores, and says what it lost.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    rig: Rig,
}

#[derive(Subcommand)]
enum Rig {
    /// Has processes write and one collect, all with different clocks, and kills some.
    Collector(collector::Options),
    /// Has one system call of a process fail, and looks what it says and what is left.
    Faults(faults::Options),
    /// Damages every byte of a small store, one at a time, and looks what is answered.
    Flip(flip::Options),
    /// Kills a process that uses the store, again and again, and looks what the next one finds.
    Kill(kill::Options),
    /// Cuts the power at every point of a recording, and looks what is left on the disk.
    Power(power::Options),
    /// Has processes put the same contents at the same paths, all at once.
    Many(many::Options),
    /// One of the processes that put.
    #[command(hide = true)]
    Putter(many::Putter),
    /// The process that is killed or recorded.
    #[command(hide = true)]
    Worker(worker::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().rig {
        Rig::Collector(options) => collector::run(&options),
        Rig::Faults(options) => faults::run(&options),
        Rig::Flip(options) => flip::run(&options),
        Rig::Kill(options) => kill::run(&options),
        Rig::Power(options) => power::run(&options),
        Rig::Many(options) => many::run(&options),
        Rig::Putter(options) => many::put_all(&options).map(|()| true),
        Rig::Worker(options) => worker::run(&options).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            support::complain(&format!("nexus-torture: {error}"));
            ExitCode::FAILURE
        }
    }
}
