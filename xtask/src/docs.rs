//! Documentation that can not rot: it is built without a warning, the Rust in it is run by doc tests
//! (`nexus-fs` includes the guides), and the commands in it are run here.
//!
//! A block of `console` is a session: its `$` lines run one after the other, in one empty directory
//! for each file, with the release binary first on the path; what stands below a command is what it
//! prints, where `…` stands for any text and a line of it alone for any lines, and a last line
//! `(exit code 3)` says that it fails so. A block of `sh` holds commands alone, run in the same place;
//! those that begin with `cargo` are for the repository, where `cargo xtask` is looked up in the list
//! of tasks, which `test-all` runs itself, and all else is run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::markdown::{self, Block};
use crate::shell::{Shell, root, target_dir, wait};
use crate::steps::{self, Outcome, Step};
use crate::{COMMANDS, Result, check, release, test, tools};

/// How long one command of a guide may run.
const LIMIT: Duration = Duration::from_secs(60);

/// Everything about documentation.
pub(crate) fn run(_: &[String]) -> Result {
    let steps = [
        Step { name: "rustdoc", run: check::rustdoc },
        Step { name: "doc tests", run: test::doc_tests },
        Step { name: "commands in the docs", run: commands },
    ];
    steps::run(&steps, true)
}

/// Runs every command in README and docs.
pub(crate) fn commands(shell: &Shell) -> Result<Outcome> {
    let binary = release::build(shell)?;
    let bin = binary.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut sessions = 0;
    for file in guides()? {
        let name = file.strip_prefix(root()).unwrap_or(&file).to_string_lossy().replace('/', "-");
        let place = Place::new(&name, &bin)?;
        for block in markdown::blocks(&fs::read_to_string(&file)?) {
            let about = |error| format!("{}:{}: {error}", file.display(), block.line);
            match block.language.as_str() {
                "console" => place.session(shell, &block).map_err(about)?,
                "sh" => place.script(shell, &block).map_err(about)?,
                _ => continue,
            }
            sessions += 1;
        }
    }
    if sessions == 0 { Err("no command was found".into()) } else { Ok(Outcome::Done) }
}

/// README, CONTRIBUTING and everything below `docs/`.
pub(crate) fn guides() -> Result<Vec<PathBuf>> {
    let mut files = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    let mut pending = vec![root().join("docs")];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Where the sessions of one file run.
struct Place {
    dir: PathBuf,
    path: std::ffi::OsString,
}

impl Place {
    fn new(name: &str, bin: &Path) -> Result<Self> {
        let dir = target_dir().join("xtask-docs").join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(dir.join("home"))?;
        fs::create_dir_all(dir.join("here"))?;
        Ok(Self { dir, path: tools::with_path(bin.to_path_buf())? })
    }

    fn session(&self, shell: &Shell, block: &Block) -> Result {
        for Exchange { command, expected, code } in exchanges(block) {
            let printed = self.command(shell, &command, code)?;
            let lines: Vec<_> = printed.lines().map(str::trim_end).collect();
            let wanted: Vec<_> = expected.iter().map(|line| line.trim_end()).collect();
            if !wanted.is_empty() && !matches_lines(&wanted, &lines) {
                return Err(format!("`{command}` printed something else:\n{printed}").into());
            }
        }
        Ok(())
    }

    fn script(&self, shell: &Shell, block: &Block) -> Result {
        let text = block.lines.join("\n").replace("\\\n", " ");
        for line in text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim()) {
            if line.is_empty() || line.starts_with('#') || line == ".ci/run" {
                continue;
            } else if line.starts_with("cargo ") {
                repository(shell, line)?;
            } else {
                self.command(shell, line, 0)?;
            }
        }
        Ok(())
    }

    /// Runs a command, which must exit with `code`; answers what it printed.
    fn command(&self, shell: &Shell, command: &str, code: i32) -> Result<String> {
        shell.note(&format!("$ {command}"))?;
        let mut bash = Command::new("bash");
        bash.args(["-c", command]).current_dir(self.dir.join("here"));
        bash.env("PATH", &self.path).env("HOME", self.dir.join("home")).env("NO_COLOR", "1");
        bash.env("NEXUS_FS_STATE_DIR", self.dir.join("state")).stdin(Stdio::null());
        let printed = self.dir.join("printed");
        let file = fs::File::create(&printed)?;
        let mut child = bash.stdout(file.try_clone()?).stderr(file).spawn()?;
        let status = wait(&mut child, Some(LIMIT));
        let printed = String::from_utf8_lossy(&fs::read(&printed)?).into_owned();
        shell.note(&printed)?;
        let status = status.map_err(|error| format!("`{command}`: {error}"))?;
        if status.code() != Some(code) {
            return Err(format!("`{command}`: {status}, printed:\n{printed}").into());
        }
        Ok(printed)
    }
}

/// A command of a session and what it does.
#[derive(Debug, PartialEq, Eq)]
struct Exchange {
    command: String,
    expected: Vec<String>,
    code: i32,
}

fn exchanges(block: &Block) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for line in &block.lines {
        if let Some(command) = line.strip_prefix("$ ") {
            let command = command.to_owned();
            exchanges.push(Exchange { command, expected: Vec::new(), code: 0 });
        } else if let Some(last) = exchanges.last_mut() {
            let code = line.strip_prefix("(exit code ").and_then(|rest| rest.strip_suffix(')'));
            match code.and_then(|code| code.parse().ok()) {
                Some(code) => last.code = code,
                None if last.expected.is_empty() && last.command.ends_with('\\') => {
                    last.command.push('\n');
                    last.command.push_str(line);
                }
                None => last.expected.push(line.clone()),
            }
        }
    }
    exchanges
}

/// Whether lines are as wanted; `…` alone stands for any number of lines.
fn matches_lines(wanted: &[&str], lines: &[&str]) -> bool {
    match (wanted, lines) {
        ([], []) => true,
        (["…", rest @ ..], _) => {
            (0..=lines.len()).any(|skipped| matches_lines(rest, &lines[skipped..]))
        }
        ([first, wanted @ ..], [line, lines @ ..]) => {
            matches_text(first, line) && matches_lines(wanted, lines)
        }
        _ => false,
    }
}

/// Whether a line is as wanted; `…` stands for any text.
fn matches_text(wanted: &str, line: &str) -> bool {
    let Some((before, after)) = wanted.split_once('…') else {
        return wanted == line;
    };
    let Some(rest) = line.strip_prefix(before) else { return false };
    let mut tails = rest.char_indices().map(|(at, _)| &rest[at..]).chain([""]);
    tails.any(|tail| matches_text(after, tail))
}

/// A command for the repository: a task that is known, or another command of cargo, which is run.
fn repository(shell: &Shell, line: &str) -> Result {
    let words: Vec<_> = line.split(' ').skip(1).collect();
    match words.as_slice() {
        ["xtask", name, ..] if COMMANDS.iter().any(|command| command.name == *name) => Ok(()),
        ["xtask", ..] => Err(format!("`{line}` is not a task").into()),
        _ => shell.run(&mut shell.cargo(&words)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_have_commands_output_and_codes() {
        let text = "```console\n$ a \\\n  b\n$ c\nout\n\nmore\n(exit code 3)\n```\n";
        let blocks = markdown::blocks(text);
        let found = exchanges(&blocks[0]);
        assert_eq!(found[0].command, "a \\\n  b");
        assert_eq!(found[1].expected, ["out", "", "more"]);
        assert_eq!((found[0].code, found[1].code), (0, 3));
    }

    #[test]
    fn an_ellipsis_stands_for_text_and_for_lines() {
        assert!(matches_lines(&["a … c", "…", "z"], &["a b c", "x", "y", "z"]));
        assert!(matches_lines(&["a", "…"], &["a"]));
        assert!(!matches_lines(&["a", "…", "z"], &["a", "b"]));
        assert!(!matches_lines(&["a … c"], &["a b"]));
        assert!(matches_text("…é", "éé") && !matches_text("x…", "y"));
    }

    #[test]
    fn an_unknown_task_in_a_guide_is_found() {
        assert!(repository(&Shell::interactive(), "cargo xtask check").is_ok());
        let error = repository(&Shell::interactive(), "cargo xtask nothing").unwrap_err();
        assert!(error.to_string().contains("nothing"));
    }
}
