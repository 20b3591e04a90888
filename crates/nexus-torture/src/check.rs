//! Compares what a store answers with what must be there.
//!
//! Every operation that was acknowledged holds; the one in flight in a lane is wholly there or
//! wholly not; every file that is listed reads back; nothing else is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::StreamExt;
use nexus_fs::{ErrorKind, Kernel, ListOptions};

use crate::support::{self, MOUNT, Result};
use crate::work::{Content, Files, Lanes, at};

/// What a check found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The store can not be opened, listed or written to.
    Refused,
    /// What was acknowledged is not there, or an older content is.
    Lost,
    /// Content that nobody wrote, or one half of an operation.
    Torn,
    /// A file that is listed and can not be read.
    Dangling,
    /// A file that nobody wrote.
    Extra,
}

impl Fault {
    /// All of them, in the order in which they are reported.
    pub const ALL: [Self; 5] = [Self::Refused, Self::Lost, Self::Torn, Self::Dangling, Self::Extra];

    /// In one word, as the summaries have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Torn => "torn",
            Self::Dangling => "dangling",
            Self::Extra => "extra",
        }
    }
}

/// What was found wrong, each with a line that says what.
#[derive(Clone, Debug, Default)]
pub struct Findings(pub Vec<(Fault, String)>);

impl Findings {
    fn add(&mut self, fault: Fault, text: String) {
        self.0.push((fault, text));
    }

    /// Whether all is well.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How many checks found which fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally([u64; Fault::ALL.len()]);

impl Tally {
    /// Counts one check.
    pub fn add(&mut self, findings: &Findings) {
        let kinds: BTreeSet<_> = findings.0.iter().map(|(fault, _)| *fault).collect();
        for (count, fault) in self.0.iter_mut().zip(Fault::ALL) {
            *count += u64::from(kinds.contains(&fault));
        }
    }

    /// Adds another.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, other)| *count += other);
    }

    /// How many found this.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        Fault::ALL.iter().zip(self.0).filter(|(kind, _)| **kind == fault).map(|(_, n)| n).sum()
    }

    /// How many faults there are together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let texts =
            self.0.iter().zip(Fault::ALL).map(|(n, fault)| format!("{n} {}", fault.as_str()));
        f.write_str(&texts.collect::<Vec<_>>().join(", "))
    }
}

/// Opens the store in `dir`, compares it with `lanes`, does again what was in flight, and compares
/// once more. Afterwards nothing is in flight, and `lanes` says which files the store had *before*
/// anything was done again.
pub async fn visit(dir: &Path, options: &str, lanes: &mut Lanes) -> Findings {
    let mut findings = Findings::default();
    let store = match support::open(dir, options).await {
        Ok(store) => store,
        Err(error) => {
            findings.add(Fault::Refused, format!("the store does not open: {error}"));
            return findings;
        }
    };
    let before = lanes.clone();
    compare(&store, lanes, &mut findings).await;
    if findings.is_empty() {
        let mut healed = lanes.clone();
        redo(&store, &before, &mut healed, &mut findings).await;
        if findings.is_empty() {
            compare(&store, &mut healed, &mut findings).await;
        }
    }
    if let Err(error) = store.close().await {
        findings.add(Fault::Refused, format!("the store does not close: {error}"));
    }
    findings
}

/// Does again what was in flight, unless it is there and can not be done twice.
async fn redo(store: &Kernel, before: &Lanes, lanes: &mut Lanes, findings: &mut Findings) {
    for (before, lane) in before.0.iter().zip(&mut lanes.0) {
        let Some(op) = &before.in_flight else { continue };
        let done = lane.files != before.files;
        op.apply(&mut lane.files);
        match op.run(store).await {
            Ok(()) => {}
            Err(error) if done && error.kind() == ErrorKind::NotFound => {}
            Err(error) => findings.add(Fault::Refused, format!("again: {op}: {error}")),
        }
    }
}

/// What a path answers.
pub(crate) enum Found {
    Whole(Content),
    Bytes(usize),
    Unreadable(String),
}

impl Found {
    pub(crate) fn is(&self, content: Option<&Content>) -> bool {
        matches!((self, content), (Self::Whole(found), Some(content)) if found == content)
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(content) => write!(f, "content {content}"),
            Self::Bytes(length) => write!(f, "{length} bytes that nobody wrote"),
            Self::Unreadable(error) => f.write_str(error),
        }
    }
}

/// Compares; settles `lanes` as found.
async fn compare(store: &Kernel, lanes: &mut Lanes, findings: &mut Findings) {
    let mut found = match collect(store).await {
        Ok(found) => found,
        Err(error) => {
            findings.add(Fault::Refused, format!("the store can not be listed: {error}"));
            return;
        }
    };
    for (index, lane) in lanes.0.iter_mut().enumerate() {
        let prefix = format!("l{index}/");
        let rest = found.split_off(&prefix);
        let (inside, others): (BTreeMap<_, _>, _) =
            rest.into_iter().partition(|(path, _)| path.starts_with(&prefix));
        found.extend(others);
        let op = lane.in_flight.take();
        let mut after = lane.files.clone();
        if let Some(op) = &op {
            op.apply(&mut after);
        }
        let about =
            op.map_or_else(|| "nothing in flight".to_owned(), |op| format!("in flight: {op}"));
        if compare_lane(&inside, &lane.files, &after, &about, findings) {
            lane.files = after;
        }
    }
    for (path, content) in found {
        findings.add(Fault::Extra, format!("{path}: {content}, outside of every lane"));
    }
}

/// Compares one lane with its files before and after the operation in flight; answers whether it is
/// there.
fn compare_lane(
    found: &BTreeMap<String, Found>,
    before: &Files,
    after: &Files,
    about: &str,
    findings: &mut Findings,
) -> bool {
    let paths: BTreeSet<_> = found.keys().chain(before.keys()).chain(after.keys()).collect();
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for path in paths {
        let (was, will) = (before.get(path), after.get(path));
        let must = match (was, will) {
            (None, None) => "nothing".to_owned(),
            (Some(content), None) | (None, Some(content)) => format!("{content} or nothing"),
            (Some(was), Some(will)) if was == will => was.to_string(),
            (Some(was), Some(will)) => format!("{was} or {will}"),
        };
        let (is_old, is_new, fault, text) = match found.get(path) {
            None => (was.is_none(), will.is_none(), Fault::Lost, "nothing".to_owned()),
            Some(found) => {
                let fault = match found {
                    Found::Unreadable(_) => Fault::Dangling,
                    Found::Bytes(_) => Fault::Torn,
                    Found::Whole(_) if was.is_none() && will.is_none() => Fault::Extra,
                    Found::Whole(_) => Fault::Lost,
                };
                (found.is(was), found.is(will), fault, found.to_string())
            }
        };
        match (is_old, is_new) {
            (true, true) => {}
            (true, false) => old.push(path),
            (false, true) => new.push(path),
            (false, false) => findings.add(fault, format!("{path}: {text}, not {must} ({about})")),
        }
    }
    if !old.is_empty() && !new.is_empty() {
        let text = format!("half done: {old:?} as before, {new:?} as after ({about})");
        let gone = old.iter().chain(&new).all(|path| !found.contains_key(*path));
        findings.add(if gone { Fault::Lost } else { Fault::Torn }, text);
    }
    !new.is_empty()
}

/// Every file of the store by its path below the mount.
pub(crate) async fn collect(store: &Kernel) -> Result<BTreeMap<String, Found>> {
    let options = ListOptions { recursive: true, ..Default::default() };
    let mut listing = store.list(MOUNT, &options).await?;
    let mut found = BTreeMap::new();
    while let Some(entry) = listing.next().await.transpose()? {
        if entry.metadata.is_dir() {
            continue;
        }
        let path = entry.path.as_str().strip_prefix(MOUNT).unwrap_or_default();
        let path = path.trim_start_matches('/').to_owned();
        let size = entry.metadata.size;
        let content = match read(store, &path).await {
            Ok(bytes) if size.is_some_and(|size| size != bytes.len() as u64) => Found::Unreadable(
                format!("{} bytes, listed with {}", bytes.len(), size.unwrap_or_default()),
            ),
            Ok(bytes) => Content::of(&bytes).map_or(Found::Bytes(bytes.len()), Found::Whole),
            Err(error) => Found::Unreadable(format!("{error} ({})", error.kind())),
        };
        if found.insert(path.clone(), content).is_some() {
            return Err(format!("{path} is listed twice").into());
        }
    }
    Ok(found)
}

async fn read(store: &Kernel, path: &str) -> nexus_fs::Result<nexus_fs::Bytes> {
    store.read(at(path), &Default::default()).await?.body.bytes(1 << 30).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::Scratch;
    use crate::work::{Lane, Op};

    const OPTIONS: &str = "layout=plain";

    fn content(seed: u32) -> Content {
        Content { seed, len: 20_000 }
    }

    /// A store whose lane 0 must have `a`, with a file of this content in its place.
    async fn found_with(bytes: Option<&[u8]>, op: Option<Op>) -> (Vec<Fault>, Lanes) {
        let scratch = Scratch::new(None).unwrap();
        let store = scratch.path().join("store");
        let lane = store.join("l0");
        std::fs::create_dir_all(&lane).unwrap();
        if let Some(bytes) = bytes {
            std::fs::write(lane.join("a"), bytes).unwrap();
        }
        let files = Files::from([("l0/a".to_owned(), content(1))]);
        let mut lanes = Lanes(vec![Lane { files, in_flight: op }]);
        let findings = visit(&store, OPTIONS, &mut lanes).await;
        (findings.0.into_iter().map(|(fault, _)| fault).collect(), lanes)
    }

    #[tokio::test]
    async fn what_is_there_wholly_is_no_finding() {
        assert_eq!(found_with(Some(&content(1).bytes()), None).await.0, []);
        let op = Op::Write("l0/a".to_owned(), content(2));
        let (faults, lanes) = found_with(Some(&content(2).bytes()), Some(op.clone())).await;
        assert_eq!((faults, lanes.0[0].files["l0/a"]), (vec![], content(2)));
        let (faults, lanes) = found_with(Some(&content(1).bytes()), Some(op)).await;
        assert_eq!((faults, lanes.0[0].files["l0/a"]), (vec![], content(1)));
    }

    #[tokio::test]
    async fn what_is_lost_torn_or_extra_is_told_apart() {
        assert_eq!(found_with(None, None).await.0, [Fault::Lost]);
        assert_eq!(found_with(Some(&content(2).bytes()), None).await.0, [Fault::Lost]);
        assert_eq!(found_with(Some(&content(1).bytes()[..9_000]), None).await.0, [Fault::Torn]);
        assert_eq!(found_with(Some(&[0; 20_000]), None).await.0, [Fault::Torn]);
        let op = Op::Rename("l0/a".to_owned(), "l0/b".to_owned());
        assert_eq!(found_with(Some(&content(1).bytes()), Some(op.clone())).await.0, []);
        assert_eq!(found_with(None, Some(op)).await.0, [Fault::Lost]);
    }

    #[test]
    fn half_of_an_operation_is_torn() {
        let before = Files::from([("l0/a".to_owned(), content(1))]);
        let after = Files::from([("l0/b".to_owned(), content(1))]);
        let both = ["l0/a", "l0/b"].map(|path| (path.to_owned(), Found::Whole(content(1))));
        let mut findings = Findings::default();
        compare_lane(&both.into(), &before, &after, "", &mut findings);
        assert_eq!(findings.0[0].0, Fault::Torn);
        let mut findings = Findings::default();
        let unread = [("l0/a".to_owned(), Found::Unreadable("no".to_owned()))];
        compare_lane(&unread.into(), &before, &before, "", &mut findings);
        assert_eq!(findings.0[0].0, Fault::Dangling);
    }

    #[tokio::test]
    async fn a_store_that_does_not_open_is_a_finding() {
        let findings = visit(Path::new("/nowhere"), OPTIONS, &mut Lanes::new(1)).await;
        assert_eq!(findings.0[0].0, Fault::Refused);
    }
}
