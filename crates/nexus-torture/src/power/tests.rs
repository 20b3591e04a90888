//! The model against programs that are known to be right, and others that are known to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use super::image::{Plan, image};
use super::parse::parse;
use super::replay::{Recording, Replay, Step};
use crate::support::Rng;
use crate::tree::Tree;

const OLD: [u8; 9_000] = [b'o'; 9_000];
const NEW: [u8; 9_000] = [b'n'; 9_000];

/// A recording of these lines on a store `/s` that has a file `f`; `NEW` and `s` are written out.
fn recording(lines: &[&str]) -> Recording {
    let escaped: String = NEW.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let log: String =
        lines.iter().map(|line| format!("7 {}\n", line.replace("NEW", &escaped))).collect();
    let before = Tree {
        dirs: vec!["d".to_owned(), "e".to_owned()],
        files: vec![("d/f".to_owned(), OLD.to_vec())],
    };
    Recording::new("/s".to_owned(), before, &parse(&log).unwrap()).unwrap()
}

/// What `path` holds in images of every cut, by whether the program had said `ok` before.
#[derive(Debug, Default)]
struct Seen {
    before: BTreeSet<&'static str>,
    after: BTreeSet<&'static str>,
    /// The names of all files, in the images after `ok`.
    names: BTreeSet<Vec<String>>,
}

fn seen(recording: &Recording, path: &str) -> Seen {
    let (mut seen, mut rng) = (Seen::default(), Rng::new(3));
    let mut replay = Replay::new(recording).unwrap();
    let mut acknowledged = false;
    loop {
        for plan in Plan::ALL.into_iter().cycle().take(240) {
            let tree = image(&replay.disk, plan, &mut rng);
            let files: BTreeMap<_, _> = tree.files.into_iter().collect();
            let what = match files.get(path).map(Vec::as_slice) {
                None => "nothing",
                Some(bytes) if bytes == OLD => "old",
                Some(bytes) if bytes == NEW => "new",
                Some(_) => "torn",
            };
            if acknowledged {
                seen.after.insert(what);
                seen.names.insert(files.into_keys().collect());
            } else {
                seen.before.insert(what);
            }
        }
        match replay.step().unwrap() {
            None => return seen,
            Some(Step::Said(text)) => acknowledged |= text == "ok\n",
            Some(_) => {}
        }
    }
}

/// A file beside `f` that is renamed over it, with these lines between the steps.
fn replacing(written: &[&'static str], renamed: &[&'static str]) -> Recording {
    let mut lines = vec![
        "openat(AT_FDCWD</>, \"/s/d/t\", O_RDWR|O_CREAT|O_EXCL, 0666) = 3</s/d/t>",
        "openat(AT_FDCWD</>, \"/s/d\", O_RDONLY|O_DIRECTORY) = 4</s/d>",
        "write(3</s/d/t>, \"NEW\", 9000) = 9000",
    ];
    lines.extend(written);
    lines.push("renameat(4</s/d>, \"t\", 4</s/d>, \"f\") = 0");
    lines.extend(renamed);
    lines.push("write(1</dev/null>, \"ok\\n\", 3) = 3");
    recording(&lines)
}

const SYNC_FILE: &str = "fsync(3</s/d/t>) = 0";
const SYNC_DIR: &str = "fsync(4</s/d>) = 0";

#[test]
fn a_program_that_syncs_all_loses_nothing() {
    let seen = seen(&replacing(&[SYNC_FILE], &[SYNC_DIR]), "d/f");
    assert_eq!(seen.before, BTreeSet::from(["old", "new"]));
    assert_eq!(seen.after, BTreeSet::from(["new"]));
    assert_eq!(seen.names, BTreeSet::from([vec!["d/f".to_owned()]]));
}

#[test]
fn a_program_that_does_not_sync_the_file_leaves_it_torn() {
    let seen = seen(&replacing(&[], &[SYNC_DIR]), "d/f");
    assert!(seen.before.contains("torn") && seen.after.contains("torn"), "{seen:?}");
}

#[test]
fn a_program_that_does_not_sync_the_directory_loses_the_new_content() {
    let seen = seen(&replacing(&[SYNC_FILE], &[]), "d/f");
    assert_eq!(seen.after, BTreeSet::from(["old", "new"]));
}

#[test]
fn a_sync_that_began_before_a_write_ended_does_not_cover_it() {
    let early = recording(&[
        "openat(AT_FDCWD</>, \"/s/d/f\", O_RDWR) = 3</s/d/f>",
        "pwrite64(3</s/d/f>, \"NEW\", 9000, 0 <unfinished ...>",
        "openat(AT_FDCWD</>, \"/s/d\", O_RDONLY) = 4</s/d>",
    ]);
    assert_eq!(seen(&early, "d/f").before, BTreeSet::from(["old"]), "it never ended");
    let log = concat!(
        "7 openat(AT_FDCWD</>, \"/s/d/f\", O_RDWR) = 3</s/d/f>\n",
        "7 pwrite64(3</s/d/f>, \"NEW\", 9000, 0 <unfinished ...>\n",
        "8 fsync(3</s/d/f> <unfinished ...>\n",
        "7 <... pwrite64 resumed>) = 9000\n",
        "8 <... fsync resumed>) = 0\n",
        "8 write(1</dev/null>, \"ok\\n\", 3) = 3\n",
    );
    let escaped: String = NEW.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let log = parse(&log.replace("NEW", &escaped)).unwrap();
    let overlapping = Recording::new("/s".to_owned(), early.before, &log).unwrap();
    let seen = seen(&overlapping, "d/f");
    assert!(["old", "new", "torn"].iter().all(|what| seen.after.contains(what)), "{seen:?}");
}

#[test]
fn a_nameless_file_needs_its_directory_synced() {
    let lines = [
        "openat(AT_FDCWD</>, \"/s/d\", O_RDONLY|O_DIRECTORY) = 4</s/d>",
        "openat(4</s/d>, \".\", O_RDWR|O_TMPFILE, 0666) = 3</s/d/#99>(deleted)",
        "pwritev(3</s/d/#99>(deleted), [{iov_base=\"NEW\", iov_len=9000}], 1, 0) = 9000",
        "fdatasync(3</s/d/#99>(deleted)) = 0",
        "linkat(AT_FDCWD</>, \"/proc/self/fd/3\", 4</s/d>, \"g\", AT_SYMLINK_FOLLOW) = 0",
        "write(1</dev/null>, \"ok\\n\", 3) = 3",
        "fsync(3</s/d/#99>(deleted)) = 0",
    ];
    assert_eq!(seen(&recording(&lines), "d/g").after, BTreeSet::from(["nothing", "new"]));
    let mut lines = lines.to_vec();
    lines.insert(5, SYNC_DIR);
    let seen = seen(&recording(&lines), "d/g");
    assert_eq!(seen.after, BTreeSet::from(["new"]));
    assert_eq!(seen.before, BTreeSet::from(["nothing", "new"]));
}

#[test]
fn a_rename_between_directories_is_one_change() {
    let lines = [
        "openat(AT_FDCWD</>, \"/s/e\", O_RDONLY|O_DIRECTORY) = 5</s/e>",
        "write(1</dev/null>, \"ok\\n\", 3) = 3",
        "rename(\"/s/d/f\", \"/s/e/g\") = 0",
    ];
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let both = BTreeSet::from([names(&["d/f"]), names(&["e/g"])]);
    assert_eq!(seen(&recording(&lines), "e/g").names, both);
    let made = [
        "mkdir(\"/s/e/x\", 0777) = 0",
        "openat(AT_FDCWD</>, \"/s/e/x\", O_RDONLY|O_DIRECTORY) = 5</s/e/x>",
        "rename(\"/s/d/f\", \"/s/e/x/g\") = 0",
        "fsync(5</s/e/x>) = 0",
        "write(1</dev/null>, \"ok\\n\", 3) = 3",
    ];
    // The name of the new directory was not made durable: what was moved into it may be gone.
    let lost = BTreeSet::from([names(&[]), names(&["e/x/g"])]);
    assert_eq!(seen(&recording(&made), "e/x/g").names, lost);
}

#[test]
fn positions_and_copies_are_followed() {
    let lines = [
        "openat(AT_FDCWD</>, \"/s/d/f\", O_RDWR) = 3</s/d/f>",
        "openat(AT_FDCWD</>, \"/s/d/g\", O_RDWR|O_CREAT, 0666) = 4</s/d/g>",
        "copy_file_range(3</s/d/f>, [0], 4</s/d/g>, [0], 9000, 0) = 4500",
        "lseek(4</s/d/g>, 4500, SEEK_SET) = 4500",
        "fcntl(4</s/d/g>, F_DUPFD_CLOEXEC, 0) = 9</s/d/g>",
        "lseek(3</s/d/f>, 0, SEEK_SET) = 0",
        "read(3</s/d/f>, \"\\x6f\\x6f\", 2) = 2",
        "copy_file_range(3</s/d/f>, NULL, 9</s/d/g>, NULL, 4500, 0) = 4500",
        "fsync(9</s/d/g>) = 0",
        "openat(AT_FDCWD</>, \"/s/d\", O_RDONLY) = 5</s/d>",
        "fsync(5</s/d>) = 0",
        "write(1</dev/null>, \"ok\\n\", 3) = 3",
        "ftruncate(9</s/d/g>, 1) = 0",
    ];
    let seen = seen(&recording(&lines), "d/g");
    assert_eq!(seen.after, BTreeSet::from(["old", "torn"]), "cut to one byte at the end");
}

#[test]
fn what_the_model_can_not_follow_is_an_error() {
    for (line, what) in [
        ("symlink(\"x\", \"/s/d/l\") = 0", "not in the model"),
        ("fsync(9</s/d>) = 0", "nobody opened"),
        ("rename(\"/s/d/none\", \"/s/d/x\") = 0", "not there"),
        ("unlink(\"/s/d/../f\") = 0", "`..`"),
        ("rename(\"/s/d/f\", \"/elsewhere\") = 0", "out of the store"),
    ] {
        let recording = recording(&[line]);
        let mut replay = Replay::new(&recording).unwrap();
        let error = loop {
            match replay.step() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{line} was followed"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains(what), "{line}: {error}");
    }
    let mapped = recording(&[
        "openat(AT_FDCWD</>, \"/s/d/f\", O_RDWR) = 3</s/d/f>",
        "mmap(NULL, 9, PROT_READ|PROT_WRITE, MAP_SHARED, 3</s/d/f>, 0) = 0x7f01",
    ]);
    let mut replay = Replay::new(&mapped).unwrap();
    let mut step = || replay.step();
    assert!((0..4).any(|_| step().is_err()));
}
