//! Care of content-addressed mounts, as people see it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::Sandbox;
use expect_test::expect;
use futures_util::StreamExt;

const STORE: &str = "local://./store?layout=cas";

/// The one blob of a store, trees left out.
fn blob(root: &Path) -> PathBuf {
    let dirs = std::fs::read_dir(root.join(".nexus/blobs")).unwrap();
    let files = dirs.flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap());
    let mut blobs = files.map(|file| file.unwrap().path()).filter(|p| p.extension().is_none());
    blobs.next().unwrap()
}

fn at(fs: &Sandbox, name: &str) -> PathBuf {
    fs.folder.path().join(name)
}

#[test]
fn a_store_is_verified_mended_and_collected() {
    let fs = Sandbox::empty();
    std::fs::create_dir(at(&fs, "store")).unwrap();
    std::fs::create_dir(at(&fs, "backup")).unwrap();
    fs.ok(&["mount", STORE, "local://./backup?layout=plain"]);
    std::fs::write(at(&fs, "big"), vec![7; 100_000]).unwrap();
    fs.ok(&["cp", "./big", "/local/store/big"]);
    fs.ok(&["cp", "/local/store/big", "/local/store/again"]);
    fs.ok(&["cp", "/local/store/big", "/local/backup/big"]);
    let physical = fs.ok(&["du", "--physical", "--json", "/local/store"]);
    assert!(
        physical.contains(r#""files":2"#) && physical.contains(r#""contents":1"#),
        "{physical}"
    );

    fs.ok(&["verify", "/local/store"]);
    let file = blob(&at(&fs, "store"));
    let good = std::fs::read(&file).unwrap();
    std::fs::write(&file, [&good[..99_999], &[8]].concat()).unwrap();
    fs.fails(6, &["cat", "/local/store/big"]);
    // Nobody has it while the other mount can not be opened.
    std::fs::rename(at(&fs, "backup"), at(&fs, "away")).unwrap();
    let damaged = fs.run(&["verify", "/local/store"]);
    assert_eq!(damaged.code, 6);
    assert!(damaged.stderr.contains("left out /local/backup: "), "{}", damaged.stderr);
    std::fs::rename(at(&fs, "away"), at(&fs, "backup")).unwrap();
    let said = damaged.stdout;
    assert!(said.contains("needed by /local/store/again"), "{said}");
    assert!(said.contains("needed by /local/store/big"), "{said}");

    let mended = fs.ok(&["verify", "/local/store"]);
    assert!(mended.contains("mended"), "{mended}");
    assert_eq!(std::fs::read(&file).unwrap(), good);

    // A mount that is named and not saved mends as well.
    fs.ok(&["unmount", "/local/backup"]);
    std::fs::write(&file, &good[1..]).unwrap();
    let backup = format!("local://{}?layout=plain", at(&fs, "backup").display());
    let mended = fs.ok(&["verify", "--mount", &backup, "/local/store"]);
    assert!(mended.contains("mended"), "{mended}");
    assert_eq!(std::fs::read(&file).unwrap(), good);

    fs.ok(&["rm", "/local/store/big", "/local/store/again"]);
    let dry = fs.ok(&["gc", "/local/store"]);
    assert!(dry.contains("would be deleted") && file.exists(), "{dry}");
    fs.fails(5, &["gc", "--delete", "/local/store"]);
    let deleted = fs.ok(&["gc", "--delete", "--force", "/local/store"]);
    assert!(deleted.contains("deleted 1") && !file.exists(), "{deleted}");
}

#[test]
fn without_a_path_all_stores_are_meant() {
    let fs = Sandbox::empty();
    let said = fs.fails(3, &["verify"]);
    assert!(said.contains("no mount keeps content by digest"), "{said}");
    for name in ["one", "two", "plain"] {
        std::fs::create_dir(at(&fs, name)).unwrap();
    }
    fs.ok(&["mount", "local://./one?layout=cas", "local://./two?layout=cas"]);
    fs.ok(&["mount", "local://./plain?layout=plain"]);
    for store in ["one", "two"] {
        fs.ok(&["write", &format!("/local/{store}/a"), "hello"]);
    }
    let read = fs.run(&["verify"]);
    assert_eq!((read.code, read.stderr.matches("read 1 content, 5 B").count()), (0, 2));
    let collected = fs.ok(&["gc"]);
    expect![[r#"
        /local/one: 0 contents of 1 stored content, 0 B, would be deleted
        /local/two: 0 contents of 1 stored content, 0 B, would be deleted
    "#]]
    .assert_eq(&collected);
    let stored = fs.ok(&["du", "--physical"]);
    expect![[r#"
        /local/one: 5 B logical in 1 file, 5 B stored in 1 content
        /local/two: 5 B logical in 1 file, 5 B stored in 1 content
    "#]]
    .assert_eq(&stored);
}

#[test]
fn an_interrupted_verification_goes_on() {
    let fs = Sandbox::empty();
    std::fs::create_dir(at(&fs, "store")).unwrap();
    fs.ok(&["mount", STORE]);
    for name in ["a", "b", "c"] {
        fs.ok(&["write", &format!("/local/store/{name}"), name]);
    }
    let whole = fs.run(&["verify", "--resume"]);
    let said = "/local/store: no run was interrupted, everything is read\nread 3 contents, 3 B";
    assert!(whole.stderr.starts_with(said), "{}", whole.stderr);
    // One that is dropped after the first.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let uri = format!("local://{}?layout=cas", at(&fs, "store").display());
        let kernel = nexus_fs::mount([uri]).await.unwrap();
        let at = kernel.mounts().remove(0).at;
        let mut checking = kernel.verify(at, &Default::default()).await.unwrap();
        checking.next().await.unwrap().unwrap();
        drop(checking);
        kernel.close().await.unwrap();
    });
    let resumed = fs.run(&["verify", "--resume", "/local/store"]);
    assert!(resumed.stderr.starts_with("/local/store: goes on with the run of 20"));
    assert!(resumed.stderr.contains("read 2 contents, 2 B"), "{}", resumed.stderr);
    // That one came to its end.
    let again = fs.run(&["verify", "--resume", "/local/store"]);
    assert!(again.stderr.contains("no run was interrupted"), "{}", again.stderr);
}

#[test]
fn what_differs_is_imported_and_exported() {
    let fs = Sandbox::empty();
    std::fs::create_dir(at(&fs, "store")).unwrap();
    fs.ok(&["mount", STORE]);
    std::fs::create_dir(at(&fs, "photos")).unwrap();
    std::fs::write(at(&fs, "photos/a"), vec![7; 100_000]).unwrap();
    std::fs::write(at(&fs, "photos/b"), vec![7; 100_000]).unwrap();
    let mut said = fs.ok(&["import", "--dry-run", "./photos", "/local/store"]);
    said += &fs.ok(&["import", "./photos", "/local/store"]);
    std::fs::write(at(&fs, "photos/c"), "new").unwrap();
    said += &fs.ok(&["import", "./photos", "/local/store"]);
    said += &fs.ok(&["import", "-n", "--json", "./photos", "/local/store"]);
    said += &fs.ok(&["export", "-n", "/local/store/photos", "./out"]);
    said += &fs.ok(&["export", "/local/store/photos", "./out"]);
    std::fs::remove_file(at(&fs, "out/photos/a")).unwrap();
    said += &fs.ok(&["export", "/local/store/photos/a", "/local/store/photos/c", "./out/photos"]);
    said += &fs.ok(&["export", "/local/store/photos/", "./out"]);
    said += &fs.fails(1, &["import", "./photos", "./out"]);
    said += &fs.fails(1, &["export", "./photos", "/local/store/x"]);
    said += &fs.fails(3, &["import", "./missing", "/local/store"]);
    expect![[r#"
        would import 2 files, 195.3 KiB to /local/store/photos: 195.3 KiB new, 0 B stored already
        imported 2 files, 195.3 KiB to /local/store/photos: 97.7 KiB new, 97.7 KiB stored already
        imported 1 file, 3 B to /local/store/photos: 3 B new, 0 B stored already; 2 files, 195.3 KiB, unchanged
        {"bytes":0,"directories":0,"dry_run":true,"failed":0,"files":0,"from":"/fileFOLDER/photos","known_bytes":0,"new_bytes":0,"skipped":0,"to":"/local/store/photos","unchanged":3,"unchanged_bytes":200003}
        would export 3 files, 195.3 KiB to /fileFOLDER/out/photos
        exported 3 files, 195.3 KiB to /fileFOLDER/out/photos
        exported 1 file, 97.7 KiB to /fileFOLDER/out/photos/a
        exported 0 files, 0 B to /fileFOLDER/out/photos/c; 1 file, 3 B, unchanged
        exported 3 files, 195.3 KiB to /fileFOLDER/out
        error: copy /fileFOLDER/out/photos: import is for mounts that keep content by digest
        hint: `layout=cas` makes a content-addressed store of an empty directory; `cp -r` copies between any mounts
        error: copy /fileFOLDER/photos: export is for mounts that keep content by digest
        hint: `layout=cas` makes a content-addressed store of an empty directory; `cp -r` copies between any mounts
        error: stat /fileFOLDER/missing: no such file or directory
    "#]].assert_eq(&said);
    assert_eq!(std::fs::read(at(&fs, "out/a")).unwrap(), vec![7; 100_000]);

    // What can not be exported is named, and the rest is; again, the rest is there.
    std::fs::write(blob(&at(&fs, "store")), [0; 100_000]).unwrap();
    for unchanged in ["", "; 1 file, 3 B, unchanged"] {
        let broken = fs.run(&["export", "/local/store/photos", "./broken"]);
        assert_eq!(broken.code, 7);
        assert!(broken.stdout.trim_end().ends_with(unchanged), "{}", broken.stdout);
        for name in ["a", "b"] {
            let exported = at(&fs, "broken/photos").join(name);
            let named =
                format!("copy /local/store/photos/{name}: the stored content does not match");
            assert!(broken.stderr.contains(&named), "{}", broken.stderr);
            assert!(!exported.exists());
        }
        assert_eq!(std::fs::read(at(&fs, "broken/photos/c")).unwrap(), b"new");
    }
}

#[test]
fn a_plain_mount_says_what_it_lacks() {
    let fs = Sandbox::empty();
    std::fs::create_dir(at(&fs, "plain")).unwrap();
    fs.ok(&["mount", "local://./plain?layout=plain"]);
    for command in [&["verify", "/local/plain"][..], &["gc", "/local/plain"]] {
        let said = fs.fails(1, command);
        assert!(said.contains("layout=cas"), "{said}");
    }
}
