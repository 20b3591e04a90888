//! Running other programs: where they run, where their output goes, how long they may take.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// How long one program of a step may run. Cold builds on two cores stay well below it.
const LIMIT: Duration = Duration::from_secs(25 * 60);

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    // Asked for at run time: clones that share a target directory share this program too, and what
    // was compiled into it may name another of them.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR");
    let xtask = xtask.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).into(), PathBuf::from);
    xtask.parent().map_or_else(|| xtask.clone(), Path::to_path_buf)
}

/// The one target directory of all workspaces in the repository.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Every workspace of the repository that is there, by its manifest: the main one first.
pub(crate) fn workspaces() -> Vec<PathBuf> {
    ["", "benches", "examples/custom-scheme", "fuzz"]
        .iter()
        .map(|dir| root().join(dir).join("Cargo.toml"))
        .filter(|manifest| manifest.is_file())
        .collect()
}

/// Runs programs, their output on the terminal or in a log.
pub(crate) struct Shell {
    log: Option<PathBuf>,
}

impl Shell {
    /// Output goes where the output of this program goes.
    pub(crate) fn interactive() -> Self {
        Self { log: None }
    }

    /// Output goes to a new file.
    pub(crate) fn logged(path: PathBuf) -> Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { log: Some(path) })
    }

    /// `cargo` in the root of the repository, with the one target directory.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments).current_dir(root()).env("CARGO_TARGET_DIR", target_dir());
        // What `cargo run` tells this program about itself is not for the builds it starts.
        for (name, _) in std::env::vars_os() {
            let own = |prefix: &str| name.to_string_lossy().starts_with(prefix);
            if own("CARGO_PKG_") || own("CARGO_MANIFEST_") || own("CARGO_BIN_") {
                cargo.env_remove(name);
            }
        }
        if self.log.is_some() {
            cargo.env("CARGO_TERM_COLOR", "never").env("CARGO_TERM_PROGRESS_WHEN", "never");
        }
        cargo
    }

    /// Runs a program to its end, which must be a success.
    pub(crate) fn run(&self, command: &mut Command) -> Result {
        self.note(&format!("$ {}", show(command)))?;
        if let Some(log) = self.open_log()? {
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        }
        let mut child = command.spawn().map_err(|error| format!("`{}`: {error}", show(command)))?;
        let limit = self.log.as_ref().map(|_| LIMIT);
        let status = wait(&mut child, limit)?;
        if !status.success() {
            return Err(format!("`{}` failed: {status}", show(command)).into());
        }
        Ok(())
    }

    /// Runs a program to its end, which must be a success, and answers its standard output.
    pub(crate) fn output(&self, command: &mut Command) -> Result<String> {
        self.note(&format!("$ {}", show(command)))?;
        let log = self.open_log()?;
        command.stdin(Stdio::null()).stderr(log.map_or_else(Stdio::inherit, Stdio::from));
        let output = command.output().map_err(|error| format!("`{}`: {error}", show(command)))?;
        if !output.status.success() {
            return Err(format!("`{}` failed: {}", show(command), output.status).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Adds a line to the log; shows it where there is none.
    pub(crate) fn note(&self, text: &str) -> Result {
        match self.open_log()? {
            Some(mut log) => writeln!(log, "{text}")?,
            None => crate::out::line(text),
        }
        Ok(())
    }

    /// What the log holds so far; nothing without one.
    pub(crate) fn logged_text(&self) -> String {
        let bytes = self.log.as_ref().and_then(|path| fs::read(path).ok()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn open_log(&self) -> Result<Option<File>> {
        let open = |path: &PathBuf| File::options().append(true).open(path);
        Ok(self.log.as_ref().map(open).transpose()?)
    }
}

/// Waits for a child; kills it when `limit` is over.
pub(crate) fn wait(child: &mut Child, limit: Option<Duration>) -> Result<ExitStatus> {
    let Some(limit) = limit else {
        return Ok(child.wait()?);
    };
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begin.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Err(format!("killed after {} s", limit.as_secs()).into());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A command as people would type it.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
