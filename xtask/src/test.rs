//! Running tests: all of them, those of the workspace, the conformance suites; and `test-all`, which
//! runs every check and every test there is.

use std::process::{Command, Stdio};

use crate::shell::{Shell, root};
use crate::steps::{self, Outcome, Step};
use crate::{
    Result, bench, check, demo, docs, features, fuzz, memory, peers::Peers, release, torture,
};

/// What `test-all` runs after the checks.
const STEPS: &[Step] = &[
    Step { name: "tests", run: tests },
    Step { name: "doc tests", run: doc_tests },
    Step { name: "tests of each feature", run: feature_tests },
    Step { name: "tests of the example", run: example_tests },
    Step { name: "release binary", run: release::step },
    Step { name: "commands in the docs", run: docs::commands },
    Step { name: "demo", run: demo::step },
    Step { name: "memory of long streams", run: memory::step },
    Step { name: "kills and power cuts", run: torture::step },
    Step { name: "fuzzing", run: fuzz::step },
    Step { name: "benchmarks", run: bench::step },
];

/// Everything.
pub(crate) fn all(arguments: &[String]) -> Result {
    let ci = std::env::var("CI").is_ok_and(|value| matches!(value.as_str(), "true" | "1"));
    let strict = match arguments {
        [] => ci,
        [flag] if flag == "--strict" => true,
        _ => return Err("test-all takes --strict and nothing else".into()),
    };
    let every: Vec<Step> = check::STEPS
        .iter()
        .chain(STEPS)
        .map(|Step { name, run }| Step { name, run: *run })
        .collect();
    steps::run(&every, strict)
}

/// Tests of the workspace, with the arguments given to the runner.
pub(crate) fn run(arguments: &[String]) -> Result {
    let shell = Shell::interactive();
    let scope: &[&str] = if selects(arguments) { &[] } else { &["--workspace"] };
    shell.run(runner(&shell).args(scope).args(arguments))
}

/// The conformance suite of one backend, or of all.
pub(crate) fn conformance(arguments: &[String]) -> Result {
    let shell = Shell::interactive();
    let backends: Vec<String> = match arguments {
        [] => with_conformance()?,
        [one] => vec![one.clone()],
        _ => return Err("give one backend, or none for all".into()),
    };
    let mut peers = None;
    for backend in backends {
        let package = format!("nexus-backend-{backend}");
        if !root().join("crates").join(&package).join("tests/conformance.rs").is_file() {
            let known = with_conformance()?.join(", ");
            return Err(format!("no conformance tests for `{backend}`; there are: {known}").into());
        }
        let mut cargo = shell.cargo(&["test", "--test", "conformance", "--package", &package]);
        if PEERED.contains(&package.as_str()) {
            let peers = match &mut peers {
                Some(peers) => peers,
                none => none.insert(Peers::start(&shell)?),
            };
            cargo.args(["--features", "peers"]).envs(peers.variables());
        }
        shell.run(&mut cargo)?;
    }
    Ok(())
}

/// Packages with tests on real servers, which their feature `peers` turns on.
const PEERED: [&str; 1] = ["nexus-backend-s3"];

/// The backends that have a conformance test, sorted.
fn with_conformance() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root().join("crates"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(scheme) = name.strip_prefix("nexus-backend-")
            && path.join("tests/conformance.rs").is_file()
        {
            names.push(scheme.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Whether arguments say themselves which packages they mean.
fn selects(arguments: &[String]) -> bool {
    let flags = ["-p", "--package", "--workspace"];
    arguments
        .iter()
        .any(|argument| flags.contains(&argument.as_str()) || argument.starts_with("--package="))
}

/// `cargo nextest run` where it is installed, else `cargo test` without doc tests.
fn runner(shell: &Shell) -> Command {
    let mut probe = shell.cargo(&["nextest", "--version"]);
    let probe = probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
        shell.cargo(&["nextest", "run", "--no-fail-fast"])
    } else {
        shell.cargo(&["test", "--no-fail-fast", "--tests"])
    }
}

/// Runs tests as a step: a run without a single test is a failure.
fn run_tests(shell: &Shell, cargo: &mut Command) -> Result<Outcome> {
    shell.run(cargo)?;
    if steps::tests_in(&shell.logged_text()).passed == 0 {
        return Err("no test was run".into());
    }
    Ok(Outcome::Done)
}

fn tests(shell: &Shell) -> Result<Outcome> {
    let peers = Peers::start(shell)?;
    let mut runner = runner(shell);
    runner.args(["--workspace", "--all-features"]).envs(peers.variables());
    run_tests(shell, &mut runner)
}

pub(crate) fn doc_tests(shell: &Shell) -> Result<Outcome> {
    run_tests(shell, &mut shell.cargo(&["test", "--doc", "--workspace", "--all-features"]))
}

/// The facade's tests with no feature and with each alone: workspace builds unify features.
fn feature_tests(shell: &Shell) -> Result<Outcome> {
    let mut sets = features::sets(shell)?;
    // The last set is all of them, which the workspace's tests ran.
    sets.pop();
    for set in sets {
        let mut cargo = shell.cargo(&["test", "--package", "nexus-fs", "--no-default-features"]);
        run_tests(shell, cargo.args(["--features", &set]))?;
    }
    Ok(Outcome::Done)
}

fn example_tests(shell: &Shell) -> Result<Outcome> {
    let manifest = root().join("examples/custom-scheme/Cargo.toml");
    let mut cargo = shell.cargo(&["test", "--manifest-path"]);
    run_tests(shell, cargo.arg(manifest))
}
