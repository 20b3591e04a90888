//! Tasks of the project, `cargo xtask COMMAND`. This file owns the list of commands; what a command
//! does is in the module of its name. Every check that a change must pass is run from here, the
//! same on a developer's machine and in continuous integration.

mod bench;
mod check;
mod demo;
mod docs;
mod features;
mod fuzz;
mod layers;
mod licences;
mod markdown;
mod memory;
mod out;
mod peers;
mod release;
mod shell;
mod steps;
mod test;
mod tidy;
mod tools;
mod torture;

use std::process::ExitCode;

/// Errors here are for people to read: texts.
type Error = Box<dyn std::error::Error>;
type Result<T = ()> = std::result::Result<T, Error>;

struct Command {
    name: &'static str,
    arguments: &'static str,
    summary: &'static str,
    run: fn(&[String]) -> Result,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "demo",
        arguments: "[DIR]",
        summary: "mount a folder of real files and work on it; the project's own sources by default",
        run: demo::run,
    },
    Command {
        name: "test-all",
        arguments: "[--strict]",
        summary: "everything; with --strict, or CI=true, what was skipped has failed",
        run: test::all,
    },
    Command {
        name: "check",
        arguments: "",
        summary: "format, lints, documentation, layers, features, licences",
        run: check::run,
    },
    Command {
        name: "test",
        arguments: "[ARGS]",
        summary: "tests of the workspace; ARGS go to the test runner",
        run: test::run,
    },
    Command {
        name: "conformance",
        arguments: "[BACKEND]",
        summary: "the conformance suite against one backend, or all",
        run: test::conformance,
    },
    Command {
        name: "features",
        arguments: "",
        summary: "each feature alone, and what it may pull in",
        run: features::run,
    },
    Command {
        name: "fuzz",
        arguments: "TARGET SECONDS",
        summary: "fuzz one target, starting from its committed corpus",
        run: fuzz::run,
    },
    Command {
        name: "bench",
        arguments: "[core|peers|cas] [ARGS]",
        summary: "benchmarks: of the core, beside other libraries, of content by digest",
        run: bench::run,
    },
    Command {
        name: "memory",
        arguments: "[OPTIONS]",
        summary: "10 GiB into a mount with OPTIONS and out of it, its memory watched; all layouts by default",
        run: memory::run,
    },
    Command {
        name: "peers",
        arguments: "COMMAND",
        summary: "run a command while real servers of S3 are there, for the tests of that backend",
        run: peers::run,
    },
    Command {
        name: "torture",
        arguments: "[RIG ARGS]",
        summary: "the long crash rigs: processes killed, power cut",
        run: torture::run,
    },
    Command {
        name: "docs",
        arguments: "",
        summary: "build the documentation, and run every code block and command in it",
        run: docs::run,
    },
    Command {
        name: "tidy",
        arguments: "",
        summary: "house rules that no lint knows",
        run: tidy::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        out::line(&usage());
        return ExitCode::from(2);
    };
    if matches!(name.as_str(), "help" | "-h" | "--help") {
        out::line(&usage());
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        out::error(&format!("unknown command `{name}`\n\n{}", usage()));
        return ExitCode::from(2);
    };
    match (command.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<steps::Failed>() => ExitCode::FAILURE,
        Err(error) => {
            out::error(&format!("cargo xtask {name}: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let mut text = "usage: cargo xtask COMMAND\n".to_owned();
    for Command { name, arguments, summary, .. } in COMMANDS {
        text.push_str(&format!("\n  {:<30} {summary}", format!("{name} {arguments}")));
    }
    text
}
