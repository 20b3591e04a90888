//! Steps: run one after the other, each with a log, a time and a result; a failure does not stop
//! those that follow. The last line says how much passed, failed and was skipped.

use std::time::{Duration, Instant};

use crate::shell::{Shell, target_dir};
use crate::{Result, out};

/// How many lines of a log are shown when its step fails.
const TAIL: usize = 80;

/// One step.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Shell) -> Result<Outcome>,
}

/// What became of a step that did not fail.
pub(crate) enum Outcome {
    /// All that it is for was done; where it runs tests, its log counts them.
    Done,
    /// It could not be done here, and why.
    Skipped(String),
}

/// How many checks went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    fn text(self) -> String {
        let Self { passed, failed, skipped } = self;
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Steps failed, and their summary has said so: the last line stays the last.
#[derive(Debug)]
pub(crate) struct Failed;

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("steps failed")
    }
}

impl std::error::Error for Failed {}

struct Finished {
    name: &'static str,
    counts: Counts,
    time: Duration,
}

/// Runs all steps; fails when one failed, or was skipped under `strict`.
pub(crate) fn run(steps: &[Step], strict: bool) -> Result {
    let begin = Instant::now();
    let finished: Vec<_> = steps.iter().map(run_one).collect::<Result<_>>()?;
    let mut total = Counts::default();
    let width = finished.iter().map(|step| step.name.len()).max().unwrap_or_default();
    out::line(&format!("\n{:width$}  {:>8}  result", "step", "time"));
    for Finished { name, counts, time } in &finished {
        total.add(*counts);
        out::line(&format!("{name:width$}  {:>8}  {}", seconds(*time), counts.text()));
    }
    out::line(&format!("{:width$}  {:>8}\n", "all", seconds(begin.elapsed())));
    let failed = match (total.failed, total.skipped) {
        (0, 0) => None,
        (0, _) if strict => Some("something was skipped, which a strict run does not allow"),
        (0, _) => None,
        _ => Some("something failed"),
    };
    if let Some(reason) = failed {
        out::error(reason);
    }
    out::line(&total.text());
    match failed {
        None => Ok(()),
        Some(_) => Err(Box::new(Failed)),
    }
}

fn run_one(step: &Step) -> Result<Finished> {
    out::begin(&format!("{} ... ", step.name));
    let path = target_dir().join("xtask-logs").join(format!("{}.log", step.name.replace(' ', "-")));
    let shell = Shell::logged(path.clone())?;
    let begin = Instant::now();
    let outcome = (step.run)(&shell);
    let time = begin.elapsed();
    let log = shell.logged_text();
    let mut counts = tests_in(&log);
    match outcome {
        Ok(Outcome::Done) => {
            if counts == Counts::default() {
                counts.passed = 1;
            }
            let state = if counts.failed > 0 { "FAILED" } else { "ok" };
            out::line(&format!("{state} {}", seconds(time)));
        }
        Ok(Outcome::Skipped(reason)) => {
            counts.skipped += 1;
            out::line(&format!("skipped: {reason}"));
        }
        Err(error) => {
            counts.failed = counts.failed.max(1);
            let lines: Vec<_> = log.lines().collect();
            for line in &lines[lines.len().saturating_sub(TAIL)..] {
                out::line(&format!("    {line}"));
            }
            out::line(&format!("{}: FAILED {}: {error}", step.name, seconds(time)));
            out::line(&format!("    whole log: {}", path.display()));
        }
    }
    Ok(Finished { name: step.name, counts, time })
}

/// Adds up what test runners said in a log: libtest's `test result:` and nextest's `Summary`.
pub(crate) fn tests_in(log: &str) -> Counts {
    let mut counts = Counts::default();
    for line in log.lines() {
        // Indented, it is what nextest shows of a test that failed, and counts itself.
        let summary = line.trim_start().strip_prefix("Summary [");
        let text = match (line.strip_prefix("test result: "), summary) {
            (Some(text), _) => text,
            (_, Some(text)) if text.contains(" run: ") => text,
            _ => continue,
        };
        let number = |word: &str| -> u64 {
            let mut words = text.split([' ', ';', ',']).filter(|word| !word.is_empty()).peekable();
            while let Some(candidate) = words.next() {
                if words.peek() == Some(&word) {
                    return candidate.parse().unwrap_or_default();
                }
            }
            0
        };
        counts.passed += number("passed");
        counts.failed += number("failed") + number("timed");
        counts.skipped += number("ignored") + number("skipped");
    }
    counts
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_both_test_runners_say() {
        let log = "\
running 3 tests
test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0s
    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out
     Summary [   0.021s] 9 tests run: 7 passed (1 slow), 2 failed, 3 skipped
     Summary [   1.000s] 4/9 tests run: 3 passed, 1 timed out, 0 skipped
test result is not this line: 5 passed;
";
        assert_eq!(tests_in(log), Counts { passed: 11, failed: 4, skipped: 4 });
    }

    #[test]
    fn a_log_without_tests_counts_nothing() {
        assert_eq!(tests_in("   Compiling x v0.1.0\nSummary of things\n"), Counts::default());
    }

    #[test]
    fn the_last_line_is_plain() {
        let counts = Counts { passed: 12, failed: 0, skipped: 1 };
        assert_eq!(counts.text(), "12 passed, 0 failed, 1 skipped");
    }
}
