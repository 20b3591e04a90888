//! `create_dir` and `remove_dir`, and what a directory is.

use nexus_core::{Capabilities, Directories, ErrorKind, ListOptions, Operation, Result};

use super::cases;
use super::subject::{Subject, done, refused};
use crate::support::{path, together};

cases! {
    makes_a_directory_and_those_above: real,
    making_is_idempotent: real,
    making_refuses_a_file: real,
    many_make_the_same_at_once: real,
    a_file_and_a_directory_exclude_each_other: real,
    removes_an_empty_directory_only: real,
    removing_refuses_what_is_no_directory: real,
    the_root_stays: real,
    removing_and_writing_never_lose_a_file: real,
    a_directory_lives_as_long_as_what_is_in_it: |c| {
        c.write && c.directories == Directories::Virtual
    },
}

/// Stores in which a directory can be made, and a file below it.
pub(super) fn real(capabilities: &Capabilities) -> bool {
    capabilities.write && capabilities.directories == Directories::Real
}

async fn make(store: &Subject, at: &str) -> Result<()> {
    store.backend().create_dir(&path(at)).await
}

async fn remove(store: &Subject, at: &str) -> Result<()> {
    store.backend().remove_dir(&path(at)).await
}

async fn makes_a_directory_and_those_above(store: &Subject) {
    done(make(store, "/a/b/c").await);
    for at in ["/a", "/a/b", "/a/b/c"] {
        assert!(done(store.stat(at).await).is_dir(), "{at}");
    }
    assert_eq!(store.children("/a/b").await, ["/a/b/c/"]);
    done(make(store, "/a/d").await);
    assert_eq!(store.children("/a").await, ["/a/b/", "/a/d/"]);
}

async fn making_is_idempotent(store: &Subject) {
    store.put("/d/a", "stays").await;
    store
        .unchanged(async {
            done(make(store, "/d").await);
            done(make(store, "/d").await);
            done(make(store, "/").await);
        })
        .await;
}

async fn making_refuses_a_file(store: &Subject) {
    store.put("/f", "stays").await;
    store
        .unchanged(async {
            let onto = make(store, "/f").await;
            refused(onto, ErrorKind::AlreadyExists, Operation::CreateDir, &["/f"]);
            for below in ["/f/d", "/f/d/e"] {
                let made = make(store, below).await;
                refused(made, ErrorKind::NotADirectory, Operation::CreateDir, &[below]);
            }
        })
        .await;
}

async fn many_make_the_same_at_once(store: &Subject) {
    let made = together(16, |_| {
        let backend = store.shared();
        async move { backend.create_dir(&path("/a/b/c/d")).await }
    })
    .await;
    made.into_iter().for_each(done);
    assert!(store.children("/a/b/c/d").await.is_empty());
}

async fn a_file_and_a_directory_exclude_each_other(store: &Subject) {
    for round in 0..30 {
        let at = format!("/{round}");
        let made = together(2, |index| {
            let (backend, at) = (store.shared(), path(&at));
            async move {
                if index == 0 {
                    return backend.create_dir(&at).await;
                }
                backend.write(&at, "x".into(), &Default::default()).await.map(drop)
            }
        })
        .await;
        let is_dir = done(store.stat(&at).await).is_dir();
        assert_eq!((made[0].is_ok(), made[1].is_ok()), (is_dir, !is_dir), "{made:?}");
        let kinds = [ErrorKind::AlreadyExists, ErrorKind::IsADirectory];
        assert!(
            made.iter().flat_map(|made| made.as_ref().err()).all(|e| kinds.contains(&e.kind()))
        );
    }
}

async fn removes_an_empty_directory_only(store: &Subject) {
    done(make(store, "/d/e").await);
    store.put("/d/f", "x").await;
    store
        .unchanged(async {
            let full = remove(store, "/d").await;
            refused(full, ErrorKind::DirectoryNotEmpty, Operation::RemoveDir, &["/d"]);
        })
        .await;
    done(store.delete("/d/f").await);
    store
        .unchanged(async {
            let holds_a_directory = remove(store, "/d").await;
            refused(holds_a_directory, ErrorKind::DirectoryNotEmpty, Operation::RemoveDir, &["/d"]);
        })
        .await;
    done(remove(store, "/d/e").await);
    done(remove(store, "/d").await);
    assert!(store.children("/").await.is_empty());
}

async fn removing_refuses_what_is_no_directory(store: &Subject) {
    store.put("/f", "stays").await;
    store
        .unchanged(async {
            for (at, kind) in [
                ("/f", ErrorKind::NotADirectory),
                ("/f/x", ErrorKind::NotADirectory),
                ("/nothing", ErrorKind::NotFound),
                ("/no/such/place", ErrorKind::NotFound),
            ] {
                refused(remove(store, at).await, kind, Operation::RemoveDir, &[at]);
            }
        })
        .await;
}

async fn the_root_stays(store: &Subject) {
    for _ in 0..2 {
        store
            .unchanged(async {
                let root = remove(store, "/").await;
                refused(root, ErrorKind::Unsupported, Operation::RemoveDir, &["/"]);
            })
            .await;
        store.put("/a", "x").await;
    }
}

/// A file that was written is there, whoever removes its directory at the same time.
async fn removing_and_writing_never_lose_a_file(store: &Subject) {
    for round in 0..30 {
        done(make(store, "/d").await);
        let at = format!("/d/{round}");
        together(2, |index| {
            let (backend, at) = (store.shared(), path(&at));
            async move {
                if index == 0 {
                    match backend.remove_dir(&path("/d")).await {
                        Ok(()) => {}
                        Err(error) => assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty),
                    }
                } else {
                    done(backend.write(&at, "x".into(), &Default::default()).await);
                }
            }
        })
        .await;
        assert_eq!(store.get(&at).await, "x");
        done(store.delete(&at).await);
    }
}

async fn a_directory_lives_as_long_as_what_is_in_it(store: &Subject) {
    store.put("/d/e/a", "x").await;
    assert!(done(store.stat("/d/e").await).is_dir());
    done(store.delete("/d/e/a").await);
    for at in ["/d/e", "/d"] {
        refused(store.stat(at).await, ErrorKind::NotFound, Operation::Stat, &[at]);
        let listed = store.list(at, &ListOptions::default()).await;
        refused(listed, ErrorKind::NotFound, Operation::List, &[at]);
    }
}
