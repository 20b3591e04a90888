//! Care of content-addressed mounts, as people see it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::Sandbox;

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
fn a_plain_mount_says_what_it_lacks() {
    let fs = Sandbox::empty();
    std::fs::create_dir(at(&fs, "plain")).unwrap();
    fs.ok(&["mount", "local://./plain?layout=plain"]);
    for command in [&["verify", "/local/plain"][..], &["gc", "/local/plain"]] {
        let said = fs.fails(1, command);
        assert!(said.contains("layout=cas"), "{said}");
    }
}
