//! The scheme through the facade, as a program would use it: found, mounted, read, composed with
//! another mount, and refused where it can not do what is asked.

use custom_scheme as _;
use futures_util::TryStreamExt;
use nexus_fs::{ErrorKind, Kernel, Result};

async fn mount(uri: &str) -> Result<Kernel> {
    nexus_fs::mount([uri]).await
}

async fn text(fs: &Kernel, path: &str) -> String {
    let read = fs.read(path, &Default::default()).await.unwrap();
    String::from_utf8(read.body.bytes(1 << 20).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn it_is_found_beside_the_built_in_schemes() {
    let registry = nexus_fs::registry().unwrap();
    let schemes: Vec<_> = registry.descriptors().iter().map(|d| d.scheme).collect();
    assert_eq!(schemes, ["calendar", "local", "mem"]);
}

#[tokio::test]
async fn its_files_answer_the_same_calls() {
    let fs = mount("calendar://2026").await.unwrap();
    let entries: Vec<_> =
        fs.list("/calendar/2026", &Default::default()).await.unwrap().try_collect().await.unwrap();
    assert_eq!(entries.len(), 12);
    assert_eq!(entries[1].path.as_str(), "/calendar/2026/02.txt");
    let february = text(&fs, "/calendar/2026/02.txt").await;
    assert_eq!(february.lines().count(), 28);
    assert_eq!(february.lines().next(), Some("2026-02-01 Sun"));
    assert_eq!(entries[1].metadata.size, Some(february.len() as u64));
    let found: Vec<_> = fs.glob("/calendar/*/1?.txt").await.unwrap().try_collect().await.unwrap();
    assert_eq!(found.len(), 3);
}

#[tokio::test]
async fn it_copies_into_another_mount() {
    let fs = nexus_fs::mount(["calendar://2026?weekdays=long", "mem://notes"]).await.unwrap();
    let report =
        fs.copy_all("/calendar/2026", "/mem/notes/year", &Default::default()).await.unwrap();
    assert_eq!((report.files, report.failed_count), (12, 0));
    let copied = text(&fs, "/mem/notes/year/12.txt").await;
    assert!(copied.ends_with("2026-12-31 Thursday\n"));
}

#[tokio::test]
async fn what_it_can_not_do_is_refused() {
    let fs = mount("calendar://2026").await.unwrap();
    let path = "/calendar/2026/01.txt";
    let write = fs.write(path, "no", &Default::default()).await;
    assert_eq!(write.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(fs.delete(path).await.unwrap_err().kind(), ErrorKind::Unsupported);
    let rename = fs.rename(path, "/calendar/2026/x", &Default::default()).await;
    assert_eq!(rename.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(text(&fs, path).await.starts_with("2026-01-01 Thu"));
}

#[tokio::test]
async fn bad_uris_are_refused_by_name() {
    for (uri, kind) in [
        ("calendar://soon", ErrorKind::InvalidUri),
        ("calendar://1492", ErrorKind::InvalidUri),
        ("calendar://2026/02", ErrorKind::InvalidUri),
        ("calendar://2026?weekdays=none", ErrorKind::InvalidOption),
    ] {
        assert_eq!(mount(uri).await.unwrap_err().kind(), kind, "{uri}");
    }
    let error = mount("calendar://2026?week=1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(error.message().contains("week") && error.hint().unwrap().contains("weekdays"));
}

#[tokio::test]
async fn it_closes_with_the_kernel() {
    let fs = mount("calendar://2026").await.unwrap();
    fs.close().await.unwrap();
    assert_eq!(fs.stat("/calendar/2026").await.unwrap_err().kind(), ErrorKind::Closed);
}
