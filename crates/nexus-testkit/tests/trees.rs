//! Walks and patterns over several mounts: what they show, how deep they look, and how little they
//! open for it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use fixture::{Fixture, fixture, mem, over};
use futures_util::StreamExt;
use nexus_core::kernel::WalkOptions;
use nexus_core::{ErrorKind, ListOptions, Listing};
use nexus_testkit::fault::Point;
use nexus_testkit::lesser::Lesser;

async fn fill(f: &Fixture) {
    for path in [
        "/a/main.rs",
        "/a/lib.rs",
        "/a/notes.md",
        "/a/.hidden",
        "/a/x/main.rs",
        "/a/x/y/deep.rs",
        "/a/x/y/z/deeper.rs",
        "/a/x-y/main.rs",
        "/a/[odd]/{name}.rs",
        "/b/main.rs",
    ] {
        f.put(path, "x").await;
    }
    f.kernel.create_dir("/b/empty").await.unwrap();
}

/// The paths of a listing, sorted, without the kernel's own tree.
async fn sorted(listing: Listing) -> Vec<String> {
    let entries: Vec<_> = listing.collect().await;
    let mut paths: Vec<_> =
        entries.into_iter().map(|entry| entry.unwrap().path.as_str().to_owned()).collect();
    paths.retain(|path| !path.starts_with("/__sys__"));
    paths.sort_unstable();
    paths
}

#[tokio::test]
async fn patterns_match_inside_segments_and_across() {
    let f = fixture().await;
    fill(&f).await;
    for (pattern, expected) in [
        ("/a/*.rs", &["/a/lib.rs", "/a/main.rs"][..]),
        (
            "/a/*",
            &["/a/.hidden", "/a/[odd]", "/a/lib.rs", "/a/main.rs", "/a/notes.md", "/a/x", "/a/x-y"],
        ),
        ("/a/?ain.rs", &["/a/main.rs"]),
        ("/a/x?y/*", &["/a/x-y/main.rs"]),
        ("/a/*/main.rs", &["/a/x-y/main.rs", "/a/x/main.rs"]),
        ("/*/main.rs", &["/a/main.rs", "/b/main.rs"]),
        ("/{a,b}/main.rs", &["/a/main.rs", "/b/main.rs"]),
        ("/a/{x/y,x-y}/*.rs", &["/a/x-y/main.rs", "/a/x/y/deep.rs"]),
        ("/a/x/**/*.rs", &["/a/x/main.rs", "/a/x/y/deep.rs", "/a/x/y/z/deeper.rs"]),
        ("/**/main.rs", &["/a/main.rs", "/a/x-y/main.rs", "/a/x/main.rs", "/b/main.rs"]),
        ("/a/[ln]*", &["/a/lib.rs", "/a/notes.md"]),
        ("/a/[!ln]*.rs", &["/a/main.rs"]),
        ("/a/\\[odd\\]/*", &["/a/[odd]/{name}.rs"]),
        ("/a/\\[odd\\]/\\{name\\}.rs", &["/a/[odd]/{name}.rs"]),
        ("/b/*", &["/b/empty", "/b/main.rs"]),
        ("/*", &["/a", "/b"]),
        ("/a/main.rs", &["/a/main.rs"]),
        ("/a", &["/a"]),
        ("/a/nothing", &[]),
        ("/a/nothing/*", &[]),
        ("/a/main.rs/*", &[]),
        ("/nowhere/*", &[]),
        ("/a/*.RS", &[]),
    ] {
        let found = f.kernel.glob(pattern).await.unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(sorted(found).await, expected, "{pattern}");
    }
    for malformed in ["*.rs", "", "/a/[", "/a/{b", "/a/../b/*"] {
        let error = f.kernel.glob(malformed).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidPath, "{malformed}");
    }
}

#[tokio::test]
async fn a_pattern_opens_no_more_directories_than_it_must() {
    let f = over(Lesser::new(mem(), |has| has.list_recursive = false), mem()).await;
    fill(&f).await;
    for (pattern, lists, stats) in
        [("/a/main.rs", 0, 1), ("/a/*.rs", 1, 0), ("/a/x/*/*.rs", 2, 0), ("/b/*.rs", 0, 0)]
    {
        let (listed, asked) = (f.a.count(Point::List), f.a.count(Point::Stat));
        let found = sorted(f.kernel.glob(pattern).await.unwrap()).await;
        assert!(!found.is_empty(), "{pattern}");
        assert_eq!(f.a.count(Point::List) - listed, lists, "{pattern}");
        assert_eq!(f.a.count(Point::Stat) - asked, stats, "{pattern}");
    }
}

#[tokio::test]
async fn a_walk_goes_as_deep_as_it_is_told() {
    for list_recursive in [true, false] {
        let f = over(Lesser::new(mem(), |has| has.list_recursive = list_recursive), mem()).await;
        fill(&f).await;
        let walked = async |path: &str, max_depth| {
            let options = WalkOptions { max_depth, ..WalkOptions::default() };
            sorted(f.kernel.walk(path, &options).await.unwrap()).await
        };
        assert!(walked("/", Some(0)).await.is_empty());
        assert_eq!(walked("/", Some(1)).await, ["/a", "/b"]);
        assert_eq!(walked("/a/x", Some(1)).await, ["/a/x/main.rs", "/a/x/y"]);
        let two = ["/a/x/main.rs", "/a/x/y", "/a/x/y/deep.rs", "/a/x/y/z"];
        assert_eq!(walked("/a/x", Some(2)).await, two);
        let all = ["/a/x/main.rs", "/a/x/y", "/a/x/y/deep.rs", "/a/x/y/z", "/a/x/y/z/deeper.rs"];
        assert_eq!(walked("/a/x", Some(99)).await, all);
        assert_eq!(walked("/a/x", None).await, all);
        assert_eq!(walked("/", None).await.len(), 18);
        assert!(walked("/b/empty", None).await.is_empty());
        for (path, kind) in [
            ("/nowhere", ErrorKind::NotFound),
            ("/a/nothing", ErrorKind::NotFound),
            ("/a/main.rs", ErrorKind::NotADirectory),
        ] {
            for max_depth in [Some(0), Some(1), None] {
                let options = WalkOptions { max_depth, ..WalkOptions::default() };
                let error = f.kernel.walk(path, &options).await.err().unwrap();
                assert_eq!((error.kind(), error.path()), (kind, Some(path)));
            }
        }
    }
}

#[tokio::test]
async fn a_directory_comes_before_what_is_in_it_wherever_it_is_listed() {
    let f = over(Lesser::new(mem(), |has| has.list_recursive = false), mem()).await;
    fill(&f).await;
    let recursive = ListOptions { recursive: true, ..ListOptions::default() };
    for listing in [
        f.kernel.walk("/", &WalkOptions::default()).await.unwrap(),
        f.kernel.list("/", &recursive).await.unwrap(),
    ] {
        let entries: Vec<_> = listing.map(Result::unwrap).collect().await;
        for (index, entry) in entries.iter().enumerate() {
            let parent = entry.path.parent().unwrap();
            let before = entries[..index].iter().any(|earlier| earlier.path == parent);
            assert!(parent.is_root() || before, "{} came before {parent}", entry.path);
        }
    }
}

#[tokio::test]
async fn a_walk_passes_over_what_vanishes_meanwhile() {
    let f = over(Lesser::new(mem(), |has| has.list_recursive = false), mem()).await;
    fill(&f).await;
    let mut walk = f.kernel.walk("/a", &WalkOptions::default()).await.unwrap();
    let first = walk.next().await.unwrap().unwrap();
    assert_eq!(first.path.as_str(), "/a/.hidden");
    f.kernel.remove_all("/a/x").await.unwrap();
    f.kernel.remove_all("/a/x-y").await.unwrap();
    let rest: Vec<_> = walk.collect().await;
    assert!(rest.iter().all(Result::is_ok), "{rest:?}");
}
