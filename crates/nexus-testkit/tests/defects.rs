//! The suite finds what it is there to find: for each way to break the contract, a store that breaks
//! it so, and the case that must fail.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{FutureExt, StreamExt};
use nexus_backend_mem::MemBackend;
use nexus_core::{
    Backend, Body, Bytes, Care, CopyMethod, DeleteTarget, Deleted, Digest, Entry, Error, ErrorKind,
    Info, ListOptions, Listing, Metadata, Object, ReadOptions, Result, Upload, VfsPath, WriteMode,
    WriteOptions, async_trait,
};
use nexus_testkit::conformance;

macro_rules! defects {
    ($($defect:ident: $case:literal,)+) => {
        /// One way to break the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Defect { $($defect,)+ }

        /// Each defect, and the case that finds it.
        const DEFECTS: &[(Defect, &str)] = &[$((Defect::$defect, $case),)+];
    };
}

defects! {
    AnswersAfterClose: "closed::every_verb_answers_closed",
    ChecksThenWrites: "write::create_wins_once",
    CopiesOverAnything: "copy::create_does_not_replace",
    CreateDirIsNotIdempotent: "dirs::making_is_idempotent",
    CutsBodies: "read::serves_ranges_of_a_large_object",
    DecodesNames: "paths::odd_names_stay_as_they_are",
    DeletesDirectories: "delete::refuses_a_directory",
    DeletesInAnotherOrder: "delete::answers_in_order_past_failures",
    DropsUserMetadata: "write::keeps_user_metadata",
    ForgetsTheRange: "read::serves_ranges",
    GuessesSizes: "list::agrees_with_stat",
    IgnoresCreate: "write::create_makes_only_what_is_not_there",
    IgnoresIfMatch: "read::if_match_serves_one_version_only",
    IgnoresIfNoneMatch: "read::if_none_match_serves_any_other_version",
    IgnoresIfVersion: "delete::if_version_removes_one_version_only",
    IgnoresReplace: "write::replace_loses_no_update",
    IgnoresStartAfter: "list::starts_after_each_entry",
    IgnoresTheLimit: "list::takes_a_limit",
    ListsLikeAPrefix: "list::tells_names_with_a_common_beginning_apart",
    ListsOneTwice: "list::shows_thousands_exactly_once",
    ListsOutOfOrder: "list::comes_in_the_order_of_bytes",
    LosesEmptyFiles: "write::stores_nothing_at_all",
    MakesDirectoriesFirst: "write::replace_of_nothing_leaves_no_directories",
    MetadataOfTheRange: "read::serves_ranges",
    NamesAnotherPath: "rename::nothing_is_not_found",
    PublishesEachPiece: "upload::shows_nothing_before_it_finishes",
    PublishesWhenDropped: "upload::leaves_nothing_when_dropped",
    RangeErrorsAreEmpty: "read::serves_ranges",
    RemovesFullDirectories: "dirs::removes_an_empty_directory_only",
    RenameForgetsTheSource: "rename::moves_a_file",
    RenameIsDeleteThenCopy: "rename::the_target_never_vanishes",
    StopsEarly: "list::shows_thousands_exactly_once",
    TrimsNames: "paths::odd_names_stay_as_they_are",
    WritesInTwoSteps: "dropped::write",
    WrongDigest: "digest::what_is_written_has_its_digest",
    WrongKind: "list::nothing_is_not_found",
}

/// A store in memory with one defect.
struct Broken {
    inner: Arc<dyn Backend>,
    defect: Defect,
    closed: AtomicBool,
}

impl Broken {
    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    /// The path that the store really uses.
    fn name(&self, path: &VfsPath) -> VfsPath {
        let text = match self.defect {
            Defect::TrimsNames => path.as_str().trim_end().to_owned(),
            Defect::DecodesNames => path.as_str().replace("%2F", "_"),
            _ => return path.clone(),
        };
        VfsPath::parse(&text).unwrap_or_else(|_| path.clone())
    }

    fn error(&self, error: Error) -> Error {
        match self.defect {
            Defect::WrongKind if error.kind() == ErrorKind::NotFound => {
                Error::new(ErrorKind::Internal, "404").with_path(error.path().unwrap_or("/"))
            }
            Defect::NamesAnotherPath => error.with_path("/mnt/elsewhere"),
            _ => error,
        }
    }

    fn mode(&self, mode: &WriteMode) -> WriteMode {
        match mode {
            WriteMode::Create if self.is(Defect::IgnoresCreate) => WriteMode::Overwrite,
            WriteMode::Replace(_) if self.is(Defect::IgnoresReplace) => WriteMode::Overwrite,
            mode => mode.clone(),
        }
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) && !self.is(Defect::AnswersAfterClose) {
            return Err(Error::new(ErrorKind::Closed, "closed"));
        }
        Ok(())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Broken {
    fn info(&self) -> &Info {
        self.inner.info()
    }

    async fn stat(&self, path: &VfsPath) -> Result<Metadata> {
        self.check_open()?;
        self.inner.stat(&self.name(path)).await.map_err(|error| self.error(error))
    }

    async fn read(&self, path: &VfsPath, options: &ReadOptions) -> Result<Object> {
        self.check_open()?;
        let mut asked = options.clone();
        match self.defect {
            Defect::ForgetsTheRange => asked.range = None,
            Defect::IgnoresIfMatch => asked.if_match = None,
            Defect::IgnoresIfNoneMatch => asked.if_none_match = None,
            _ => {}
        }
        let read = match self.inner.read(&self.name(path), &asked).await {
            Err(error)
                if self.is(Defect::RangeErrorsAreEmpty)
                    && error.kind() == ErrorKind::RangeNotSatisfiable =>
            {
                Ok(Object { metadata: self.inner.stat(path).await?, body: Body::whole("") })
            }
            read => read,
        };
        let Object { mut metadata, mut body } = read.map_err(|error| self.error(error))?;
        if self.is(Defect::MetadataOfTheRange) {
            metadata.size = body.as_whole().map(|whole| whole.len() as u64);
        }
        if self.is(Defect::CutsBodies) {
            let whole = body.as_whole().cloned().unwrap_or_default();
            body = Body::whole(whole.slice(..whole.len().min(1 << 20)));
        }
        Ok(Object { metadata, body })
    }

    async fn write(
        &self,
        path: &VfsPath,
        content: Bytes,
        options: &WriteOptions,
    ) -> Result<Metadata> {
        self.check_open()?;
        let mut options = options.clone();
        options.mode = self.mode(&options.mode);
        match self.defect {
            Defect::ChecksThenWrites if options.mode == WriteMode::Create => {
                if self.inner.stat(path).await.is_ok() {
                    let error = Error::new(ErrorKind::AlreadyExists, "there");
                    return Err(error.with_path(path.as_str()));
                }
                tokio::task::yield_now().await;
                options.mode = WriteMode::Overwrite;
            }
            Defect::MakesDirectoriesFirst => {
                if let Some(parent) = path.parent() {
                    let _ = self.inner.create_dir(&parent).await;
                }
            }
            Defect::WritesInTwoSteps if content.len() > 1 => {
                let half = content.slice(..content.len() / 2);
                self.inner.write(path, half, &options).await?;
                tokio::task::yield_now().await;
            }
            Defect::LosesEmptyFiles if content.is_empty() => return Ok(Metadata::file(0)),
            Defect::DropsUserMetadata => options.user.clear(),
            _ => {}
        }
        let written = self.inner.write(&self.name(path), content, &options).await;
        let mut metadata = written.map_err(|error| self.error(error))?;
        if self.is(Defect::WrongDigest) {
            metadata.digest = Some(Digest::of(b"something else"));
        }
        Ok(metadata)
    }

    async fn upload(&self, path: &VfsPath, options: &WriteOptions) -> Result<Box<dyn Upload>> {
        self.check_open()?;
        let inner = self.inner.upload(&self.name(path), options).await;
        Ok(Box::new(BrokenUpload {
            inner: Some(inner.map_err(|error| self.error(error))?),
            store: Arc::clone(&self.inner),
            path: path.clone(),
            written: Vec::new(),
            defect: self.defect,
        }))
    }

    async fn list(&self, path: &VfsPath, options: &ListOptions) -> Result<Listing> {
        self.check_open()?;
        let mut options = options.clone();
        match self.defect {
            Defect::IgnoresTheLimit => options.limit = None,
            Defect::IgnoresStartAfter => options.start_after = None,
            Defect::StopsEarly => options.limit = Some(options.limit.unwrap_or(1000).min(1000)),
            _ => {}
        }
        let like_a_prefix = self.is(Defect::ListsLikeAPrefix) && path.as_str() == "/d/o";
        let path = if like_a_prefix { path.parent().unwrap() } else { path.clone() };
        let entries = self.inner.list(&path, &options).await.map_err(|error| self.error(error))?;
        let mut entries: Vec<Result<Entry>> = entries.collect().await;
        match self.defect {
            Defect::ListsOneTwice => {
                if let Some(Ok(first)) = entries.first() {
                    entries.push(Ok(first.clone()));
                }
            }
            Defect::ListsOutOfOrder => entries.reverse(),
            Defect::GuessesSizes => {
                for entry in entries.iter_mut().flatten() {
                    entry.metadata.size = entry.metadata.size.map(|size| size + 1);
                }
            }
            _ => {}
        }
        Ok(futures_util::stream::iter(entries).boxed())
    }

    async fn delete(&self, targets: &[DeleteTarget]) -> Vec<Result<Deleted>> {
        if let Err(closed) = self.check_open() {
            return vec![Err(closed)];
        }
        let mut asked: Vec<_> = targets
            .iter()
            .map(|target| DeleteTarget { path: self.name(&target.path), ..target.clone() })
            .collect();
        if self.is(Defect::IgnoresIfVersion) {
            asked.iter_mut().for_each(|target| target.if_version = None);
        }
        let mut results = self.inner.delete(&asked).await;
        if self.is(Defect::DeletesInAnotherOrder) {
            results.reverse();
        }
        if self.is(Defect::DeletesDirectories) {
            for (target, result) in targets.iter().zip(&mut results) {
                if result.is_err() && self.inner.remove_dir(&target.path).await.is_ok() {
                    *result = Ok(Deleted::Removed);
                }
            }
        }
        results
    }

    async fn copy(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<CopyMethod> {
        self.check_open()?;
        let any = self.is(Defect::CopiesOverAnything);
        let mode = if any { &WriteMode::Overwrite } else { mode };
        self.inner.copy(&self.name(from), &self.name(to), mode).await
    }

    async fn rename(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<()> {
        self.check_open()?;
        let (from, to) = (self.name(from), self.name(to));
        match self.defect {
            Defect::RenameForgetsTheSource => {
                return self.inner.copy(&from, &to, mode).await.map(drop);
            }
            Defect::RenameIsDeleteThenCopy => {
                self.inner.delete(&[to.clone().into()]).await;
                tokio::task::yield_now().await;
            }
            _ => {}
        }
        self.inner.rename(&from, &to, mode).await.map_err(|error| self.error(error))
    }

    async fn create_dir(&self, path: &VfsPath) -> Result<()> {
        self.check_open()?;
        if self.is(Defect::CreateDirIsNotIdempotent) && self.inner.stat(path).await.is_ok() {
            let error = Error::new(ErrorKind::AlreadyExists, "there");
            return Err(error.with_path(path.as_str()));
        }
        self.inner.create_dir(path).await
    }

    async fn remove_dir(&self, path: &VfsPath) -> Result<()> {
        self.check_open()?;
        if self.is(Defect::RemovesFullDirectories) {
            let entries: Vec<_> = self.inner.list(path, &Default::default()).await?.collect().await;
            let files = entries.into_iter().map(|entry| entry.unwrap().path.into());
            self.inner.delete(&files.collect::<Vec<_>>()).await;
        }
        self.inner.remove_dir(path).await
    }

    async fn sync(&self, path: &VfsPath) -> Result<()> {
        self.inner.sync(path).await
    }

    fn care(&self) -> Option<&dyn Care> {
        self.inner.care()
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}

struct BrokenUpload {
    inner: Option<Box<dyn Upload>>,
    store: Arc<dyn Backend>,
    path: VfsPath,
    written: Vec<u8>,
    defect: Defect,
}

impl BrokenUpload {
    fn inner(&mut self) -> Box<dyn Upload> {
        self.inner.take().unwrap()
    }

    /// Puts what was written so far into the store, without waiting for anything.
    fn publish(&mut self) {
        let content = Bytes::from(std::mem::take(&mut self.written));
        let options = WriteOptions::default();
        let _ = self.store.write(&self.path, content, &options).now_or_never();
    }
}

#[async_trait]
impl Upload for BrokenUpload {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        self.written.extend_from_slice(&piece);
        if self.defect == Defect::PublishesEachPiece {
            self.publish();
        }
        self.inner.as_mut().unwrap().write(piece).await
    }

    async fn finish(mut self: Box<Self>) -> Result<Metadata> {
        self.inner().finish().await
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        self.inner().abort().await
    }
}

impl Drop for BrokenUpload {
    fn drop(&mut self) {
        if self.defect == Defect::PublishesWhenDropped && self.inner.is_some() {
            self.publish();
        }
    }
}

/// On one thread, so that tasks take turns at their awaits and nowhere else: what a race finds here
/// does not depend on the machine.
#[tokio::test(flavor = "current_thread")]
async fn each_defect_is_found_by_its_case() {
    let capabilities = MemBackend::new("").info().capabilities.clone();
    for &(defect, case) in DEFECTS {
        let make = || async move {
            let inner = Arc::new(MemBackend::new("broken"));
            Arc::new(Broken { inner, defect, closed: AtomicBool::new(false) }) as Arc<dyn Backend>
        };
        let run = conformance::run_matching(make, &capabilities, case);
        let panic = AssertUnwindSafe(run).catch_unwind().await;
        let panic = panic.err().unwrap_or_else(|| panic!("{defect:?} was not found by {case}"));
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains(&format!("\n{case}: ")), "{defect:?}: {message}");
    }
}
