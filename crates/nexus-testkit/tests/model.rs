//! The kernel agrees with the reference model over stores that can do less, where it has to compose
//! what they lack; and the model notices when a store does not do what it says.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use futures_util::FutureExt;
use nexus_backend_mem::MemBackend;
use nexus_core::{Backend, Capabilities, Directories, ErrorKind, ListOrder, VfsPath, WriteOptions};
use nexus_testkit::fault::{FaultBackend, Point};
use nexus_testkit::lesser::Lesser;
use nexus_testkit::model::{self, Foreign, Store};

fn mem() -> Arc<dyn Backend> {
    Arc::new(MemBackend::new("model"))
}

/// Two stores, each with fewer capabilities.
fn check(reduce: [fn(&mut Capabilities); 2]) {
    model::check(
        256,
        || async move { reduce.map(|reduce| Store::new(Lesser::new(mem(), reduce))) },
    );
}

#[test]
fn agrees_where_copies_and_renames_are_composed() {
    check([
        |has| {
            has.copy = false;
            has.rename = false;
            has.rename_dir = false;
        },
        |has| {
            has.rename_dir = false;
            has.delete_if_version = false;
        },
    ]);
}

#[test]
fn agrees_where_listings_are_composed() {
    check([
        |has| has.list_recursive = false,
        |has| {
            has.list_recursive = false;
            has.list_start_after = false;
            has.list_order = ListOrder::Unordered;
        },
    ]);
}

#[test]
fn agrees_where_writes_have_no_conditions() {
    check([|has| has.create = false, |has| has.replace = false]);
}

#[test]
fn agrees_where_directories_are_only_keys() {
    fn keys(has: &mut Capabilities) {
        has.directories = Directories::Virtual;
        has.rename_dir = false;
    }
    check([keys, keys]);
    check([
        |_| {},
        |has| {
            keys(has);
            has.rename = false;
            has.copy = false;
            has.list_recursive = false;
        },
    ]);
}

#[test]
fn agrees_where_content_comes_in_pieces() {
    model::check(256, || async {
        [1000, 70_000].map(|bytes| {
            let pieces = FaultBackend::new(mem());
            pieces.read_in_pieces(bytes);
            pieces.yield_around_effects();
            Store::new(pieces)
        })
    });
}

/// Another user of a store in memory.
struct Neighbour(Arc<dyn Backend>);

impl Foreign for Neighbour {
    fn write(&mut self, path: &VfsPath, content: &[u8]) {
        let options = WriteOptions::default();
        let written = self.0.write(path, content.to_vec().into(), &options).now_or_never();
        written.expect("memory does not wait").expect("the model has checked it");
    }

    fn remove(&mut self, path: &VfsPath) {
        let deleted = self.0.delete(&[path.clone().into()]).now_or_never();
        deleted.expect("memory does not wait");
    }

    fn create_dir(&mut self, path: &VfsPath) {
        let made = self.0.create_dir(path).now_or_never();
        made.expect("memory does not wait").expect("the model has checked it");
    }
}

#[test]
fn agrees_while_somebody_else_changes_the_stores() {
    model::check(256, || async {
        [mem(), mem()].map(|backend| Store {
            foreign: Some(Box::new(Neighbour(Arc::clone(&backend)))),
            backend,
        })
    });
}

/// Stores that lose the answer to something, so that the kernel reports a failure that is none.
fn notices(at: Point) {
    model::check(256, || async move {
        [mem(), mem()].map(|backend| {
            let faulty = FaultBackend::new(backend);
            faulty.lose(at, 3, ErrorKind::NotFound);
            Store::new(faulty)
        })
    });
}

#[test]
#[should_panic(expected = "kernel and model disagree")]
fn notices_a_lost_write() {
    notices(Point::Write);
}

#[test]
#[should_panic(expected = "kernel and model disagree")]
fn notices_a_lost_rename() {
    notices(Point::Rename);
}

#[test]
#[should_panic(expected = "kernel and model disagree")]
fn notices_a_lost_entry() {
    notices(Point::Entry);
}
