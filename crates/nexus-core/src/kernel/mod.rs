//! The kernel: mounts, routing, lifecycle and composed operations. It makes many mounts one
//! namespace; what a store can do and how it fails is the backend's to say.
//!
//! - `mount`, `lifecycle`, `table`: what is mounted where, and since when
//! - `verbs`: the operations of one path, routed to one backend
//! - `guard`: bodies, uploads and listings on their way through the kernel
//! - `transfer`: copy and rename, inside one mount or between two
//! - `relation`: whether two paths lead to one place
//! - `own_files`: keeping trees away from the files in which a store is kept
//! - `adopt`: import and export
//! - `tree`, `move_tree`, `walk`, `glob`: whole trees
//! - `care`: verifying, mending and collecting in content-addressed mounts
//! - `sys`: the tree `/__sys__`

mod adopt;
mod care;
mod glob;
mod guard;
mod lifecycle;
mod mount;
mod move_tree;
mod own_files;
mod relation;
mod sys;
mod table;
mod transfer;
mod tree;
mod verbs;
mod walk;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::{join_all, try_join_all};

pub use self::care::{Outcome, Verified};
pub use self::lifecycle::MountState;
use self::mount::Mount;
pub use self::mount::{MountInfo, MountRequest};
use self::table::MountTable;
pub use self::transfer::{CopyOptions, Progress, RenameMethod};
pub use self::tree::TreeReport;
pub use self::walk::WalkOptions;
use crate::{
    Backend, Candidate, Error, ErrorKind, IntoPath, Layout, MemoryBudget, MountContext, MountUri,
    Operation, Registry, Result, Surroundings, VfsPath, layout,
};

/// One namespace over many mounts. A cheap handle: clones share everything. Dropping the last one
/// closes every mount without waiting; [`Kernel::close`] waits.
///
/// Every verb takes paths of the namespace, and errors name them. A future that is dropped at any
/// `await` leaves either the old state or the new one of the one object that it was about; a
/// composed operation on many objects stops between two of them.
#[derive(Clone)]
pub struct Kernel {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    context: MountContext,
    close_deadline: Duration,
    parallelism: usize,
    table: ArcSwap<MountTable>,
    /// Every mount from `Created` until it was unmounted; the order of mounting. Also serialises
    /// changes of the table.
    mounts: Mutex<Vec<Arc<Mount>>>,
    closed: AtomicBool,
}

/// Settings of a [`Kernel`].
#[derive(Clone, Debug)]
pub struct KernelBuilder {
    registry: Registry,
    memory_budget: u64,
    surroundings: Surroundings,
    close_deadline: Duration,
    parallelism: usize,
}

impl KernelBuilder {
    /// The backends that can be mounted, instead of those given first.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Memory for read-ahead and write-behind of all transfers together, in bytes. Default 256 MiB.
    /// Each transfer may hold one piece beyond it.
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = bytes;
        self
    }

    /// Where backends look for credentials. By default nowhere: no variables, no home directory.
    #[must_use]
    pub fn surroundings(mut self, surroundings: Surroundings) -> Self {
        self.surroundings = surroundings;
        self
    }

    /// How long `close` and `unmount` wait for operations under way. Default 30 seconds.
    #[must_use]
    pub fn close_deadline(mut self, deadline: Duration) -> Self {
        self.close_deadline = deadline;
        self
    }

    /// How many objects a tree operation works on at once, at least 1. Default 16.
    #[must_use]
    pub fn parallelism(mut self, objects: usize) -> Self {
        self.parallelism = objects.max(1);
        self
    }

    /// The kernel, with nothing mounted.
    #[must_use]
    pub fn build(self) -> Kernel {
        let shared = Arc::new_cyclic(|kernel| Shared {
            registry: self.registry,
            context: MountContext {
                budget: MemoryBudget::new(self.memory_budget),
                surroundings: self.surroundings,
            },
            close_deadline: self.close_deadline,
            parallelism: self.parallelism,
            table: ArcSwap::from_pointee(table_with_sys(sys::Sys::new(kernel.clone()))),
            mounts: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        Kernel { shared }
    }
}

/// The first table: `/__sys__` alone.
fn table_with_sys(sys: sys::Sys) -> MountTable {
    let root = VfsPath::root();
    let attach = || -> Result<MountTable> {
        let mount = Arc::new(Mount::new(root.join(&sys::AT[1..])?, String::new()));
        mount.set_backend(Arc::new(sys));
        activate(std::slice::from_ref(&mount), MountTable::default())
    };
    // The name is valid, the table empty and the mount new: none of the steps can fail.
    attach().unwrap_or_default()
}

/// Adds mounts that wait in `Created` to a table and makes them active.
fn activate(mounts: &[Arc<Mount>], table: MountTable) -> Result<MountTable> {
    let table = mounts.iter().try_fold(table, |table, mount| table.with(Arc::clone(mount)))?;
    for mount in mounts {
        if mount.info().state == MountState::Created {
            mount.advance(MountState::CredentialsChecked)?;
        }
        mount.advance(MountState::Registered)?;
    }
    mounts.iter().try_for_each(|mount| mount.advance(MountState::Active))?;
    Ok(table)
}

impl Kernel {
    /// A kernel with the default settings, and nothing mounted.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self::builder(registry).build()
    }

    /// A kernel whose settings can be changed before it is built.
    #[must_use]
    pub fn builder(registry: Registry) -> KernelBuilder {
        KernelBuilder {
            registry,
            memory_budget: MemoryBudget::DEFAULT_BYTES,
            surroundings: Surroundings::default(),
            close_deadline: Duration::from_secs(30),
            parallelism: 16,
        }
    }

    /// The backends that this kernel can mount.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Every mount that is being made, is active, or was closed with the kernel; in the order of
    /// mounting.
    #[must_use]
    pub fn mounts(&self) -> Vec<MountInfo> {
        self.shared.mounts()
    }

    /// Mounts all of `requests`, or none of them.
    ///
    /// # Errors
    /// `UnknownScheme`, `InvalidOption`, `InvalidUri` and `MountConflict` before anything is
    /// connected; `Unauthenticated` when credentials are missing; whatever connecting fails with.
    pub async fn mount(&self, requests: Vec<MountRequest>) -> Result<Vec<MountInfo>> {
        self.shared.check_open()?;
        let mut staged = Staged { shared: &self.shared, mounts: Vec::new() };
        let mut candidates = Vec::new();
        let mut planned = MountTable::clone(&self.shared.table.load());
        for request in requests {
            let (mount, candidate) = self.create(&request)?;
            planned = planned.with(Arc::clone(&mount))?;
            staged.add(mount);
            candidates.push(candidate);
        }
        let registry = &self.shared.registry;
        let connected = candidates
            .into_iter()
            .zip(&staged.mounts)
            .map(|(opening, mount)| connect(registry, opening, mount));
        try_join_all(connected).await?;
        staged.commit()
    }

    /// `Created`: the request checked and the backend built, without I/O.
    fn create(&self, request: &MountRequest) -> Result<(Arc<Mount>, Opening)> {
        let uri = &request.uri;
        let about =
            |error: Error| error.with_operation(Operation::Mount).with_path(uri.to_string());
        let descriptor = self.shared.registry.find(uri.scheme()).map_err(about)?;
        descriptor.check_options(uri)?;
        let at = match &request.at {
            Some(at) => at.clone(),
            None => (descriptor.mount_point)(uri)?,
        };
        table::check_mount_point(&at)?;
        let has_layouts = descriptor.options.iter().any(|option| option.name == layout::OPTION);
        let layout = if has_layouts { Some(layout::wanted(uri)?) } else { None };
        if layout == Some(Some(Layout::Cas)) && self.shared.registry.layouts().is_none() {
            return Err(layout::not_built(uri));
        }
        let candidate = (descriptor.build)(uri, &self.shared.context).map_err(about)?;
        let opening = Opening { candidate, uri: uri.clone(), layout };
        Ok((Arc::new(Mount::new(at, uri.to_string())), opening))
    }

    /// Mounts a backend that the program made itself.
    ///
    /// # Errors
    /// `MountConflict`, or `Closed`.
    pub async fn attach(&self, at: impl IntoPath, backend: Arc<dyn Backend>) -> Result<MountInfo> {
        self.shared.check_open()?;
        let at = at.into_path()?;
        table::check_mount_point(&at)?;
        let mount = Arc::new(Mount::new(at, backend.info().uri.clone()));
        mount.set_backend(backend);
        let mut staged = Staged { shared: &self.shared, mounts: Vec::new() };
        staged.add(Arc::clone(&mount));
        staged.commit()?;
        Ok(mount.info())
    }

    /// Unmounts what is mounted at `at`. New operations answer `Closed` or `NotFound` at once;
    /// those under way are waited for, up to the kernel's deadline, and answer `Closed` after it.
    ///
    /// # Errors
    /// `NotFound` when nothing is mounted exactly there, `MountConflict` for the kernel's own tree,
    /// and whatever closing the backend fails with; it is unmounted then, too.
    pub async fn unmount(&self, at: impl IntoPath) -> Result<()> {
        let at = at.into_path()?;
        let about = |error: Error| error.with_operation(Operation::Unmount).with_path(at.as_str());
        table::check_mount_point(&at).map_err(about)?;
        let mount = self.shared.remove(&at).ok_or_else(|| {
            about(Error::new(ErrorKind::NotFound, "nothing is mounted exactly here"))
        })?;
        let closed = mount.close(self.shared.close_deadline).await;
        self.shared.forget(&[mount]);
        closed.map_err(about)
    }

    /// Closes every mount, all at once: waits for operations under way up to the deadline, then
    /// releases. Later calls of every verb answer `Closed`. Idempotent.
    ///
    /// # Errors
    /// The first failure of a backend's own close; the others are closed all the same.
    pub async fn close(&self) -> Result<()> {
        self.shared.closed.store(true, Ordering::Release);
        let mounts = self.shared.lock().clone();
        let deadline = self.shared.close_deadline;
        let closed = join_all(mounts.iter().map(|mount| mount.close(deadline))).await;
        closed.into_iter().collect::<Result<()>>().map_err(|e| e.with_operation(Operation::Close))
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("mounts", &self.mounts()).finish_non_exhaustive()
    }
}

/// A candidate, and the layout that it is to have, where it can have more than one.
struct Opening {
    candidate: Box<dyn Candidate>,
    uri: MountUri,
    layout: Option<Option<Layout>>,
}

/// `CredentialsChecked`, then open: what may take time, for each mount beside the others.
async fn connect(registry: &Registry, opening: Opening, mount: &Arc<Mount>) -> Result<()> {
    let about = |e: Error| e.with_operation(Operation::Mount).with_path(mount.info().uri);
    let Opening { mut candidate, uri, layout } = opening;
    candidate.check_credentials().await.map_err(about)?;
    mount.advance(MountState::CredentialsChecked)?;
    let plain = candidate.open().await.map_err(about)?;
    match (layout, registry.layouts()) {
        (Some(wanted), Some(layouts)) => {
            let chosen = layouts.choose(&uri, plain, wanted).await.map_err(about)?;
            mount.set_layout_reason(chosen.reason);
            mount.set_backend(chosen.backend);
        }
        _ => mount.set_backend(plain),
    }
    Ok(())
}

/// Mounts that are being made. Dropped before `commit`, by an error or with its future, it takes
/// all of them back.
struct Staged<'a> {
    shared: &'a Shared,
    mounts: Vec<Arc<Mount>>,
}

impl Staged<'_> {
    fn add(&mut self, mount: Arc<Mount>) {
        self.shared.lock().push(Arc::clone(&mount));
        self.mounts.push(mount);
    }

    fn commit(mut self) -> Result<Vec<MountInfo>> {
        {
            let _serialised = self.shared.lock();
            self.shared.check_open()?;
            let table = MountTable::clone(&self.shared.table.load());
            self.shared.table.store(Arc::new(activate(&self.mounts, table)?));
        }
        let made = std::mem::take(&mut self.mounts);
        Ok(made.iter().map(|mount| mount.info()).collect())
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        self.mounts.iter().for_each(|mount| mount.abandon());
        self.shared.forget(&self.mounts);
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Mount>>> {
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mounts(&self) -> Vec<MountInfo> {
        self.lock().iter().map(|mount| mount.info()).collect()
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the kernel was closed"));
        }
        Ok(())
    }

    fn remove(&self, at: &VfsPath) -> Option<Arc<Mount>> {
        let _serialised = self.lock();
        let (table, mount) = self.table.load().without(at)?;
        self.table.store(Arc::new(table));
        Some(mount)
    }

    fn forget(&self, gone: &[Arc<Mount>]) {
        self.lock().retain(|mount| !gone.iter().any(|other| Arc::ptr_eq(mount, other)));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.lock().iter().for_each(|mount| mount.abandon());
    }
}
