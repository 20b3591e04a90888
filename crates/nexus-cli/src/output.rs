//! The only place that writes to standard output and standard error.
//!
//! A reader that went away (`nexus-fs ls | head`) ends the command quietly. Text for people is
//! escaped when it goes to a terminal; content (`cat`) and JSON never are.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::args::{ColorChoice, Global};
use crate::environment::Environment;
use crate::exit::{Failure, code};
use crate::render::escape;

/// Where a command writes.
pub(crate) struct Output {
    stdout: Mutex<BufWriter<io::Stdout>>,
    /// Something failed while the rest went on: the exit code of the whole.
    failed: AtomicU8,
    failures: AtomicU64,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
    pub(crate) width: Option<usize>,
    escapes: bool,
    escapes_errors: bool,
    color: bool,
    pub(crate) shows_progress: bool,
}

/// The reader of standard output is gone.
fn stopped(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        // What a program does that was stopped by its reader: nothing more, and no complaint.
        return Failure::new(0, "");
    }
    Failure::internal(format!("standard output: {error}"))
}

impl Output {
    pub(crate) fn new(global: &Global, environment: &Environment) -> Self {
        let terminal = environment.stdout_is_terminal;
        Self {
            stdout: Mutex::new(BufWriter::with_capacity(64 << 10, io::stdout())),
            failed: AtomicU8::new(0),
            failures: AtomicU64::new(0),
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            width: terminal.then_some(environment.width),
            escapes: terminal,
            escapes_errors: environment.stderr_is_terminal,
            color: match global.color {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                ColorChoice::Auto => terminal && !environment.no_color,
            },
            shows_progress: environment.stderr_is_terminal && !global.quiet,
        }
    }

    fn stdout(&self) -> MutexGuard<'_, BufWriter<io::Stdout>> {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line for people.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        let text = if self.escapes { escape(text) } else { text.into() };
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// A line for people whose parts are coloured on a terminal; each part is escaped by itself.
    pub(crate) fn colored(&self, parts: &[(Color, &str)]) -> Result<(), Failure> {
        let mut line = String::new();
        for (color, text) in parts {
            let text = if self.escapes { escape(text) } else { (*text).into() };
            match color.sequence().filter(|_| self.color) {
                Some(begin) => line.extend([begin, &text, "\u{1b}[0m"]),
                None => line.push_str(&text),
            }
        }
        self.bytes(line.as_bytes())?;
        self.bytes(b"\n")
    }

    /// A JSON document on a line.
    pub(crate) fn json(&self, document: &impl serde::Serialize) -> Result<(), Failure> {
        let text = serde_json::to_vec(document);
        self.bytes(&text.map_err(|error| Failure::internal(error.to_string()))?)?;
        self.bytes(b"\n")
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout().write_all(bytes).map_err(|error| stopped(&error))
    }

    pub(crate) fn flush(&self) -> Result<(), Failure> {
        self.stdout().flush().map_err(|error| stopped(&error))
    }

    /// A remark on standard error; none when quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.complain(text);
        }
    }

    /// Says why one thing of several failed, and goes on.
    pub(crate) fn one_failed(&self, failure: &Failure) {
        self.explain(failure);
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.failed.store(failure.code, Ordering::Relaxed);
    }

    /// Turns the failures so far into one exit code, given how many things were tried.
    pub(crate) fn end_of(&self, tried: u64) {
        if self.failures.load(Ordering::Relaxed) > 0 && tried > 1 {
            self.failed.store(code::PARTIAL, Ordering::Relaxed);
        }
    }

    /// Ends with this code although nothing failed (`grep` without a match).
    pub(crate) fn set_code(&self, code: u8) {
        if self.code() == 0 {
            self.failed.store(code, Ordering::Relaxed);
        }
    }

    pub(crate) fn code(&self) -> u8 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Says why the command failed; answers its exit code.
    pub(crate) fn fail(&self, failure: &Failure) -> u8 {
        // What was printed before belongs before the complaint.
        let _ = self.stdout().flush();
        if !failure.message.is_empty() {
            self.explain(failure);
        }
        failure.code
    }

    fn explain(&self, failure: &Failure) {
        self.complain(&format!("error: {}", failure.message));
        if self.verbose {
            failure.chain.iter().for_each(|cause| self.complain(&format!("  {cause}")));
        }
        if let Some(hint) = &failure.hint {
            self.complain(&format!("hint: {hint}"));
        }
    }

    fn complain(&self, text: &str) {
        let text = if self.escapes_errors { escape(text) } else { text.into() };
        // Nobody can be told that standard error is gone.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

/// What a part of a line is, in colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Color {
    Plain,
    Directory,
    Link,
    Match,
    Faint,
    Added,
    Removed,
}

impl Color {
    fn sequence(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Directory => Some("\u{1b}[1;34m"),
            Self::Link => Some("\u{1b}[36m"),
            Self::Match => Some("\u{1b}[1;31m"),
            Self::Faint => Some("\u{1b}[2m"),
            Self::Added => Some("\u{1b}[32m"),
            Self::Removed => Some("\u{1b}[31m"),
        }
    }
}
