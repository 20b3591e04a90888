//! What is done to the files of a store, one thing at a time.

use std::path::Path;

use super::Options;
use super::rows::{self, Rows};
use super::subject::{STORES, Subject};
use crate::support::{Result, Rng};

/// What becomes of one byte.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pattern {
    /// One of its bits is another.
    Bit,
    /// All of its bits are others.
    All,
    /// It is zero.
    Zero,
}

/// What becomes of a whole file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whole {
    /// The last byte is gone.
    CutByOne,
    /// The second half is gone.
    CutInHalf,
    /// It is empty.
    Emptied,
    /// It ends with bytes that nobody wrote.
    Extended,
    /// It is zeros of the same length.
    Zeroed,
    /// It is not there.
    Gone,
}

/// One damage. Files are given by their place in the tree of the store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Damage {
    /// Of one byte.
    Byte(usize, usize, Pattern),
    /// Of a whole file.
    Whole(usize, Whole),
    /// Two files have each other's content.
    Exchanged(usize, usize),
    /// A file is as it was when the store was closed before.
    SetBack(usize),
    /// Of rows of the refs, by SQL.
    Rows(Rows),
}

/// The ending of a log of what was committed and is not in its place yet.
const LOG: &str = "-wal";

/// A file of nothing but one byte says nothing: it is flipped at one place of so many.
const OF_ONE_BYTE: usize = 256;

/// A file of more bytes is a chunk, or kept free. All of it is hashed alike: it is flipped at one place of
/// so many, no multiple of what anything is aligned to.
const LARGE: usize = 200_000;
const OF_LARGE: usize = 997;

/// Every damage to a store, or about so many of them: of each file the same number.
///
/// # Errors
/// When the refs of the store can not be read.
pub(super) fn of(subject: &Subject, options: &Options, rng: &mut Rng) -> Result<Vec<Damage>> {
    let files = &subject.tree.files;
    let wanted = |index: &usize| {
        let name = &files[*index].0;
        options.only.as_ref().is_none_or(|only| name.contains(only)) && !is_same(subject, *index)
    };
    let chosen: Vec<_> = (0..files.len()).filter(wanted).collect();
    // Of one store: half of it to bytes, a quarter to pairs of files and rows.
    let share = options.cases.map_or(usize::MAX, |cases| cases / STORES);
    let mut cases = Vec::new();
    for index in &chosen {
        let all = bytes(&files[*index].1, *index);
        cases.extend(sample(all, share / 2 / chosen.len().max(1), rng));
    }
    let mut pairs = Vec::new();
    for index in chosen {
        cases.extend(
            [
                Whole::CutByOne,
                Whole::CutInHalf,
                Whole::Emptied,
                Whole::Extended,
                Whole::Zeroed,
                Whole::Gone,
            ]
            .map(|whole| Damage::Whole(index, whole)),
        );
        pairs.extend((index + 1..files.len()).map(|other| Damage::Exchanged(index, other)));
        cases.push(Damage::SetBack(index));
    }
    cases.extend(sample(pairs, share / 8, rng));
    if options.only.as_ref().is_none_or(|only| rows::FILE.contains(only)) {
        let rows = Rows::of(&subject.tree)?;
        cases.extend(sample(rows, share / 8, rng).into_iter().map(Damage::Rows));
    }
    Ok(cases)
}

/// About so many of all, or all.
fn sample<T: Copy>(all: Vec<T>, count: usize, rng: &mut Rng) -> Vec<T> {
    match count < all.len() {
        true => (0..count).map(|_| all[rng.index(all.len())]).collect(),
        false => all,
    }
}

fn bytes(content: &[u8], index: usize) -> Vec<Damage> {
    let same = content.iter().all(|byte| Some(byte) == content.first());
    let step = match content.len() {
        _ if same => OF_ONE_BYTE,
        LARGE.. => OF_LARGE,
        _ => 1,
    };
    let places = (0..content.len()).step_by(step);
    let damages = places.flat_map(|place| {
        let zero = (content[place] != 0).then_some(Pattern::Zero);
        let patterns = [Some(Pattern::Bit), Some(Pattern::All), zero].into_iter().flatten();
        patterns.map(move |pattern| Damage::Byte(index, place, pattern))
    });
    damages.collect()
}

/// Whether a file of a store that was not closed is what it was when it was closed before: damage to it
/// is done to the other store.
fn is_same(subject: &Subject, index: usize) -> bool {
    let has_log = subject.tree.files.iter().any(|(path, _)| path.ends_with(LOG));
    let refs = subject.tree.files[index].0.ends_with(".db");
    has_log && !refs && subject.older.files.contains(&subject.tree.files[index])
}

impl Damage {
    /// Does it to the store in `dir`.
    ///
    /// # Errors
    /// When a file can not be written.
    pub(super) fn apply(&self, subject: &Subject, dir: &Path) -> Result {
        let files = &subject.tree.files;
        let place = |index: usize| dir.join(&files[index].0);
        match *self {
            Self::Byte(index, at, pattern) => {
                let mut content = files[index].1.clone();
                content[at] = match pattern {
                    Pattern::Bit => content[at] ^ 1 << (at % 8),
                    Pattern::All => !content[at],
                    Pattern::Zero => 0,
                };
                std::fs::write(place(index), content)?;
            }
            Self::Whole(index, Whole::Gone) => std::fs::remove_file(place(index))?,
            Self::Whole(index, whole) => {
                let mut content = files[index].1.clone();
                match whole {
                    Whole::CutByOne => content.truncate(content.len().saturating_sub(1)),
                    Whole::CutInHalf => content.truncate(content.len() / 2),
                    Whole::Emptied => content.clear(),
                    Whole::Extended => content.extend([7; 100]),
                    Whole::Zeroed | Whole::Gone => content.fill(0),
                }
                std::fs::write(place(index), content)?;
            }
            Self::Exchanged(one, other) => {
                std::fs::write(place(one), &files[other].1)?;
                std::fs::write(place(other), &files[one].1)?;
            }
            Self::Rows(rows) => rows.apply(dir)?,
            Self::SetBack(index) => {
                let path = &files[index].0;
                match subject.older.files.iter().find(|(older, _)| older == path) {
                    Some((_, content)) => std::fs::write(place(index), content)?,
                    None => std::fs::remove_file(place(index))?,
                }
            }
        }
        Ok(())
    }

    /// Whether a store may answer with what was true at an earlier moment: it was set back as a whole,
    /// or the log of what came later is cut short, which a power cut does as well.
    pub(super) fn may_set_back(&self, subject: &Subject) -> bool {
        let is_log = |index: usize| subject.tree.files[index].0.ends_with(LOG);
        match *self {
            Self::Byte(index, ..) | Self::Whole(index, _) => is_log(index),
            Self::Exchanged(one, other) => {
                is_log(one) || is_log(other) || {
                    // A copy of the refs in the place of the refs.
                    let is_refs = |index: usize| subject.tree.files[index].0.ends_with(".db");
                    is_refs(one) && is_refs(other)
                }
            }
            Self::SetBack(_) => true,
            Self::Rows(_) => false,
        }
    }

    /// In a few words, for people.
    pub(super) fn about(&self, subject: &Subject) -> String {
        let name = |index: usize| subject.tree.files[index].0.as_str();
        match *self {
            Self::Byte(index, at, pattern) => {
                let byte = subject.tree.files[index].1[at];
                format!("{} byte {at} ({byte:#04x}) {pattern:?}", name(index))
            }
            Self::Whole(index, whole) => format!("{} {whole:?}", name(index)),
            Self::Exchanged(one, other) => format!("{} and {} exchanged", name(one), name(other)),
            Self::SetBack(index) => format!("{} of an earlier moment", name(index)),
            Self::Rows(rows) => rows.about(),
        }
    }
}
