//! Several processes on one folder: what is promised to be exact is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{open, path};
use futures_util::StreamExt;
use nexus_core::{Backend, Deleted, ErrorKind, ListOptions, ReadOptions, WriteMode, WriteOptions};

/// Tells a child what to do; the test of the same name runs it.
const JOB: &str = "NEXUS_LOCAL_TEST_JOB";
const FOLDER: &str = "NEXUS_LOCAL_TEST_FOLDER";

const PROCESSES: usize = 8;
const ROUNDS: usize = 50;

fn spawn(job: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(JOB, job)
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn run_all(job: &str, folder: &Path) {
    let children: Vec<_> = (0..PROCESSES).map(|_| spawn(job, folder)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success(), "a process failed at `{job}`");
    }
}

/// Does nothing by itself; the other tests start it as processes of their own.
#[allow(clippy::disallowed_methods, reason = "a child of a test is told what to do")]
#[tokio::test]
async fn child() {
    let Some(job) = std::env::var_os(JOB) else { return };
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let backend = open(&folder, "").await.unwrap();
    match job.to_str().unwrap() {
        "count" => count(&*backend).await,
        "create" => create(&*backend).await,
        "take" => take(&*backend).await,
        "hang" => hang(&*backend).await,
        "list" => list(&*backend).await,
        job => panic!("no such job: {job}"),
    }
}

async fn number(backend: &dyn Backend, text: &str) -> (u64, nexus_core::Version) {
    let object = backend.read(&path(text), &ReadOptions::default()).await.unwrap();
    let content = object.body.bytes(100).await.unwrap();
    (str::from_utf8(&content).unwrap().parse().unwrap(), object.metadata.version.unwrap())
}

/// Adds one to a counter, as often as it takes to win.
async fn count(backend: &dyn Backend) {
    for _ in 0..ROUNDS {
        loop {
            let (value, version) = number(backend, "/counter").await;
            let next = (value + 1).to_string();
            let mode = WriteMode::Replace(version);
            match backend.write(&path("/counter"), next.into(), &mode.into()).await {
                Ok(_) => break,
                Err(error) => assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_counter_replaced_by_many_processes_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("counter"), "0").unwrap();
    run_all("count", folder.path());
    let backend = open(folder.path(), "").await.unwrap();
    assert_eq!(number(&*backend, "/counter").await.0, (PROCESSES * ROUNDS) as u64);
}

/// Creates files that the others create too; writes down which it won.
async fn create(backend: &dyn Backend) {
    let id = std::process::id();
    for round in 0..ROUNDS {
        let file = path(&format!("/deep/{round}/file"));
        match backend.write(&file, id.to_string().into(), &WriteMode::Create.into()).await {
            Ok(_) => {
                let won = path(&format!("/won/{round}-{id}"));
                backend.write(&won, "".into(), &WriteOptions::default()).await.unwrap();
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}"),
        }
    }
}

#[test]
fn a_file_created_by_many_processes_is_created_by_one() {
    let folder = tempfile::tempdir().unwrap();
    run_all("create", folder.path());
    let won = std::fs::read_dir(folder.path().join("won")).unwrap();
    let won: Vec<_> = won.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(won.len(), ROUNDS, "{won:?}");
    for round in 0..ROUNDS {
        let winner =
            std::fs::read_to_string(folder.path().join(format!("deep/{round}/file"))).unwrap();
        assert!(won.contains(&format!("{round}-{winner}")));
    }
}

/// Deletes the version that it saw; the one that succeeds writes down that it did.
async fn take(backend: &dyn Backend) {
    for round in 0..ROUNDS {
        let file = path(&format!("/item{round}"));
        let Ok(metadata) = backend.stat(&file).await else { continue };
        let target = nexus_core::DeleteTarget { path: file, if_version: metadata.version };
        if let Ok(Deleted::Removed) = backend.delete(&[target]).await.pop().unwrap() {
            let taken = path(&format!("/taken/{round}-{}", std::process::id()));
            backend.write(&taken, "".into(), &WriteOptions::default()).await.unwrap();
        }
    }
}

#[test]
fn a_version_deleted_by_many_processes_is_deleted_by_one() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        std::fs::write(folder.path().join(format!("item{round}")), "x").unwrap();
    }
    run_all("take", folder.path());
    assert_eq!(std::fs::read_dir(folder.path().join("taken")).unwrap().count(), ROUNDS);
}

/// Begins an upload, says so, and waits to be killed.
async fn hang(backend: &dyn Backend) {
    let mut upload = backend.upload(&path("/half"), &WriteOptions::default()).await.unwrap();
    upload.write(vec![7; 3 << 20].into()).await.unwrap();
    backend.write(&path("/ready"), "".into(), &WriteOptions::default()).await.unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_process_killed_in_an_upload_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = spawn("hang", folder.path());
    while !folder.path().join("ready").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the child ended early");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["ready"]);
}

/// Lists, which removes what killed processes left, until everything is done.
async fn list(backend: &dyn Backend) {
    while backend.stat(&path("/done")).await.is_err() {
        let listing = backend.list(&path("/"), &ListOptions::default()).await.unwrap();
        let entries: Vec<_> = listing.collect().await;
        assert!(entries.iter().all(Result::is_ok), "{entries:?}");
    }
}

#[tokio::test]
async fn listings_of_others_take_nothing_from_a_write_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path(), "").await.unwrap();
    let mut lister = spawn("list", folder.path());
    for round in 0..3_000 {
        // Both ways in which a file is replaced: named from the beginning, and only at the end.
        let content = round.to_string();
        let options = WriteOptions::default();
        backend.write(&path("/file"), content.clone().into(), &options).await.unwrap();
        let mut upload = backend.upload(&path("/file"), &options).await.unwrap();
        upload.write(content.into()).await.unwrap();
        upload.finish().await.unwrap();
    }
    backend.write(&path("/done"), "".into(), &WriteOptions::default()).await.unwrap();
    assert!(lister.wait().unwrap().success());
}
