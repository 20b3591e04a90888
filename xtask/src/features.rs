//! Features of the facade: each builds alone, none pulls in more than it may, and no crate comes
//! in two versions.

use serde_json::Value;

use crate::Result;
use crate::shell::Shell;
use crate::steps::{self, Outcome, Step};

/// Crates that may come in two versions, and why.
const TWICE: &[(&str, &str)] = &[
    ("crypto-common", "as digest"),
    ("digest", "the SDK of Amazon uses 0.11 itself, and 0.10 through crc-fast"),
    ("io-lifetimes", "cap-primitives uses 3 itself, and 2 through fs-set-times"),
    ("syn", "macros of the SDK of Amazon use 2, all others 3; built, and part of no program"),
];

/// What must not come in with a set of features: the point of leaving the others out.
const KEPT_OUT: &[(&str, &[&str])] = &[
    ("", &["nexus-backend-local", "nexus-backend-mem", "rustix", "cap-std", "clap"]),
    ("backend-mem", &["nexus-backend-local", "rustix", "cap-std", "clap"]),
    ("backend-local", &["nexus-backend-mem", "hyper", "reqwest", "rustls", "clap"]),
    ("backend-mem", &["nexus-backend-s3", "hyper", "rustls"]),
    ("backend-s3", &["nexus-backend-local", "reqwest", "openssl-sys", "rusqlite", "clap"]),
    ("full", &["reqwest", "openssl-sys", "clap", "nexus-testkit"]),
];

/// Runs the checks.
pub(crate) fn run(_: &[String]) -> Result {
    steps::run(&[Step { name: "features", run: step }], true)
}

/// Everything about features, as one step.
pub(crate) fn step(shell: &Shell) -> Result<Outcome> {
    for set in sets(shell)? {
        let arguments = ["check", "--package", "nexus-fs", "--all-targets"];
        shell.run(shell.cargo(&arguments).args(["--no-default-features", "--features", &set]))?;
    }
    let mut problems = Vec::new();
    for (set, kept_out) in KEPT_OUT {
        let tree = tree(shell, &["nexus-fs", "--no-default-features", "--features", set])?;
        let inside = kept_out.iter().filter(|name| tree.iter().any(|line| is(line, name)));
        problems.extend(inside.map(|name| format!("feature `{set}` pulls in {name}")));
    }
    let twice = tree(shell, &["nexus-cli", "--all-features", "--duplicates", "--depth", "0"])?;
    for line in &twice {
        if !TWICE.iter().any(|(name, _)| is(line, name)) {
            problems.push(format!("more than one version of {line}"));
        }
    }
    for problem in &problems {
        shell.note(problem)?;
    }
    match problems.as_slice() {
        [] => Ok(Outcome::Done),
        [first, ..] => Err(first.clone().into()),
    }
}

/// No feature, each alone, and all.
pub(crate) fn sets(shell: &Shell) -> Result<Vec<String>> {
    let names = names(shell)?;
    let all = names.join(",");
    Ok(std::iter::once(String::new()).chain(names).chain([all]).collect())
}

/// The features of the facade that bring a backend.
pub(crate) fn names(shell: &Shell) -> Result<Vec<String>> {
    let text =
        shell.output(&mut shell.cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"].as_array().ok_or("no packages")?;
    let facade = packages.iter().find(|package| package["name"] == "nexus-fs");
    let features = facade.and_then(|package| package["features"].as_object()).ok_or("no facade")?;
    let brings = |name: &&String| name.starts_with("backend-") || name.starts_with("connector-");
    let names: Vec<_> = features.keys().filter(brings).cloned().collect();
    if names.is_empty() { Err("the facade has no backends".into()) } else { Ok(names) }
}

/// `cargo tree` of a package without its tests, one crate a line.
fn tree(shell: &Shell, arguments: &[&str]) -> Result<Vec<String>> {
    let mut cargo = shell.cargo(&["tree", "--edges", "normal", "--prefix", "none", "--package"]);
    let text = shell.output(cargo.args(arguments))?;
    let mut lines: Vec<_> =
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    lines.sort();
    lines.dedup();
    Ok(lines)
}

fn is(line: &str, name: &str) -> bool {
    line.split(' ').next() == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_whole() {
        assert!(is("rustix v1.1.2", "rustix"));
        assert!(!is("rustix-openpty v1.0.0", "rustix"));
    }
}
