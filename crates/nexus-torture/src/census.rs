//! Counts what a store has on its disk, and compares it with what its paths need and with what the
//! store says of itself: after a collection nothing is there twice, too much or too little.
//!
//! For stores that keep large content as one blob each, and that no process has open.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::StreamExt;
use nexus_fs::{CollectOptions, Digest, Kernel, ListOptions, Outcome, Usage};

use crate::check::{Fault, Findings};
use crate::support::{self, MOUNT, Result};

/// Content up to this size is kept beside the refs, in bytes.
pub const INLINE: u64 = 16 << 10;

/// Content above this size has a tree beside it, in bytes.
const TREE_ABOVE: u64 = 64 << 10;

/// What may lie beside the blobs when no process has the store open.
const OTHERS: [&str; 4] = ["store.json", "refs.db", "opening", "reserve"];

/// Reads everything back, collects, and counts.
pub async fn take(dir: &Path, options: &str, findings: &mut Findings) {
    if let Err(error) = try_take(dir, options, findings).await {
        findings.0.push((Fault::Refused, format!("no census: {error}")));
    }
}

async fn try_take(dir: &Path, options: &str, findings: &mut Findings) -> Result {
    let store = support::open(dir, options).await?;
    verify(&store, findings).await?;
    let all = CollectOptions { delete: true, force: true };
    store.collect(MOUNT, &all).await?;
    let left = store.collect(MOUNT, &CollectOptions::default()).await?;
    if left.garbage > 0 {
        let text = format!("{} contents are garbage after a collection", left.garbage);
        findings.0.push((Fault::Extra, text));
    }
    let (files, contents) = needed(&store).await?;
    let usage = store.usage(MOUNT).await?;
    store.close().await?;
    let kept = Kept::below(&dir.join(".nexus"), findings)?;
    kept.compare(&contents, findings);
    let expected = Usage {
        files: files.0,
        logical_bytes: files.1,
        contents: contents.len() as u64,
        stored_bytes: kept.bytes() + contents.values().filter(|size| **size <= INLINE).sum::<u64>(),
    };
    if usage != expected {
        findings.0.push((Fault::Extra, format!("the store says {usage:?}, and has {expected:?}")));
    }
    Ok(())
}

async fn verify(store: &Kernel, findings: &mut Findings) -> Result {
    let mut verified = store.verify(MOUNT, &Default::default()).await?;
    while let Some(content) = verified.next().await.transpose()? {
        if !matches!(content.outcome, Outcome::Good) {
            let text = format!("{}: {:?}", content.digest, content.outcome);
            findings.0.push((Fault::Dangling, text));
        }
    }
    Ok(())
}

/// How many files there are with how many bytes, and the contents that they need with their sizes.
async fn needed(store: &Kernel) -> Result<((u64, u64), BTreeMap<Digest, u64>)> {
    let options = ListOptions { recursive: true, ..Default::default() };
    let mut listing = store.list(MOUNT, &options).await?;
    let (mut files, mut contents) = ((0, 0), BTreeMap::new());
    while let Some(entry) = listing.next().await.transpose()? {
        if entry.metadata.is_dir() {
            continue;
        }
        let size = entry.metadata.size.ok_or("a file is listed without a size")?;
        let digest = entry.metadata.digest.ok_or("a file is listed without a digest")?;
        files = (files.0 + 1, files.1 + size);
        contents.insert(digest, size);
    }
    Ok((files, contents))
}

/// The blobs and trees on the disk by their names, with their sizes.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) blobs: BTreeMap<Digest, u64>,
    trees: BTreeMap<Digest, u64>,
}

impl Kept {
    /// What a store has; everything that nobody needs is a finding.
    pub(crate) fn below(store: &Path, findings: &mut Findings) -> Result<Self> {
        let mut kept = Self::default();
        for (path, name) in files(store)? {
            if OTHERS.contains(&name.as_str()) || path.parent() == Some(&store.join("backup")) {
                continue;
            }
            let size = path.metadata()?.len();
            let (hex, map) = match name.strip_suffix(".tree") {
                Some(hex) => (hex, &mut kept.trees),
                None => (name.as_str(), &mut kept.blobs),
            };
            match hex.parse::<Digest>() {
                Ok(digest) if path.starts_with(store.join("blobs").join(&hex[..2])) => {
                    map.insert(digest, size);
                }
                _ => findings.0.push((Fault::Extra, format!("{} was left", path.display()))),
            }
        }
        Ok(kept)
    }

    /// Their bytes together.
    fn bytes(&self) -> u64 {
        self.blobs.values().chain(self.trees.values()).sum()
    }

    fn compare(&self, contents: &BTreeMap<Digest, u64>, findings: &mut Findings) {
        let above = |limit| contents.iter().filter(move |(_, size)| **size > limit);
        let blobs: BTreeSet<_> = above(INLINE).collect();
        let found: BTreeSet<_> = self.blobs.iter().collect();
        let mut count = |fault, what: &str, count: usize| {
            if count > 0 {
                findings.0.push((fault, format!("{count} {what}")));
            }
        };
        count(Fault::Dangling, "blobs are missing", blobs.difference(&found).count());
        count(Fault::Extra, "blobs that no path needs", found.difference(&blobs).count());
        let trees: BTreeSet<_> = above(TREE_ABOVE).map(|(digest, _)| digest).collect();
        let found: BTreeSet<_> = self.trees.keys().collect();
        count(Fault::Extra, "trees that no path needs", found.difference(&trees).count());
        count(Fault::Extra, "trees are missing", trees.difference(&found).count());
    }
}

/// Every file below `dir`, with its name.
pub(crate) fn files(dir: &Path) -> Result<Vec<(std::path::PathBuf, String)>> {
    let (mut files, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => dirs.push(entry.path()),
                false => {
                    files.push((entry.path(), entry.file_name().to_string_lossy().into_owned()));
                }
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::{Content, at};

    async fn census(dir: &Path) -> Vec<(Fault, String)> {
        let mut findings = Findings::default();
        take(dir, "layout=cas", &mut findings).await;
        findings.0
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_missing_or_too_much_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = support::open(folder.path(), "layout=cas").await.unwrap();
        for len in [100, 20_000, 100_000] {
            let content = Content { seed: 1, len }.bytes();
            store.write(at(&format!("{len}")), content, &Default::default()).await.unwrap();
        }
        store.close().await.unwrap();
        assert_eq!(census(folder.path()).await, []);
        let owner = folder.path().join(".nexus/quarantine/left");
        std::fs::write(&owner, "").unwrap();
        assert_eq!(census(folder.path()).await[0].0, Fault::Extra);
        std::fs::remove_file(&owner).unwrap();
        let kept = files(&folder.path().join(".nexus/blobs")).unwrap();
        let tree = kept.iter().find(|(_, name)| name.ends_with(".tree")).unwrap();
        std::fs::rename(&tree.0, tree.0.with_extension("")).unwrap();
        assert!(census(folder.path()).await.iter().any(|(fault, _)| *fault == Fault::Dangling));
    }
}
