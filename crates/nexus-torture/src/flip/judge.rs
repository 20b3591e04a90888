//! What a store answered, against what must be there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use nexus_fs::{Bytes, ErrorKind, Metadata};

use super::subject::Moment;

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Harm {
    /// Bytes, a size, a digest or other metadata that are not what was written.
    Wrong,
    /// A path that nobody made.
    Extra,
    /// Something can not be read or is missing, and `verify` finds nothing.
    Untold,
    /// Content of a path that was well is gone after others were deleted and collected.
    Taken,
    /// An error that does not say what it is about.
    Untyped,
    /// A part of the program panicked.
    Panicked,
    /// No answer came.
    Hung,
}

impl Harm {
    /// All of them, in the order in which they are reported.
    pub(super) const ALL: [Self; 7] = [
        Self::Wrong,
        Self::Extra,
        Self::Untold,
        Self::Taken,
        Self::Untyped,
        Self::Panicked,
        Self::Hung,
    ];

    /// In one word, as the summary has it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Extra => "extra",
            Self::Untold => "untold",
            Self::Taken => "taken",
            Self::Untyped => "untyped",
            Self::Panicked => "panicked",
            Self::Hung => "hung",
        }
    }
}

/// An answer, or the kind and text of an error.
pub(super) type Answer<T> = Result<T, (ErrorKind, String)>;

/// Paths and what is known of them.
pub(super) type Entries = Vec<(String, Metadata)>;

/// Everything that a store answered.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) stats: BTreeMap<String, Answer<Metadata>>,
    pub(super) reads: BTreeMap<String, Answer<Bytes>>,
    pub(super) parts: Vec<(String, Range<u64>, Answer<Bytes>)>,
    /// Of everything, and of what is directly in the root.
    pub(super) listings: Vec<(bool, Answer<Entries>)>,
}

/// What answers amount to.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) harms: Vec<(Harm, String)>,
    /// What is missing and no error tells.
    pub(super) missing: Vec<String>,
    /// What can not be read, and says so.
    pub(super) errors: BTreeMap<ErrorKind, String>,
    /// Files that were read and are right.
    pub(super) well: BTreeSet<String>,
}

impl Judged {
    /// Whether the answers are those of an undamaged store.
    pub(super) fn is_right(&self) -> bool {
        self.harms.is_empty() && self.missing.is_empty() && self.errors.is_empty()
    }

    fn wrong(&mut self, text: String) {
        self.harms.push((Harm::Wrong, text));
    }

    fn error(&mut self, about: &str, (kind, text): &(ErrorKind, String)) {
        match kind {
            ErrorKind::NotFound => self.missing.push(about.to_owned()),
            kind => {
                self.errors.entry(*kind).or_insert_with(|| format!("{about}: {text}"));
            }
        }
    }
}

/// Compares answers with what was true at a moment.
pub(super) fn judge(answers: &Answers, moment: &Moment) -> Judged {
    let mut judged = Judged::default();
    for (path, answer) in &answers.stats {
        match (answer, moment.get(path)) {
            (Ok(found), Some(known)) if *found == known.metadata => {}
            (Ok(found), Some(known)) => {
                judged.wrong(format!("stat {path}: {found:?}, not {:?}", known.metadata));
            }
            (Ok(_), None) => judged.harms.push((Harm::Extra, format!("stat {path}"))),
            (Err((ErrorKind::NotFound, _)), None) => {}
            (Err(error), _) => judged.error(&format!("stat {path}"), error),
        }
    }
    for (path, answer) in &answers.reads {
        let known = moment.get(path).and_then(|known| known.content.as_ref());
        match (answer, known) {
            (Ok(found), Some(content)) if found == content => {
                judged.well.insert(path.clone());
            }
            (Ok(found), _) => judged.wrong(format!("read {path}: {} other bytes", found.len())),
            (Err((ErrorKind::NotFound | ErrorKind::IsADirectory, _)), None) => {}
            (Err(error), _) => judged.error(&format!("read {path}"), error),
        }
    }
    for (path, range, answer) in &answers.parts {
        let known = moment.get(path).and_then(|known| known.content.as_ref());
        let part = known.and_then(|content| {
            let end = content.len().min(range.end as usize);
            content.get(range.start as usize..end)
        });
        match (answer, part) {
            (Ok(found), Some(part)) if *found == part => {}
            (Ok(found), _) => {
                judged.wrong(format!("read {path} {range:?}: {} other bytes", found.len()));
            }
            (Err((ErrorKind::NotFound | ErrorKind::RangeNotSatisfiable, _)), None) => {}
            (Err(error), _) => judged.error(&format!("read {path} {range:?}"), error),
        }
    }
    for (recursive, answer) in &answers.listings {
        judge_listing(*recursive, answer, moment, &mut judged);
    }
    judged
}

fn judge_listing(recursive: bool, answer: &Answer<Entries>, moment: &Moment, judged: &mut Judged) {
    let about = if recursive { "list everything" } else { "list the root" };
    let entries = match answer {
        Ok(entries) => entries,
        Err(error) => return judged.error(about, error),
    };
    let mut missing: BTreeSet<_> =
        moment.keys().filter(|path| recursive || !path.contains('/')).collect();
    for (path, metadata) in entries {
        match moment.get(path) {
            None => judged.harms.push((Harm::Extra, format!("{about}: {path}"))),
            Some(known) if known.metadata != *metadata => {
                judged.wrong(format!("{about}: {path}: {metadata:?}, not {:?}", known.metadata));
            }
            Some(_) if !missing.remove(path) => {
                judged.harms.push((Harm::Extra, format!("{about}: {path} again")));
            }
            Some(_) => {}
        }
    }
    judged.missing.extend(missing.into_iter().map(|path| format!("{about}: {path}")));
}

#[cfg(test)]
mod tests {
    use super::super::subject::Known;
    use super::*;

    fn moment() -> Moment {
        let content = Bytes::from_static(b"content");
        let mut metadata = Metadata::file(7);
        metadata.content_type = Some("a/b".into());
        Moment::from([("a".to_owned(), Known { metadata, content: Some(content) })])
    }

    fn right() -> Answers {
        let known = moment()["a"].clone();
        let (path, content) = ("a".to_owned(), known.content.unwrap());
        Answers {
            stats: [(path.clone(), Ok(known.metadata.clone()))].into(),
            reads: [(path.clone(), Ok(content.clone()))].into(),
            parts: vec![(path.clone(), 1..3, Ok(content.slice(1..3)))],
            listings: vec![(true, Ok(vec![(path, known.metadata)]))],
        }
    }

    fn harms(change: impl FnOnce(&mut Answers)) -> Vec<Harm> {
        let mut answers = right();
        change(&mut answers);
        judge(&answers, &moment()).harms.into_iter().map(|(harm, _)| harm).collect()
    }

    #[test]
    fn right_answers_are_no_harm() {
        let judged = judge(&right(), &moment());
        assert!(judged.is_right(), "{judged:?}");
        assert!(judged.well.contains("a"));
    }

    #[test]
    fn each_wrong_answer_is_seen() {
        let other = || Bytes::from_static(b"another");
        let path = || "a".to_owned();
        assert_eq!(harms(|a| drop(a.reads.insert(path(), Ok(other())))), [Harm::Wrong]);
        assert_eq!(harms(|a| a.parts[0].2 = Ok(other())), [Harm::Wrong]);
        assert_eq!(harms(|a| drop(a.stats.insert(path(), Ok(Metadata::file(8))))), [Harm::Wrong]);
        let more = |a: &mut Answers| {
            if let Ok(entries) = &mut a.listings[0].1 {
                entries.push(("b".to_owned(), Metadata::file(1)));
                entries.push(entries[0].clone());
            }
        };
        assert_eq!(harms(more), [Harm::Extra, Harm::Extra]);
    }

    #[test]
    fn what_is_missing_and_what_fails_is_told_apart() {
        let mut answers = right();
        answers.listings[0].1 = Ok(Vec::new());
        let gone = (ErrorKind::NotFound, String::new());
        answers.stats.insert("a".to_owned(), Err(gone));
        let damaged = (ErrorKind::IntegrityMismatch, String::new());
        answers.reads.insert("a".to_owned(), Err(damaged));
        let judged = judge(&answers, &moment());
        assert_eq!((judged.missing.len(), judged.errors.len()), (2, 1));
        assert!(judged.harms.is_empty() && judged.well.is_empty());
    }
}
