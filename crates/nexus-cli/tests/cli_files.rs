//! The commands on files, as people and scripts see them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::Sandbox;
use expect_test::expect;
use serde_json::Value;

fn sandbox() -> Sandbox {
    Sandbox::with(&[
        ("a.txt", "alpha\nbeta\ngamma\n"),
        ("b.md", "# Title\n"),
        ("d/deep.txt", "beta in the deep\n"),
        ("d/e/x.bin", "\0\u{1}beta"),
    ])
}

#[test]
fn ls_sorts_and_marks_directories() {
    let fs = sandbox();
    expect![[r#"
        a.txt
        b.md
        d/
    "#]]
    .assert_eq(&fs.ok(&["ls", "/data"]));
    expect![[r#"
        a.txt
        b.md
        d/
        d/deep.txt
        d/e/
        d/e/x.bin
    "#]]
    .assert_eq(&fs.ok(&["ls", "-R", "/data/"]));
    assert_eq!(fs.ok(&["ls", "/data/a.txt"]), "a.txt\n");
    assert_eq!(fs.ok(&["ls", "/"]), "__sys__/\ndata/\n");
}

#[test]
fn ls_long_shows_size_time_and_digest() {
    let fs = sandbox();
    fs.ok(&["write", "/data/new", "hello"]);
    let line = fs.ok(&["ls", "-l", "/data/new"]);
    let digest = "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f";
    assert!(line.starts_with("file             5 B  20") && line.contains(digest), "{line}");
}

#[test]
fn json_objects_have_the_eight_keys_in_order() {
    let fs = sandbox();
    fs.ok(&["write", "/data/new", "hello"]);
    let keys = r#"{"path":"/data/new","kind":"file","size":5,"modified":"#;
    for args in [
        &["stat", "--json", "/data/new"][..],
        &["ls", "--json", "/data/new"],
        &["find", "--json", "/data", "--name", "new"],
        &["glob", "--json", "/data/n*"],
    ] {
        let text = fs.ok(args);
        assert!(text.starts_with(keys) && text.lines().count() == 1, "{args:?}: {text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        let names: Vec<_> = value.as_object().unwrap().keys().collect();
        assert_eq!(names.len(), 8, "{names:?}");
        for name in ["etag", "version", "digest", "content_type"] {
            assert!(value.get(name).is_some(), "{name}");
        }
        assert_eq!(value["digest"].as_str().unwrap().len(), 64);
    }
    assert_eq!(fs.ok(&["ls", "-R", "--json", "/data"]).lines().count(), 7);
}

#[test]
fn tree_draws_and_counts() {
    expect![[r#"
        /data
        ├── a.txt
        ├── b.md
        └── d/
            ├── deep.txt
            └── e/
                └── x.bin

        2 directories, 4 files
    "#]]
    .assert_eq(&sandbox().ok(&["tree", "/data"]));
}

#[test]
fn cat_takes_ranges_and_head_stops() {
    let fs = sandbox();
    assert_eq!(fs.ok(&["cat", "/data/a.txt", "/data/b.md"]), "alpha\nbeta\ngamma\n# Title\n");
    assert_eq!(fs.ok(&["cat", "--range", "6-10", "/data/a.txt"]), "beta");
    assert_eq!(fs.ok(&["cat", "--range", "11-", "/data/a.txt"]), "gamma\n");
    assert_eq!(fs.ok(&["head", "-n", "1", "/data/a.txt"]), "alpha\n");
    assert_eq!(fs.ok(&["head", "-c", "3", "/data/a.txt"]), "alp");
    fs.fails(1, &["cat", "--range", "99-", "/data/a.txt"]);
    fs.fails(2, &["cat", "--range", "9-1", "/data/a.txt"]);
}

#[test]
fn write_takes_an_argument_a_file_or_standard_input() {
    let fs = sandbox();
    fs.ok(&["write", "/data/one", "text"]);
    std::fs::write(fs.folder.path().join("local"), "from a file").unwrap();
    fs.ok(&["write", "/data/two", "--file", "local"]);
    let ran = fs.run_with_input(&["write", "/data/three"], b"from a pipe");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(
        fs.ok(&["cat", "/data/one", "/data/two", "/data/three"]),
        "textfrom a filefrom a pipe"
    );
    fs.fails(5, &["write", "/data/one", "--create", "again"]);
    fs.fails(3, &["write", "/data/four", "--file", "absent"]);
    assert_eq!(fs.ok(&["cat", "/data/one"]), "text");
}

#[test]
fn write_replaces_only_the_version_that_is_named() {
    let fs = sandbox();
    let version = |path: &str| -> String {
        let value: Value = serde_json::from_str(&fs.ok(&["stat", "--json", path])).unwrap();
        value["version"].as_str().unwrap().to_owned()
    };
    let first = version("/data/a.txt");
    fs.ok(&["write", "/data/a.txt", "--if-version", &first, "two"]);
    let refused = fs.fails(5, &["write", "/data/a.txt", "--if-version", &first, "three"]);
    assert!(refused.contains("the version has changed"), "{refused}");
    assert_eq!(fs.ok(&["cat", "/data/a.txt"]), "two");
}

#[test]
fn cp_says_how_it_copied() {
    let fs = sandbox();
    let said = fs.run(&["cp", "/data/a.txt", "/data/copy.txt"]).stderr;
    assert!(
        said == "copied 1 file, server-side to /data/copy.txt\n"
            || said == "copied 1 file, by reflink to /data/copy.txt\n",
        "{said}"
    );
    fs.ok(&["cp", "-r", "/data/d", "/data/other"]);
    assert_eq!(fs.ok(&["cat", "/data/other/deep.txt"]), "beta in the deep\n");
    // Into a directory that is there, under its own name.
    fs.ok(&["cp", "/data/a.txt", "/data/d"]);
    assert_eq!(fs.ok(&["cat", "/data/d/a.txt"]), "alpha\nbeta\ngamma\n");
    // Files of this computer, written as such.
    fs.ok(&["cp", "/data/b.md", "here.md"]);
    assert_eq!(std::fs::read_to_string(fs.folder.path().join("here.md")).unwrap(), "# Title\n");
    fs.ok(&["cp", "~/here.md", "./data/there.md"]);
    assert_eq!(fs.ok(&["cat", "/data/there.md"]), "# Title\n");
    fs.fails(5, &["cp", "-n", "/data/a.txt", "/data/b.md"]);
    fs.fails(5, &["cp", "/data/a.txt", "/data/a.txt"]);
    fs.fails(1, &["cp", "/data/d", "/data/elsewhere"]);
    assert_eq!(fs.ok(&["cat", "/data/b.md"]), "# Title\n");
}

#[test]
fn mv_and_rm_and_mkdir() {
    let fs = sandbox();
    fs.ok(&["mv", "/data/a.txt", "/data/d"]);
    assert_eq!(fs.ok(&["cat", "/data/d/a.txt"]), "alpha\nbeta\ngamma\n");
    fs.ok(&["mv", "/data/d", "/data/moved"]);
    fs.fails(3, &["stat", "/data/d"]);
    fs.ok(&["--mount", "mem://s", "mv", "/data/b.md", "/mem/s/b.md"]);
    fs.fails(3, &["stat", "/data/b.md"]);
    fs.ok(&["mkdir", "/data/new"]);
    fs.fails(5, &["mkdir", "/data/new"]);
    fs.fails(3, &["mkdir", "/data/x/y"]);
    fs.ok(&["mkdir", "-p", "/data/x/y"]);
    fs.ok(&["mkdir", "-p", "/data/x/y"]);
    fs.ok(&["rm", "/data/moved/a.txt"]);
    fs.fails(1, &["rm", "/data/moved"]);
    fs.ok(&["rm", "-r", "/data/moved"]);
    fs.fails(3, &["rm", "/data/moved"]);
    fs.ok(&["rm", "-f", "/data/moved"]);
    assert_eq!(fs.ok(&["ls", "/data"]), "new/\nx/\n");
}

#[test]
fn find_by_name_type_and_size() {
    let fs = sandbox();
    assert_eq!(fs.ok(&["find", "/data", "--name", "*.md"]), "/data/b.md\n");
    let mut found: Vec<_> =
        fs.ok(&["find", "/data", "--type", "d"]).lines().map(str::to_owned).collect();
    found.sort();
    assert_eq!(found, ["/data/d", "/data/d/e"]);
    assert_eq!(
        fs.ok(&["find", "/data", "--size", "+16", "--name", "*.txt", "-L", "1"]),
        "/data/a.txt\n"
    );
    assert_eq!(fs.ok(&["find", "/data", "--older", "1d"]), "");
    assert_eq!(fs.ok(&["find", "/data", "--newer", "1d", "--type", "f"]).lines().count(), 4);
    assert_eq!(fs.ok(&["glob", "/data/**/*.txt"]).lines().count(), 2);
    fs.fails(2, &["find", "/data", "--size", "huge"]);
    fs.fails(2, &["glob", "/data/[a"]);
}

#[test]
fn grep_finds_lines_and_skips_binaries() {
    let fs = sandbox();
    expect![[r#"
        /data/a.txt:2:beta
        /data/d/deep.txt:1:beta in the deep
    "#]]
    .assert_eq(&sorted(&fs.ok(&["grep", "-n", "beta", "/data"])));
    assert_eq!(fs.ok(&["grep", "-C", "1", "beta", "/data/a.txt"]), "alpha\nbeta\ngamma\n");
    assert_eq!(fs.ok(&["grep", "-i", "-l", "ALPHA", "/data"]), "/data/a.txt\n");
    assert_eq!(fs.ok(&["grep", "-c", "a$", "/data/a.txt"]), "3\n");
    assert_eq!(fs.ok(&["grep", "-F", "# T", "/data/b.md"]), "# Title\n");
    assert_eq!(fs.run(&["grep", "nothing like it", "/data"]).code, 1);
    fs.fails(2, &["grep", "(", "/data"]);
    fs.fails(3, &["grep", "x", "/data/absent"]);
    let object: Value =
        serde_json::from_str(&fs.ok(&["grep", "--json", "alpha", "/data/a.txt"])).unwrap();
    assert_eq!((&object["line"], &object["text"]), (&1.into(), &"alpha".into()));
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n") + "\n"
}

#[test]
fn du_sums_up() {
    let fs = sandbox();
    let said = fs.ok(&["du", "/data"]);
    let lines: Vec<_> = said.lines().map(str::trim).collect();
    assert_eq!(lines, ["6 B  /data/d/e", "23 B  /data/d", "48 B  /data"]);
    assert_eq!(fs.ok(&["du", "-s", "/data"]), "      48 B  /data\n");
}

#[test]
fn edit_replaces_exactly_and_refuses_what_is_unclear() {
    let fs = sandbox();
    expect![[r#"
        @@ -1,3 +1,3 @@
         alpha
        -beta
        +BETA
         gamma
    "#]]
    .assert_eq(&fs.ok(&["edit", "/data/a.txt", "--old", "beta", "--new", "BETA", "--preview"]));
    assert_eq!(fs.ok(&["cat", "/data/a.txt"]), "alpha\nbeta\ngamma\n");
    fs.fails(5, &["edit", "/data/a.txt", "--old", "a", "--new", "A"]);
    fs.fails(3, &["edit", "/data/a.txt", "--old", "delta", "--new", "x"]);
    fs.fails(2, &["edit", "/data/a.txt", "--old", "", "--new", "x"]);
    fs.ok(&["edit", "/data/a.txt", "--old", "beta", "--new", "BETA"]);
    fs.ok(&["edit", "/data/a.txt", "--old", "a", "--new", "o", "--all"]);
    assert_eq!(fs.ok(&["cat", "/data/a.txt"]), "olpho\nBETA\ngommo\n");
}

#[test]
fn several_operands_go_on_past_one_that_fails() {
    let fs = sandbox();
    let ran = fs.run(&["cat", "/data/absent", "/data/b.md"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (7, "# Title\n"));
    assert!(ran.stderr.contains("/data/absent"), "{}", ran.stderr);
}

#[test]
fn quiet_and_verbose() {
    let fs = sandbox();
    assert_eq!(fs.run(&["-q", "cp", "/data/a.txt", "/data/z"]).stderr, "");
    let said = fs.fails(3, &["-v", "cat", "/data/absent"]);
    assert!(said.contains("  kind: not found") && said.contains("  caused by: "), "{said}");
}

#[test]
fn backends_and_the_kernels_own_tree_tell_what_is_built_in() {
    let fs = sandbox();
    let schemes: Vec<String> = fs
        .ok(&["backends", "--json"])
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["scheme"].as_str().unwrap().into())
        .collect();
    assert_eq!(schemes, ["local", "mem", "s3"]);
    assert_eq!(fs.ok(&["cat", "/__sys__/version"]), concat!(env!("CARGO_PKG_VERSION"), "\n"));
    assert!(fs.ok(&["doctor"]).ends_with("nothing is wrong\n"));
}

#[test]
fn completions_and_man_pages_come_from_the_same_definitions() {
    let fs = sandbox();
    for shell in ["bash", "zsh", "fish"] {
        assert!(fs.ok(&["completions", shell]).contains("unmount"), "{shell}");
    }
    assert!(fs.ok(&["man"]).starts_with(".ie"));
    fs.ok(&["man", "--dir", "pages"]);
    assert!(fs.folder.path().join("pages/nexus-fs-cp.1").exists());
}
