//! The command line of nexus-fs: arguments, rendering, exit codes. It knows no backend by name; what
//! a command can reach is what the facade was built with.
//!
//! | Module | Owns |
//! |---|---|
//! | `args` | the definition of the command line; help, completions and man pages come from it |
//! | `environment` | variables, home directory, terminals: read here, passed on |
//! | `output` | the only place that writes to standard output and standard error |
//! | `exit` | from error kinds to exit codes and sentences |
//! | [`mount_file`] | the saved mounts |
//! | `session` | what a command's operands mean, and mounting no more than they need |
//! | `render`, `progress` | sizes, times, names, bars |
//! | `commands` | one file a command or family |

mod args;
mod commands;
mod environment;
mod exit;
pub mod mount_file;
mod output;
mod progress;
mod render;
mod session;

use std::process::ExitCode;

use clap::Parser;
use environment::Environment;
use exit::Failure;
use output::Output;

/// Runs the command that this process was started as.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    let environment = Environment::of_process();
    let output = Output::new(&arguments.global, &environment);
    let ended =
        match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => {
                let ended = runtime.block_on(until_interrupted(&arguments, &environment, &output));
                // A read of standard input that never ends must not keep the process.
                runtime.shutdown_background();
                ended
            }
            Err(error) => Err(Failure::internal(format!("no thread can be started: {error}"))),
        };
    let code = match ended {
        Ok(()) => output.code(),
        Err(failure) => output.fail(&failure),
    };
    match output.flush() {
        Ok(()) => ExitCode::from(code),
        Err(failure) => ExitCode::from(output.fail(&failure)),
    }
}

/// Runs the command, or gives it up at Ctrl-C: dropping it removes what it had not finished.
async fn until_interrupted(
    arguments: &args::Arguments,
    environment: &Environment,
    output: &Output,
) -> Result<(), Failure> {
    tokio::select! {
        ended = commands::run(arguments, environment, output) => ended,
        _ = tokio::signal::ctrl_c() => Err(match &arguments.command {
            args::Command::Verify { .. } => Failure::interrupted()
                .with_hint("what was read back is recorded: `--resume` goes on from there"),
            _ => Failure::interrupted(),
        }),
    }
}
