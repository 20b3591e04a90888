//! The kernel over folders does what the reference model does, also while another program changes
//! the files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::open;
use nexus_core::VfsPath;
use nexus_testkit::model::{self, Foreign, Store};

/// Another program, which knows the folder and nothing of nexus-fs.
struct Editor {
    root: PathBuf,
    written: usize,
}

impl Editor {
    fn at(&self, path: &VfsPath) -> PathBuf {
        self.root.join(path.key())
    }
}

impl Foreign for Editor {
    /// Saves as editors do: beside, then over.
    fn write(&mut self, path: &VfsPath, content: &[u8]) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        self.written += 1;
        let beside = self.root.join(format!("saved-{}", self.written));
        fs::write(&beside, content).unwrap();
        fs::rename(beside, at).unwrap();
    }

    fn remove(&mut self, path: &VfsPath) {
        fs::remove_file(self.at(path)).unwrap();
    }

    fn create_dir(&mut self, path: &VfsPath) {
        fs::create_dir_all(self.at(path)).unwrap();
    }
}

/// Both mounts are folders, each with an editor at work in it.
fn agrees(options: &str) {
    let folder = tempfile::tempdir().unwrap();
    let stores = AtomicUsize::new(0);
    let store = || {
        let root = folder.path().join(stores.fetch_add(1, Ordering::Relaxed).to_string());
        async move {
            fs::create_dir(&root).unwrap();
            let backend = open(&root, options).await.unwrap();
            Store { backend, foreign: Some(Box::new(Editor { root, written: 0 })) }
        }
    };
    model::check(256, || async { [store().await, store().await] });
}

#[test]
fn agrees_with_openat2() {
    agrees("resolver=openat2");
}

#[test]
fn agrees_with_the_portable_resolver() {
    agrees("resolver=portable");
}
