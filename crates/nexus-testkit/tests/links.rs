//! Symbolic links in trees that are copied, moved or removed: never followed into a directory, never
//! a reason to stop halfway.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::sync::Arc;

use fixture::{Fixture, mem, over};
use futures_util::StreamExt;
use nexus_core::kernel::RenameMethod;
use nexus_core::{
    Backend, Bytes, Care, CopyMethod, DeleteTarget, Deleted, Entry, EntryKind, Error, ErrorKind,
    Info, ListOptions, Listing, Metadata, Object, ReadOptions, Result, Upload, VfsPath, WriteMode,
    WriteOptions, async_trait,
};

/// A store in memory in which some names are links: `to-…` leads to what is kept there, a file or a
/// directory, and `dangling` to nothing.
struct Linked(Arc<dyn Backend>);

fn is_link(path: &VfsPath) -> bool {
    path.file_name().is_some_and(|name| name.starts_with("to-") || name == "dangling")
}

fn check(path: &VfsPath) -> Result<()> {
    if path.file_name() == Some("dangling") { Err(Error::not_found(path)) } else { Ok(()) }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Linked {
    fn info(&self) -> &Info {
        self.0.info()
    }
    async fn stat(&self, path: &VfsPath) -> Result<Metadata> {
        check(path)?;
        self.0.stat(path).await
    }
    async fn read(&self, path: &VfsPath, options: &ReadOptions) -> Result<Object> {
        check(path)?;
        self.0.read(path, options).await
    }
    async fn write(&self, path: &VfsPath, content: Bytes, how: &WriteOptions) -> Result<Metadata> {
        self.0.write(path, content, how).await
    }
    async fn upload(&self, path: &VfsPath, options: &WriteOptions) -> Result<Box<dyn Upload>> {
        self.0.upload(path, options).await
    }
    async fn list(&self, path: &VfsPath, options: &ListOptions) -> Result<Listing> {
        let entries = self.0.list(path, options).await?;
        let top = path.clone();
        let shown = entries.filter_map(move |entry| {
            let shown = entry.map(|mut entry: Entry| {
                let mut above = std::iter::successors(entry.path.parent(), VfsPath::parent);
                let behind = above.any(|at| at.starts_with(&top) && at != top && is_link(&at));
                if is_link(&entry.path) {
                    entry.metadata = Metadata::new(EntryKind::Symlink);
                }
                (!behind).then_some(entry)
            });
            std::future::ready(shown.transpose())
        });
        Ok(shown.boxed())
    }
    async fn delete(&self, targets: &[DeleteTarget]) -> Vec<Result<Deleted>> {
        self.0.delete(targets).await
    }
    async fn copy(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<CopyMethod> {
        self.0.copy(from, to, mode).await
    }
    async fn rename(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<()> {
        self.0.rename(from, to, mode).await
    }
    async fn create_dir(&self, path: &VfsPath) -> Result<()> {
        self.0.create_dir(path).await
    }
    async fn remove_dir(&self, path: &VfsPath) -> Result<()> {
        self.0.remove_dir(path).await
    }
    async fn sync(&self, path: &VfsPath) -> Result<()> {
        self.0.sync(path).await
    }
    fn care(&self) -> Option<&dyn Care> {
        self.0.care()
    }
    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}

/// `/a/t` with two files and a directory, and one more name below it with content, if any.
async fn tree(link: &str) -> (Fixture, Arc<dyn Backend>) {
    let store = mem();
    let f = over(Arc::new(Linked(Arc::clone(&store))), mem()).await;
    for path in ["/a/t/1", "/a/t/d/2", link] {
        f.put(path, "content").await;
    }
    (f, store)
}

async fn names(store: &dyn Backend) -> Vec<String> {
    let options = ListOptions { recursive: true, ..ListOptions::default() };
    let entries = store.list(&VfsPath::root(), &options).await.unwrap();
    entries.map(|entry| entry.unwrap().path.as_str().to_owned()).collect().await
}

#[tokio::test]
async fn a_link_to_a_directory_is_not_moved_to_another_mount_nor_what_it_leads_to() {
    let (f, store) = tree("/a/to-directory/file").await;
    let before = names(&*store).await;
    let moved = f.kernel.rename("/a/to-directory", "/b/moved", &Default::default()).await;
    let error = moved.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.path(), Some("/a/to-directory"));
    assert!(error.hint().is_some());
    assert_eq!(names(&*store).await, before);
    assert!(f.contents("/b").await.is_empty());
}

#[tokio::test]
async fn a_tree_that_can_not_be_moved_whole_is_not_begun() {
    for (link, named) in [
        ("/a/t/z/to-directory/file", "/a/t/z/to-directory"),
        ("/a/t/z/dangling", "/a/t/z/dangling"),
        ("/a/t/z/to-file", "/a/t/z/to-file"),
    ] {
        let (f, store) = tree(link).await;
        let before = names(&*store).await;
        let moved = f.kernel.rename("/a/t", "/b/t", &Default::default()).await;
        let error = moved.unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Unsupported, Some(named)));
        assert_eq!(names(&*store).await, before, "{link}");
        assert!(f.contents("/b").await.is_empty(), "{link}");
    }
}

#[tokio::test]
async fn a_link_to_a_file_is_moved_as_that_file() {
    let (f, store) = tree("/a/to-file").await;
    let method = f.kernel.rename("/a/to-file", "/b/file", &Default::default()).await.unwrap();
    assert_eq!(method, RenameMethod::Copied);
    assert!(!names(&*store).await.contains(&"/to-file".to_owned()));
    assert_eq!(f.get("/b/file").await.unwrap(), "content");
}

#[tokio::test]
async fn a_copied_tree_passes_over_links_to_directories_and_reports_them() {
    let (f, _) = tree("/a/t/to-directory/file").await;
    let report = f.kernel.copy_all("/a/t", "/b/t", &Default::default()).await.unwrap();
    assert_eq!((report.files, report.failed_count, report.skipped_count), (2, 0, 1));
    assert_eq!(report.skipped[0].as_str(), "/a/t/to-directory");
    let copied: Vec<_> = f.contents("/b").await.into_keys().collect();
    assert_eq!(copied, ["/b/t", "/b/t/1", "/b/t/d", "/b/t/d/2"]);
}
