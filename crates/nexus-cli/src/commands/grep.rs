//! `grep`: lines that match, in files read side by side and printed in the order of the walk.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt;
use nexus_fs::{EntryKind, Error, Kernel, Object, ReadOptions, VfsPath, WalkOptions};
use regex::bytes::{Regex, RegexBuilder};
use serde_json::json;
use tokio::sync::mpsc;

use super::each;
use crate::args::GrepArgs;
use crate::exit::{Failure, code};
use crate::output::{Color, Output};
use crate::session::{Reach, Session};

/// How many files are read at once.
const FILES: usize = 8;

/// How many lines of a file wait until it is its turn.
const WAITING: usize = 256;

/// A line is cut into parts of this size, in bytes, so that memory stays bounded.
const LONGEST_LINE: usize = 1 << 20;

/// A NUL in the first so many bytes makes a file binary.
const LOOK_FOR_BINARY: usize = 8 << 10;

/// What a search of one file says.
enum Said {
    Line {
        number: u64,
        text: Vec<u8>,
        matches: bool,
    },
    /// Lines were left out before the next one.
    Gap,
    Binary,
    Failed(Error),
    Matched(u64),
}

struct Query {
    pattern: Regex,
    context: usize,
    /// One match is enough.
    first_only: bool,
    counts_only: bool,
}

pub(crate) async fn grep(
    args: &GrepArgs,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let text = if args.fixed_strings { regex::escape(&args.pattern) } else { args.pattern.clone() };
    let pattern = RegexBuilder::new(&text)
        .case_insensitive(args.ignore_case)
        .multi_line(true)
        .build()
        .map_err(|error| Failure::usage(format!("not a regular expression: {error}")))?;
    let query = Arc::new(Query {
        pattern,
        context: args.context,
        first_only: args.files_with_matches,
        counts_only: args.count,
    });
    let found = &std::sync::atomic::AtomicU64::new(0);
    each(&args.paths, output, |operand| {
        let query = Arc::clone(&query);
        async move {
            let path = session.path(operand, Reach::Below).await?;
            let printer = Printer { args, output, query: &query, named: true };
            let matched = search_below(&path, session, &printer, args.paths.len() > 1).await?;
            found.fetch_add(matched, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        }
    })
    .await?;
    if found.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        output.set_code(code::FAILED);
    }
    Ok(())
}

/// Searches a file, or all files below a directory; answers how many files match.
async fn search_below(
    path: &VfsPath,
    session: &Session<'_>,
    printer: &Printer<'_>,
    several: bool,
) -> Result<u64, Failure> {
    if !session.kernel.stat(path).await?.is_dir() {
        let printer = Printer { named: several, ..*printer };
        let said = begin(&session.kernel, path.clone(), printer.query);
        return Ok(u64::from(printer.print(path, said).await?));
    }
    let walk = WalkOptions { max_depth: None, names_only: true };
    let mut entries = session.kernel.walk(path, &walk).await?;
    let (mut running, mut matched, mut ended) = (VecDeque::new(), 0, false);
    loop {
        while running.len() < FILES && !ended {
            match entries.next().await {
                None => ended = true,
                Some(Ok(entry)) if entry.metadata.kind == EntryKind::File => {
                    let said = begin(&session.kernel, entry.path.clone(), printer.query);
                    running.push_back((entry.path, said));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => printer.output.one_failed(&error.into()),
            }
        }
        let Some((path, said)) = running.pop_front() else { break };
        matched += u64::from(printer.print(&path, said).await?);
    }
    printer.output.end_of(2);
    Ok(matched)
}

/// Searches a file on a task of its own; it waits when it is too far ahead of the printing.
fn begin(kernel: &Kernel, path: VfsPath, query: &Arc<Query>) -> mpsc::Receiver<Said> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let (kernel, query) = (kernel.clone(), Arc::clone(query));
    tokio::spawn(async move {
        let ended = match kernel.read(&path, &ReadOptions::default()).await {
            Ok(object) => search(object, &query, &sender).await,
            Err(error) => Err(error),
        };
        let said = match ended {
            Ok(matches) => Said::Matched(matches),
            Err(error) => Said::Failed(error.with_path(path.as_str())),
        };
        // Nobody listens any more when the command has ended.
        let _ = sender.send(said).await;
    });
    receiver
}

/// Searches content as it comes; answers how many lines match.
async fn search(object: Object, query: &Query, sender: &mpsc::Sender<Said>) -> Result<u64, Error> {
    let mut lines = Lines::new(query, sender);
    let (mut body, mut seen, mut rest) = (object.body, 0, Vec::new());
    while let Some(piece) = body.next().await.transpose()? {
        if seen < LOOK_FOR_BINARY {
            let looked = &piece[..piece.len().min(LOOK_FOR_BINARY - seen)];
            if looked.contains(&0) {
                let _ = sender.send(Said::Binary).await;
                return Ok(0);
            }
        }
        seen += piece.len();
        let mut from = 0;
        while let Some(end) = piece[from..].iter().position(|byte| *byte == b'\n') {
            let line = &piece[from..from + end];
            let go_on = if rest.is_empty() {
                lines.take(line).await
            } else {
                rest.extend_from_slice(line);
                let go_on = lines.take(&rest).await;
                rest.clear();
                go_on
            };
            if !go_on {
                return Ok(lines.matched);
            }
            from += end + 1;
        }
        rest.extend_from_slice(&piece[from..]);
        while rest.len() > LONGEST_LINE {
            let tail = rest.split_off(LONGEST_LINE);
            if !lines.take(&rest).await {
                return Ok(lines.matched);
            }
            rest = tail;
        }
    }
    if !rest.is_empty() {
        lines.take(&rest).await;
    }
    Ok(lines.matched)
}

/// Takes lines in turn and says those that match, with what is around them.
struct Lines<'a> {
    query: &'a Query,
    sender: &'a mpsc::Sender<Said>,
    number: u64,
    matched: u64,
    before: VecDeque<(u64, Vec<u8>)>,
    /// How many lines after the last match are still to be said.
    after: usize,
    last_said: u64,
}

impl<'a> Lines<'a> {
    fn new(query: &'a Query, sender: &'a mpsc::Sender<Said>) -> Self {
        let before = VecDeque::new();
        Self { query, sender, number: 0, matched: 0, before, after: 0, last_said: 0 }
    }

    /// Takes the next line; answers whether more are wanted.
    async fn take(&mut self, line: &[u8]) -> bool {
        self.number += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let matches = self.query.pattern.is_match(line);
        if matches {
            self.matched += 1;
            if self.query.first_only {
                return false;
            }
        }
        if self.query.counts_only {
            return true;
        }
        if matches {
            for (number, text) in std::mem::take(&mut self.before) {
                if !self.say(number, text, false).await {
                    return false;
                }
            }
            self.after = self.query.context;
            return self.say(self.number, line.to_vec(), true).await;
        }
        if self.after > 0 {
            self.after -= 1;
            return self.say(self.number, line.to_vec(), false).await;
        }
        if self.query.context > 0 {
            if self.before.len() == self.query.context {
                self.before.pop_front();
            }
            self.before.push_back((self.number, line.to_vec()));
        }
        true
    }

    async fn say(&mut self, number: u64, text: Vec<u8>, matches: bool) -> bool {
        let gap = self.query.context > 0 && self.last_said > 0 && number > self.last_said + 1;
        self.last_said = number;
        let gap = !gap || self.sender.send(Said::Gap).await.is_ok();
        gap && self.sender.send(Said::Line { number, text, matches }).await.is_ok()
    }
}

#[derive(Clone, Copy)]
struct Printer<'a> {
    args: &'a GrepArgs,
    output: &'a Output,
    query: &'a Arc<Query>,
    /// Whether lines begin with the name of their file.
    named: bool,
}

impl Printer<'_> {
    /// Prints what the search of one file says; answers whether it matched.
    async fn print(&self, path: &VfsPath, mut said: mpsc::Receiver<Said>) -> Result<bool, Failure> {
        let mut matched = false;
        while let Some(said) = said.recv().await {
            match said {
                Said::Line { number, text, matches } => {
                    self.line(path, number, &String::from_utf8_lossy(&text), matches)?;
                }
                Said::Gap if !self.output.json => self.output.line("--")?,
                Said::Gap => {}
                Said::Binary if self.output.verbose => {
                    self.output.note(&format!("{path}: binary, not searched"));
                }
                Said::Binary => {}
                Said::Failed(error) => self.output.one_failed(&error.into()),
                Said::Matched(count) => {
                    matched = count > 0;
                    self.sum(path, count)?;
                }
            }
        }
        Ok(matched)
    }

    fn line(&self, path: &VfsPath, number: u64, text: &str, matches: bool) -> Result<(), Failure> {
        if self.output.json {
            return self
                .output
                .json(&json!({ "path": path, "line": number, "text": text, "matches": matches }));
        }
        let mark = if matches { ":" } else { "-" };
        let mut head = String::new();
        if self.named {
            head.push_str(path.as_str());
            head.push_str(mark);
        }
        if self.args.line_number {
            head.push_str(&number.to_string());
            head.push_str(mark);
        }
        let mut parts = vec![(Color::Faint, head.as_str())];
        let mut from = 0;
        for found in self.query.pattern.find_iter(text.as_bytes()).filter(|_| matches) {
            // Positions of a match in text that was not UTF-8 may fall inside a character.
            let between = text.get(from..found.start()).zip(text.get(found.range()));
            let Some((plain, hit)) = between else { break };
            parts.extend([(Color::Plain, plain), (Color::Match, hit)]);
            from = found.end();
        }
        parts.push((Color::Plain, text.get(from..).unwrap_or_default()));
        self.output.colored(&parts)
    }

    fn sum(&self, path: &VfsPath, count: u64) -> Result<(), Failure> {
        if self.args.files_with_matches && count > 0 {
            return match self.output.json {
                true => self.output.json(&json!({ "path": path })),
                false => self.output.line(path.as_str()),
            };
        }
        if self.args.count && !self.args.files_with_matches {
            return match (self.output.json, self.named) {
                (true, _) => self.output.json(&json!({ "path": path, "count": count })),
                (false, true) => self.output.line(&format!("{path}:{count}")),
                (false, false) => self.output.line(&count.to_string()),
            };
        }
        Ok(())
    }
}
