//! House rules that neither the compiler nor clippy knows: file headers and lengths, words that must
//! not stay, one home for raw APIs, a guide for every backend, links that lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{Shell, root};
use crate::steps::Outcome;
use crate::{Result, markdown, out};

/// The most lines of a source file. Longer ones need a line here, with the reason.
const MAX_LINES: usize = 600;

const LONG_FILES: &[(&str, &str)] = &[];

/// Texts that must not stay in a source file, and why. Split, so that this file passes.
const BANNED: &[(&str, &str)] = &[
    (concat!("FIX", "ME"), "finish it, or file an issue"),
    (concat!("TO", "DO"), "finish it, or file an issue"),
    (concat!("XX", "X"), "finish it, or file an issue"),
    (concat!("todo", "!("), "finish it"),
    (concat!("dbg", "!("), "left over from debugging"),
    (concat!("#[", "ignore"), "a test that does not run proves nothing"),
    (concat!("/wo", "rk/main"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("crates", ".io"), "no host names of registries"),
    (concat!("pypi", ".org"), "no host names of registries"),
    (concat!("npmjs", ".org"), "no host names of registries"),
];

/// The file that includes the guides for doc tests.
const DOC_TESTS: &str = "crates/nexus-fs/src/guides.rs";

/// Raw APIs in the source of published crates, and the only places that may use them.
const HOMES: &[(&str, &[&str])] = &[
    (
        "std::fs",
        &[
            "crates/nexus-backend-local/src/beneath.rs",
            "crates/nexus-backend-local/src/config.rs",
            "crates/nexus-cas/src/refs/sqlite/",
            "crates/nexus-cli/src/",
            "crates/nexus-testkit/src/disk.rs",
            "crates/nexus-torture/src/",
        ],
    ),
    (
        "std::env::var",
        &[
            "crates/nexus-backend-s3/src/by_parts_tests.rs",
            "crates/nexus-cli/src/environment.rs",
            "crates/nexus-fs/src/process.rs",
            "crates/nexus-testkit/src/disk.rs",
        ],
    ),
    ("std::env::home_dir", &[]),
    ("std::net", &[]),
    (
        "std::process",
        &[
            "crates/nexus-cas/src/refs/sqlite/owner.rs",
            "crates/nexus-cli/src/lib.rs",
            "crates/nexus-cli/src/main.rs",
            "crates/nexus-testkit/src/disk.rs",
            "crates/nexus-torture/src/",
        ],
    ),
];

/// Runs the rules for people.
pub(crate) fn run(_: &[String]) -> Result {
    let problems = problems()?;
    for problem in &problems {
        out::line(problem);
    }
    match problems.len() {
        0 => Ok(()),
        count => Err(format!("{count} rules are broken").into()),
    }
}

/// Runs the rules as a step.
pub(crate) fn step(shell: &Shell) -> Result<Outcome> {
    let problems = problems()?;
    for problem in &problems {
        shell.note(problem)?;
    }
    match problems.len() {
        0 => Ok(Outcome::Done),
        count => Err(format!("{count} rules are broken").into()),
    }
}

fn problems() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let files = source_files()?;
    let doc_tests = fs::read_to_string(root().join(DOC_TESTS)).unwrap_or_default();
    for (path, text) in &files {
        let name = path.as_str();
        let mut report = |line: usize, what: &str| problems.push(format!("{name}:{line}: {what}"));
        check_text(name, text, &mut report);
        if name.ends_with(".rs") {
            check_rust(name, text, &mut report);
        }
        if name.ends_with(".md") {
            check_links(name, text, &mut report);
            check_rust_blocks(name, text, &doc_tests, &mut report);
        }
        if name.starts_with("crates/") && name.ends_with("Cargo.toml") {
            check_manifest(name, text, &mut report);
        }
    }
    let readme = files.iter().find(|(path, _)| path == "README.md").map(|(_, text)| text.as_str());
    for command in ["cargo xtask demo", "cargo xtask test-all"] {
        if !readme.is_some_and(|text| text.contains(command)) {
            problems.push(format!("README.md:1: does not name `{command}`"));
        }
    }
    Ok(problems)
}

fn check_text(name: &str, text: &str, report: &mut impl FnMut(usize, &str)) {
    // Unit tests stand last, and may use what they like.
    let tests = text.lines().position(|line| line.starts_with("#[cfg(test)]"));
    let tests = tests.unwrap_or(usize::MAX);
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        if line.ends_with([' ', '\t', '\r']) {
            report(number, "trailing whitespace");
        }
        for (banned, why) in BANNED {
            if line.contains(banned) {
                report(number, &format!("`{banned}`: {why}"));
            }
        }
        for (api, homes) in HOMES {
            let in_source = name.starts_with("crates/") && name.contains("/src/");
            let at_home = homes.iter().any(|home| name.starts_with(home));
            let code = !line.trim_start().starts_with("//") && number <= tests;
            if in_source && code && !at_home && uses(line, api) {
                report(number, &format!("`{api}` is used outside its home"));
            }
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        report(text.lines().count(), "no newline at the end of the file");
    }
}

/// Whether a line uses an API of `std` itself, and not of a crate whose name ends like it.
fn uses(line: &str, api: &str) -> bool {
    line.contains(api) && !line.contains(&format!("_{api}"))
}

fn check_rust(name: &str, text: &str, report: &mut impl FnMut(usize, &str)) {
    if !text.starts_with("//! ") {
        report(1, "does not begin with `//!` saying what the file owns");
    }
    let lines = text.lines().count();
    if lines > MAX_LINES && !LONG_FILES.iter().any(|(long, _)| *long == name) {
        report(lines, &format!("longer than {MAX_LINES} lines, without a reason in xtask's tidy"));
    }
}

/// Every relative link leads to something.
fn check_links(name: &str, text: &str, report: &mut impl FnMut(usize, &str)) {
    let file = root().join(name);
    let dir = file.parent().unwrap_or(Path::new("/"));
    for (number, target) in markdown::links(text) {
        let path = target.split('#').next().unwrap_or_default();
        if !path.is_empty() && !path.contains("://") && !dir.join(path).exists() {
            report(number, &format!("the link `{target}` leads nowhere"));
        }
    }
}

/// Rust in a guide is run: the facade includes the guide for its doc tests.
fn check_rust_blocks(
    name: &str,
    text: &str,
    doc_tests: &str,
    report: &mut impl FnMut(usize, &str),
) {
    let rust = |block: &&markdown::Block| block.language.split(',').next() == Some("rust");
    if let Some(block) = markdown::blocks(text).iter().find(rust)
        && !doc_tests.contains(&format!("/{name}\""))
    {
        report(block.line, &format!("{DOC_TESTS} does not include this file"));
    }
}

fn check_manifest(name: &str, text: &str, report: &mut impl FnMut(usize, &str)) {
    let crate_name = name.split('/').nth(1).unwrap_or_default();
    if !text.contains("[lints]\nworkspace = true") {
        report(1, "does not inherit the lints of the workspace");
    }
    let leaf = ["nexus-backend-", "nexus-connector-"]
        .iter()
        .find_map(|prefix| crate_name.strip_prefix(prefix));
    if let Some(scheme) = leaf {
        let guide = format!("docs/backends/{scheme}.md");
        if !root().join(&guide).is_file() {
            report(1, &format!("the backend has no guide {guide}"));
        }
    }
}

/// Every text file of the repository that people wrote: path from the root, and content.
fn source_files() -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let mut pending = vec![root()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let name = relative(&path);
            let hidden = name.starts_with('.') && !name.starts_with(".ci");
            let made = matches!(name.rsplit('/').next(), Some("target" | "corpus" | "artifacts"));
            if hidden || made {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
            } else if is_source(&name) {
                files.push((name, fs::read_to_string(&path)?));
            }
        }
    }
    files.sort();
    Ok(files)
}

fn is_source(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("rs" | "md" | "toml" | "dict")) || name == ".ci/run"
}

fn relative(path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(root()).unwrap_or(path).to_path_buf();
    path.to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut report = |line: usize, what: &str| found.push(format!("{line}: {what}"));
        check_text(name, text, &mut report);
        if name.ends_with(".rs") {
            check_rust(name, text, &mut report);
        }
        found
    }

    #[test]
    fn the_repository_keeps_the_rules() {
        assert_eq!(problems().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn finds_what_breaks_a_rule() {
        let name = "crates/nexus-core/src/x.rs";
        assert_eq!(found(name, "//! Owns x.\n"), Vec::<String>::new());
        assert!(found(name, "fn x() {}\n")[0].contains("does not begin"));
        assert!(found(name, "//! Owns x. \n")[0].contains("trailing whitespace"));
        assert!(found(name, "//! Owns x.")[0].contains("newline"));
        assert!(found(name, "//! x\nuse std::fs;\n")[0].contains("outside its home"));
        assert!(found(name, "//! x\n// std::fs\n").is_empty());
        assert!(found(name, "//! x\nuse cap_std::fs::Dir;\n").is_empty());
        assert!(found(name, "//! x\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n").is_empty());
        assert!(found("crates/nexus-core/tests/x.rs", "//! x\nuse std::fs;\n").is_empty());
        assert!(found(name, &format!("//! x\n// {}\n", concat!("FIX", "ME")))[0].contains("issue"));
        assert!(found(name, &format!("//! x\n{}", "\n".repeat(MAX_LINES)))[0].contains("longer"));
    }
}
