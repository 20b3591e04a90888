//! The blocking API: on any thread, inside a runtime as well as outside, and never in the way of a
//! program that wants to end.

#![cfg(feature = "backend-mem")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nexus_fs::blocking::{self, Kernel};
use nexus_fs::{ByteRange, ErrorKind, ListOptions, ReadOptions};

fn mounted() -> Kernel {
    blocking::mount(["mem://a", "mem://b"]).unwrap()
}

/// The main job in few lines; the same wherever it is called from.
fn exercise(fs: &Kernel) {
    fs.write("/mem/a/d/one", "one", &Default::default()).unwrap();
    let mut upload = fs.upload("/mem/a/d/two", &Default::default()).unwrap();
    upload.write_all(b"tw").unwrap();
    upload.push("o").unwrap();
    assert_eq!(upload.finish().unwrap().size, Some(3));
    let report = fs.copy_all("/mem/a/d", "/mem/b/d", &Default::default()).unwrap();
    assert_eq!((report.files, report.failed_count), (2, 0));

    let mut text = String::new();
    let range = ReadOptions::range(ByteRange::from(1..));
    fs.read("/mem/b/d/two", &range).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "wo");

    let names: Vec<_> = fs
        .list("/mem/b", &ListOptions { recursive: true, ..ListOptions::default() })
        .unwrap()
        .map(|entry| entry.unwrap().path.to_string())
        .collect();
    assert_eq!(names, ["/mem/b/d", "/mem/b/d/one", "/mem/b/d/two"]);
    assert_eq!(fs.glob("/mem/*/d/o*").unwrap().count(), 2);
    assert_eq!(fs.remove_all("/mem/b/d").unwrap().files, 2);
    assert_eq!(fs.stat("/mem/b/d").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn works_outside_a_runtime() {
    exercise(&mounted());
}

#[test]
fn works_inside_either_kind_of_runtime() {
    let current = tokio::runtime::Builder::new_current_thread().build().unwrap();
    current.block_on(async { exercise(&mounted()) });
    let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    multi.block_on(async { exercise(&mounted()) });
    multi.block_on(async { tokio::spawn(async { exercise(&mounted()) }).await.unwrap() });
}

#[test]
fn works_from_many_threads_at_once() {
    let fs = mounted();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let fs = &fs;
            scope.spawn(move || {
                for file in 0..50 {
                    let path = format!("/mem/a/{thread}/{file}");
                    fs.write(&path, path.clone(), &Default::default()).unwrap();
                    let read = fs.read(&path, &Default::default()).unwrap();
                    assert_eq!(read.bytes(100).unwrap(), path);
                }
            });
        }
    });
}

#[test]
fn a_reader_gives_its_rest_and_an_upload_that_is_dropped_nothing() {
    let fs = mounted();
    fs.write("/mem/a/x", "hello", &Default::default()).unwrap();
    let mut reader = fs.read("/mem/a/x", &Default::default()).unwrap();
    assert_eq!(reader.metadata().size, Some(5));
    let mut two = [0; 2];
    reader.read_exact(&mut two).unwrap();
    assert_eq!(reader.bytes(10).unwrap(), "llo");

    let mut upload = fs.upload("/mem/a/y", &Default::default()).unwrap();
    upload.push("lost").unwrap();
    drop(upload);
    assert_eq!(fs.stat("/mem/a/y").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn after_close_everything_answers_closed() {
    let fs = mounted();
    fs.close().unwrap();
    assert_eq!(fs.stat("/mem/a").unwrap_err().kind(), ErrorKind::Closed);
    fs.close().unwrap();
}

/// Run by [`a_program_ends_with_work_open`] as a process of its own.
#[test]
fn child_that_ends_with_work_open() {
    if std::env::var_os("NEXUS_FS_TEST_CHILD").is_none() {
        return;
    }
    let fs = mounted();
    fs.write("/mem/a/x", vec![1; 1 << 20], &Default::default()).unwrap();
    let mut upload = fs.upload("/mem/a/y", &Default::default()).unwrap();
    upload.push("unfinished").unwrap();
    let reader = fs.read("/mem/a/x", &Default::default()).unwrap();
    // The namespace goes first, as it may in a program that ends by unwinding.
    drop(fs);
    drop((upload, reader));
}

#[test]
fn a_program_ends_with_work_open() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_ends_with_work_open"])
        .env("NEXUS_FS_TEST_CHILD", "1")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        if begin.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("the program did not end");
        }
        std::thread::yield_now();
    }
}
