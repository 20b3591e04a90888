//! The life of mounts, seen from outside: order, all or nothing, collisions, closing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nexus_core::kernel::{MountRequest, MountState};
use nexus_core::{
    Backend, BackendKind, Bytes, Candidate, Capabilities, CredentialNeed, DeleteTarget, Deleted,
    Descriptor, Error, ErrorKind, Info, Kernel, ListOptions, Listing, Metadata, MountUri, Object,
    OptionSpec, ReadOptions, Registry, Result, Upload, VfsPath, WriteOptions, async_trait,
};
use tokio::sync::Semaphore;

/// How often a backend of these tests was closed.
static CLOSED: AtomicUsize = AtomicUsize::new(0);
/// A candidate with `gate=…` waits for one permit before each of its two steps.
static GATE: Semaphore = Semaphore::const_new(0);

/// A store with an empty root and nothing else.
struct Empty(Info);

impl Empty {
    fn new() -> Self {
        let uri = "empty://".to_owned();
        let capabilities = Capabilities::default();
        Self(Info {
            scheme: "empty",
            uri,
            layout_reason: String::new(),
            credentials: None,
            capabilities,
        })
    }
}

#[async_trait]
impl Backend for Empty {
    fn info(&self) -> &Info {
        &self.0
    }
    async fn stat(&self, path: &VfsPath) -> Result<Metadata> {
        if path.is_root() { Ok(Metadata::directory()) } else { Err(Error::not_found(path)) }
    }
    async fn read(&self, path: &VfsPath, _: &ReadOptions) -> Result<Object> {
        Err(Error::not_found(path))
    }
    async fn write(&self, _: &VfsPath, _: Bytes, _: &WriteOptions) -> Result<Metadata> {
        Err(Error::unsupported(nexus_core::Operation::Write))
    }
    async fn upload(&self, _: &VfsPath, _: &WriteOptions) -> Result<Box<dyn Upload>> {
        Err(Error::unsupported(nexus_core::Operation::Upload))
    }
    async fn list(&self, _: &VfsPath, _: &ListOptions) -> Result<Listing> {
        Ok(Box::pin(futures_util::stream::empty()))
    }
    async fn delete(&self, targets: &[DeleteTarget]) -> Vec<Result<Deleted>> {
        targets.iter().map(|_| Ok(Deleted::Absent)).collect()
    }
    async fn close(&self) -> Result<()> {
        CLOSED.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

struct Plan {
    gated: bool,
    fail: Option<ErrorKind>,
}

impl Plan {
    async fn step(&self) {
        if self.gated {
            GATE.acquire().await.unwrap().forget();
        }
    }
}

#[async_trait]
impl Candidate for Plan {
    async fn check_credentials(&mut self) -> Result<()> {
        self.step().await;
        match self.fail {
            Some(kind @ ErrorKind::Unauthenticated) => Err(Error::new(kind, "no credentials")),
            _ => Ok(()),
        }
    }

    async fn open(self: Box<Self>) -> Result<Arc<dyn Backend>> {
        self.step().await;
        match self.fail {
            Some(kind) => Err(Error::new(kind, "not there")),
            None => Ok(Arc::new(Empty::new())),
        }
    }
}

fn build(uri: &MountUri, _: &nexus_core::MountContext) -> Result<Box<dyn Candidate>> {
    let fail = match uri.option("fail") {
        Some("credentials") => Some(ErrorKind::Unauthenticated),
        Some("open") => Some(ErrorKind::Unavailable),
        _ => None,
    };
    Ok(Box::new(Plan { gated: uri.option("gate").is_some(), fail }))
}

const fn option(name: &'static str) -> OptionSpec {
    OptionSpec { name, values: "TEXT", summary: "for the test" }
}

const DESCRIPTOR: Descriptor = Descriptor {
    scheme: "empty",
    aliases: &[],
    summary: "nothing at all",
    kind: BackendKind::Storage,
    credentials: CredentialNeed::None,
    options: &[option("fail"), option("gate")],
    mount_point: MountUri::mount_point,
    build,
};

fn kernel() -> Kernel {
    Kernel::builder(Registry::of(&[DESCRIPTOR]).unwrap())
        .close_deadline(Duration::from_secs(5))
        .build()
}

fn requests(uris: &[&str]) -> Vec<MountRequest> {
    uris.iter().map(|uri| MountRequest::parse(uri).unwrap()).collect()
}

fn points(kernel: &Kernel) -> Vec<String> {
    kernel.mounts().iter().map(|mount| format!("{} {}", mount.at, mount.state)).collect()
}

#[tokio::test]
async fn every_state_is_passed_in_order_and_seen() {
    let kernel = kernel();
    let making = tokio::spawn({
        let kernel = kernel.clone();
        async move { kernel.mount(requests(&["empty://gated?gate=1"])).await }
    });
    let seen = |state| {
        let kernel = kernel.clone();
        async move {
            while kernel.mounts().first().map(|mount| mount.state) != Some(state) {
                tokio::task::yield_now().await;
            }
        }
    };
    seen(MountState::Created).await;
    assert_eq!(kernel.stat("/empty/gated").await.unwrap_err().kind(), ErrorKind::NotFound);
    GATE.add_permits(1);
    seen(MountState::CredentialsChecked).await;
    GATE.add_permits(1);
    let made = making.await.unwrap().unwrap();
    assert_eq!(made[0].state, MountState::Active);
    assert!(kernel.stat("/empty/gated").await.unwrap().is_dir());
    kernel.close().await.unwrap();
    assert_eq!(kernel.mounts()[0].state, MountState::Closed);
    assert_eq!(kernel.stat("/empty/gated").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(kernel.stat("/").await.unwrap_err().kind(), ErrorKind::Closed);
    kernel.close().await.unwrap();
}

#[tokio::test]
async fn mounting_is_all_or_nothing() {
    for (bad, kind) in [
        ("empty://b?fail=credentials", ErrorKind::Unauthenticated),
        ("empty://b?fail=open", ErrorKind::Unavailable),
        ("empty://b?typo=1", ErrorKind::InvalidOption),
        ("nothing://b", ErrorKind::UnknownScheme),
        ("empty://a", ErrorKind::MountConflict),
        ("empty://a/below", ErrorKind::MountConflict),
    ] {
        let kernel = kernel();
        let error = kernel.mount(requests(&["empty://a", bad])).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{bad}");
        assert!(kernel.mounts().is_empty(), "{bad}");
        assert_eq!(kernel.stat("/empty/a").await.unwrap_err().kind(), ErrorKind::NotFound);
        kernel.mount(requests(&["empty://a"])).await.unwrap();
    }
}

#[tokio::test]
async fn a_dropped_mount_leaves_nothing() {
    let kernel = kernel();
    {
        let mut making = std::pin::pin!(kernel.mount(requests(&["empty://a?gate=1"])));
        let polled = futures_util::poll!(&mut making);
        assert!(polled.is_pending());
        assert_eq!(points(&kernel), ["/empty/a created"]);
    }
    assert!(kernel.mounts().is_empty());
    kernel.mount(requests(&["empty://a"])).await.unwrap();
}

#[tokio::test]
async fn a_mount_point_is_chosen_with_at_and_checked() {
    let kernel = kernel();
    let at =
        |path: &str| MountRequest::parse("empty://x").unwrap().at(VfsPath::parse(path).unwrap());
    kernel.mount(vec![at("/home/x")]).await.unwrap();
    assert_eq!(points(&kernel), ["/home/x active"]);
    for taken in ["/home/x", "/home", "/home/x/y", "/", "/__sys__", "/__sys__/x", "/__pipes__"] {
        let error = kernel.mount(vec![at(taken)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MountConflict, "{taken}");
    }
    assert_eq!(points(&kernel), ["/home/x active"]);
}

#[tokio::test]
async fn unmounting_takes_exactly_one_mount_and_closes_its_backend() {
    let kernel = kernel();
    kernel.mount(requests(&["empty://a", "empty://b"])).await.unwrap();
    for nothing in ["/empty", "/empty/a/x", "/empty/c"] {
        let error = kernel.unmount(nothing).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{nothing}");
    }
    assert_eq!(kernel.unmount("/__sys__").await.unwrap_err().kind(), ErrorKind::MountConflict);
    let before = CLOSED.load(Ordering::SeqCst);
    kernel.unmount("/empty/a").await.unwrap();
    assert!(CLOSED.load(Ordering::SeqCst) > before);
    assert_eq!(points(&kernel), ["/empty/b active"]);
    assert_eq!(kernel.stat("/empty/a").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_kernel_tells_about_itself() {
    let kernel = kernel();
    kernel.mount(requests(&["empty://a"])).await.unwrap();
    let text = |path: &'static str| {
        let kernel = kernel.clone();
        async move {
            let object = kernel.read(path, &ReadOptions::default()).await.unwrap();
            let size = object.metadata.size.unwrap();
            let content = object.body.bytes(1 << 20).await.unwrap();
            assert_eq!(content.len() as u64, size);
            String::from_utf8(content.to_vec()).unwrap()
        }
    };
    assert_eq!(text("/__sys__/version").await, format!("{}\n", env!("CARGO_PKG_VERSION")));
    let mounts: serde_json::Value =
        serde_json::from_str(&text("/__sys__/mounts.json").await).unwrap();
    assert_eq!(mounts[0]["at"], "/empty/a");
    assert_eq!(mounts[0]["state"], "active");
    let backends: serde_json::Value =
        serde_json::from_str(&text("/__sys__/backends.json").await).unwrap();
    assert_eq!(backends[0]["scheme"], "empty");
    assert_eq!(backends[0]["options"][0]["name"], "fail");
    for write in ["/__sys__/version", "/__sys__/new"] {
        let error = kernel.write(write, "x", &WriteOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
}

#[tokio::test]
async fn paths_of_the_kernel_itself_are_protected_directories() {
    let kernel = kernel();
    kernel.mount(requests(&["empty://a"])).await.unwrap();
    let write = WriteOptions::default();
    for directory in ["/", "/empty", "/empty/a"] {
        assert!(kernel.stat(directory).await.unwrap().is_dir());
        let kind = |error: Error| error.kind();
        assert_eq!(
            kernel.write(directory, "x", &write).await.map_err(kind),
            Err(ErrorKind::IsADirectory)
        );
        for removed in [
            kernel.delete(directory).await,
            kernel.remove_dir(directory).await,
            kernel.remove_all(directory).await.map(drop),
            kernel.rename(directory, "/empty/a/x", &Default::default()).await.map(drop),
        ] {
            assert_eq!(removed.map_err(kind), Err(ErrorKind::MountConflict), "{directory}");
        }
        kernel.create_dir(directory).await.unwrap();
    }
    let error = kernel.write("/other/x", "x", &write).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.path(), Some("/other/x"));
    assert!(error.hint().unwrap().contains("/empty/a"));
}
