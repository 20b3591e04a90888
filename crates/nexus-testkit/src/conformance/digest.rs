//! Digests: right where they are, absent where they are not promised.

use nexus_core::{Digest, Digests, ReadOptions, WriteOptions};

use super::cases;
use super::subject::{Subject, done};
use crate::support::content;

cases! {
    what_is_written_has_its_digest: |c| c.write && c.digests != Digests::None,
    nothing_is_made_up: |c| c.write && c.digests == Digests::None,
}

async fn what_is_written_has_its_digest(store: &Subject) {
    let large = content(1, (3 << 20) + 1);
    for whole in ["".into(), "hello".into(), large.clone(), "shorter".into()] {
        let digest = Some(Digest::of(&whole));
        assert_eq!(store.put("/a", whole.clone()).await.digest, digest);
        assert_eq!(done(store.stat("/a").await).digest, digest);
        assert_eq!(done(store.read("/a", &ReadOptions::default()).await).0.digest, digest);
        let range = ReadOptions::range((whole.len() / 2) as u64..);
        assert_eq!(done(store.read("/a", &range).await).0.digest, digest, "that of the whole");
    }
    let pieces = [large.slice(..100_000), large.slice(100_000..)];
    let uploaded = done(store.upload("/b", &pieces, &WriteOptions::default()).await);
    assert_eq!(uploaded.digest, Some(Digest::of(&large)));
    assert_eq!(done(store.stat("/b").await).digest, Some(Digest::of(&large)));
}

async fn nothing_is_made_up(store: &Subject) {
    assert_eq!(store.put("/a", "hello").await.digest, None);
    assert_eq!(done(store.stat("/a").await).digest, None);
}
