//! `write`: whole objects, atomically, under each mode.

use std::collections::{BTreeMap, HashMap, HashSet};

use nexus_core::{
    Backend, Bytes, Digest, ErrorKind, Operation, ReadOptions, Result, Version, WriteMode,
    WriteOptions,
};

use super::cases;
use super::subject::{self, Subject, agree, done, refused, watched};
use crate::support::{content, path, together};

cases! {
    stores_and_answers_what_was_stored: |c| c.write,
    overwrites: |c| c.write,
    stores_nothing_at_all: |c| c.write,
    stores_a_large_object_in_one_call: |c| c.write,
    makes_the_directories_above: |c| c.write,
    refuses_the_root: |c| c.write,
    refuses_a_directory: super::dirs::real,
    refuses_a_file_above: super::dirs::real,
    gives_each_state_a_version_of_its_own: |c| c.write && c.versions && !c.versions_repeat,
    gives_each_content_a_version_of_its_own: |c| c.write && c.versions && c.versions_repeat,
    create_makes_only_what_is_not_there: |c| c.write && c.create,
    create_wins_once: |c| c.write && c.create,
    replace_takes_exactly_one_version: |c| c.write && c.replace && c.versions,
    replace_of_nothing_leaves_no_directories: |c| c.write && c.replace && c.versions,
    replace_wins_once: |c| c.write && c.replace && c.versions,
    replace_loses_no_update: |c| c.write && c.replace && c.versions,
    is_seen_whole_or_not_at_all: |c| c.write,
    makes_shared_directories_at_once: |c| c.write,
    keeps_content_type: |c| c.write && c.content_type,
    keeps_user_metadata: |c| c.write && c.user_metadata,
}

async fn stores_and_answers_what_was_stored(store: &Subject) {
    let written = store.put("/a", "hello").await;
    assert!(written.is_file());
    assert_eq!(written.size, Some(5));
    assert_eq!(written.version.is_some(), store.capabilities().versions);
    agree(&written, &done(store.stat("/a").await));
    assert_eq!(store.get("/a").await, "hello");
    assert_eq!(store.children("/").await, ["/a"]);
}

async fn overwrites(store: &Subject) {
    store.put("/a", "a long first content").await;
    store.put("/b", "beside").await;
    let second = store.put("/a", "second").await;
    assert_eq!(second.size, Some(6));
    assert_eq!(store.get("/a").await, "second");
    assert_eq!(store.get("/b").await, "beside");
    agree(&second, &done(store.stat("/a").await));
}

async fn stores_nothing_at_all(store: &Subject) {
    store.put("/empty", "").await;
    let stat = done(store.stat("/empty").await);
    assert!(stat.is_file());
    assert_eq!(stat.size, Some(0));
    assert_eq!(store.get("/empty").await, "");
    store.put("/empty", "x").await;
    store.put("/empty", "").await;
    assert_eq!(store.get("/empty").await, "");
}

async fn stores_a_large_object_in_one_call(store: &Subject) {
    let limit = store.capabilities().limits.write_bytes.unwrap_or(u64::MAX);
    let size = usize::try_from(limit).unwrap_or(usize::MAX).min((3 << 20) + 17);
    let large = content(1, size);
    assert_eq!(store.put("/large", large.clone()).await.size, Some(size as u64));
    assert!(store.get("/large").await == large, "other bytes came back");
}

async fn makes_the_directories_above(store: &Subject) {
    store.put("/a/b/c", "deep").await;
    for directory in ["/a", "/a/b"] {
        let metadata = done(store.stat(directory).await);
        assert!(metadata.is_dir(), "{directory}");
        assert_eq!(metadata.size, None, "a directory has no content");
    }
    assert_eq!(store.children("/").await, ["/a/"]);
    assert_eq!(store.children("/a").await, ["/a/b/"]);
    assert_eq!(store.children("/a/b").await, ["/a/b/c"]);
}

async fn refuses_the_root(store: &Subject) {
    store.put("/a", "stays").await;
    store.unchanged(refused_everywhere(store, "/", ErrorKind::IsADirectory)).await;
}

async fn refuses_a_directory(store: &Subject) {
    store.put("/d/a", "stays").await;
    done(store.backend().create_dir(&path("/empty")).await);
    store.unchanged(refused_everywhere(store, "/d", ErrorKind::IsADirectory)).await;
    store.unchanged(refused_everywhere(store, "/empty", ErrorKind::IsADirectory)).await;
}

async fn refuses_a_file_above(store: &Subject) {
    store.put("/f", "stays").await;
    store.unchanged(refused_everywhere(store, "/f/x", ErrorKind::NotADirectory)).await;
    store.unchanged(refused_everywhere(store, "/f/x/y/z", ErrorKind::NotADirectory)).await;
}

/// No write and no upload is taken at `at`, in any mode that does not look at a version.
async fn refused_everywhere(store: &Subject, at: &str, kind: ErrorKind) {
    let capabilities = store.capabilities();
    let modes = [Some(WriteMode::Overwrite), capabilities.create.then_some(WriteMode::Create)];
    for options in modes.into_iter().flatten().map(WriteOptions::from) {
        let written = store.backend().write(&path(at), "x".into(), &options).await;
        refused(written, kind, Operation::Write, &[at]);
        let uploaded = store.upload(at, &["x".into()], &options).await;
        refused(uploaded, kind, Operation::Upload, &[at]);
    }
}

async fn gives_each_state_a_version_of_its_own(store: &Subject) {
    let mut seen = HashSet::new();
    for round in 0..50_u32 {
        // The same size, and as close together in time as the store can.
        let text = if round % 2 == 0 { "even" } else { "same" };
        let version = store.put("/a", text).await.version.expect("a version");
        for look in 0..2 {
            assert_eq!(done(store.stat("/a").await).version.as_ref(), Some(&version), "{look}");
            assert_eq!(store.get("/a").await, text);
        }
        assert!(seen.insert(version), "a version was given out twice");
    }
}

async fn gives_each_content_a_version_of_its_own(store: &Subject) {
    let mut seen = HashSet::new();
    for round in 10..60_u32 {
        let version = store.put("/a", round.to_string()).await.version.expect("a version");
        assert_eq!(done(store.stat("/a").await).version.as_ref(), Some(&version));
        assert!(seen.insert(version), "a version was given out for two contents");
    }
}

async fn create_makes_only_what_is_not_there(store: &Subject) {
    let create = WriteOptions::from(WriteMode::Create);
    done(store.backend().write(&path("/d/a"), "first".into(), &create).await);
    assert_eq!(store.get("/d/a").await, "first");
    store
        .unchanged(async {
            let again = store.backend().write(&path("/d/a"), "second".into(), &create).await;
            refused(again, ErrorKind::AlreadyExists, Operation::Write, &["/d/a"]);
        })
        .await;
    store.delete("/d/a").await.unwrap();
    done(store.backend().write(&path("/d/a"), "third".into(), &create).await);
    assert_eq!(store.get("/d/a").await, "third");
}

/// Sixteen writers at once, each with content of its own: exactly one wins, the others fail with
/// `lost`, and the content is the winner's.
async fn one_wins(store: &Subject, mode: &WriteMode, lost: ErrorKind) {
    let outcomes = together(16, |index| {
        let (backend, options) = (store.shared(), WriteOptions::from(mode.clone()));
        async move { backend.write(&path("/race"), content(index as u64, 3000), &options).await }
    })
    .await;
    let winners: Vec<_> = (0..16).filter(|index| outcomes[*index].is_ok()).collect();
    assert_eq!(winners.len(), 1, "winners: {winners:?}");
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        refused(outcome, lost, Operation::Write, &["/race"]);
    }
    assert_eq!(store.get("/race").await, content(winners[0] as u64, 3000));
}

async fn create_wins_once(store: &Subject) {
    for _ in 0..10 {
        one_wins(store, &WriteMode::Create, ErrorKind::AlreadyExists).await;
        store.delete("/race").await.unwrap();
    }
}

async fn replace_takes_exactly_one_version(store: &Subject) {
    let first = store.put("/a", "first").await.version.unwrap();
    let replace = |version: &Version| WriteOptions::from(WriteMode::Replace(version.clone()));
    let written = store.backend().write(&path("/a"), "second".into(), &replace(&first)).await;
    let second = done(written).version.unwrap();
    assert_eq!(store.get("/a").await, "second");
    store
        .unchanged(async {
            let stale = store.backend().write(&path("/a"), "x".into(), &replace(&first)).await;
            refused(stale, ErrorKind::PreconditionFailed, Operation::Write, &["/a"]);
        })
        .await;
    done(store.backend().write(&path("/a"), "third".into(), &replace(&second)).await);
    assert_eq!(store.get("/a").await, "third");
}

async fn replace_of_nothing_leaves_no_directories(store: &Subject) {
    let version = store.put("/a", "first").await.version.unwrap();
    let replace = WriteOptions::from(WriteMode::Replace(version));
    store
        .unchanged(async {
            for at in ["/b", "/c/d"] {
                let nothing = store.backend().write(&path(at), "x".into(), &replace).await;
                refused(nothing, ErrorKind::NotFound, Operation::Write, &[at]);
                let nothing = store.upload(at, &["x".into()], &replace).await;
                refused(nothing, ErrorKind::NotFound, Operation::Upload, &[at]);
            }
        })
        .await;
}

async fn replace_wins_once(store: &Subject) {
    for round in 0..10 {
        let version = store.put("/race", format!("round {round}")).await.version.unwrap();
        one_wins(store, &WriteMode::Replace(version), ErrorKind::PreconditionFailed).await;
    }
}

/// Adds one to the number at `/count`, as often as it takes.
async fn increment(backend: &dyn Backend) -> Result<()> {
    loop {
        let (metadata, text) = subject::read(backend, "/count", &ReadOptions::default()).await?;
        let number: u32 = std::str::from_utf8(&text).unwrap().parse().unwrap();
        let options = WriteOptions::from(WriteMode::Replace(metadata.version.unwrap()));
        // Lets the other tasks read the same version.
        tokio::task::yield_now().await;
        let next = Bytes::from((number + 1).to_string());
        match backend.write(&path("/count"), next, &options).await {
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
            written => return written.map(drop),
        }
    }
}

async fn replace_loses_no_update(store: &Subject) {
    store.put("/count", "0").await;
    let outcomes = together(8, |_| {
        let backend = store.shared();
        async move {
            for _ in 0..8 {
                increment(&*backend).await?;
            }
            Ok(())
        }
    })
    .await;
    outcomes.into_iter().for_each(done);
    assert_eq!(store.get("/count").await, "64");
}

/// While one task overwrites, readers see whole states only, and each with its own metadata.
async fn is_seen_whole_or_not_at_all(store: &Subject) {
    const STATES: u64 = 60;
    let state = |round: u64| content(round % STATES, 1000 + 700 * (round % STATES) as usize);
    store.put("/a", state(0)).await;
    let seen = watched(store, "/a", |round| async move {
        store.put("/a", state(round)).await;
    })
    .await;
    let states: HashSet<Bytes> = (0..STATES).map(state).collect();
    let mut versions: HashMap<Version, Bytes> = HashMap::new();
    for (metadata, bytes) in seen {
        assert!(states.contains(&bytes), "bytes that nobody wrote as a whole");
        assert_eq!(metadata.size, Some(bytes.len() as u64), "the size of another state");
        if let Some(digest) = metadata.digest {
            assert_eq!(digest, Digest::of(&bytes), "the digest of another state");
        }
        if let Some(version) = metadata.version {
            let known = versions.entry(version).or_insert_with(|| bytes.clone());
            assert!(*known == bytes, "one version for two states");
        }
    }
}

async fn makes_shared_directories_at_once(store: &Subject) {
    let written = together(16, |index| {
        let backend = store.shared();
        async move {
            let at = path(&format!("/new/deep/{index:02}"));
            backend.write(&at, "x".into(), &WriteOptions::default()).await
        }
    })
    .await;
    for metadata in written {
        done(metadata);
    }
    assert_eq!(store.children("/new/deep").await.len(), 16);
}

async fn keeps_content_type(store: &Subject) {
    let options =
        WriteOptions { content_type: Some("text/csv".to_owned()), ..WriteOptions::default() };
    let written = done(store.backend().write(&path("/a"), "1,2".into(), &options).await);
    let read = done(store.read("/a", &ReadOptions::default()).await).0;
    let uploaded = done(store.upload("/b", &["3,4".into()], &options).await);
    for metadata in [written, read, uploaded, done(store.stat("/a").await)] {
        assert_eq!(metadata.content_type.as_deref(), Some("text/csv"));
    }
    store.put("/a", "plain").await;
    let now = done(store.stat("/a").await).content_type;
    assert_ne!(now.as_deref(), Some("text/csv"), "it belongs to the object that was replaced");
}

async fn keeps_user_metadata(store: &Subject) {
    let user: BTreeMap<_, _> =
        [("colour", "blue"), ("empty", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let options = WriteOptions { user: user.clone(), ..WriteOptions::default() };
    let written = done(store.backend().write(&path("/a"), "x".into(), &options).await);
    let read = done(store.read("/a", &ReadOptions::default()).await).0;
    let uploaded = done(store.upload("/b", &["y".into()], &options).await);
    for metadata in [written, read, uploaded, done(store.stat("/b").await)] {
        assert_eq!(metadata.user, user);
    }
    store.put("/a", "plain").await;
    assert!(done(store.stat("/a").await).user.is_empty(), "it belongs to what was replaced");
}
