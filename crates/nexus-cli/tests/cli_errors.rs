//! Bad input: the right kind, one clear sentence, the exit code of the manual, and nothing changed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::Sandbox;
use expect_test::expect;

fn sandbox() -> Sandbox {
    let fs = Sandbox::with(&[("f", "file"), ("d/f", "in a directory"), ("full/x", "x")]);
    std::fs::create_dir(fs.data().join("empty")).unwrap();
    fs
}

/// Runs each, checks the exit codes, and that all of them together changed nothing. Answers what
/// was said, a paragraph each.
fn refused(fs: &Sandbox, commands: &[(i32, &[&str])]) -> String {
    let before = fs.snapshot();
    let said: String =
        commands.iter().map(|(code, args)| format!("{}\n", fs.fails(*code, args))).collect();
    assert_eq!(fs.snapshot(), before, "something was changed");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn paths_that_can_not_be() {
    let long = format!("/data/{}", "n".repeat(300));
    let fs = sandbox();
    let said = refused(
        &fs,
        &[
            (2, &["cat", "/data/../etc/passwd"]),
            (2, &["write", "/data/./x", "x"]),
            (2, &["ls", "/data//d"]),
            (2, &["stat", ""]),
            (2, &["write", &long, "x"]),
        ],
    );
    expect![[r#"
        error: parse /data/../etc/passwd: not a valid path: a `..` segment; paths do not climb

        error: parse /data/./x: not a valid path: a `.` segment

        error: parse /data//d: not a valid path: an empty segment (`//`, or `/` at the end)

        error: a path can not be empty

    "#]]
    .assert_eq(&said[..said.find("error: write").unwrap()]);
    assert!(said.contains("a name is longer than 255 bytes"), "{said}");
}

#[test]
fn schemes_and_options_that_are_not_known() {
    let fs = sandbox();
    let said = refused(
        &fs,
        &[
            (2, &["mount", "zip://x"]),
            (2, &["ls", "zip://x/y"]),
            (2, &["mount", "local:///tmp?durabilty=full"]),
            (2, &["mount", "local:///tmp?durability=some"]),
            (2, &["mount", "mem://x?limit=much"]),
            (2, &["mount", "mem://x?limit=1&limit=2"]),
            (2, &["mount", "local:///%"]),
            (2, &["mount", "mem://x?token=hunter2"]),
        ],
    );
    expect![[r#"
        error: mount zip://x: unknown scheme `zip`
        hint: this build knows: local, mem, s3

        error: mount: unknown scheme `zip`
        hint: this build knows: local, mem, s3

        error: mount local:///tmp?durabilty=full: unknown option `durabilty`
        hint: `local` takes: chunking, create, durability, layout, resolver

        error: mount local:///tmp?durability=some: option `durability` can not be `some`
        hint: `durability` is one of: process, full

        error: mount mem://x?limit=much: option `limit` takes a number of bytes
        hint: write it like `limit=64M`

        error: parse: option `limit` is given twice

        error: parse: not a mount URI: a `%` without two hexadecimal digits
        hint: write `%` itself as `%25`

        error: a URI with secrets is not saved
        hint: leave the secret out, and let it be discovered; or use `--mount` for one command

    "#]]
    .assert_eq(&said);
}

#[test]
fn a_file_where_a_directory_is_needed_and_the_reverse() {
    let fs = sandbox();
    let said = refused(
        &fs,
        &[
            (1, &["cat", "/data/d"]),
            (1, &["write", "/data/d", "x"]),
            (1, &["write", "/data/f/below", "x"]),
            (1, &["mkdir", "-p", "/data/f/below"]),
            (5, &["mkdir", "-p", "/data/f"]),
            (1, &["tree", "/data/f"]),
            (1, &["rm", "/data/d"]),
            (1, &["cp", "/data/f", "/data/new/"]),
            (1, &["mv", "/data/f", "/data/new/"]),
        ],
    );
    expect![[r#"
        error: read /data/d: is a directory
        hint: name a file in it; see them with `nexus-fs ls`

        error: write /data/d: is a directory
        hint: name a file in it; see them with `nexus-fs ls`

        error: write /data/f/below: a file is in the place of a directory

        error: create directory /data/f/below: a file is in the place of a directory

        error: create directory /data/f: a file is there already

        error: list /data/f: a file is in the place of a directory

        error: delete /data/d: is a directory
        hint: remove it with `-r`, or use `rm -r`

        error: /data/new: is not a directory
        hint: make it first (`nexus-fs mkdir`), or name a single source

        error: /data/new: is not a directory
        hint: make it first (`nexus-fs mkdir`), or name a single source

    "#]]
    .assert_eq(&said);
}

#[test]
fn moves_that_can_not_be() {
    let fs = sandbox();
    let said = refused(
        &fs,
        &[
            (2, &["mv", "/data/d", "/data/d/below"]),
            (2, &["cp", "-r", "/data/d", "/data/d/below"]),
            (3, &["mv", "/data/absent", "/data/x"]),
        ],
    );
    assert!(said.contains("a directory can not be moved into itself"), "{said}");
    assert!(said.contains("a directory can not be copied into itself"), "{said}");
    let before = fs.snapshot();
    fs.ok(&["mv", "/data/f", "/data/f"]);
    assert_eq!(fs.snapshot(), before);
}

#[test]
fn mount_points_are_not_files() {
    let fs = sandbox();
    let said = refused(
        &fs,
        &[
            (1, &["write", "/data", "x"]),
            (1, &["write", "/", "x"]),
            (5, &["rm", "-r", "/data"]),
            (5, &["rm", "/data"]),
            (5, &["mv", "/data", "/data/other"]),
            (4, &["write", "/__sys__/version", "x"]),
            (3, &["write", "/nowhere/x", "x"]),
            (5, &["mount", "mem://x", "--at", "/data/below"]),
            (5, &["mount", "mem://x", "--at", "/__sys__"]),
            (5, &["mount", "mem://x", "--at", "/"]),
            (3, &["unmount", "/other"]),
        ],
    );
    assert!(said.contains("hint: unmount it instead (`nexus-fs unmount`)"), "{said}");
    assert!(said.contains("error: /nowhere/x: nothing is mounted here"), "{said}");
    assert!(said.contains("a file of this computer is written `local:///nowhere/x`"), "{said}");
}

#[test]
fn a_root_that_is_not_there() {
    let fs = sandbox();
    let said = refused(&fs, &[(3, &["mount", "./absent"]), (1, &["mount", "./data/f"])]);
    assert!(said.contains("hint: make it first, or mount it with `create=true`"), "{said}");
    // A mount that was saved and has vanished since.
    std::fs::rename(fs.data(), fs.folder.path().join("gone")).unwrap();
    let said = refused(&fs, &[(3, &["ls", "/data"]), (3, &["write", "/data/x", "x"])]);
    assert!(said.contains("FOLDER/data"), "{said}");
    // It stands in the way of nothing else.
    assert_eq!(fs.ok(&["ls", "/"]), "__sys__/\ndata/\n");
    let doctor = fs.run(&["doctor"]);
    assert_eq!(doctor.code, 1);
    assert!(doctor.stdout.ends_with("1 thing is wrong\n"), "{}", doctor.stdout);
}

#[test]
fn names_that_are_not_utf8_are_shown_and_reachable() {
    use std::os::unix::ffi::OsStrExt;
    let fs = sandbox();
    let raw = fs.data().join(std::ffi::OsStr::from_bytes(b"caf\xE9"));
    std::fs::write(&raw, "espresso").unwrap();
    assert!(fs.ok(&["ls", "/data"]).contains("caf\\xE9\n"));
    assert_eq!(fs.ok(&["cat", "/data/caf\\xE9"]), "espresso");
    fs.ok(&["rm", "/data/caf\\xE9"]);
    assert!(!raw.exists());
}

#[test]
fn a_file_that_nobody_may_change() {
    let fs = sandbox();
    std::os::unix::fs::symlink("/etc", fs.data().join("out")).unwrap();
    let said = refused(
        &fs,
        &[
            (4, &["cat", "/data/out/passwd"]),
            (4, &["write", "/data/out/x", "x"]),
            (4, &["ls", "/data/out"]),
        ],
    );
    assert!(said.contains("a symbolic link leads out of the mount"), "{said}");
}

#[test]
fn damage_is_exit_code_6() {
    let fs = sandbox();
    fs.ok(&["write", "/data/new", "hello"]);
    let file = fs.data().join("new");
    let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::write(&file, "jello").unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    let said = refused(
        &fs,
        &[
            (6, &["cat", "/data/new"]),
            (6, &["--mount", "mem://x", "cp", "/data/new", "/mem/x/new"]),
        ],
    );
    assert!(said.contains("does not match the digest"), "{said}");
}

#[test]
fn a_part_that_fails_is_named_and_the_rest_is_done() {
    let fs = sandbox();
    std::os::unix::fs::symlink("/etc/passwd", fs.data().join("d/out")).unwrap();
    let ran = fs.run(&["--mount", "mem://x", "cp", "-r", "/data/d", "/mem/x/d"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(ran.stderr.contains("/data/d/out: a symbolic link leads out"), "{}", ran.stderr);
    assert!(ran.stderr.contains("copied 1 file"), "{}", ran.stderr);
}

#[test]
fn usage_is_exit_code_2() {
    let fs = sandbox();
    for args in [
        &[][..],
        &["frobnicate"],
        &["ls", "--frobnicate"],
        &["cp", "/data/f"],
        &["mount"],
        &["edit", "/data/f"],
    ] {
        fs.fails(2, args);
    }
}
