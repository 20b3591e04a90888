//! A folder that holds a store is mounted a second time, with the files in which the store is kept in
//! plain sight: whole trees go neither from there into the store nor over those files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(all(feature = "backend-local", feature = "backend-mem", feature = "layout-cas"))]

use std::path::Path;

use futures_util::StreamExt;
use nexus_fs::{Builder, CopyOptions, ErrorKind, Kernel, TreeReport};

/// `/store` is kept in `folder/store`, `/plain` shows `folder`, and `/mem` is elsewhere.
async fn mounted(folder: &Path) -> Kernel {
    std::fs::create_dir(folder.join("store")).unwrap();
    let builder = Builder::new()
        .mount_at(format!("local://{}/store?layout=cas", folder.display()), "/store")
        .unwrap()
        .mount_at(format!("local://{}?layout=plain", folder.display()), "/plain")
        .unwrap()
        .mount_at("mem://elsewhere", "/mem")
        .unwrap();
    builder.open().await.unwrap()
}

async fn put(fs: &Kernel, path: &str) {
    fs.write(path, vec![7; 100_000], &Default::default()).await.unwrap();
}

async fn copy_all(fs: &Kernel, from: &str, to: &str) -> nexus_fs::Result<TreeReport> {
    fs.copy_all(from, to, &CopyOptions::default()).await
}

async fn paths(fs: &Kernel, path: &str) -> Vec<String> {
    let walk = fs.walk(path, &Default::default()).await.unwrap();
    walk.map(|entry| entry.unwrap().path.to_string()).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_holds_the_store_is_not_copied_into_it() {
    let folder = tempfile::tempdir().unwrap();
    let fs = mounted(folder.path()).await;
    put(&fs, "/store/a").await;
    for from in ["/plain", "/plain/store", "/plain/store/.nexus", "/plain/store/.nexus/blobs"] {
        let error = copy_all(&fs, from, "/store/x").await.unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::InvalidPath, Some(from)), "{error}");
        assert!(error.message().contains("/store"), "{error}");
        let error = fs.rename(from, "/store/x", &CopyOptions::default()).await.unwrap_err();
        // A mount point can not be moved anywhere.
        let kinds = [ErrorKind::InvalidPath, ErrorKind::MountConflict];
        assert!(kinds.contains(&error.kind()), "{error}");
    }
    // A directory above both mounts holds it as well.
    let error = copy_all(&fs, "/", "/store/x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidPath);
    assert_eq!(paths(&fs, "/store").await, ["/store/a"]);
    assert!(folder.path().join("store/.nexus/store.json").is_file());
    // What is beside the store goes in, and so does one of its files that is named.
    put(&fs, "/plain/beside/b").await;
    assert!(copy_all(&fs, "/plain/beside", "/store/x").await.unwrap().is_complete());
    copy_all(&fs, "/plain/store/.nexus/store.json", "/store/json").await.unwrap();
    assert_eq!(paths(&fs, "/store").await, ["/store/a", "/store/json", "/store/x", "/store/x/b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_not_written_over_the_files_of_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let fs = mounted(folder.path()).await;
    put(&fs, "/store/a").await;
    put(&fs, "/mem/t/blobs/b").await;
    for to in ["/plain/store/.nexus", "/plain/store/.nexus/x"] {
        for from in ["/mem/t", "/store"] {
            let error = copy_all(&fs, from, to).await.unwrap_err();
            assert_eq!((error.kind(), error.path()), (ErrorKind::InvalidPath, Some(to)), "{error}");
        }
        let error = fs.rename("/mem/t", to, &CopyOptions::default()).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::InvalidPath | ErrorKind::AlreadyExists),
            "{error}"
        );
    }
    assert!(!folder.path().join("store/.nexus/x").exists());
    assert!(!folder.path().join("store/.nexus/blobs/b").exists());
    assert_eq!(paths(&fs, "/mem").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_can_be_copied_out_beside_its_own_files_and_never_over_them() {
    let folder = tempfile::tempdir().unwrap();
    let fs = mounted(folder.path()).await;
    put(&fs, "/store/d/a").await;
    // Names that are nothing special inside the store.
    put(&fs, "/store/.nexus/store.json").await;
    put(&fs, "/store/.nexus-not/b").await;
    let before = std::fs::read(folder.path().join("store/.nexus/store.json")).unwrap();
    let report = copy_all(&fs, "/store", "/plain/store").await.unwrap();
    assert_eq!((report.files, report.failed_count), (2, 2), "{report:?}");
    assert!(report.failures.iter().all(|error| error.kind() == ErrorKind::InvalidPath));
    assert_eq!(std::fs::read(folder.path().join("store/.nexus/store.json")).unwrap(), before);
    assert!(folder.path().join("store/d/a").is_file());
    assert!(folder.path().join("store/.nexus-not/b").is_file());
    // It is a store as before, whoever opens it.
    put(&fs, "/store/e").await;
    fs.close().await.unwrap();
    let again = Builder::new()
        .mount_at(format!("local://{}/store", folder.path().display()), "/again")
        .unwrap();
    let again = again.open().await.unwrap();
    assert!(paths(&again, "/again").await.contains(&"/again/e".to_owned()));
    put(&again, "/again/f").await;
}
