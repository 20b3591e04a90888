//! Opens a damaged store, asks it everything, verifies, deletes and collects.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use nexus_fs::{
    ByteRange, Bytes, CollectOptions, Error, ErrorKind, Kernel, ListOptions, Outcome, ReadOptions,
    VerifyOptions,
};

use super::damage::Damage;
use super::is_typed;
use super::judge::{Answer, Answers, Harm, Judged, judge};
use super::subject::{DELETED, Subject, below};
use crate::support::{self, MOUNT};
use crate::work::at;

/// A store that has not answered after so long does not answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Parts of files that are read: within a group of the tree, over the edge of one, at the end of the
/// smallest file that has a tree.
const PARTS: [Range<u64>; 4] = [0..1, 100..150, 16_000..17_000, 65_990..66_000];

/// What one damage did.
#[derive(Debug, Default)]
pub(super) struct Examined {
    pub(super) harms: Vec<(Harm, String)>,
    /// Errors that were answered.
    pub(super) kinds: BTreeSet<ErrorKind>,
    /// The store did not open.
    pub(super) refused: bool,
    /// `verify` found something.
    pub(super) told: bool,
    /// The answers are those of an earlier moment.
    pub(super) set_back: bool,
    /// The refs lost paths beside those that were deleted, and `verify` tells it.
    pub(super) lost_beside: bool,
    /// A path was missing, and no error said so before `verify` did.
    pub(super) missed: bool,
}

impl Examined {
    fn error(&mut self, error: &Error) {
        self.kind(error.kind(), &error.to_string());
    }

    fn kind(&mut self, kind: ErrorKind, text: &str) {
        self.kinds.insert(kind);
        if !is_typed(kind) {
            self.harms.push((Harm::Untyped, format!("{kind}: {text}")));
        }
    }

    fn take(&mut self, judged: &mut Judged) {
        self.harms.append(&mut judged.harms);
        for (kind, text) in &judged.errors {
            self.kind(*kind, text);
        }
    }
}

/// Examines the store in `dir`, to which `damage` was done.
pub(super) async fn examine(subject: &Subject, damage: &Damage, dir: &Path) -> Examined {
    let mut examined = Examined::default();
    let work = look(subject, damage, dir, &mut examined);
    if tokio::time::timeout(PATIENCE, work).await.is_err() {
        examined.harms.push((Harm::Hung, format!("no answer in {PATIENCE:?}")));
    }
    examined
}

async fn look(subject: &Subject, damage: &Damage, dir: &Path, examined: &mut Examined) {
    let store = match support::open(dir, subject.options).await {
        Ok(store) => store,
        Err(error) => {
            examined.refused = true;
            return examined.error(&error);
        }
    };
    let answers = ask(&store, subject).await;
    verify(&store, examined).await;
    let mut moment = subject.now();
    let mut judged = judge(&answers, moment);
    if damage.may_set_back(subject) && !judged.is_right() {
        let earlier = subject.moments.iter().rev().skip(1);
        let found = earlier
            .map(|moment| (moment, judge(&answers, moment)))
            .find(|(_, judged)| judged.harms.is_empty() && judged.missing.is_empty());
        if let Some((at, earlier)) = found {
            (moment, judged, examined.set_back) = (at, earlier, true);
        }
    }
    examined.take(&mut judged);
    let noticed = !judged.errors.is_empty() || !judged.missing.is_empty();
    if noticed && !examined.told && !judge(&ask(&store, subject).await, moment).is_right() {
        let text = format!("{:?} {:?}", judged.missing, judged.errors);
        examined.harms.push((Harm::Untold, text));
    }
    examined.missed = !judged.missing.is_empty() && judged.errors.is_empty();
    close(&store, examined).await;
    drop(store);
    let well = judged.well.iter().filter(|path| !DELETED.contains(&path.as_str()));
    collect(subject, dir, examined, well).await;
}

/// Deletes paths whose content has others, collects, and looks whether those that were well still are.
async fn collect(
    subject: &Subject,
    dir: &Path,
    examined: &mut Examined,
    well: impl Iterator<Item = &String>,
) {
    let store = match support::open(dir, subject.options).await {
        Ok(store) => store,
        Err(error) => return examined.error(&error),
    };
    for path in DELETED {
        match store.delete(at(path)).await {
            Err(error) if error.kind() != ErrorKind::NotFound => examined.error(&error),
            _ => {}
        }
    }
    let options = CollectOptions { delete: true, force: true };
    if let Err(error) = store.collect(MOUNT, &options).await {
        examined.error(&error);
    }
    let mut taken = Vec::new();
    for path in well {
        let known = subject.moments.iter().rev().find_map(|moment| moment.get(path));
        let content = known.and_then(|known| known.content.as_ref());
        match read(&store, path, &ReadOptions::default()).await {
            Ok(found) if Some(&found) == content => {}
            Ok(_) if examined.set_back => {}
            Ok(found) => {
                let text = format!("{path} after collecting: {} other bytes", found.len());
                examined.harms.push((Harm::Wrong, text));
            }
            Err((_, error)) => taken.push((Harm::Taken, format!("{path}: {error}"))),
        }
    }
    // A database can lose rows beside one that is deleted from a damaged page. That must be told.
    if !taken.is_empty() {
        let told = std::mem::take(&mut examined.told);
        verify(&store, examined).await;
        examined.lost_beside = examined.told;
        if !examined.told {
            examined.harms.append(&mut taken);
        }
        examined.told |= told;
    }
    close(&store, examined).await;
}

async fn close(store: &Kernel, examined: &mut Examined) {
    if let Err(error) = store.close().await {
        examined.error(&error);
    }
}

async fn verify(store: &Kernel, examined: &mut Examined) {
    let mut checking = match store.verify(MOUNT, &VerifyOptions::default()).await {
        Ok(checking) => checking,
        Err(error) => {
            examined.told = true;
            return examined.error(&error);
        }
    };
    while let Some(verified) = checking.next().await {
        match verified {
            Ok(verified) => examined.told |= !matches!(verified.outcome, Outcome::Good),
            Err(error) => {
                examined.told = true;
                examined.error(&error);
            }
        }
    }
}

/// Asks for everything that a store ever had.
async fn ask(store: &Kernel, subject: &Subject) -> Answers {
    let mut answers = Answers::default();
    for path in subject.paths() {
        let stat = store.stat(at(path)).await.map_err(described);
        answers.stats.insert(path.clone(), stat);
        answers.reads.insert(path.clone(), read(store, path, &ReadOptions::default()).await);
        let size =
            subject.now().get(path).and_then(|known| known.metadata.size).unwrap_or_default();
        for part in PARTS.into_iter().filter(|part| part.end <= size) {
            let Ok(range) = ByteRange::new(part.start, Some(part.end)) else { continue };
            let answer = read(store, path, &ReadOptions::range(range)).await;
            answers.parts.push((path.clone(), part, answer));
        }
    }
    for recursive in [true, false] {
        answers.listings.push((recursive, list(store, recursive).await.map_err(described)));
    }
    answers
}

async fn read(store: &Kernel, path: &str, options: &ReadOptions) -> Answer<Bytes> {
    let object = store.read(at(path), options).await.map_err(described)?;
    object.body.bytes(1 << 30).await.map_err(described)
}

async fn list(
    store: &Kernel,
    recursive: bool,
) -> nexus_fs::Result<Vec<(String, nexus_fs::Metadata)>> {
    let options = ListOptions { recursive, ..Default::default() };
    let mut listing = store.list(MOUNT, &options).await?;
    let mut entries = Vec::new();
    while let Some(entry) = listing.next().await.transpose()? {
        entries.push((below(entry.path.as_str()), entry.metadata));
    }
    Ok(entries)
}

fn described(error: Error) -> (ErrorKind, String) {
    (error.kind(), error.to_string())
}
