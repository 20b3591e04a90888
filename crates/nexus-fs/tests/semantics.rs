//! `docs/semantics.md`, held against what really happens: every row of its tables is tried on every
//! backend, and what came out must be what the cell says. A row without a probe fails, and so does a
//! probe without a row.
#![cfg(all(feature = "backend-local", feature = "backend-mem", feature = "layout-cas"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use futures_util::TryStreamExt;
use nexus_fs::{
    Bytes, CopyMethod, Directories, Error, ErrorKind, Kernel, ListOptions, MountRequest,
    ReadOptions, RenameMethod, Result, Version, VfsPath, WriteMode, WriteOptions,
};

const GUIDE: &str = include_str!("../../../docs/semantics.md");

/// A row of a table: what is asked, and what each backend answers, in the order of the header.
struct Row {
    asked: String,
    cells: Vec<String>,
}

/// The rows of every table whose header begins with `first`, and the backends that it names.
fn rows(first: &str) -> (Vec<String>, Vec<Row>) {
    let (mut backends, mut rows, mut inside) = (Vec::new(), Vec::new(), false);
    for line in GUIDE.lines() {
        let cells: Vec<_> =
            line.split('|').map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>();
        let [_, asked, cells @ .., _] = cells.as_slice() else {
            inside = false;
            continue;
        };
        if asked == first {
            (backends, inside) = (cells.to_vec(), true);
        } else if inside && !asked.starts_with("---") {
            rows.push(Row { asked: asked.clone(), cells: cells.to_vec() });
        }
    }
    (backends, rows)
}

/// A mount of its own for one probe, and another one beside it.
struct Place {
    fs: Kernel,
    scheme: String,
    /// The directory behind the mount, where there is one.
    root: Option<PathBuf>,
    _folder: tempfile::TempDir,
}

impl Place {
    async fn new(scheme: &str) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (uri, root) = match scheme {
            "local" => {
                let root = folder.path().join("root");
                std::fs::create_dir(&root).unwrap();
                (format!("local://{}?layout=plain", root.display()), Some(root))
            }
            // Other programs have nothing to do with what is in the folder.
            "local, layout=cas" => {
                (format!("local://{}?layout=cas", folder.path().display()), None)
            }
            other => (format!("{other}://semantics"), None),
        };
        let fs = Kernel::new(nexus_fs::registry().unwrap());
        let mount =
            |uri: &str, at: &str| MountRequest::parse(uri).unwrap().at(VfsPath::parse(at).unwrap());
        fs.mount(vec![mount(&uri, "/m"), mount("mem://beside", "/other")]).await.unwrap();
        Self { fs, scheme: scheme.to_owned(), root, _folder: folder }
    }

    async fn put(&self, path: &str, content: &str) -> Version {
        let options = WriteOptions::default();
        let metadata = self.fs.write(path, content.to_owned(), &options).await.unwrap();
        metadata.version.unwrap()
    }

    async fn text(&self, path: &str) -> String {
        let object = self.fs.read(path, &ReadOptions::default()).await.unwrap();
        let content = object.body.bytes(1 << 20).await.unwrap();
        String::from_utf8(content.to_vec()).unwrap()
    }

    async fn names(&self, path: &str) -> Vec<String> {
        let list = self.fs.list(path, &ListOptions::default()).await.unwrap();
        let entries: Vec<_> = list.try_collect().await.unwrap();
        entries.iter().map(|entry| entry.path.as_str().to_owned()).collect()
    }
}

/// The kind of what failed, or what it means that nothing did.
fn outcome<T>(result: Result<T>, done: impl FnOnce(T) -> String) -> String {
    match result {
        Ok(value) => done(value),
        Err(error) => format!("{:?}", error.kind()),
    }
}

fn says<T>(text: &str) -> impl FnOnce(T) -> String {
    let text = text.to_owned();
    move |_| text
}

#[tokio::test]
async fn every_row_is_what_really_happens() {
    let (backends, rows) = rows("What");
    assert_eq!(backends, ["mem", "local", "local, layout=cas"]);
    assert_eq!(rows.iter().map(|row| row.asked.as_str()).collect::<Vec<_>>(), probes());
    let mut wrong = Vec::new();
    for row in &rows {
        for (scheme, cell) in backends.iter().zip(&row.cells) {
            let place = Place::new(scheme).await;
            let found = probe(&row.asked, &place).await;
            if found != *cell {
                wrong.push(format!(
                    "{} on {scheme}: the guide says {cell}, it is {found}",
                    row.asked
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_capability_is_declared_as_the_guide_says() {
    let (backends, rows) = rows("Capability");
    assert_eq!(backends, ["mem", "local", "local, layout=cas"]);
    for (index, scheme) in backends.iter().enumerate() {
        let place = Place::new(scheme).await;
        let info = place.fs.mounts()[0].info.clone().unwrap();
        let declared = serde_json::to_value(&info.capabilities).unwrap();
        let mut expected = Vec::new();
        for (name, value) in declared.as_object().unwrap() {
            // What differs from machine to machine is in the guide of each backend.
            if matches!(name.as_str(), "limits" | "local_root" | "own_files" | "store_id") {
                continue;
            }
            let value = match value {
                serde_json::Value::Bool(true) => "yes".to_owned(),
                serde_json::Value::Bool(false) => "no".to_owned(),
                other => other.as_str().unwrap().to_owned(),
            };
            expected.push((name.clone(), value));
        }
        let mut written: Vec<_> =
            rows.iter().map(|row| (row.asked.clone(), row.cells[index].clone())).collect();
        written.sort();
        expected.sort();
        assert_eq!(written, expected, "{scheme}");
    }
}

const READING: &[&str] = &[
    "read where nothing is",
    "read a directory",
    "a range that ends past the end",
    "a range that begins at the end",
    "a range that begins past the end",
    "if_match with another version",
    "if_none_match with the same version",
    "a reader while the file is replaced",
];

async fn reading(asked: &str, place: &Place) -> String {
    let fs = &place.fs;
    let version = place.put("/m/f", "0123456789").await;
    let ranged = async |start, end| {
        let range = nexus_fs::ByteRange::new(start, end).unwrap();
        let object = fs.read("/m/f", &ReadOptions::range(range)).await?;
        object.body.bytes(100).await
    };
    let text = |bytes: Bytes| match &bytes[..] {
        b"" => "empty".to_owned(),
        b"89" => "cut at the end".to_owned(),
        other => String::from_utf8_lossy(other).into_owned(),
    };
    match asked {
        "read where nothing is" => {
            outcome(fs.read("/m/none", &Default::default()).await, says("read"))
        }
        "read a directory" => {
            fs.create_dir("/m/d").await.unwrap();
            outcome(fs.read("/m/d", &Default::default()).await, says("read"))
        }
        "a range that ends past the end" => outcome(ranged(8, Some(99)).await, text),
        "a range that begins at the end" => outcome(ranged(10, None).await, text),
        "a range that begins past the end" => outcome(ranged(11, None).await, text),
        "if_match with another version" => {
            let wanted = Some(Version::new("another"));
            let options = ReadOptions { if_match: wanted, ..Default::default() };
            outcome(fs.read("/m/f", &options).await, says("read"))
        }
        "if_none_match with the same version" => {
            let options = ReadOptions { if_none_match: Some(version), ..Default::default() };
            outcome(fs.read("/m/f", &options).await, says("read"))
        }
        "a reader while the file is replaced" => {
            let (old, new) = (vec![b'o'; 8 << 20], vec![b'n'; 8 << 20]);
            fs.write("/m/f", old.clone(), &Default::default()).await.unwrap();
            let object = fs.read("/m/f", &Default::default()).await.unwrap();
            fs.write("/m/f", new, &Default::default()).await.unwrap();
            let all =
                |read: Bytes| if read == old { "the old content".into() } else { "mixed".into() };
            outcome(object.body.bytes(16 << 20).await, all)
        }
        _ => no_probe(asked),
    }
}

const WRITING: &[&str] = &[
    "write where directories above are missing",
    "write where a file is",
    "write where a directory is",
    "write below a file",
    "write to the mount point",
    "Create where a file is",
    "Replace of the current version",
    "Replace of another version",
    "Replace where nothing is",
    "an upload before finish",
    "an upload that is dropped",
    "a content type",
    "user metadata",
    "the digest of what was written",
];

async fn writing(asked: &str, place: &Place) -> String {
    let fs = &place.fs;
    let version = place.put("/m/f", "old").await;
    let write = async |path: &str, mode: WriteMode| {
        fs.write(path, "new", &mode.into()).await.map(|metadata| metadata.size)
    };
    match asked {
        "write where directories above are missing" => {
            let written = write("/m/a/b/c", WriteMode::Overwrite).await;
            let above = fs.stat("/m/a/b").await.unwrap().is_dir();
            outcome(written, says(if above { "they are made" } else { "stored" }))
        }
        "write where a file is" => {
            outcome(write("/m/f", WriteMode::Overwrite).await, says("replaced"))
        }
        "write where a directory is" => {
            fs.create_dir("/m/d").await.unwrap();
            outcome(write("/m/d", WriteMode::Overwrite).await, says("replaced"))
        }
        "write below a file" => {
            outcome(write("/m/f/x", WriteMode::Overwrite).await, says("stored"))
        }
        "write to the mount point" => {
            outcome(write("/m", WriteMode::Overwrite).await, says("stored"))
        }
        "Create where a file is" => {
            outcome(write("/m/f", WriteMode::Create).await, says("replaced"))
        }
        "Replace of the current version" => {
            outcome(write("/m/f", WriteMode::Replace(version)).await, says("replaced"))
        }
        "Replace of another version" => {
            place.put("/m/f", "in between").await;
            outcome(write("/m/f", WriteMode::Replace(version)).await, says("replaced"))
        }
        "Replace where nothing is" => {
            outcome(write("/m/none", WriteMode::Replace(version)).await, says("stored"))
        }
        "an upload before finish" | "an upload that is dropped" => {
            let mut upload = fs.upload("/m/new", &WriteOptions::default()).await.unwrap();
            upload.write("piece".into()).await.unwrap();
            if asked == "an upload that is dropped" {
                drop(upload);
            }
            let names = place.names("/m").await;
            if names == ["/m/f"] { "nothing to be seen".into() } else { format!("{names:?}") }
        }
        "a content type" => {
            let content_type = Some("text/plain".to_owned());
            let options = WriteOptions { content_type, ..Default::default() };
            outcome(fs.write("/m/t", "x", &options).await, says("stored"))
        }
        "user metadata" => {
            let user = [("k".to_owned(), "v".to_owned())].into();
            let options = WriteOptions { user, ..Default::default() };
            outcome(fs.write("/m/t", "x", &options).await, says("stored"))
        }
        "the digest of what was written" => match fs.stat("/m/f").await.unwrap().digest {
            Some(digest) if digest == nexus_fs::Digest::of(b"old") => "in stat".into(),
            other => format!("{other:?}"),
        },
        _ => no_probe(asked),
    }
}

const LISTING: &[&str] = &[
    "list where nothing is",
    "list a file",
    "a recursive listing",
    "start_after",
    "a listing of an empty directory",
];

async fn listing(asked: &str, place: &Place) -> String {
    let fs = &place.fs;
    place.put("/m/d/e/f", "x").await;
    let list = async |path: &str, options: ListOptions| {
        let entries: Vec<_> = fs.list(path, &options).await?.try_collect().await?;
        Ok::<_, Error>(entries.iter().map(|entry| entry.path.to_string()).collect::<Vec<_>>())
    };
    match asked {
        "list where nothing is" => {
            outcome(list("/m/none", Default::default()).await, says("empty"))
        }
        "list a file" => outcome(list("/m/d/e/f", Default::default()).await, says("listed")),
        "a recursive listing" => {
            let options = ListOptions { recursive: true, ..Default::default() };
            let names = list("/m", options).await.unwrap();
            let ordered = names == ["/m/d", "/m/d/e", "/m/d/e/f"];
            if ordered { "a directory before what is in it".into() } else { format!("{names:?}") }
        }
        "start_after" => {
            place.put("/m/a", "x").await;
            let start_after = Some(VfsPath::parse("/m/a").unwrap());
            let options = ListOptions { start_after, ..Default::default() };
            outcome(list("/m", options).await, |names| match names.as_slice() {
                [one] if one == "/m/d" => "what sorts after it".into(),
                other => format!("{other:?}"),
            })
        }
        "a listing of an empty directory" => {
            fs.create_dir("/m/empty").await.unwrap();
            let names = list("/m/empty", Default::default()).await;
            outcome(names, |names| if names.is_empty() { "empty".into() } else { "listed".into() })
        }
        _ => no_probe(asked),
    }
}

const REMOVING: &[&str] = &[
    "delete a file",
    "delete where nothing is",
    "delete a directory",
    "delete of another version",
    "delete the mount point",
    "the directory of a deleted last file",
    "create_dir where a directory is",
    "create_dir where a file is",
    "create_dir below a file",
    "remove_dir of what is not empty",
    "remove_dir where nothing is",
    "remove_dir of a file",
];

async fn removing(asked: &str, place: &Place) -> String {
    let fs = &place.fs;
    let version = place.put("/m/d/f", "x").await;
    match asked {
        "delete a file" => {
            let deleted = fs.delete("/m/d/f").await;
            let gone = place.names("/m/d").await.is_empty();
            outcome(deleted, says(if gone { "gone" } else { "still there" }))
        }
        "delete where nothing is" => outcome(fs.delete("/m/none").await, says("done")),
        "delete a directory" => outcome(fs.delete("/m/d").await, says("gone")),
        "delete of another version" => {
            place.put("/m/d/f", "in between").await;
            let path = VfsPath::parse("/m/d/f").unwrap();
            let target = nexus_fs::DeleteTarget { path, if_version: Some(version) };
            outcome(fs.delete_many(vec![target]).await.pop().unwrap(), says("gone"))
        }
        "delete the mount point" => outcome(fs.delete("/m").await, says("gone")),
        "the directory of a deleted last file" => {
            fs.delete("/m/d/f").await.unwrap();
            outcome(fs.stat("/m/d").await, says("stays"))
        }
        "create_dir where a directory is" => outcome(fs.create_dir("/m/d").await, says("done")),
        "create_dir where a file is" => outcome(fs.create_dir("/m/d/f").await, says("done")),
        "create_dir below a file" => outcome(fs.create_dir("/m/d/f/x").await, says("done")),
        "remove_dir of what is not empty" => outcome(fs.remove_dir("/m/d").await, says("gone")),
        "remove_dir where nothing is" => outcome(fs.remove_dir("/m/none").await, says("gone")),
        "remove_dir of a file" => outcome(fs.remove_dir("/m/d/f").await, says("gone")),
        _ => no_probe(asked),
    }
}

const MOVING: &[&str] = &[
    "copy inside the mount",
    "copy to another mount",
    "copy onto a file",
    "copy onto itself",
    "copy a directory as a file",
    "rename a file",
    "rename a directory",
    "rename to another mount",
    "rename a file onto a file",
    "rename a file onto a directory",
    "rename a directory onto a directory",
    "rename a directory into itself",
    "rename onto itself",
    "rename the mount point",
];

async fn moving(asked: &str, place: &Place) -> String {
    let fs = &place.fs;
    place.put("/m/d/f", "x").await;
    place.put("/m/g", "y").await;
    fs.create_dir("/m/empty").await.unwrap();
    let copy = async |from: &str, to: &str| {
        fs.copy(from, to, &Default::default()).await.map(|method| match method {
            CopyMethod::Reflink | CopyMethod::ServerSide => "by the file system".to_owned(),
            other => other.as_str().to_owned(),
        })
    };
    let rename = async |from: &str, to: &str| {
        let method = fs.rename(from, to, &Default::default()).await?;
        Ok::<_, Error>(match method {
            RenameMethod::Copied => "copied, then deleted".to_owned(),
            other => other.as_str().to_owned(),
        })
    };
    let same = |text: String| text;
    match asked {
        "copy inside the mount" => outcome(copy("/m/g", "/m/new").await, same),
        "copy to another mount" => outcome(copy("/m/g", "/other/g").await, same),
        "copy onto a file" => {
            let copied = copy("/m/g", "/m/d/f").await;
            assert_eq!(place.text("/m/d/f").await, "y");
            outcome(copied, says("replaced"))
        }
        "copy onto itself" => {
            let before = fs.stat("/m/g").await.unwrap();
            let copied = copy("/m/g", "/m/g").await;
            let same = fs.stat("/m/g").await.unwrap() == before;
            outcome(copied, says(if same { "nothing changes" } else { "written again" }))
        }
        "copy a directory as a file" => outcome(copy("/m/d", "/m/new").await, same),
        "rename a file" => outcome(rename("/m/g", "/m/new/h").await, same),
        "rename a directory" => outcome(rename("/m/d", "/m/new").await, same),
        "rename to another mount" => {
            let renamed = rename("/m/d", "/other/d").await;
            assert_eq!(place.text("/other/d/f").await, "x");
            assert_eq!(fs.stat("/m/d").await.unwrap_err().kind(), ErrorKind::NotFound);
            outcome(renamed, same)
        }
        "rename a file onto a file" => {
            let renamed = rename("/m/g", "/m/d/f").await;
            assert_eq!(place.text("/m/d/f").await, "y");
            outcome(renamed, says("replaced"))
        }
        "rename a file onto a directory" => outcome(rename("/m/g", "/m/empty").await, same),
        "rename a directory onto a directory" => outcome(rename("/m/d", "/m/empty").await, same),
        "rename a directory into itself" => outcome(rename("/m/d", "/m/d/below").await, same),
        "rename onto itself" => outcome(rename("/m/g", "/m/g").await, same),
        "rename the mount point" => outcome(rename("/m", "/other/m").await, same),
        _ => no_probe(asked),
    }
}

const OUTSIDE: &[&str] = &[
    "a name on disk that is not UTF-8",
    "a symbolic link, listed",
    "a symbolic link to a file inside, read",
    "a symbolic link, deleted",
    "a symbolic link that leaves the root",
    "a symbolic link to nothing",
    "any verb after close",
];

/// What others put into the store; a store that only this program sees has none of it.
async fn outside(asked: &str, place: &Place) -> String {
    let fs = &place.fs;
    if asked == "any verb after close" {
        fs.close().await.unwrap();
        return outcome(fs.stat("/m").await, says("answered"));
    }
    let Some(root) = &place.root else {
        return "none".into();
    };
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    let link = root.join("link");
    match asked {
        "a name on disk that is not UTF-8" => {
            std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"a\xFF")), "x").unwrap();
            let names = place.names("/m").await;
            assert_eq!(place.text(&names[0]).await, "x");
            names[0].trim_start_matches("/m/").to_owned()
        }
        "a symbolic link, listed" => {
            symlink("target", &link).unwrap();
            let list = fs.list("/m", &ListOptions::default()).await.unwrap();
            let entries: Vec<_> = list.try_collect().await.unwrap();
            format!("as a {}", entries[0].metadata.kind)
        }
        "a symbolic link to a file inside, read" => {
            place.put("/m/f", "x").await;
            symlink("f", &link).unwrap();
            let object = fs.read("/m/link", &Default::default()).await;
            outcome(object, says("what it leads to"))
        }
        "a symbolic link, deleted" => {
            place.put("/m/f", "x").await;
            symlink("f", &link).unwrap();
            fs.delete("/m/link").await.unwrap();
            let names = place.names("/m").await;
            if names == ["/m/f"] { "the link alone".into() } else { format!("{names:?}") }
        }
        "a symbolic link that leaves the root" => {
            symlink("/etc", &link).unwrap();
            outcome(fs.stat("/m/link/passwd").await, says("followed"))
        }
        "a symbolic link to nothing" => {
            symlink("nothing", &link).unwrap();
            outcome(fs.stat("/m/link").await, says("followed"))
        }
        _ => no_probe(asked),
    }
}

const GROUPS: [&[&str]; 6] = [READING, WRITING, LISTING, REMOVING, MOVING, OUTSIDE];

fn probes() -> Vec<&'static str> {
    GROUPS.concat()
}

async fn probe(asked: &str, place: &Place) -> String {
    let directories = place.fs.mounts()[0].info.clone().unwrap().capabilities.directories;
    assert_eq!(directories, Directories::Real, "{}: the probes make directories", place.scheme);
    match GROUPS.iter().position(|group| group.contains(&asked)) {
        Some(0) => reading(asked, place).await,
        Some(1) => writing(asked, place).await,
        Some(2) => listing(asked, place).await,
        Some(3) => removing(asked, place).await,
        Some(4) => moving(asked, place).await,
        Some(5) => outside(asked, place).await,
        _ => no_probe(asked),
    }
}

fn no_probe(asked: &str) -> String {
    format!("there is no probe for `{asked}`")
}
