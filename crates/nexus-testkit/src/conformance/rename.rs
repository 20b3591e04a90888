//! `rename`: files and directories, atomically, and never over what must stay.

use std::collections::{BTreeMap, HashSet};

use nexus_core::{
    Capabilities, Directories, ErrorKind, Operation, Result, WriteMode, WriteOptions,
};

use super::cases;
use super::subject::{Found, Subject, done, refused, watched};
use crate::support::{content, path, together};

cases! {
    moves_a_file: files,
    moves_a_large_file: files,
    takes_everything_along: files,
    replaces_a_file: files,
    makes_the_directories_above: files,
    create_does_not_replace: |c| files(c) && c.create,
    replace_takes_exactly_one_version: |c| files(c) && c.replace && c.versions,
    create_wins_once: |c| files(c) && c.create,
    replace_wins_once: |c| files(c) && c.replace && c.versions,
    nothing_is_not_found: files,
    refuses_a_directory_for_a_file: |c| files(c) && super::dirs::real(c),
    refuses_a_file_above: |c| files(c) && super::dirs::real(c),
    the_target_never_vanishes: files,
    one_of_many_wins: files,
    moves_a_directory: directories,
    moves_an_empty_directory: |c| directories(c) && super::dirs::real(c),
    a_directory_goes_only_where_nothing_is: directories,
    a_directory_leaves_its_neighbours: directories,
}

fn files(capabilities: &Capabilities) -> bool {
    capabilities.write && capabilities.rename
}

fn directories(capabilities: &Capabilities) -> bool {
    capabilities.write && capabilities.rename_dir
}

/// Overwrites whatever is there.
async fn moves(store: &Subject, from: &str, to: &str) {
    done(store.rename(from, to, &WriteMode::Overwrite).await);
}

async fn moves_a_file(store: &Subject) {
    store.put("/a", "content").await;
    moves(store, "/a", "/b").await;
    assert_eq!(store.get("/b").await, "content");
    refused(store.stat("/a").await, ErrorKind::NotFound, Operation::Stat, &["/a"]);
    assert_eq!(store.children("/").await, ["/b"]);
}

async fn moves_a_large_file(store: &Subject) {
    let whole = content(1, 3 << 20);
    store.put("/d/a", whole.clone()).await;
    moves(store, "/d/a", "/b").await;
    assert!(store.get("/b").await == whole);
    assert_eq!(done(store.stat("/b").await).size, Some(whole.len() as u64));
}

async fn takes_everything_along(store: &Subject) {
    let capabilities = store.capabilities();
    let mut options = WriteOptions::default();
    if capabilities.content_type {
        options.content_type = Some("text/csv".to_owned());
    }
    if capabilities.user_metadata {
        options.user = BTreeMap::from([("colour".to_owned(), "blue".to_owned())]);
    }
    done(store.backend().write(&path("/a"), "1,2".into(), &options).await);
    let before = done(store.stat("/a").await);
    moves(store, "/a", "/b").await;
    let after = done(store.stat("/b").await);
    assert_eq!(after.content_type, before.content_type);
    assert_eq!(after.user, before.user);
    assert_eq!(after.digest, before.digest);
    assert_eq!(after.size, before.size);
}

async fn replaces_a_file(store: &Subject) {
    store.put("/a", "new").await;
    let old = store.put("/d/b", "old and longer").await;
    moves(store, "/a", "/d/b").await;
    assert_eq!(store.get("/d/b").await, "new");
    assert_eq!(store.children("/").await, ["/d/"]);
    if store.capabilities().versions {
        assert_ne!(done(store.stat("/d/b").await).version, old.version);
    }
}

async fn makes_the_directories_above(store: &Subject) {
    store.put("/a", "x").await;
    moves(store, "/a", "/b/c/d").await;
    assert_eq!(store.get("/b/c/d").await, "x");
    assert_eq!(store.children("/b").await, ["/b/c/"]);
}

async fn create_does_not_replace(store: &Subject) {
    store.put("/a", "one").await;
    store.put("/b", "two").await;
    store
        .unchanged(async {
            let onto = store.rename("/a", "/b", &WriteMode::Create).await;
            refused(onto, ErrorKind::AlreadyExists, Operation::Rename, &["/a", "/b"]);
        })
        .await;
    done(store.rename("/a", "/c", &WriteMode::Create).await);
    assert_eq!(store.children("/").await, ["/b", "/c"]);
}

async fn replace_takes_exactly_one_version(store: &Subject) {
    store.put("/a", "new").await;
    let stale = WriteMode::Replace(store.put("/b", "one").await.version.unwrap());
    let right = WriteMode::Replace(store.put("/b", "two").await.version.unwrap());
    store
        .unchanged(async {
            let onto = store.rename("/a", "/b", &stale).await;
            refused(onto, ErrorKind::PreconditionFailed, Operation::Rename, &["/a", "/b"]);
            let onto = store.rename("/a", "/c/d", &stale).await;
            refused(onto, ErrorKind::NotFound, Operation::Rename, &["/a", "/c/d"]);
        })
        .await;
    done(store.rename("/a", "/b", &right).await);
    assert_eq!(store.get("/b").await, "new");
    assert_eq!(store.children("/").await, ["/b"]);
}

/// Sixteen files are renamed to one name at once: exactly one gets there, the others stay.
async fn one_gets_there(store: &Subject, mode: &WriteMode, lost: ErrorKind) {
    for index in 0..16 {
        store.put(&format!("/from-{index:02}"), content(index, 2000)).await;
    }
    let outcomes = together(16, |index| {
        let (backend, mode) = (store.shared(), mode.clone());
        async move {
            backend.rename(&path(&format!("/from-{index:02}")), &path("/to"), &mode).await
        }
    })
    .await;
    let winners: Vec<_> = (0..16).filter(|index| outcomes[*index].is_ok()).collect();
    assert_eq!(winners.len(), 1, "winners: {winners:?}");
    for (index, outcome) in outcomes.into_iter().enumerate().filter(|(_, done)| done.is_err()) {
        let from = format!("/from-{index:02}");
        refused(outcome, lost, Operation::Rename, &[&from, "/to"]);
        assert_eq!(store.get(&from).await, content(index as u64, 2000));
    }
    assert_eq!(store.get("/to").await, content(winners[0] as u64, 2000));
    assert_eq!(store.children("/").await.len(), 16);
}

async fn create_wins_once(store: &Subject) {
    one_gets_there(store, &WriteMode::Create, ErrorKind::AlreadyExists).await;
}

async fn replace_wins_once(store: &Subject) {
    let version = store.put("/to", "old").await.version.unwrap();
    one_gets_there(store, &WriteMode::Replace(version), ErrorKind::PreconditionFailed).await;
}

async fn nothing_is_not_found(store: &Subject) {
    store.put("/a", "x").await;
    store
        .unchanged(async {
            for to in ["/a", "/b", "/c/d/e"] {
                let nothing = store.rename("/nothing", to, &WriteMode::Overwrite).await;
                refused(nothing, ErrorKind::NotFound, Operation::Rename, &["/nothing"]);
            }
        })
        .await;
}

async fn refuses_a_directory_for_a_file(store: &Subject) {
    store.put("/a", "x").await;
    store.put("/d/b", "y").await;
    done(store.backend().create_dir(&path("/empty")).await);
    store
        .unchanged(async {
            for to in ["/d", "/empty"] {
                let onto = store.rename("/a", to, &WriteMode::Overwrite).await;
                refused(onto, ErrorKind::IsADirectory, Operation::Rename, &["/a", to]);
            }
        })
        .await;
}

async fn refuses_a_file_above(store: &Subject) {
    store.put("/a", "x").await;
    store.put("/f", "y").await;
    store.put("/d/x", "z").await;
    store
        .unchanged(async {
            for (from, to) in [("/a", "/f/x"), ("/a", "/f/x/y"), ("/f/x", "/b"), ("/f/x", "/c/b")] {
                let onto = store.rename(from, to, &WriteMode::Overwrite).await;
                refused(onto, ErrorKind::NotADirectory, Operation::Rename, &[from, to]);
            }
            if store.capabilities().rename_dir {
                let onto = store.rename("/d", "/f/x", &WriteMode::Overwrite).await;
                refused(onto, ErrorKind::NotADirectory, Operation::Rename, &["/d", "/f/x"]);
            }
        })
        .await;
}

/// A name that is renamed over holds one whole state at every moment.
async fn the_target_never_vanishes(store: &Subject) {
    const STATES: u64 = 60;
    store.put("/b", content(0, 2000)).await;
    let seen = watched(store, "/b", |round| async move {
        store.put("/a", content(round % STATES, 2000)).await;
        moves(store, "/a", "/b").await;
    })
    .await;
    let states: HashSet<_> = (0..STATES).map(|round| content(round, 2000)).collect();
    assert!(seen.iter().all(|(_, bytes)| states.contains(bytes)), "not whole");
}

async fn one_of_many_wins(store: &Subject) {
    store.put("/a", "x").await;
    let outcomes = together(16, |index| {
        let backend = store.shared();
        async move {
            let to = path(&format!("/to-{index:02}"));
            backend.rename(&path("/a"), &to, &WriteMode::Overwrite).await
        }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        refused(outcome, ErrorKind::NotFound, Operation::Rename, &["/a"]);
    }
    assert_eq!(store.children("/").await.len(), 1);
}

async fn moves_a_directory(store: &Subject) {
    for file in ["/d/a", "/d/e/b", "/d/e/f/c", "/d-e"] {
        store.put(file, file).await;
    }
    let real = store.capabilities().directories == Directories::Real;
    if real {
        done(store.backend().create_dir(&path("/d/empty")).await);
    }
    let before = store.tree().await;
    moves(store, "/d", "/x/y").await;
    let mut expected: Vec<_> = before
        .into_iter()
        .map(|(at, found)| match at.strip_prefix("/d") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                (format!("/x/y{rest}"), found)
            }
            _ => (at, found),
        })
        .chain([("/x".to_owned(), Found::Directory)])
        .map(|(at, found)| (at, bytes(found)))
        .collect();
    expected.sort_unstable();
    let after: Vec<_> =
        store.tree().await.into_iter().map(|(at, found)| (at, bytes(found))).collect();
    assert_eq!(after, expected);
    refused(store.stat("/d").await, ErrorKind::NotFound, Operation::Stat, &["/d"]);
}

fn bytes(found: Found) -> Option<Vec<u8>> {
    match found {
        Found::File(_, bytes) => Some(bytes.to_vec()),
        Found::Directory => None,
    }
}

async fn moves_an_empty_directory(store: &Subject) {
    done(store.backend().create_dir(&path("/d")).await);
    moves(store, "/d", "/e").await;
    assert_eq!(store.children("/").await, ["/e/"]);
    assert!(store.children("/e").await.is_empty());
}

async fn a_directory_goes_only_where_nothing_is(store: &Subject) {
    store.put("/d/a", "x").await;
    store.put("/f", "y").await;
    store.put("/full/b", "z").await;
    let mut taken = vec!["/f", "/full"];
    if store.has_real_directories() {
        done(store.backend().create_dir(&path("/empty")).await);
        taken.push("/empty");
    }
    store
        .unchanged(async {
            for to in taken {
                for mode in [WriteMode::Overwrite, WriteMode::Create] {
                    let onto = store.rename("/d", to, &mode).await;
                    refused(onto, ErrorKind::AlreadyExists, Operation::Rename, &["/d", to]);
                }
            }
        })
        .await;
}

async fn a_directory_leaves_its_neighbours(store: &Subject) {
    for file in ["/d/a", "/d-1", "/d.1/x", "/dd/y", "/c"] {
        store.put(file, "x").await;
    }
    moves(store, "/d", "/e").await;
    assert_eq!(store.children("/").await, ["/c", "/d-1", "/d.1/", "/dd/", "/e/"]);
    assert_eq!(store.children("/e").await, ["/e/a"]);
}
