//! Faults on demand: a wrapper around any backend that fails the n-th call of a verb, or the n-th
//! piece of a body, before its effect or after it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self, BoxStream, StreamExt};
use nexus_core::{
    Backend, Body, Bytes, Care, CopyMethod, DeleteTarget, Deleted, Error, ErrorKind, Info,
    ListOptions, Listing, Metadata, Object, ReadOptions, Result, Upload, VfsPath, WriteMode,
    WriteOptions, async_trait,
};

/// Where a fault can strike. Every call, piece, entry or target is counted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the verb of the same name")]
pub enum Point {
    Stat,
    Read,
    /// A piece of a body that is read.
    Piece,
    Write,
    Upload,
    /// A piece that is given to an upload.
    UploadPiece,
    Finish,
    Abort,
    List,
    /// An entry of a listing.
    Entry,
    /// A target of a delete.
    Delete,
    Copy,
    Rename,
    CreateDir,
    Sync,
    RemoveDir,
    Close,
}

/// Whether the verb has done its work when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Before,
    After,
}

struct Fault {
    at: Point,
    /// How many more calls go well; `None` once it has struck.
    left: Option<u64>,
    kind: ErrorKind,
    when: When,
}

#[derive(Default)]
struct State {
    counts: HashMap<Point, u64>,
    faults: Vec<Fault>,
    yields: bool,
    piece_size: Option<usize>,
    /// Bodies end after so many pieces, as if that were all.
    pieces: Option<usize>,
}

/// The plan of one wrapper, shared with its uploads and streams.
#[derive(Clone, Default)]
struct Plan(Arc<Mutex<State>>);

impl Plan {
    fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts one call, and answers the fault that strikes it.
    fn strike(&self, at: Point) -> Option<(When, Error)> {
        self.with(|state| {
            *state.counts.entry(at).or_default() += 1;
            let mut struck = None;
            for fault in state.faults.iter_mut().filter(|fault| fault.at == at) {
                if fault.left == Some(0) && struck.is_none() {
                    struck = Some((fault.when, Error::new(fault.kind, "a fault on demand")));
                    fault.left = None;
                } else {
                    fault.left = fault.left.map(|left| left.saturating_sub(1));
                }
            }
            struck
        })
    }

    async fn pause(&self) {
        if self.with(|state| state.yields) {
            tokio::task::yield_now().await;
        }
    }

    async fn around<T>(
        &self,
        at: Point,
        path: &VfsPath,
        effect: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let struck = self.strike(at);
        self.pause().await;
        let lost = match struck {
            Some((When::Before, error)) => return Err(error.with_path(path.as_str())),
            Some((When::After, error)) => Some(error.with_path(path.as_str())),
            None => None,
        };
        let done = effect.await;
        self.pause().await;
        match lost {
            Some(error) => done.and(Err(error)),
            None => done,
        }
    }

    /// Passes items on, one strike and one pause each.
    fn along<T: Send + 'static>(
        self,
        at: Point,
        path: VfsPath,
        items: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        items
            .then(move |item| {
                let (plan, path) = (self.clone(), path.clone());
                async move { plan.around(at, &path, std::future::ready(item)).await }
            })
            .boxed()
    }

    fn body(self, path: &VfsPath, body: Body) -> Body {
        let (yields, size) = self.with(|state| (state.yields, state.piece_size));
        let pieces = self.with(|state| state.pieces);
        let body = match (body.as_whole(), size) {
            // A body that is here whole stays so, unless it is to fail or to come in pieces.
            (Some(_), None) if !yields && pieces.is_none() => match self.strike(Point::Piece) {
                None => return body,
                Some((_, error)) => {
                    let error = error.with_path(path.as_str());
                    return Body::stream(stream::iter([Err(error)]));
                }
            },
            (Some(whole), Some(size)) => {
                let (whole, size) = (whole.clone(), size.max(1));
                let starts = (0..whole.len()).step_by(size);
                let pieces =
                    starts.map(move |start| Ok(whole.slice(start..whole.len().min(start + size))));
                Body::stream(stream::iter(pieces))
            }
            _ => body,
        };
        let stream = self.along(Point::Piece, path.clone(), body.into_stream());
        Body::stream(stream.take(pieces.unwrap_or(usize::MAX)))
    }
}

/// A backend that does what the one inside it does, except where a fault was planned.
///
/// Its plan may be changed while it is in use. A fault strikes once.
pub struct FaultBackend {
    inner: Arc<dyn Backend>,
    plan: Plan,
}

impl FaultBackend {
    /// A wrapper with no fault planned.
    pub fn new(inner: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self { inner, plan: Plan::default() })
    }

    /// The `nth` next call at this point (1 is the very next) fails with `kind`, and has no effect.
    pub fn fail(&self, at: Point, nth: u64, kind: ErrorKind) {
        self.add(at, nth, kind, When::Before);
    }

    /// The `nth` next call at this point takes effect, but its answer is lost: it fails with `kind`.
    pub fn lose(&self, at: Point, nth: u64, kind: ErrorKind) {
        self.add(at, nth, kind, When::After);
    }

    fn add(&self, at: Point, nth: u64, kind: ErrorKind, when: When) {
        let left = Some(nth.saturating_sub(1));
        self.plan.with(|state| state.faults.push(Fault { at, left, kind, when }));
    }

    /// How many calls there were at this point.
    #[must_use]
    pub fn count(&self, at: Point) -> u64 {
        self.plan.with(|state| state.counts.get(&at).copied().unwrap_or_default())
    }

    /// Waits once before each effect and once after it, so that a future can be dropped there.
    pub fn yield_around_effects(&self) {
        self.plan.with(|state| state.yields = true);
    }

    /// Bodies come in pieces of at most `bytes`, also where the store has them whole.
    pub fn read_in_pieces(&self, bytes: usize) {
        self.plan.with(|state| state.piece_size = Some(bytes));
    }

    /// Bodies end after so many pieces without an error, as a store must not do.
    pub fn cut_bodies_after(&self, pieces: usize) {
        self.plan.with(|state| state.pieces = Some(pieces));
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for FaultBackend {
    fn info(&self) -> &Info {
        self.inner.info()
    }

    async fn stat(&self, path: &VfsPath) -> Result<Metadata> {
        self.plan.around(Point::Stat, path, self.inner.stat(path)).await
    }

    async fn read(&self, path: &VfsPath, options: &ReadOptions) -> Result<Object> {
        let read = self.plan.around(Point::Read, path, self.inner.read(path, options)).await;
        let Object { metadata, body } = read?;
        Ok(Object { metadata, body: self.plan.clone().body(path, body) })
    }

    async fn write(
        &self,
        path: &VfsPath,
        content: Bytes,
        options: &WriteOptions,
    ) -> Result<Metadata> {
        let write = self.inner.write(path, content, options);
        self.plan.around(Point::Write, path, write).await
    }

    async fn upload(&self, path: &VfsPath, options: &WriteOptions) -> Result<Box<dyn Upload>> {
        let upload = self.inner.upload(path, options);
        let inner = self.plan.around(Point::Upload, path, upload).await?;
        Ok(Box::new(FaultUpload { inner, path: path.clone(), plan: self.plan.clone() }))
    }

    async fn list(&self, path: &VfsPath, options: &ListOptions) -> Result<Listing> {
        let entries = self.plan.around(Point::List, path, self.inner.list(path, options)).await?;
        Ok(self.plan.clone().along(Point::Entry, path.clone(), entries))
    }

    async fn delete(&self, targets: &[DeleteTarget]) -> Vec<Result<Deleted>> {
        let strikes: Vec<_> = targets.iter().map(|_| self.plan.strike(Point::Delete)).collect();
        self.plan.pause().await;
        let spared = |strike: &Option<(When, Error)>| !matches!(strike, Some((When::Before, _)));
        let asked: Vec<_> = targets
            .iter()
            .zip(&strikes)
            .filter(|(_, strike)| spared(strike))
            .map(|(target, _)| target.clone())
            .collect();
        let mut done = self.inner.delete(&asked).await.into_iter();
        self.plan.pause().await;
        let outcome = |(target, strike): (&DeleteTarget, Option<(When, Error)>)| {
            let done = if spared(&strike) { done.next() } else { None };
            match (strike, done) {
                (Some((_, error)), None | Some(Ok(_))) => {
                    Err(error.with_path(target.path.as_str()))
                }
                (_, Some(done)) => done,
                (None, None) => Err(Error::new(ErrorKind::Internal, "no result for a target")),
            }
        };
        targets.iter().zip(strikes).map(outcome).collect()
    }

    async fn copy(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<CopyMethod> {
        self.plan.around(Point::Copy, from, self.inner.copy(from, to, mode)).await
    }

    async fn rename(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<()> {
        self.plan.around(Point::Rename, from, self.inner.rename(from, to, mode)).await
    }

    async fn create_dir(&self, path: &VfsPath) -> Result<()> {
        self.plan.around(Point::CreateDir, path, self.inner.create_dir(path)).await
    }

    async fn remove_dir(&self, path: &VfsPath) -> Result<()> {
        self.plan.around(Point::RemoveDir, path, self.inner.remove_dir(path)).await
    }

    async fn sync(&self, path: &VfsPath) -> Result<()> {
        self.plan.around(Point::Sync, path, self.inner.sync(path)).await
    }

    fn care(&self) -> Option<&dyn Care> {
        self.inner.care()
    }

    async fn close(&self) -> Result<()> {
        self.plan.around(Point::Close, &VfsPath::root(), self.inner.close()).await
    }
}

struct FaultUpload {
    inner: Box<dyn Upload>,
    path: VfsPath,
    plan: Plan,
}

#[async_trait]
impl Upload for FaultUpload {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        self.plan.around(Point::UploadPiece, &self.path, self.inner.write(piece)).await
    }

    fn publish_at(&mut self, path: VfsPath) -> Result<()> {
        self.inner.publish_at(path.clone())?;
        self.path = path;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Metadata> {
        let Self { inner, path, plan } = *self;
        plan.around(Point::Finish, &path, inner.finish()).await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let Self { inner, path, plan } = *self;
        plan.around(Point::Abort, &path, inner.abort()).await
    }
}
