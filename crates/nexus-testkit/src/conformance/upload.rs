//! `upload`: pieces that become an object at once, or leave nothing.

use std::future::Future;

use nexus_core::{
    ByteRange, Bytes, ErrorKind, Operation, ReadOptions, Result, Upload, WriteMode, WriteOptions,
};

use super::cases;
use super::subject::{Subject, agree, done, refused};
use crate::support::{content, path, together};

cases! {
    joins_pieces_of_odd_sizes: |c| c.write,
    finishes_without_a_piece: |c| c.write,
    passes_over_empty_pieces: |c| c.write,
    replaces_what_was_there: |c| c.write,
    shows_nothing_before_it_finishes: |c| c.write,
    leaves_nothing_when_aborted: |c| c.write,
    leaves_nothing_when_dropped: |c| c.write,
    two_at_once_do_not_mix: |c| c.write,
    create_is_checked_when_it_finishes: |c| c.write && c.create,
    create_wins_once: |c| c.write && c.create,
    create_is_refused_where_something_is: |c| c.write && c.create,
    replace_is_checked_when_it_finishes: |c| c.write && c.replace && c.versions,
    replace_takes_the_right_version: |c| c.write && c.replace && c.versions,
    makes_the_directories_above: |c| c.write,
    fails_when_a_directory_appears_meanwhile: super::dirs::real,
    is_named_last: |c| c.write && c.create && c.upload_named_last,
    can_not_be_named_last: |c| c.write && !c.upload_named_last,
}

/// Large enough that every store streams it.
const LARGE: usize = (8 << 20) + 13;

/// `whole` in pieces of sizes that no store would choose.
fn pieces(whole: &Bytes) -> Vec<Bytes> {
    let sizes = [1, 8191, 4096, 65_537, 1_048_577, 3, 262_144].into_iter().cycle();
    let (mut rest, mut pieces) = (whole.clone(), Vec::new());
    for size in sizes {
        if rest.is_empty() {
            break;
        }
        pieces.push(rest.split_to(size.min(rest.len())));
    }
    pieces
}

async fn joins_pieces_of_odd_sizes(store: &Subject) {
    let whole = content(7, LARGE);
    let done_with = done(store.upload("/d/large", &pieces(&whole), &WriteOptions::default()).await);
    assert_eq!(done_with.size, Some(LARGE as u64));
    agree(&done_with, &done(store.stat("/d/large").await));
    let (metadata, bytes) = done(store.read("/d/large", &ReadOptions::default()).await);
    assert_eq!(metadata.size, Some(LARGE as u64));
    assert!(bytes == whole, "other bytes came back");
    for (start, end) in [(0, 10), (4095, 8193), (1 << 20, 5 << 20), (LARGE - 5, LARGE)] {
        let range = ByteRange::new(start as u64, Some(end as u64)).unwrap();
        let (metadata, part) = done(store.read("/d/large", &ReadOptions::range(range)).await);
        assert_eq!(metadata.size, Some(LARGE as u64), "the size of the whole");
        assert!(part == whole.slice(start..end), "other bytes came back for {start}..{end}");
    }
}

async fn finishes_without_a_piece(store: &Subject) {
    let finished = done(store.upload("/empty", &[], &WriteOptions::default()).await);
    assert_eq!(finished.size, Some(0));
    assert_eq!(store.get("/empty").await, "");
    assert_eq!(store.children("/").await, ["/empty"]);
}

async fn passes_over_empty_pieces(store: &Subject) {
    let pieces = ["", "ab", "", "", "c", ""].map(Bytes::from);
    done(store.upload("/a", &pieces, &WriteOptions::default()).await);
    assert_eq!(store.get("/a").await, "abc");
}

async fn replaces_what_was_there(store: &Subject) {
    let first = store.put("/a", "a long first content").await;
    let second = done(store.upload("/a", &["two".into()], &WriteOptions::default()).await);
    assert_eq!(store.get("/a").await, "two");
    if store.capabilities().versions {
        assert_ne!(first.version, second.version);
    }
}

async fn shows_nothing_before_it_finishes(store: &Subject) {
    store.put("/old", "old").await;
    for (at, whole) in
        [("/old", content(1, LARGE)), ("/new", "new".into()), ("/d/e", "deep".into())]
    {
        let mut upload = done(store.backend().upload(&path(at), &WriteOptions::default()).await);
        store
            .unchanged(async {
                for piece in pieces(&whole) {
                    done(upload.write(piece).await);
                }
            })
            .await;
        let before = store.tree().await;
        done(upload.finish().await);
        assert_ne!(store.tree().await, before);
        assert!(store.get(at).await == whole, "other bytes came back from {at}");
    }
}

/// Begins uploads of several sizes in several places, and gives each up in the way of `give_up`.
async fn given_up<F>(store: &Subject, give_up: impl Fn(Box<dyn Upload>) -> F + Send + Sync)
where
    F: Future<Output = Result<()>> + Send,
{
    store.put("/old", "old").await;
    store
        .unchanged(async {
            for (at, size) in [("/old", 10), ("/new", LARGE), ("/d/e/f", 10), ("/none", 0)] {
                let upload = store.backend().upload(&path(at), &WriteOptions::default()).await;
                let mut upload = done(upload);
                for piece in pieces(&content(2, size)) {
                    done(upload.write(piece).await);
                }
                done(give_up(upload).await);
            }
        })
        .await;
}

async fn leaves_nothing_when_aborted(store: &Subject) {
    given_up(store, |upload| upload.abort()).await;
}

async fn leaves_nothing_when_dropped(store: &Subject) {
    given_up(store, |upload| async move {
        drop(upload);
        Ok(())
    })
    .await;
}

async fn two_at_once_do_not_mix(store: &Subject) {
    let options = WriteOptions::default();
    let mut one = done(store.backend().upload(&path("/a"), &options).await);
    let mut two = done(store.backend().upload(&path("/a"), &options).await);
    for _ in 0..3 {
        done(one.write("1".into()).await);
        done(two.write("22".into()).await);
    }
    done(two.finish().await);
    assert_eq!(store.get("/a").await, "222222");
    done(one.finish().await);
    assert_eq!(store.get("/a").await, "111");
    assert_eq!(store.children("/").await, ["/a"]);
}

async fn create_is_checked_when_it_finishes(store: &Subject) {
    let create = WriteOptions::from(WriteMode::Create);
    let mut upload = done(store.backend().upload(&path("/a"), &create).await);
    done(upload.write("late".into()).await);
    store.put("/a", "first").await;
    store
        .unchanged(async {
            refused(upload.finish().await, ErrorKind::AlreadyExists, Operation::Upload, &["/a"]);
        })
        .await;
}

async fn create_wins_once(store: &Subject) {
    let outcomes = together(16, |index| {
        let backend = store.shared();
        async move {
            let create = WriteOptions::from(WriteMode::Create);
            let mut upload = backend.upload(&path("/race"), &create).await?;
            upload.write(content(index as u64, 3000)).await?;
            upload.finish().await
        }
    })
    .await;
    let winners: Vec<_> = (0..16).filter(|index| outcomes[*index].is_ok()).collect();
    assert_eq!(winners.len(), 1, "winners: {winners:?}");
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        refused(outcome, ErrorKind::AlreadyExists, Operation::Upload, &["/race"]);
    }
    assert_eq!(store.get("/race").await, content(winners[0] as u64, 3000));
    assert_eq!(store.children("/").await, ["/race"]);
}

async fn create_is_refused_where_something_is(store: &Subject) {
    store.put("/a", "first").await;
    let create = WriteOptions::from(WriteMode::Create);
    store
        .unchanged(async {
            let again = store.upload("/a", &["second".into()], &create).await;
            refused(again, ErrorKind::AlreadyExists, Operation::Upload, &["/a"]);
        })
        .await;
}

async fn replace_is_checked_when_it_finishes(store: &Subject) {
    for (gone, kind) in [(false, ErrorKind::PreconditionFailed), (true, ErrorKind::NotFound)] {
        let version = store.put("/a", "first").await.version.unwrap();
        let replace = WriteOptions::from(WriteMode::Replace(version));
        let mut upload = done(store.backend().upload(&path("/a"), &replace).await);
        done(upload.write("late".into()).await);
        if gone {
            done(store.delete("/a").await);
        } else {
            store.put("/a", "second").await;
        }
        store
            .unchanged(async {
                refused(upload.finish().await, kind, Operation::Upload, &["/a"]);
            })
            .await;
    }
}

async fn replace_takes_the_right_version(store: &Subject) {
    let version = store.put("/a", "first").await.version.unwrap();
    let replace = WriteOptions::from(WriteMode::Replace(version));
    let second = done(store.upload("/a", &["sec".into(), "ond".into()], &replace).await);
    assert_eq!(store.get("/a").await, "second");
    agree(&second, &done(store.stat("/a").await));
}

async fn makes_the_directories_above(store: &Subject) {
    done(store.upload("/a/b/c", &["x".into()], &WriteOptions::default()).await);
    assert_eq!(store.children("/a").await, ["/a/b/"]);
    assert_eq!(store.get("/a/b/c").await, "x");
}

async fn fails_when_a_directory_appears_meanwhile(store: &Subject) {
    let options = WriteOptions::default();
    let mut onto = done(store.backend().upload(&path("/a"), &options).await);
    let mut below = done(store.backend().upload(&path("/f/x"), &options).await);
    done(onto.write("x".into()).await);
    done(below.write("x".into()).await);
    done(store.backend().create_dir(&path("/a")).await);
    store.put("/f", "a file").await;
    store
        .unchanged(async {
            refused(onto.finish().await, ErrorKind::IsADirectory, Operation::Upload, &["/a"]);
            let below = below.finish().await;
            refused(below, ErrorKind::NotADirectory, Operation::Upload, &["/f/x"]);
        })
        .await;
}

async fn is_named_last(store: &Subject) {
    let options = WriteOptions::from(WriteMode::Create);
    let whole = content(3, 100_000);
    let mut upload = store.backend().upload(&path("/unnamed"), &options).await.unwrap();
    upload.write(whole.clone()).await.unwrap();
    upload.publish_at(path("/d/named")).unwrap();
    upload.finish().await.unwrap();
    let (_, bytes) = done(store.read("/d/named", &ReadOptions::default()).await);
    assert!(bytes == whole, "other bytes came back");
    let first = store.stat("/unnamed").await.unwrap_err();
    assert_eq!(first.kind(), ErrorKind::NotFound, "the first name");
    // The mode holds for the last name.
    let mut second = store.backend().upload(&path("/other"), &options).await.unwrap();
    second.publish_at(path("/d/named")).unwrap();
    assert_eq!(second.finish().await.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

async fn can_not_be_named_last(store: &Subject) {
    let mut upload =
        store.backend().upload(&path("/first"), &WriteOptions::default()).await.unwrap();
    let refused = upload.publish_at(path("/last")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    upload.finish().await.unwrap();
    assert!(store.stat("/first").await.is_ok());
}
