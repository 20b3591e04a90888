//! One mount: its backend, its state, and the operations under way on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::lifecycle::{Lifecycle, MountState};
use crate::{Backend, Error, ErrorKind, Info, MountUri, Operation, Result, VfsPath};

/// A wish to mount a URI, at the mount point that follows from it or at another.
#[derive(Clone, Debug)]
pub struct MountRequest {
    /// What to mount.
    pub uri: MountUri,
    /// Where, instead of the mount point that follows from the URI.
    pub at: Option<VfsPath>,
}

impl MountRequest {
    /// A request to mount `uri` where it says itself.
    #[must_use]
    pub fn new(uri: MountUri) -> Self {
        Self { uri, at: None }
    }

    /// Parses the URI.
    ///
    /// # Errors
    /// Those of [`MountUri::parse`].
    pub fn parse(uri: &str) -> Result<Self> {
        MountUri::parse(uri).map(Self::new)
    }

    /// Mounts at `path` instead.
    #[must_use]
    pub fn at(mut self, path: VfsPath) -> Self {
        self.at = Some(path);
        self
    }
}

/// What can be told of a mount at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct MountInfo {
    /// Its mount point.
    pub at: VfsPath,
    /// Its URI without secrets; absolute once the backend was opened.
    pub uri: String,
    /// Where it is in its life.
    pub state: MountState,
    /// What the backend is; known from `Registered` on.
    pub info: Option<Info>,
}

/// A mount, shared by the table and by the operations under way on it.
pub(super) struct Mount {
    at: VfsPath,
    uri: String,
    life: Lifecycle,
    backend: OnceLock<Arc<dyn Backend>>,
    under_way: TaskTracker,
    /// Set once waiting is over: what is still under way must end with `Closed`.
    released: AtomicBool,
}

impl Mount {
    pub(super) fn new(at: VfsPath, uri: String) -> Self {
        Self {
            at,
            uri,
            life: Lifecycle::new(),
            backend: OnceLock::new(),
            under_way: TaskTracker::new(),
            released: AtomicBool::new(false),
        }
    }

    pub(super) fn at(&self) -> &VfsPath {
        &self.at
    }

    pub(super) fn advance(&self, next: MountState) -> Result<()> {
        self.life
            .advance(next, &self.at)
            .map_err(|error| error.with_operation(Operation::Mount).with_path(self.at.as_str()))
    }

    pub(super) fn set_backend(&self, backend: Arc<dyn Backend>) {
        // The kernel opens a candidate once; a second value could only be the same mistake twice.
        let _ = self.backend.set(backend);
    }

    pub(super) fn info(&self) -> MountInfo {
        let info = self.backend.get().map(|backend| backend.info().clone());
        MountInfo {
            at: self.at.clone(),
            uri: info.as_ref().map_or_else(|| self.uri.clone(), |info| info.uri.clone()),
            state: self.life.state(),
            info,
        }
    }

    fn closed(&self) -> Error {
        Error::new(ErrorKind::Closed, "the mount was closed")
    }

    /// Admits an operation. The token is taken before the state is read, so that a close that saw
    /// no operation under way is seen by every later one.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Ticket> {
        let token = self.under_way.token();
        match (self.life.state(), self.backend.get()) {
            (MountState::Active, Some(backend)) => {
                Ok(Ticket { backend: Arc::clone(backend), mount: Arc::clone(self), _token: token })
            }
            (MountState::Closed, _) => Err(self.closed()),
            _ => Err(Error::new(ErrorKind::Unavailable, "the mount is not active yet")),
        }
    }

    /// Refuses new operations, waits for those under way up to `deadline`, then releases.
    pub(super) async fn close(&self, deadline: Duration) -> Result<()> {
        self.life.close(&self.at);
        self.under_way.close();
        let in_time = tokio::time::timeout(deadline, self.under_way.wait()).await.is_ok();
        if !in_time {
            tracing::warn!(mount = %self.at, "closed with operations under way");
        }
        self.released.store(true, Ordering::Release);
        match self.backend.get() {
            Some(backend) => backend.close().await,
            None => Ok(()),
        }
    }

    /// Refuses everything from now on, without waiting. The backend is released when the last
    /// operation under way lets go of it.
    pub(super) fn abandon(&self) {
        self.life.close(&self.at);
        self.released.store(true, Ordering::Release);
    }
}

/// The right to use a mount, held while an operation, a body or an upload is under way.
pub(super) struct Ticket {
    mount: Arc<Mount>,
    backend: Arc<dyn Backend>,
    _token: TaskTrackerToken,
}

impl Ticket {
    pub(super) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    pub(super) fn at(&self) -> &VfsPath {
        &self.mount.at
    }

    /// Whether both lead into one store, be it mounted once or twice.
    pub(super) fn is_same_store(&self, other: &Self) -> bool {
        let id = |ticket: &Self| ticket.backend.info().capabilities.store_id.clone();
        self.is_same_mount(other)
            || Arc::ptr_eq(&self.backend, &other.backend)
            || id(self).is_some_and(|store| id(other) == Some(store))
    }

    pub(super) fn is_same_mount(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount)
    }

    /// Fails once the mount was released under a transfer that outlived the deadline.
    pub(super) fn check(&self) -> Result<()> {
        if self.mount.released.load(Ordering::Acquire) {
            return Err(self.mount.closed());
        }
        Ok(())
    }
}
