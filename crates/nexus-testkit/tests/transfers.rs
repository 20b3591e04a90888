//! Copies and renames that fail in the middle: the target keeps its old state, no file is lost, and
//! the error says where everything is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::sync::{Arc, Mutex};

use fixture::{Fixture, fixture, mem, over};
use futures_util::FutureExt;
use nexus_core::kernel::{CopyOptions, Progress, RenameMethod};
use nexus_core::{
    Backend, Bytes, Capabilities, CopyMethod, DeleteTarget, Deleted, Error, ErrorKind, Operation,
    VfsPath, WriteOptions,
};
use nexus_testkit::fault::Point;
use nexus_testkit::lesser::Lesser;

/// Content that takes several pieces, in a fixture that reads `/a` piece by piece.
const PIECES: &str = "first second third fourth fifth";

async fn in_pieces() -> Fixture {
    let f = fixture().await;
    f.a.read_in_pieces(6);
    f.put("/a/file", PIECES).await;
    f
}

#[tokio::test]
async fn a_copy_that_fails_anywhere_leaves_the_target_as_it_was() {
    for old in [None, Some("old")] {
        for (source, point, nth) in [
            (true, Point::Read, 1),
            (true, Point::Piece, 1),
            (true, Point::Piece, 3),
            (true, Point::Piece, 6),
            (false, Point::Upload, 1),
            (false, Point::UploadPiece, 1),
            (false, Point::UploadPiece, 4),
            (false, Point::Finish, 1),
        ] {
            let f = in_pieces().await;
            if let Some(old) = old {
                f.put("/b/file", old).await;
            }
            let before = f.files().await;
            let store = if source { &f.a } else { &f.b };
            store.fail(point, nth, ErrorKind::Unavailable);
            let error = f.kernel.copy("/a/file", "/b/file", &Default::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{point:?} {nth}");
            assert_eq!(error.operation(), Some(Operation::Copy));
            assert_eq!(error.path(), Some(if source { "/a/file" } else { "/b/file" }));
            assert_eq!(f.files().await, before, "{point:?} {nth}");
            let method = f.kernel.copy("/a/file", "/b/file", &Default::default()).await.unwrap();
            assert_eq!(method, CopyMethod::Streamed);
            assert_eq!(f.get("/b/file").await.unwrap(), PIECES);
        }
    }
}

#[tokio::test]
async fn a_source_that_ends_early_does_not_become_a_shorter_target() {
    for pieces in [0, 1, 5] {
        let f = in_pieces().await;
        f.put("/b/file", "old").await;
        f.a.cut_bodies_after(pieces);
        let error = f.kernel.copy("/a/file", "/b/file", &Default::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.path(), Some("/a/file"));
        assert_eq!(f.get("/b/file").await.unwrap(), "old");
    }
}

#[tokio::test]
async fn a_copy_whose_answer_was_lost_is_not_called_a_success() {
    let f = in_pieces().await;
    f.b.lose(Point::Finish, 1, ErrorKind::Timeout);
    let error = f.kernel.copy("/a/file", "/b/file", &Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(f.get("/b/file").await.unwrap(), PIECES, "whole, if there at all");
}

#[tokio::test]
async fn a_store_that_can_not_copy_this_after_all_is_streamed() {
    let f = fixture().await;
    f.put("/a/file", "x").await;
    f.a.fail(Point::Copy, 1, ErrorKind::Unsupported);
    let method = f.kernel.copy("/a/file", "/a/copy", &Default::default()).await.unwrap();
    assert_eq!(method, CopyMethod::Streamed);
    assert_eq!(f.get("/a/copy").await.unwrap(), "x");
    f.a.fail(Point::Rename, 1, ErrorKind::Unsupported);
    let method = f.kernel.rename("/a/file", "/a/moved", &Default::default()).await.unwrap();
    assert_eq!(method, RenameMethod::Copied);
    assert_eq!(f.contents("/a").await.len(), 2);
}

#[tokio::test]
async fn a_copy_takes_along_what_the_target_can_store() {
    let options = WriteOptions {
        content_type: Some("text/csv".to_owned()),
        user: [("colour".to_owned(), "blue".to_owned())].into(),
        ..WriteOptions::default()
    };
    let plain = Lesser::new(mem(), |has| {
        has.content_type = false;
        has.user_metadata = false;
        has.limits.write_bytes = Some(2);
    });
    for (target, keeps) in [(mem(), true), (plain as Arc<dyn Backend>, false)] {
        let f = over(mem(), target).await;
        f.kernel.write("/a/file", "1,2", &options).await.unwrap();
        f.kernel.copy("/a/file", "/b/file", &Default::default()).await.unwrap();
        let copied = f.kernel.stat("/b/file").await.unwrap();
        assert_eq!(copied.content_type.is_some(), keeps);
        assert_eq!(copied.user.len(), usize::from(keeps));
        // Three bytes are more than the plain store takes in one call.
        assert_eq!(f.b.count(Point::Finish), u64::from(!keeps));
    }
}

#[tokio::test]
async fn a_move_whose_source_stays_says_that_both_are_there() {
    for lost in [false, true] {
        let f = in_pieces().await;
        if lost {
            f.a.lose(Point::Delete, 1, ErrorKind::Timeout);
        } else {
            f.a.fail(Point::Delete, 1, ErrorKind::PermissionDenied);
        }
        let error = f.kernel.rename("/a/file", "/b/file", &Default::default()).await.unwrap_err();
        let kind = if lost { ErrorKind::Timeout } else { ErrorKind::PermissionDenied };
        assert_eq!(error.kind(), kind);
        assert_eq!(error.path(), Some("/a/file"));
        assert!(error.message().contains("copied to /b/file"), "{error}");
        assert_eq!(f.get("/b/file").await.unwrap(), PIECES);
        assert_eq!(f.get("/a/file").await.is_ok(), !lost);
    }
}

#[tokio::test]
async fn a_move_that_can_not_copy_leaves_the_source() {
    for point in [Point::Upload, Point::UploadPiece, Point::Finish] {
        let f = in_pieces().await;
        f.b.fail(point, 1, ErrorKind::StorageFull);
        let error = f.kernel.rename("/a/file", "/b/file", &Default::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(f.get("/a/file").await.unwrap(), PIECES);
        assert!(f.contents("/b").await.is_empty());
        assert_eq!(f.a.count(Point::Delete), 0);
    }
}

/// One store at two mount points, which the kernel can tell only by what the store says of itself
/// (`telling`), or not at all.
async fn twice(telling: bool, reduce: fn(&mut Capabilities)) -> Fixture {
    let store = mem();
    let mount = || {
        Lesser::new(Arc::clone(&store), |has| {
            reduce(has);
            // A folder that both mounts lie in.
            has.local_root = telling.then(|| "/srv/data".into());
        })
    };
    over(mount(), mount()).await
}

#[tokio::test]
async fn a_move_onto_the_same_file_by_another_name_does_not_lose_it() {
    let reductions: [fn(&mut Capabilities); 2] = [|_| {}, |has| has.delete_if_version = false];
    for reduce in reductions {
        let f = twice(true, reduce).await;
        f.put("/a/d/file", "precious").await;
        for (from, to) in [("/a/d/file", "/b/d/file"), ("/a/d", "/b/d")] {
            let method = f.kernel.rename(from, to, &Default::default()).await.unwrap();
            assert_eq!(method, RenameMethod::Unchanged);
        }
        let method = f.kernel.copy("/a/d/file", "/b/d/file", &Default::default()).await.unwrap();
        assert_eq!(method, CopyMethod::Metadata);
        assert_eq!(f.a.count(Point::Delete) + f.b.count(Point::Write), 0);
        assert_eq!(f.get("/b/d/file").await.unwrap(), "precious");

        let f = twice(false, reduce).await;
        f.put("/a/d/file", "precious").await;
        let moved = f.kernel.rename("/a/d/file", "/b/d/file", &Default::default()).await;
        let error = moved.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
        assert!(error.hint().unwrap().contains("one file"), "{error:?}");
        assert_eq!(f.get("/b/d/file").await.unwrap(), "precious");
    }
}

#[tokio::test]
async fn a_tree_does_not_go_into_itself_by_another_name() {
    let f = twice(true, |_| {}).await;
    f.put("/a/d/file", "x").await;
    let before = f.files().await;
    let copied = f.kernel.copy_all("/a/d", "/b/d/e", &Default::default()).await;
    assert_eq!(copied.unwrap_err().kind(), ErrorKind::InvalidPath);
    let copied = f.kernel.copy_all("/a", "/b", &Default::default()).await;
    assert_eq!(copied.unwrap_err().kind(), ErrorKind::InvalidPath);
    let moved = f.kernel.rename("/a/d", "/b/d/e", &Default::default()).await;
    assert_eq!(moved.unwrap_err().kind(), ErrorKind::InvalidPath);
    assert_eq!(f.files().await, before);
}

#[tokio::test]
async fn mounts_inside_each_other_on_disk_are_told_apart_by_place() {
    let rooted =
        |root: &'static str| Lesser::new(mem(), move |has| has.local_root = Some(root.into()));
    let f = over(rooted("/srv"), rooted("/srv/data")).await;
    f.put("/a/data/file", "x").await;
    f.put("/a/database/file", "x").await;
    let same = f.kernel.rename("/a/data/file", "/b/file", &Default::default()).await;
    assert_eq!(same.unwrap(), RenameMethod::Unchanged);
    let other = f.kernel.rename("/a/database/file", "/b/file", &Default::default()).await;
    assert_eq!(other.unwrap(), RenameMethod::Copied);
    let inside = f.kernel.copy_all("/a/data", "/b/deeper", &Default::default()).await;
    assert_eq!(inside.unwrap_err().kind(), ErrorKind::InvalidPath);
}

/// Changes the source when its copy is done, before it would be deleted.
struct Meddler(Arc<dyn Backend>);

impl Progress for Meddler {
    fn finish(&self, _: &VfsPath, _: CopyMethod) {
        let path = VfsPath::parse("/file").unwrap();
        let write = WriteOptions::default();
        self.0.write(&path, "changed".into(), &write).now_or_never().unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_move_does_not_delete_what_it_did_not_copy() {
    let source = mem();
    let f = over(Arc::clone(&source), mem()).await;
    f.put("/a/file", "first").await;
    let meddler: Arc<dyn Progress> = Arc::new(Meddler(source));
    let options = CopyOptions { progress: Some(meddler), ..CopyOptions::default() };
    let error = f.kernel.rename("/a/file", "/b/file", &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    assert_eq!(f.get("/a/file").await.unwrap(), "changed");
    assert_eq!(f.get("/b/file").await.unwrap(), "first");
}

const TREE: [&str; 6] = ["1", "d/2", "d/3", "d/e/4", "f/5", "6"];

async fn tree() -> Fixture {
    let f = fixture().await;
    for name in TREE {
        f.put(&format!("/a/t/{name}"), name).await;
    }
    f.kernel.create_dir("/a/t/empty").await.unwrap();
    f
}

/// Wherever the move of a tree stops, each file is whole in one place at least, and a second move
/// of what is left does not lose anything either.
#[tokio::test]
async fn a_move_of_a_tree_that_stops_loses_nothing() {
    for (source, point) in [
        (true, Point::Read),
        (true, Point::Delete),
        (true, Point::RemoveDir),
        (true, Point::Entry),
        (false, Point::Write),
        (false, Point::CreateDir),
    ] {
        for nth in 1.. {
            let f = tree().await;
            let store = if source { &f.a } else { &f.b };
            store.fail(point, nth, ErrorKind::Unavailable);
            let moved = f.kernel.rename("/a/t", "/b/t", &Default::default()).await;
            let files = f.files().await;
            for name in TREE {
                let places = [format!("/a/t/{name}"), format!("/b/t/{name}")];
                let found: Vec<_> = places.iter().filter_map(|at| files.get(at)).collect();
                assert!(!found.is_empty(), "{name} is lost: {point:?} {nth}");
                assert!(found.iter().all(|content| *content == name), "{name} is not whole");
            }
            match moved {
                Ok(method) => {
                    assert_eq!(method, RenameMethod::Copied);
                    assert!(f.contents("/a").await.is_empty());
                    assert!(f.contents("/b/t").await.contains_key("/b/t/empty"));
                    assert!(nth > 1, "{point:?} never struck");
                    break;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
            }
        }
    }
}

/// Hears of everything.
#[derive(Default)]
struct Listener(Mutex<Vec<String>>);

impl Progress for Listener {
    fn begin(&self, path: &VfsPath, size: Option<u64>) {
        self.0.lock().unwrap().push(format!("begin {path} {}", size.unwrap()));
    }
    fn advance(&self, bytes: u64) {
        self.0.lock().unwrap().push(format!("advance {bytes}"));
    }
    fn finish(&self, path: &VfsPath, how: CopyMethod) {
        self.0.lock().unwrap().push(format!("finish {path} {}", how.as_str()));
    }
    fn fail(&self, error: &Error) {
        self.0.lock().unwrap().push(format!("fail {}", error.path().unwrap()));
    }
}

#[tokio::test]
async fn a_copy_of_a_tree_goes_on_past_failures_and_reports_them() {
    let f = tree().await;
    f.put("/b/t/d", "a file in the place of a directory").await;
    f.b.fail(Point::Write, 1, ErrorKind::Unavailable);
    let listener = Arc::new(Listener::default());
    let options = CopyOptions { progress: Some(listener.clone()), ..CopyOptions::default() };
    let report = f.kernel.copy_all("/a/t", "/b/t", &options).await.unwrap();
    assert!(!report.is_complete());
    // One write fails; the directories d and d/e, and the three files below them, have no place.
    assert_eq!((report.files, report.streamed, report.failed_count), (2, 2, 6));
    let kinds = |kind| report.failures.iter().filter(|error| error.kind() == kind).count();
    assert_eq!(kinds(ErrorKind::NotADirectory), 5);
    assert_eq!(kinds(ErrorKind::Unavailable), 1);
    assert_eq!(report.directories, 2);
    assert_eq!(report.bytes, 4);
    let heard = listener.0.lock().unwrap().clone();
    let count = |what: &str| heard.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!((count("finish"), count("fail")), (2, 6), "{heard:?}");
    assert_eq!(f.get("/b/t/d").await.unwrap(), "a file in the place of a directory");
    assert_eq!(f.contents("/a/t").await.len(), TREE.len() + 4, "the source is as it was");
}

#[tokio::test]
async fn removing_a_tree_goes_on_past_failures_and_keeps_what_is_above_them() {
    let f = tree().await;
    f.put("/a/beside", "x").await;
    let before = f.contents("/a/t").await.len();
    f.a.fail(Point::Delete, 4, ErrorKind::PermissionDenied);
    let report = f.kernel.remove_all("/a/t").await.unwrap();
    assert_eq!(report.failed_count, 1);
    let kept = report.failures[0].path().unwrap().to_owned();
    let left: Vec<_> = f.contents("/a/t").await.into_keys().collect();
    assert!(left.contains(&kept));
    assert!(left.iter().all(|at| kept.starts_with(at.as_str())), "{kept} and {left:?}");
    let removed = report.files + report.directories;
    assert_eq!(removed as usize, before - left.len());
    let report = f.kernel.remove_all("/a/t").await.unwrap();
    assert!(report.is_complete());
    assert_eq!(f.contents("/a").await.into_keys().collect::<Vec<_>>(), ["/a/beside"]);
}

#[tokio::test]
async fn removing_a_tree_reports_a_directory_that_can_not_be_read_or_removed() {
    for point in [Point::List, Point::RemoveDir] {
        let f = tree().await;
        f.a.fail(point, 2, ErrorKind::PermissionDenied);
        let report = f.kernel.remove_all("/a/t").await.unwrap();
        assert_eq!(report.failed_count, 1, "{point:?}: {:?}", report.failures);
        assert_eq!(report.failures[0].kind(), ErrorKind::PermissionDenied);
        let left = f.contents("/a").await;
        assert!(left.contains_key(report.failures[0].path().unwrap()), "{left:?}");
        assert!(left.contains_key("/a/t"), "what holds it stays");
    }
}

#[tokio::test]
async fn many_deletes_answer_in_order_across_mounts() {
    let f = fixture().await;
    for path in ["/a/1", "/b/2", "/a/3", "/b/4"] {
        f.put(path, "x").await;
    }
    f.b.fail(Point::Delete, 2, ErrorKind::RateLimited);
    let named = ["/a/1", "/b/2", "/nowhere/x", "/a/none", "/b/4", "/a", "/a/3"];
    let targets = named.map(|path| DeleteTarget::from(VfsPath::parse(path).unwrap())).to_vec();
    let results = f.kernel.delete_many(targets).await;
    let kinds: Vec<_> =
        results.iter().map(|result| result.as_ref().map_err(|error| error.kind())).collect();
    assert_eq!(
        kinds,
        [
            Ok(&Deleted::Removed),
            Ok(&Deleted::Removed),
            Err(ErrorKind::NotFound),
            Ok(&Deleted::Absent),
            Err(ErrorKind::RateLimited),
            Err(ErrorKind::MountConflict),
            Ok(&Deleted::Removed),
        ]
    );
    for (path, result) in named.iter().zip(&results) {
        if let Err(error) = result {
            assert_eq!(error.path(), Some(*path));
        }
    }
    assert_eq!(f.files().await.into_keys().collect::<Vec<_>>(), ["/b/4"]);
}

#[tokio::test]
async fn a_directory_that_can_not_be_listed_is_one_error_of_a_walk() {
    let store = Lesser::new(mem(), |has| has.list_recursive = false);
    let f = over(store, mem()).await;
    for path in ["/a/1", "/a/d/2", "/a/d/e/3", "/a/f/4"] {
        f.put(path, "x").await;
    }
    f.a.fail(Point::List, 2, ErrorKind::PermissionDenied);
    let walk = f.kernel.walk("/a", &Default::default()).await.unwrap();
    let entries: Vec<_> = futures_util::StreamExt::collect(walk).await;
    let errors: Vec<_> = entries.iter().filter_map(|entry| entry.as_ref().err()).collect();
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].kind(), errors[0].path()), (ErrorKind::PermissionDenied, Some("/a/d")));
    let paths: Vec<_> = entries.iter().flatten().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["/a/1", "/a/d", "/a/f", "/a/f/4"]);
}

#[tokio::test]
async fn large_content_is_copied_whole_between_stores() {
    let f = fixture().await;
    let whole: Bytes = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    f.put("/a/large", whole.clone()).await;
    f.a.read_in_pieces(65_537);
    f.kernel.copy("/a/large", "/b/large", &Default::default()).await.unwrap();
    assert!(f.get("/b/large").await.unwrap() == whole);
    assert!(f.b.count(Point::UploadPiece) > 40, "it went through in pieces");
}
