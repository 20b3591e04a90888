//! A store whose content is damaged, beside other mounts of one kernel: what is mended from where,
//! what is said of the rest, and how a run of the verifier ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{SMALL, cutting, options, plain};
use futures_util::StreamExt;
use nexus_backend_mem::MemBackend;
use nexus_cas::refs::sqlite::Durability;
use nexus_cas::{CasBackend, ChunkSizes, Options};
use nexus_core::kernel::{Outcome, Verified};
use nexus_core::{Backend, Digest, Error, ErrorKind, Kernel, Registry, Result, WriteOptions};
use nexus_testkit::fault::{FaultBackend, Point};

/// A kernel with a store at `/store`, over a folder that fails on demand.
struct Fixture {
    folder: tempfile::TempDir,
    below: Arc<FaultBackend>,
    kernel: Kernel,
}

async fn fixture() -> Fixture {
    fixture_cutting(None).await
}

async fn fixture_cutting(chunking: Option<ChunkSizes>) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let below = FaultBackend::new(plain(folder.path()).await);
    let dir = folder.path().join(".nexus");
    let options = Options { chunking, ..options(dir, Durability::Process) };
    let store = CasBackend::open(Arc::clone(&below) as _, options).await.unwrap();
    let kernel = Kernel::builder(Registry::default()).close_deadline(Duration::ZERO).build();
    kernel.attach("/store", Arc::new(store)).await.unwrap();
    Fixture { folder, below, kernel }
}

fn content(seed: u8) -> Vec<u8> {
    vec![seed + 1; 100_000]
}

impl Fixture {
    async fn put(&self, path: &str, content: Vec<u8>) {
        self.kernel.write(path, content, &WriteOptions::default()).await.unwrap();
    }

    async fn attach(&self, at: &str, backend: Arc<dyn Backend>) -> Arc<FaultBackend> {
        let backend = FaultBackend::new(backend);
        self.kernel.attach(at, Arc::clone(&backend) as _).await.unwrap();
        backend
    }

    fn damage(&self, content: &[u8]) {
        let digest = Digest::of(content).to_string();
        let file = self.folder.path().join(".nexus/blobs").join(&digest[..2]).join(&digest);
        std::fs::write(file, vec![0; content.len()]).unwrap();
    }

    async fn verify(&self) -> Vec<Result<Verified>> {
        let checking = self.kernel.verify("/store", &Default::default()).await.unwrap();
        // Bounded, so that a stream without an end fails instead of hanging.
        checking.take(100).collect().await
    }

    /// What became of the contents that were not good.
    async fn outcomes(&self) -> Vec<Outcome> {
        let verified = self.verify().await.into_iter().map(|verified| verified.unwrap().outcome);
        verified.filter(|outcome| !matches!(outcome, Outcome::Good)).collect()
    }

    async fn read(&self, path: &str) -> Vec<u8> {
        let object = self.kernel.read(path, &Default::default()).await.unwrap();
        object.body.bytes(1 << 20).await.unwrap().to_vec()
    }
}

fn mem() -> Arc<dyn Backend> {
    Arc::new(MemBackend::new("other"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_after_the_mount_was_closed() {
    let f = fixture().await;
    for seed in 0..3 {
        f.put(&format!("/store/{seed}"), content(seed)).await;
    }
    let mut checking = f.kernel.verify("/store", &Default::default()).await.unwrap();
    checking.next().await.unwrap().unwrap();
    f.kernel.unmount("/store").await.unwrap();
    let rest: Vec<_> = checking.take(10).collect().await;
    let kinds: Vec<_> = rest.iter().map(|v| v.as_ref().map_err(Error::kind).map(drop)).collect();
    assert_eq!(kinds, [Err(ErrorKind::Closed)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_after_the_store_failed() {
    let f = fixture().await;
    for seed in 0..3 {
        f.put(&format!("/store/{seed}"), content(seed)).await;
    }
    f.below.fail(Point::Read, 1, ErrorKind::Unavailable);
    let verified = f.verify().await;
    assert_eq!(verified.len(), 1);
    assert_eq!(verified[0].as_ref().unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_put_back_is_told_from_what_no_mount_has() {
    let f = fixture().await;
    for seed in 0..3 {
        f.put(&format!("/store/{seed}"), content(seed)).await;
        f.damage(&content(seed));
    }
    f.attach("/other", mem()).await;
    for seed in 0..2 {
        f.put(&format!("/other/{seed}"), content(seed)).await;
    }
    f.below.fail(Point::Finish, 1, ErrorKind::StorageFull);
    let outcomes = f.outcomes().await;
    let (mut unmended, mut mended, mut bad) = (0, 0, 0);
    for outcome in &outcomes {
        match outcome {
            Outcome::Unmended { from, harmed, error, .. } => {
                unmended += 1;
                assert_eq!((from.as_str(), harmed.len()), ("/other", 1));
                assert_eq!(error.kind(), ErrorKind::StorageFull);
            }
            Outcome::Mended { from } => {
                mended += 1;
                assert_eq!(from.as_str(), "/other");
            }
            Outcome::Bad { harmed, .. } => {
                bad += 1;
                assert_eq!(harmed[0].as_str(), "/store/2");
            }
            _ => panic!("{outcomes:?}"),
        }
    }
    assert_eq!((unmended, mended, bad), (1, 1, 1));
    // With space again, the next run mends the rest.
    let again = f.outcomes().await;
    assert!(again.iter().any(|outcome| matches!(outcome, Outcome::Mended { .. })), "{again:?}");
    assert_eq!(f.read("/store/0").await, content(0));
    assert_eq!(f.read("/store/1").await, content(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_copy_in_a_plain_mount_is_tried() {
    let f = fixture().await;
    for path in ["/store/a", "/store/b", "/store/c"] {
        f.put(path, content(7)).await;
    }
    f.damage(&content(7));
    let other = f.attach("/other", mem()).await;
    for path in ["/other/a", "/other/b", "/other/c"] {
        f.put(path, content(7)).await;
    }
    // The first can not be opened, the second breaks in the middle.
    other.fail(Point::Read, 1, ErrorKind::Unavailable);
    other.read_in_pieces(10_000);
    other.fail(Point::Piece, 3, ErrorKind::IntegrityMismatch);
    let outcomes = f.outcomes().await;
    assert!(matches!(&outcomes[..], [Outcome::Mended { .. }]), "{outcomes:?}");
    assert_eq!(f.read("/store/a").await, content(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_without_a_digest_is_tried_when_its_size_is_right() {
    let f = fixture().await;
    for path in ["/store/a", "/store/b", "/store/c"] {
        f.put(path, content(7)).await;
    }
    f.damage(&content(7));
    let others = tempfile::tempdir().unwrap();
    let file = |name: &str| others.path().join(Path::new(name));
    std::fs::write(file("a"), vec![0; 100_000]).unwrap();
    std::fs::write(file("b"), vec![8; 99_999]).unwrap();
    std::fs::write(file("c"), content(7)).unwrap();
    let other = f.attach("/other", plain(others.path()).await).await;
    let outcomes = f.outcomes().await;
    assert!(matches!(&outcomes[..], [Outcome::Mended { .. }]), "{outcomes:?}");
    assert_eq!(other.count(Point::Read), 2, "one of the wrong size was read");
    assert_eq!(f.read("/store/b").await, content(7));
}

/// Overwrites the first byte of the chunk that `content` begins with.
fn damage_first_chunk(store: &Path, content: &[u8]) {
    let dirs = std::fs::read_dir(store.join(".nexus/blobs")).unwrap();
    let files = dirs.flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap());
    let chunk = files
        .map(|file| file.unwrap().path())
        .find(|file| content.starts_with(&std::fs::read(file).unwrap()))
        .unwrap();
    let mut bytes = std::fs::read(&chunk).unwrap();
    bytes[0] ^= 1;
    std::fs::write(chunk, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_mended_from_whatever_has_what_it_is_part_of() {
    let random = |seed: u8, size| {
        let mut bytes = vec![0; size];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
        bytes
    };
    let (whole, start) = (random(1, 500_000), random(2, 50_000));
    let longer = [&start[..], &whole[..]].concat();
    let f = fixture_cutting(Some(SMALL)).await;
    f.put("/store/d/a", whole.clone()).await;
    f.put("/store/d/longer", longer.clone()).await;

    // Plain files, that know no digest, and one at the other path that has it elsewhere.
    let files = tempfile::tempdir().unwrap();
    std::fs::create_dir(files.path().join("d")).unwrap();
    std::fs::write(files.path().join("d/a"), &longer).unwrap();
    std::fs::write(files.path().join("d/longer"), &longer).unwrap();
    f.attach("/plain", plain(files.path()).await).await;
    damage_first_chunk(f.folder.path(), &longer);
    let outcomes = f.outcomes().await;
    assert!(matches!(&outcomes[..], [Outcome::Mended { .. }]), "{outcomes:?}");
    assert_eq!(f.read("/store/d/longer").await, longer);
    f.kernel.unmount("/plain").await.unwrap();

    // A store that has the whole in one piece, and one that has it in chunks.
    for chunking in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let other = match chunking {
            false => common::in_folder(folder.path(), Durability::Process).await,
            true => cutting(folder.path()).await,
        };
        f.kernel.attach("/other", Arc::new(other)).await.unwrap();
        f.put("/other/elsewhere", whole.clone()).await;
        damage_first_chunk(f.folder.path(), &whole);
        let outcomes = f.outcomes().await;
        assert!(matches!(&outcomes[..], [Outcome::Mended { .. }]), "{chunking} {outcomes:?}");
        assert_eq!(f.read("/store/d/a").await, whole);
        f.kernel.unmount("/other").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_not_tried_without_an_end() {
    let f = fixture().await;
    let others = tempfile::tempdir().unwrap();
    for n in 0..100 {
        f.put(&format!("/store/{n:03}"), content(7)).await;
        std::fs::write(others.path().join(format!("{n:03}")), vec![0; 100_000]).unwrap();
    }
    f.damage(&content(7));
    let other = f.attach("/other", plain(others.path()).await).await;
    let outcomes = f.outcomes().await;
    let [Outcome::Bad { harmed, .. }] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(harmed.len(), 100);
    assert!(other.count(Point::Read) < 20, "{} copies were read", other.count(Point::Read));
}
