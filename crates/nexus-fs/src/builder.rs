//! Mounting with settings.

use std::time::Duration;

use nexus_core::kernel::{KernelBuilder, MountRequest};
use nexus_core::{IntoPath, Kernel, MountUri, Registry, Result, Surroundings};

/// Collects mounts and settings, then opens all of them at once.
///
/// ```
/// # #[cfg(feature = "backend-mem")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> nexus_fs::Result<()> {
/// let fs = nexus_fs::Builder::new()
///     .mount_at("mem://scratch", "/tmp")?
///     .memory_budget(64 << 20)
///     .open()
///     .await?;
/// assert!(fs.stat("/tmp").await?.is_dir());
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "backend-mem"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    requests: Vec<MountRequest>,
    kernel: KernelBuilder,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// Nothing mounted, default settings. Backends look for credentials in the variables and the
    /// home directory of this process.
    #[must_use]
    pub fn new() -> Self {
        let kernel = Kernel::builder(Registry::default());
        let kernel = kernel.surroundings(crate::process::surroundings());
        Self { requests: Vec::new(), kernel }
    }

    /// Mounts `uri` at the mount point that follows from it.
    ///
    /// # Errors
    /// `InvalidUri` or `InvalidOption` when the text is malformed.
    pub fn mount(mut self, uri: impl AsRef<str>) -> Result<Self> {
        self.requests.push(MountRequest::parse(uri.as_ref())?);
        Ok(self)
    }

    /// Mounts `uri` at `at`.
    ///
    /// # Errors
    /// As [`Builder::mount`], and `InvalidPath`.
    pub fn mount_at(mut self, uri: impl AsRef<str>, at: impl IntoPath) -> Result<Self> {
        let uri = MountUri::parse(uri.as_ref())?;
        self.requests.push(MountRequest::new(uri).at(at.into_path()?));
        Ok(self)
    }

    /// Memory for read-ahead and write-behind of all transfers together, in bytes; as
    /// [`KernelBuilder::memory_budget`].
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.kernel = self.kernel.memory_budget(bytes);
        self
    }

    /// How long closing waits for operations under way; as [`KernelBuilder::close_deadline`].
    #[must_use]
    pub fn close_deadline(mut self, deadline: Duration) -> Self {
        self.kernel = self.kernel.close_deadline(deadline);
        self
    }

    /// How many objects a tree operation works on at once; as [`KernelBuilder::parallelism`].
    #[must_use]
    pub fn parallelism(mut self, objects: usize) -> Self {
        self.kernel = self.kernel.parallelism(objects);
        self
    }

    /// Where backends look for credentials, instead of this process's own surroundings.
    #[must_use]
    pub fn surroundings(mut self, surroundings: Surroundings) -> Self {
        self.kernel = self.kernel.surroundings(surroundings);
        self
    }

    /// Opens everything, or nothing.
    ///
    /// # Errors
    /// Those of [`Kernel::mount`], and `Internal` when the program was linked without a backend
    /// that its features promise.
    pub async fn open(self) -> Result<Kernel> {
        let kernel = self.kernel.registry(crate::registry()?).build();
        kernel.mount(self.requests).await?;
        Ok(kernel)
    }
}
