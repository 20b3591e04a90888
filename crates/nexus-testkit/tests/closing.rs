//! Closing and unmounting while something is under way: it is waited for up to the deadline, then
//! ends with `Closed`, and publishes nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fixture::{DEADLINE, fixture};
use futures_util::{FutureExt, StreamExt};
use nexus_core::kernel::MountState;
use nexus_core::{Backend, ErrorKind, ListOptions, ReadOptions, Result, VfsPath, WriteOptions};
use nexus_testkit::fault::{FaultBackend, Point};
use tokio::time::Instant;

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_an_open_body_and_no_longer() {
    let f = fixture().await;
    f.a.read_in_pieces(2);
    f.put("/a/file", "abcdef").await;
    let mut body = f.kernel.read("/a/file", &ReadOptions::default()).await.unwrap().body;
    let begun = Instant::now();
    let mut closing = std::pin::pin!(f.kernel.close());
    assert!(closing.as_mut().now_or_never().is_none(), "a body is open");
    assert_eq!(kind(f.kernel.stat("/a/file").await), Some(ErrorKind::Closed));
    assert_eq!(body.next().await.unwrap().unwrap(), "ab");
    assert_eq!(body.bytes(9).await.unwrap(), "cdef", "what was begun goes on");
    closing.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 0);
    assert!(f.kernel.mounts().iter().all(|mount| mount.state == MountState::Closed));
    assert_eq!(f.a.count(Point::Close), 1);
}

#[tokio::test(start_paused = true)]
async fn past_the_deadline_a_body_ends_with_closed() {
    let f = fixture().await;
    f.a.read_in_pieces(2);
    f.put("/a/file", "abcdef").await;
    let mut body = f.kernel.read("/a/file", &ReadOptions::default()).await.unwrap().body;
    assert_eq!(body.next().await.unwrap().unwrap(), "ab");
    let begun = Instant::now();
    f.kernel.close().await.unwrap();
    assert_eq!(begun.elapsed(), DEADLINE);
    let error = body.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Closed, Some("/a/file")));
    assert!(body.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn past_the_deadline_a_listing_ends_with_closed() {
    let f = fixture().await;
    for name in ["/a/1", "/a/2"] {
        f.put(name, "x").await;
    }
    let mut listing = f.kernel.list("/a", &ListOptions::default()).await.unwrap();
    assert_eq!(listing.next().await.unwrap().unwrap().path.as_str(), "/a/1");
    f.kernel.unmount("/a").await.unwrap();
    let rest: Vec<_> = listing.collect().await;
    assert_eq!(rest.len(), 1);
    assert_eq!(kind(rest.into_iter().next().unwrap()), Some(ErrorKind::Closed));
}

#[tokio::test(start_paused = true)]
async fn unmounting_during_an_upload_publishes_nothing() {
    for finish in [true, false] {
        let f = fixture().await;
        // The store stays open, so that the test can look into it afterwards.
        f.a.fail(Point::Close, 1, ErrorKind::Unavailable);
        let mut upload = f.kernel.upload("/a/file", &WriteOptions::default()).await.unwrap();
        upload.write("first".into()).await.unwrap();
        assert_eq!(kind(f.kernel.unmount("/a").await), Some(ErrorKind::Unavailable));
        assert_eq!(kind(f.kernel.stat("/a").await), Some(ErrorKind::NotFound));
        if finish {
            assert_eq!(kind(upload.finish().await), Some(ErrorKind::Closed));
        } else {
            assert_eq!(kind(upload.write("second".into()).await), Some(ErrorKind::Closed));
            upload.abort().await.unwrap();
        }
        assert_eq!(f.a.count(Point::Finish), 0);
        f.kernel.attach("/again", f.a.clone()).await.unwrap();
        assert!(f.contents("/again").await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn unmounting_under_a_copy_stops_it_and_leaves_the_target() {
    for unmounted in ["/a", "/b"] {
        let f = fixture().await;
        f.a.read_in_pieces(1);
        f.a.yield_around_effects();
        f.put("/a/file", "x".repeat(50)).await;
        f.put("/b/file", "old").await;
        let stores = [&f.a, &f.b];
        stores.iter().for_each(|store| store.fail(Point::Close, 1, ErrorKind::Unavailable));
        let options = Default::default();
        let mut copy = std::pin::pin!(f.kernel.copy("/a/file", "/b/file", &options));
        while f.b.count(Point::UploadPiece) < 5 {
            assert!(copy.as_mut().now_or_never().is_none());
        }
        assert_eq!(kind(f.kernel.unmount(unmounted).await), Some(ErrorKind::Unavailable));
        assert_eq!(kind(copy.await), Some(ErrorKind::Closed), "{unmounted}");
        f.kernel.attach("/again", f.b.clone()).await.unwrap();
        assert_eq!(f.get("/again/file").await.unwrap(), "old");
    }
}

#[tokio::test(start_paused = true)]
async fn every_store_is_closed_whatever_one_of_them_answers() {
    let f = fixture().await;
    f.a.fail(Point::Close, 1, ErrorKind::Unavailable);
    assert_eq!(kind(f.kernel.close().await), Some(ErrorKind::Unavailable));
    assert_eq!(f.b.count(Point::Close), 1);
    assert_eq!(kind(f.kernel.stat("/b").await), Some(ErrorKind::Closed));
    f.kernel.close().await.unwrap();
}

#[tokio::test]
async fn every_verb_of_a_closed_kernel_answers_closed() {
    let f = fixture().await;
    f.put("/a/file", "x").await;
    let kernel = f.kernel;
    kernel.close().await.unwrap();
    let write = WriteOptions::default();
    let closed = Some(ErrorKind::Closed);
    assert_eq!(kind(kernel.stat("/a/file").await), closed);
    assert_eq!(kind(kernel.stat("/").await), closed);
    assert_eq!(kind(kernel.read("/a/file", &Default::default()).await), closed);
    assert_eq!(kind(kernel.write("/a/file", "y", &write).await), closed);
    assert_eq!(kind(kernel.upload("/a/file", &write).await), closed);
    assert_eq!(kind(kernel.list("/a", &Default::default()).await), closed);
    assert_eq!(kind(kernel.delete("/a/file").await), closed);
    assert_eq!(kind(kernel.copy("/a/file", "/b/x", &Default::default()).await), closed);
    assert_eq!(kind(kernel.rename("/a/file", "/b/x", &Default::default()).await), closed);
    assert_eq!(kind(kernel.create_dir("/a/d").await), closed);
    assert_eq!(kind(kernel.remove_dir("/a/d").await), closed);
    assert_eq!(kind(kernel.walk("/a", &Default::default()).await), closed);
    assert_eq!(kind(kernel.copy_all("/a", "/b/x", &Default::default()).await), closed);
    assert_eq!(kind(kernel.remove_all("/a/file").await), closed);
    assert_eq!(kind(kernel.attach("/c", fixture::mem()).await), closed);
}

/// Mounting and unmounting beside operations: each of them meets the mount, or an answer that says
/// that it is gone, and every store is closed once its operations are over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn operations_race_with_mounting_and_unmounting() {
    let kernel = fixture::builder().build();
    let over = Arc::new(AtomicBool::new(false));
    let operations: Vec<_> = (0..4)
        .map(|task| {
            let (kernel, over) = (kernel.clone(), Arc::clone(&over));
            tokio::spawn(async move {
                let path = format!("/m/{task}");
                let mut met = 0;
                while !over.load(Ordering::Acquire) {
                    let written = kernel.write(&path, "x", &WriteOptions::default()).await;
                    let read = kernel.read(&path, &ReadOptions::default()).await;
                    met += u32::from(written.is_ok());
                    for kind in [kind(written), kind(read)].into_iter().flatten() {
                        assert!(matches!(kind, ErrorKind::NotFound | ErrorKind::Closed), "{kind}");
                    }
                    tokio::task::yield_now().await;
                }
                met
            })
        })
        .collect();
    for _ in 0..60 {
        let store = FaultBackend::new(fixture::mem());
        store.yield_around_effects();
        kernel.attach("/m", store.clone()).await.unwrap();
        while store.count(Point::Write) < 3 {
            tokio::task::yield_now().await;
        }
        kernel.unmount("/m").await.unwrap();
        assert_eq!(store.count(Point::Close), 1);
        let later = store.stat(&VfsPath::root()).await;
        assert_eq!(kind(later), Some(ErrorKind::Closed));
    }
    over.store(true, Ordering::Release);
    for task in operations {
        assert!(task.await.unwrap() > 0);
    }
    assert!(kernel.mounts().is_empty());
}

#[tokio::test]
async fn dropping_the_kernel_ends_what_is_still_open() {
    let f = fixture().await;
    f.a.read_in_pieces(2);
    f.put("/a/file", "abcdef").await;
    let mut body = f.kernel.read("/a/file", &ReadOptions::default()).await.unwrap().body;
    let upload = f.kernel.upload("/b/file", &WriteOptions::default()).await.unwrap();
    drop(f.kernel);
    assert_eq!(kind(body.next().await.unwrap()), Some(ErrorKind::Closed));
    assert_eq!(kind(upload.finish().await), Some(ErrorKind::Closed));
}
