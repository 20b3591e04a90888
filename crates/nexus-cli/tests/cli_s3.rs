//! The binary on a bucket of a real server, and without credentials.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use common::Sandbox;

/// The variable that says where the server is.
const SERVER: &str = "NEXUS_TEST_S3_MINISTACK";

/// A fresh bucket, as a URI that names its server. The server does not ask for a signature.
fn bucket(name: &str) -> String {
    let endpoint = std::env::var(SERVER)
        .unwrap_or_else(|_| panic!("run it by `cargo xtask peers`, which sets {SERVER}"));
    let name = format!("cli-{name}-{}", std::process::id());
    let mut stream = TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).unwrap();
    let request = format!(
        "PUT /{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    format!("s3://{name}?endpoint={endpoint}")
}

fn command(fs: &Sandbox, args: &[&str]) -> Command {
    let mut command = fs.command(args);
    command.env("AWS_ACCESS_KEY_ID", "AK").env("AWS_SECRET_ACCESS_KEY", "SK");
    command
}

/// What a command prints that must succeed.
fn ok(fs: &Sandbox, args: &[&str]) -> String {
    let output = command(fs, args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn fails(fs: &Sandbox, code: i32, args: &[&str]) -> String {
    let output = command(fs, args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    stderr
}

#[test]
fn files_go_up_and_come_back() {
    let fs = Sandbox::empty();
    ok(&fs, &["mount", &bucket("files"), "--at", "/b"]);
    let large: Vec<u8> = (0..20_000_003_u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(fs.data().join("large"), &large).unwrap();
    std::fs::write(fs.data().join("small"), "small").unwrap();
    ok(&fs, &["cp", "./data/large", "/b/d/large"]);
    ok(&fs, &["cp", "./data/small", "/b/d/small"]);
    assert_eq!(ok(&fs, &["ls", "/b/d"]).split_whitespace().count(), 2);
    assert_eq!(ok(&fs, &["cat", "/b/d/small"]), "small");
    ok(&fs, &["cp", "/b/d/large", "./data/back"]);
    assert!(std::fs::read(fs.data().join("back")).unwrap() == large, "other bytes came back");
    ok(&fs, &["cp", "/b/d/large", "/b/copy"]);
    ok(&fs, &["mv", "/b/d/small", "/b/moved"]);
    assert_eq!(ok(&fs, &["cat", "/b/moved"]), "small");
    fails(&fs, 3, &["cat", "/b/d/small"]);
    ok(&fs, &["rm", "-r", "/b/d"]);
    fails(&fs, 3, &["ls", "/b/d"]);
    fails(&fs, 3, &["rm", "/b/never"]);
}

#[test]
fn a_bucket_that_is_not_there_says_so() {
    let fs = Sandbox::empty();
    let uri = bucket("there").replace("there", "absent");
    let error = fails(&fs, 3, &["ls", &uri]);
    assert!(error.contains("no such bucket"), "{error}");
}

#[test]
fn without_credentials_it_says_what_to_do_at_once() {
    let fs = Sandbox::empty();
    let begin = std::time::Instant::now();
    let error = fs.fails(4, &["ls", "s3://nobody"]);
    assert!(error.contains("AWS_ACCESS_KEY_ID"), "{error}");
    assert!(begin.elapsed().as_secs() < 3);
    let asked = fs.fails(4, &["-v", "ls", "s3://nobody"]);
    assert!(asked.contains("AWS_ACCESS_KEY_ID is not set"), "{asked}");
}
