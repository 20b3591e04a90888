//! Names: every path is reachable by exactly its own text.

use std::collections::BTreeSet;

use nexus_core::{ErrorKind, ListOptions, Operation, ReadOptions, WriteMode};

use super::cases;
use super::subject::{Subject, done, refused};
use crate::support::path;

cases! {
    odd_names_stay_as_they_are: |c| c.write,
    names_that_only_look_alike_do_not_mix: |c| c.write,
    takes_the_longest_name: |c| c.write,
    refuses_a_name_that_is_too_long: |c| c.write && c.limits.segment_bytes.is_some(),
    refuses_a_path_that_is_too_long: |c| c.write && c.limits.path_bytes.is_some(),
    takes_deep_paths: |c| c.write,
}

/// Names that some layer or other likes to trim, decode, escape or treat as its own.
const ODD: [&str; 34] = [
    " ",
    " leading",
    "trailing ",
    "two  spaces",
    "tab\there",
    "line\nbreak",
    "cr\rhere",
    "-dash",
    "--double",
    ".hidden",
    "...",
    "~",
    "~user",
    "%2F",
    "%",
    "%zz",
    "+plus",
    "a&b=c",
    "what?",
    "#",
    "back\\slash",
    "quote\"s'",
    "star*",
    "[a]",
    "{b}",
    "$HOME",
    "`x`",
    "co:lon",
    "semi;",
    "a|b",
    "é",
    "日本語",
    "\u{202e}bidi",
    "\u{1f9ea}",
];

async fn odd_names_stay_as_they_are(store: &Subject) {
    for name in ODD {
        store.put(&format!("/{name}"), name).await;
        store.put(&format!("/dir {name}/{name}"), name).await;
    }
    let mut expected: BTreeSet<_> = ODD.map(|name| format!("/{name}")).into();
    expected.extend(ODD.map(|name| format!("/dir {name}/")));
    assert_eq!(store.children("/").await.into_iter().collect::<BTreeSet<_>>(), expected);
    for name in ODD {
        let at = format!("/{name}");
        assert_eq!(store.get(&at).await, name, "{name:?}");
        assert_eq!(done(store.stat(&at).await).size, Some(name.len() as u64), "{name:?}");
        let inside = format!("/dir {name}/{name}");
        assert_eq!(store.children(&format!("/dir {name}")).await, [inside.as_str()], "{name:?}");
        done(store.delete(&at).await);
        refused(store.stat(&at).await, ErrorKind::NotFound, Operation::Stat, &[&at]);
        if store.capabilities().rename {
            done(store.rename(&inside, &at, &WriteMode::default()).await);
            assert_eq!(store.get(&at).await, name, "{name:?}");
        }
    }
}

/// Pairs that a store may take for the same name (as some file systems do), but must never mix up.
async fn names_that_only_look_alike_do_not_mix(store: &Subject) {
    for (one, other) in [("/caf\u{e9}", "/cafe\u{301}"), ("/Case", "/case"), ("/a", "/a ")] {
        store.put(one, "one").await;
        store.put(other, "other").await;
        let names = store.children("/").await;
        assert_eq!(store.get(other).await, "other");
        if names.len() == 2 {
            assert_eq!(store.get(one).await, "one");
            assert!(names.contains(&one.to_owned()) && names.contains(&other.to_owned()));
        } else {
            assert_eq!(store.get(one).await, "other", "one name, two contents");
        }
        done(store.delete(one).await);
        done(store.delete(other).await);
        assert!(store.children("/").await.is_empty());
    }
    store.put("/a%2Fb", "flat").await;
    store.put("/a/b", "deep").await;
    assert_eq!(store.get("/a%2Fb").await, "flat");
    assert_eq!(store.get("/a/b").await, "deep");
}

async fn takes_the_longest_name(store: &Subject) {
    let longest = store.capabilities().limits.segment_bytes.unwrap_or(255);
    for name in ["n".repeat(longest), "é".repeat(longest / 2)] {
        let at = format!("/d/{name}");
        store.put(&at, "x").await;
        assert_eq!(store.children("/d").await, [at.as_str()]);
        done(store.delete(&at).await);
    }
}

async fn refuses_a_name_that_is_too_long(store: &Subject) {
    let longest = store.capabilities().limits.segment_bytes.unwrap_or(255);
    store.put("/a", "x").await;
    refuses(store, &format!("/{}", "n".repeat(longest + 1))).await;
    refuses(store, &format!("/d/{}", "n".repeat(longest + 1))).await;
}

async fn refuses_a_path_that_is_too_long(store: &Subject) {
    let longest = store.capabilities().limits.path_bytes.unwrap_or_default();
    store.put("/a", "x").await;
    refuses(store, &"/n".repeat(longest / 2 + 1)).await;
}

/// No verb takes this path, and none of them leaves anything.
async fn refuses(store: &Subject, at: &str) {
    store
        .unchanged(async {
            let kind = ErrorKind::InvalidPath;
            let written = store.backend().write(&path(at), "x".into(), &Default::default()).await;
            refused(written, kind, Operation::Write, &[at]);
            let uploaded = store.upload(at, &["x".into()], &Default::default()).await;
            refused(uploaded, kind, Operation::Upload, &[at]);
            let capabilities = store.capabilities();
            let mode = WriteMode::default();
            if capabilities.rename {
                let renamed = store.rename("/a", at, &mode).await;
                refused(renamed, kind, Operation::Rename, &["/a", at]);
            }
            if capabilities.copy {
                let copied = store.copy("/a", at, &mode).await;
                refused(copied, kind, Operation::Copy, &["/a", at]);
            }
            if store.has_real_directories() {
                let made = store.backend().create_dir(&path(at)).await;
                refused(made, kind, Operation::CreateDir, &[at]);
            }
            // Where nothing can be, nothing is.
            for missing in [
                store.stat(at).await.map(drop),
                store.read(at, &ReadOptions::default()).await.map(drop),
                store.list(at, &ListOptions::default()).await.map(drop),
            ] {
                let kind = missing.map_err(|error| error.kind());
                assert!(matches!(kind, Err(ErrorKind::NotFound | ErrorKind::InvalidPath)));
            }
        })
        .await;
}

async fn takes_deep_paths(store: &Subject) {
    let deep = "/deep".repeat(100);
    let limit = store.capabilities().limits.path_bytes.unwrap_or(usize::MAX);
    let deep = &deep[..deep.len().min(limit / 5 * 5)];
    store.put(deep, "bottom").await;
    assert_eq!(store.get(deep).await, "bottom");
    if store.capabilities().list_recursive {
        let options = ListOptions { recursive: true, ..ListOptions::default() };
        let names = store.names("/", &options).await;
        assert_eq!(names.last().map(String::as_str), Some(deep));
    }
}
