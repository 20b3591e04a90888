//! Saved mounts: kept, shared between processes, never lost, never overwritten in silence.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::Sandbox;
use expect_test::expect;

#[test]
fn mount_says_where_and_why_and_unmount_forgets() {
    let fs = Sandbox::empty();
    let empty = fs.run(&["mount", "test", "./data"]).stdout;
    assert!(empty.contains("layout cas: the directory is empty"), "{empty}");
    std::fs::write(fs.data().join("stays"), "x").unwrap();
    expect![[r#"
        /local/data  mounted  local://FOLDER/data
            layout plain: every file is at its own path, as the directory holds files and no store
    "#]]
    .assert_eq(&fs.run(&["mount", "./data"]).stdout);
    expect![[r#"
        /local/data  was mounted already  local://FOLDER/data
            layout plain: every file is at its own path, as the directory holds files and no store
    "#]]
    .assert_eq(&fs.run(&["mount", "local://./data"]).stdout);
    assert_eq!(fs.run(&["mount", "list"]).stdout, "/local/data  local://FOLDER/data\n");
    fs.ok(&["unmount", "/local/data"]);
    assert_eq!(fs.run(&["mount", "list"]).stdout, "");
    assert!(fs.data().join("stays").exists());
}

#[test]
fn options_survive_and_uris_unmount() {
    let fs = Sandbox::empty();
    fs.ok(&["mount", "local://./data?durability=full", "--at", "/desk"]);
    assert_eq!(fs.run(&["mount", "list"]).stdout, "/desk  local://FOLDER/data?durability=full\n");
    fs.ok(&["write", "/desk/x", "x"]);
    fs.ok(&["unmount", "local://./data?durability=full"]);
    fs.fails(3, &["unmount", "/desk"]);
}

#[test]
fn mount_test_saves_nothing() {
    let fs = Sandbox::empty();
    assert!(fs.ok(&["mount", "test", "./data"]).starts_with("/local/data  works  "));
    fs.fails(3, &["mount", "test", "./absent"]);
    assert!(!fs.folder.path().join("state").exists());
}

#[test]
fn mounting_several_is_all_or_nothing() {
    let fs = Sandbox::empty();
    fs.fails(3, &["mount", "./data", "./absent"]);
    assert_eq!(fs.run(&["mount", "list"]).stdout, "");
    fs.ok(&["mount", "/one=./data", "/two=local://./data"]);
    assert_eq!(fs.run(&["mount", "list"]).stdout.lines().count(), 2);
    // A folder whose name only looks like `PATH=URI`.
    let folder = fs.folder.path().join("a=b");
    std::fs::create_dir(&folder).unwrap();
    fs.ok(&["mount", folder.to_str().unwrap(), "--at", "/three"]);
    assert!(fs.run(&["mount", "list"]).stdout.ends_with("/three  local://FOLDER/a=b\n"));
}

#[test]
fn eight_processes_mount_at_once() {
    let fs = Sandbox::empty();
    let children: Vec<_> = (0..8)
        .map(|n| fs.command(&["mount", "./data", "--at", &format!("/m{n}")]).spawn().unwrap())
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let mut mounted: Vec<_> =
        fs.ok(&["mount", "list"]).lines().map(|line| line[..3].to_owned()).collect();
    mounted.sort();
    assert_eq!(mounted, (0..8).map(|n| format!("/m{n}")).collect::<Vec<_>>());
}

#[test]
fn a_file_that_is_not_understood_is_kept_and_named() {
    for text in ["{", "{\"format\":99,\"mounts\":[]}"] {
        let fs = Sandbox::empty();
        let file = fs.folder.path().join("state/mounts.json");
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        for args in [&["mount", "./data"][..], &["mount", "list"], &["ls", "/local/data"]] {
            let said = fs.fails(1, args);
            assert!(said.contains("FOLDER/state/mounts.json"), "{args:?}: {said}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        // What needs no saved mount works.
        fs.ok(&["ls", "./data"]);
        std::fs::remove_file(&file).unwrap();
        fs.ok(&["mount", "./data"]);
    }
}

#[test]
fn without_a_home_there_is_a_sentence() {
    let fs = Sandbox::empty();
    let output = fs.command(&["mount", "./data"]).env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("NEXUS_FS_STATE_DIR"));
}

#[test]
fn a_broken_mount_stands_in_the_way_of_no_other() {
    let fs = Sandbox::with(&[("f", "x")]);
    let other = fs.folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    fs.ok(&["mount", "./other"]);
    std::fs::remove_dir(&other).unwrap();
    assert_eq!(fs.ok(&["cat", "/data/f"]), "x");
    assert_eq!(fs.ok(&["ls", "/local"]), "other/\n");
    fs.fails(3, &["ls", "/local/other"]);
}
