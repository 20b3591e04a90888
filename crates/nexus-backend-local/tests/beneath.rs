//! Nothing leads out of the root: no link, and no race with one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{RESOLVERS, open, path, snapshot};
use nexus_core::{
    Backend, BackendExt, EntryKind, ErrorKind, ListOptions, ReadOptions, WriteMode, WriteOptions,
};

/// `inside` is the root; `outside` is beside it and must stay as it is.
struct Folders {
    _keep: tempfile::TempDir,
    inside: std::path::PathBuf,
    outside: std::path::PathBuf,
}

fn folders() -> Folders {
    let keep = tempfile::tempdir().unwrap();
    let (inside, outside) = (keep.path().join("inside"), keep.path().join("outside"));
    for folder in [&inside, &outside] {
        std::fs::create_dir_all(folder.join("d")).unwrap();
        std::fs::write(folder.join("d/f"), folder.file_name().unwrap().as_encoded_bytes()).unwrap();
    }
    Folders { _keep: keep, inside, outside }
}

/// Tries every verb on `text`, which leads out; answers the kinds that came instead of success.
async fn every_verb(backend: &dyn Backend, text: &str) -> Vec<(&'static str, Option<ErrorKind>)> {
    let at = path(text);
    let below = |result: nexus_core::Result<()>| result.err().map(|error| error.kind());
    let write = WriteOptions::default();
    vec![
        ("stat", below(backend.stat(&at).await.map(drop))),
        ("read", below(backend.read(&at, &ReadOptions::default()).await.map(drop))),
        ("write", below(backend.write(&at, "x".into(), &write).await.map(drop))),
        (
            "create",
            below(backend.write(&at, "x".into(), &WriteMode::Create.into()).await.map(drop)),
        ),
        (
            "upload",
            below(async { backend.upload(&at, &write).await?.finish().await.map(drop) }.await),
        ),
        (
            "copy to",
            below(backend.copy(&path("/safe"), &at, &WriteMode::Overwrite).await.map(drop)),
        ),
        (
            "copy from",
            below(backend.copy(&at, &path("/copy"), &WriteMode::Overwrite).await.map(drop)),
        ),
    ]
}

#[tokio::test]
async fn links_that_lead_out_are_refused_by_every_verb() {
    for resolver in RESOLVERS {
        let Folders { _keep, inside, outside } = folders();
        symlink(&outside, inside.join("absolute")).unwrap();
        symlink("../outside", inside.join("relative")).unwrap();
        symlink("../outside/d/f", inside.join("file")).unwrap();
        symlink("relative/d", inside.join("chained")).unwrap();
        symlink("/proc/self/root", inside.join("magic")).unwrap();
        std::fs::write(inside.join("safe"), "safe").unwrap();
        let before = snapshot(&outside);
        let backend = open(&inside, &format!("resolver={resolver}")).await.unwrap();
        for text in [
            "/absolute/d/f",
            "/relative/d/f",
            "/relative/new",
            "/chained/f",
            "/file",
            "/magic/tmp/x",
        ] {
            for (verb, kind) in every_verb(&*backend, text).await {
                // Creating where a link stands: something is there already.
                let allowed = verb == "create" && kind == Some(ErrorKind::AlreadyExists);
                assert!(
                    kind == Some(ErrorKind::PermissionDenied) || allowed,
                    "{resolver} {verb} {text}: {kind:?}"
                );
            }
        }
        for text in ["/absolute", "/relative", "/chained"] {
            let listed = backend.list(&path(text), &ListOptions::default()).await;
            assert_eq!(listed.err().unwrap().kind(), ErrorKind::PermissionDenied, "{text}");
            let made = backend.create_dir(&path(&format!("{text}/new"))).await;
            assert_eq!(made.unwrap_err().kind(), ErrorKind::PermissionDenied, "{text}");
        }
        // The links themselves can be moved and removed.
        backend.rename(&path("/file"), &path("/moved"), &WriteMode::Overwrite).await.unwrap();
        for link in ["/absolute", "/relative", "/moved", "/chained", "/magic"] {
            backend.delete_one(path(link).into()).await.unwrap();
        }
        assert_eq!(snapshot(&outside), before, "{resolver}");
    }
}

#[tokio::test]
async fn links_that_stay_inside_work() {
    for resolver in RESOLVERS {
        let Folders { _keep, inside, .. } = folders();
        symlink("d", inside.join("dir")).unwrap();
        symlink("d/f", inside.join("file")).unwrap();
        symlink("nowhere", inside.join("dangling")).unwrap();
        symlink("loop", inside.join("loop")).unwrap();
        let backend = open(&inside, &format!("resolver={resolver}")).await.unwrap();
        let all = ReadOptions::default();
        for text in ["/dir/f", "/file"] {
            assert!(backend.stat(&path(text)).await.unwrap().is_file());
            let read = backend.read(&path(text), &all).await.unwrap();
            assert_eq!(read.body.bytes(100).await.unwrap(), "inside");
        }
        // Writing through a link changes what it leads to, and the link stays.
        backend.write(&path("/file"), "new".into(), &WriteOptions::default()).await.unwrap();
        assert_eq!(std::fs::read_to_string(inside.join("d/f")).unwrap(), "new");
        assert!(inside.join("file").is_symlink());

        let kind = |result: nexus_core::Result<nexus_core::Metadata>| result.unwrap_err().kind();
        assert_eq!(kind(backend.stat(&path("/dangling")).await), ErrorKind::NotFound);
        assert_eq!(kind(backend.stat(&path("/loop")).await), ErrorKind::InvalidPath);

        let mut kinds = Vec::new();
        let mut listing = backend
            .list(&path("/"), &ListOptions { recursive: true, ..Default::default() })
            .await
            .unwrap();
        while let Some(entry) = futures_util::StreamExt::next(&mut listing).await {
            let entry = entry.unwrap();
            kinds.push((entry.path.to_string(), entry.metadata.kind));
        }
        kinds.sort_by(|a, b| a.0.cmp(&b.0));
        let links =
            ["/dangling", "/dir", "/file", "/loop"].map(|p| (p.to_owned(), EntryKind::Symlink));
        for link in links {
            assert!(kinds.contains(&link), "{link:?}");
        }
        assert!(
            !kinds.iter().any(|(path, _)| path.starts_with("/dir/")),
            "a walk went through a link"
        );
    }
}

/// How often the two are exchanged, at least, while the verbs run.
const ROUNDS: usize = 100_000;

/// Exchanges a directory with a link that leads out, and a file with another, until told to stop;
/// counts.
fn exchange(dir: &Path, stop: &AtomicBool) -> usize {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let pairs = [("d", "link"), ("f", "file-link")].map(|(a, b)| (dir.join(a), dir.join(b)));
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) || rounds < ROUNDS {
        for (a, b) in &pairs {
            // A verb may have removed one of the two for a moment.
            let _ = renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE);
        }
        rounds += 1;
    }
    rounds
}

#[test]
fn a_link_exchanged_in_a_race_never_leads_out() {
    for resolver in RESOLVERS {
        let Folders { _keep, inside, outside } = folders();
        symlink("../outside/d", inside.join("link")).unwrap();
        symlink("../outside/d/f", inside.join("file-link")).unwrap();
        std::fs::write(inside.join("f"), "inside").unwrap();
        std::fs::write(inside.join("safe"), "safe").unwrap();
        let before = snapshot(&outside);
        let stop = Arc::new(AtomicBool::new(false));
        let racer = std::thread::spawn({
            let (inside, stop) = (inside.clone(), Arc::clone(&stop));
            move || exchange(&inside, &stop)
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (verbs, served) = runtime.block_on(async {
            let backend = open(&inside, &format!("resolver={resolver}")).await.unwrap();
            let (mut verbs, mut served) = (0, 0);
            while !racer.is_finished() {
                verbs += one_round(&*backend, &mut served).await;
                if verbs >= 5_000 {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            (verbs, served)
        });
        stop.store(true, Ordering::Relaxed);
        let rounds = racer.join().unwrap();
        assert!(rounds >= ROUNDS && verbs >= 1_000, "{rounds} rounds, {verbs} verbs");
        assert!(served > 0, "the race never let a read through");
        assert_eq!(snapshot(&outside), before, "{resolver}: something outside was changed");
    }
}

/// Every verb once, on a path whose directory is exchanged all the time. Success and refusal are
/// both right; bytes from outside are not.
async fn one_round(backend: &dyn Backend, served: &mut usize) -> usize {
    for file in ["/d/f", "/f"].map(path) {
        if let Ok(object) = backend.read(&file, &ReadOptions::default()).await
            && let Ok(content) = object.body.bytes(100).await
        {
            assert_ne!(content, "outside", "a read led out");
            *served += 1;
        }
        if let Ok(metadata) = backend.stat(&file).await {
            assert_ne!(metadata.size, Some("outside".len() as u64), "a stat led out");
        }
        if backend.copy(&file, &path("/taken"), &WriteMode::Overwrite).await.is_ok() {
            let taken = backend.stat(&path("/taken")).await.unwrap();
            assert_ne!(taken.size, Some("outside".len() as u64), "a copy led out");
        }
        let _ = backend.write(&file, "inside".into(), &WriteOptions::default()).await;
        if let Ok(mut upload) = backend.upload(&file, &WriteOptions::default()).await {
            upload.write("inside".into()).await.unwrap();
            let _ = upload.finish().await;
        }
    }
    let _ = backend.write(&path("/d/new"), "new".into(), &WriteMode::Create.into()).await;
    if let Ok(upload) = backend.upload(&path("/d/up"), &WriteOptions::default()).await {
        let _ = upload.finish().await;
    }
    let _ = backend.copy(&path("/safe"), &path("/d/copy"), &WriteMode::Overwrite).await;
    let _ = backend.create_dir(&path("/d/made/deep")).await;
    let _ = backend.rename(&path("/d/copy"), &path("/d/moved"), &WriteMode::Overwrite).await;
    let _ = backend.remove_dir(&path("/d/made/deep")).await;
    for name in ["/d/new", "/d/up", "/d/moved", "/d/copy"] {
        let _ = backend.delete_one(path(name).into()).await;
    }
    if let Ok(mut listing) = backend.list(&path("/d"), &ListOptions::default()).await {
        while let Some(entry) = futures_util::StreamExt::next(&mut listing).await {
            let _ = entry;
        }
    }
    22
}
