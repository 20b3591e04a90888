//! The collector: finds what nothing refers to, and has the refs delete it. Looking changes nothing;
//! whether something is garbage is asked again in the transaction that deletes it.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use nexus_core::{CollectOptions, Collected, Digest, Error, ErrorKind, Result};

use crate::names::{self, Kept};
use crate::refs::{Content, Place};
use crate::store::Store;

/// How many contents are asked about at once.
const PAGE: usize = 128;

/// What one directory of blobs holds: the bytes of each content with its tree. A tree without a blob is
/// left from a write that did not come to its end.
#[derive(Default)]
struct Found {
    contents: BTreeMap<Digest, u64>,
    blobs: u64,
}

pub(crate) async fn collect(store: &Store, options: &CollectOptions) -> Result<Collected> {
    let (mut collected, mut stored) = (Collected::default(), 0);
    let mut garbage = Vec::new();
    for first in 0..=u8::MAX {
        let found = look(store, first).await?;
        collected.scanned += found.blobs;
        stored += found.contents.values().sum::<u64>();
        let digests: Vec<_> = found.contents.keys().copied().collect();
        for page in digests.chunks(PAGE) {
            let unneeded = store.refs.unneeded(page.to_vec()).await?;
            collected.garbage += unneeded.len() as u64;
            collected.garbage_bytes +=
                unneeded.iter().filter_map(|digest| found.contents.get(digest)).sum::<u64>();
            if options.delete {
                garbage.extend(unneeded);
            }
        }
    }
    // What is beside the refs was not met on the disk.
    collected.scanned = collected.scanned.max(store.refs.usage().await?.contents);
    let mut after = None;
    loop {
        let page = unreferenced(store, &mut after).await?;
        if page.is_empty() {
            break;
        }
        // The others are blobs, which were counted, or nothing.
        for content in page.iter().filter(|content| content.place != Some(Place::Blob)) {
            collected.garbage += 1;
            collected.garbage_bytes += content.stored;
            stored += content.stored;
        }
    }
    if !options.delete {
        return Ok(collected);
    }
    check_limit(&collected, stored, options)?;
    // What is damaged may say that nobody needs what somebody does.
    store.refs.audit().await?;
    for page in garbage.chunks(PAGE) {
        collected.deleted += store.refs.collect(page.to_vec()).await?;
    }
    collected.deleted += forget_leftovers(store).await?;
    Ok(collected)
}

async fn look(store: &Store, first: u8) -> Result<Found> {
    let mut found = Found::default();
    let mut entries = store.blobs.list(first).await?;
    while let Some(entry) = entries.next().await.transpose()? {
        let Some(kept) = names::parse(&entry.path) else { continue };
        let digest = match kept {
            Kept::Blob(digest) => {
                found.blobs += 1;
                digest
            }
            Kept::Tree(digest) => digest,
        };
        *found.contents.entry(digest).or_default() += entry.metadata.size.unwrap_or_default();
    }
    Ok(found)
}

fn check_limit(collected: &Collected, stored: u64, options: &CollectOptions) -> Result<()> {
    let limit = u128::from(stored) * u128::from(CollectOptions::LIMIT_PERCENT) / 100;
    if options.force || u128::from(collected.garbage_bytes) <= limit {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::PreconditionFailed,
        format!(
            "{} of {stored} stored bytes are garbage, more than {} %",
            collected.garbage_bytes,
            CollectOptions::LIMIT_PERCENT
        ),
    )
    .with_hint("when that is what you expect, collect with force"))
}

/// Contents that the refs know of and no path has: they are beside the refs, or their blobs went when a
/// collector died before it could say so. Answers how many of the first kind there were.
async fn forget_leftovers(store: &Store) -> Result<u64> {
    let (mut after, mut deleted) = (None, 0);
    loop {
        let page = unreferenced(store, &mut after).await?;
        if page.is_empty() {
            return Ok(deleted);
        }
        let (blobs, others): (Vec<_>, Vec<_>) =
            page.iter().partition(|content| content.place == Some(Place::Blob));
        let digests = |contents: Vec<&Content>| contents.iter().map(|c| c.digest).collect();
        store.refs.collect(digests(blobs)).await?;
        deleted += store.refs.collect(digests(others)).await?;
    }
}

/// The next contents that no path has, none at the end.
async fn unreferenced(store: &Store, after: &mut Option<Digest>) -> Result<Vec<Content>> {
    let page = store.refs.unreferenced(*after, PAGE).await?;
    *after = page.last().map(|content| content.digest).or(*after);
    Ok(page)
}
