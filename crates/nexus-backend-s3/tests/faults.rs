//! A server on loopback that misbehaves in one way at a time: bodies that are cut, lengths that lie,
//! answers that never come, redirects to somebody else. Whatever it does, the caller gets the right
//! bytes or a typed error, within seconds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nexus_core::{
    Backend, ErrorKind, ListOptions, MountContext, MountUri, Object, ReadOptions, Result,
    Surroundings, VfsPath, WriteOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Large enough that it is served as a stream.
const SIZE: usize = 3 << 20;

/// What is asked of the server, by its first line and its `range` header.
struct Asked {
    line: String,
    head: String,
    /// How many requests of `GET /b/file` came before this one.
    earlier: usize,
}

/// What it sends, byte for byte; it closes the connection then, unless it hangs.
struct Sent {
    bytes: Vec<u8>,
    hangs: bool,
}

impl Sent {
    fn status(line: &str, headers: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        Self { bytes: [head.as_bytes(), body].concat(), hangs: false }
    }

    fn xml(line: &str, code: &str) -> Self {
        let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
        Self::status(line, "content-type: application/xml\r\n", body.as_bytes())
    }

    /// The first `bytes` bytes of this, head and body.
    fn cut(mut self, bytes: usize) -> Self {
        self.bytes.truncate(bytes);
        self
    }
}

type Answer = fn(&Asked) -> Option<Sent>;

struct Server {
    endpoint: String,
    seen: Arc<Mutex<Vec<String>>>,
}

fn content() -> Vec<u8> {
    (0..SIZE).map(|at| (at % 251) as u8).collect()
}

/// The object as a good server serves it.
fn good(asked: &Asked) -> Sent {
    let whole = content();
    let range = asked.head.lines().find_map(|line| line.strip_prefix("range: bytes="));
    let (first, last) = range.unwrap().trim().split_once('-').unwrap();
    let first: usize = first.parse().unwrap();
    let last = last.parse().unwrap_or(usize::MAX).min(SIZE - 1);
    let headers = format!("etag: \"one\"\r\ncontent-range: bytes {first}-{last}/{SIZE}\r\n");
    Sent::status("206 Partial Content", &headers, &whole[first..=last])
}

/// What everything but the object under test is answered with.
fn usual(asked: &Asked) -> Sent {
    match asked.line.split(' ').next().unwrap() {
        "HEAD" if asked.line.starts_with("HEAD /b ") || asked.line.starts_with("HEAD /b/ ") => {
            Sent::status("200 OK", "", b"")
        }
        "HEAD" => Sent::status("404 Not Found", "", b""),
        "PUT" => Sent::xml("403 Forbidden", "AccessDenied"),
        "GET" if asked.line.starts_with("GET /b/file") => good(asked),
        _ => Sent::xml("501 Not Implemented", "NotImplemented"),
    }
}

impl Server {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, reads) = (Arc::clone(&seen), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer, Arc::clone(&log), Arc::clone(&reads)));
            }
        });
        Self { endpoint, seen }
    }

    async fn mount(&self) -> Result<Arc<dyn Backend>> {
        let uri = format!("s3://b?endpoint={}", self.endpoint);
        let uri: MountUri = uri.parse()?;
        let keys = [("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
        let surroundings = Surroundings::new(keys, None);
        let context = MountContext { surroundings, ..MountContext::default() };
        let mut candidate = (nexus_backend_s3::DESCRIPTOR.build)(&uri, &context)?;
        candidate.check_credentials().await?;
        candidate.open().await
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: Answer,
    seen: Arc<Mutex<Vec<String>>>,
    reads: Arc<AtomicUsize>,
) {
    let mut received = Vec::new();
    let head = loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => received.extend_from_slice(&buffer[..count]),
        }
    };
    let line = String::from_utf8_lossy(&received).lines().next().unwrap_or_default().to_owned();
    seen.lock().unwrap().push(format!("{line}\n{head}"));
    let is_read = line.starts_with("GET /b/file");
    let earlier = if is_read { reads.fetch_add(1, Ordering::AcqRel) } else { 0 };
    let asked = Asked { line, head, earlier };
    let sent = answer(&asked).unwrap_or_else(|| usual(&asked));
    // A client that gave up is no failure of the server.
    let _ = stream.write_all(&sent.bytes).await;
    if sent.hangs {
        std::future::pending::<()>().await;
    }
    let _ = stream.shutdown().await;
}

/// Reads the object to its end.
async fn read(answer: Answer) -> Result<Vec<u8>> {
    let server = Server::start(answer).await;
    let store = server.mount().await?;
    let path = VfsPath::parse("/file")?;
    let Object { metadata, body } = store.read(&path, &ReadOptions::default()).await?;
    assert_eq!(metadata.size, Some(SIZE as u64));
    Ok(body.bytes(SIZE).await?.to_vec())
}

fn is_read(asked: &Asked) -> bool {
    asked.line.starts_with("GET /b/file")
}

#[track_caller]
fn fails<T>(result: Result<T>, kind: ErrorKind) {
    let Err(error) = result else { panic!("succeeded, but {kind:?} was due") };
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_good_server_serves() {
    assert!(read(|_| None).await.unwrap() == content());
}

#[tokio::test]
async fn a_body_that_is_cut_goes_on_where_it_stopped() {
    let cut = |asked: &Asked| {
        let lengths = [200, 70_000, 1_000_000];
        let length = lengths.get(asked.earlier).filter(|_| is_read(asked))?;
        Some(good(asked).cut(*length))
    };
    assert!(read(cut).await.unwrap() == content());
}

#[tokio::test]
async fn a_body_that_is_always_cut_is_an_error() {
    let cut = |asked: &Asked| is_read(asked).then(|| good(asked).cut(1000));
    fails(read(cut).await, ErrorKind::Unavailable);
}

#[tokio::test]
async fn two_versions_are_never_mixed() {
    let other = |asked: &Asked| {
        if !is_read(asked) {
            return None;
        }
        match asked.earlier {
            0 => Some(good(asked).cut(100_000)),
            // It heeds no condition, and serves what is there now.
            _ => {
                let sent = String::from_utf8_lossy(&good(asked).bytes[..200]).into_owned();
                let head = sent.split("\r\n\r\n").next().unwrap().replace("\"one\"", "\"two\"");
                let bytes = format!("{head}\r\n\r\n").into_bytes();
                Some(Sent { bytes, hangs: false })
            }
        }
    };
    fails(read(other).await, ErrorKind::PreconditionFailed);
}

#[tokio::test]
async fn a_range_that_is_not_the_one_asked_for_is_refused() {
    let ignores = |asked: &Asked| {
        if !is_read(asked) {
            return None;
        }
        match asked.earlier {
            0 => Some(good(asked).cut(100_000)),
            _ => Some(Sent::status("200 OK", "etag: \"one\"\r\n", &content())),
        }
    };
    fails(read(ignores).await, ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_moment_of_trouble_is_waited_for() {
    let busy = |asked: &Asked| match (is_read(asked), asked.earlier) {
        (true, 0) => Some(Sent::xml("503 Service Unavailable", "SlowDown")),
        (true, 1) => Some(Sent::xml("500 Internal Server Error", "InternalError")),
        _ => None,
    };
    assert!(read(busy).await.unwrap() == content());
}

#[tokio::test]
async fn trouble_that_lasts_is_an_error_within_seconds() {
    for (line, code, kind) in [
        ("503 Service Unavailable", "SlowDown", ErrorKind::RateLimited),
        ("500 Internal Server Error", "InternalError", ErrorKind::Unavailable),
        ("403 Forbidden", "AccessDenied", ErrorKind::PermissionDenied),
        ("403 Forbidden", "InvalidAccessKeyId", ErrorKind::Unauthenticated),
    ] {
        let begin = Instant::now();
        let server = Server::start(match code {
            "SlowDown" => |asked| is_read(asked).then(|| Sent::xml("503 X", "SlowDown")),
            "InternalError" => |asked| is_read(asked).then(|| Sent::xml("500 X", "InternalError")),
            "AccessDenied" => |asked| is_read(asked).then(|| Sent::xml("403 X", "AccessDenied")),
            _ => |asked| is_read(asked).then(|| Sent::xml("403 X", "InvalidAccessKeyId")),
        })
        .await;
        let store = server.mount().await.unwrap();
        let path = VfsPath::parse("/file").unwrap();
        fails(store.read(&path, &ReadOptions::default()).await, kind);
        assert!(begin.elapsed() < Duration::from_secs(30), "{line}");
    }
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up_and_asked_for_again() {
    let stalls = |asked: &Asked| {
        let first = is_read(asked) && asked.earlier == 0;
        first.then(|| Sent { hangs: true, ..good(asked).cut(100_000) })
    };
    let begin = Instant::now();
    assert!(read(stalls).await.is_ok_and(|bytes| bytes == content()));
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn garbage_is_an_error() {
    let garbage = |asked: &Asked| {
        is_read(asked).then(|| Sent { bytes: b"not http at all\r\n\r\n".to_vec(), hangs: false })
    };
    fails(read(garbage).await, ErrorKind::Unavailable);
    let server = Server::start(|asked| {
        let list = asked.line.contains("list-type=2");
        list.then(|| Sent::status("200 OK", "", b"<ListBucketResult><Contents><Key>"))
    })
    .await;
    let store = server.mount().await.unwrap();
    let listed = store.list(&VfsPath::root(), &ListOptions::default()).await;
    fails(listed.map(drop), ErrorKind::Internal);
}

#[tokio::test]
async fn nobody_else_sees_the_credentials() {
    for status in ["301", "302", "303", "307", "308"] {
        let foreign = Server::start(|_| Some(Sent::status("200 OK", "", b""))).await;
        let location = format!("location: {}/b/file\r\n", foreign.endpoint);
        let moved = Arc::new(format!("{status} X\r\ncontent-length: 0\r\n{location}\r\n"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let moved = Arc::clone(&moved);
                tokio::spawn(async move {
                    let mut buffer = [0; 16_384];
                    let _ = stream.read(&mut buffer).await;
                    let _ = stream.write_all(format!("HTTP/1.1 {moved}").as_bytes()).await;
                });
            }
        });
        let redirecting = Server { endpoint, seen: Arc::default() };
        fails(redirecting.mount().await, ErrorKind::InvalidOption);
        assert!(foreign.seen.lock().unwrap().is_empty(), "{status} was followed");
    }
}

#[tokio::test]
async fn a_store_that_denies_writes_declares_none() {
    let server = Server::start(|_| None).await;
    let store = server.mount().await.unwrap();
    assert!(!store.info().capabilities.write);
    let path = VfsPath::parse("/new").unwrap();
    let before = server.seen.lock().unwrap().len();
    fails(store.write(&path, "x".into(), &WriteOptions::default()).await, ErrorKind::Unsupported);
    assert_eq!(server.seen.lock().unwrap().len(), before, "something was sent");
}
