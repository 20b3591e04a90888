//! The same namespace for programs without a runtime of their own.
//!
//! Works on any thread, inside an async runtime as well as outside of one: the work is done by a
//! small runtime that belongs to the [`Kernel`]. (Inside a runtime it blocks the calling thread,
//! as every blocking call does.) Dropping the last handle stops that runtime without waiting, so a
//! program never hangs at exit; [`Kernel::close`] waits.
//!
//! ```
//! # #[cfg(feature = "backend-mem")]
//! # fn main() -> nexus_fs::Result<()> {
//! let fs = nexus_fs::blocking::mount(["mem://scratch"])?;
//! fs.write("/mem/scratch/a.txt", "hello", &Default::default())?;
//! assert_eq!(fs.read("/mem/scratch/a.txt", &Default::default())?.bytes(1024)?, "hello");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "backend-mem"))]
//! # fn main() {}
//! ```

use std::io;
use std::sync::{Arc, mpsc};

use futures_util::StreamExt;
use nexus_core::kernel::{
    CopyOptions, MountInfo, MountRequest, RenameMethod, TreeReport, WalkOptions,
};
use nexus_core::{
    Body, Bytes, CopyMethod, DeleteTarget, Deleted, Entry, Error, ErrorKind, IntoPath, ListOptions,
    Listing, Metadata, Operation, ReadOptions, Result, WriteOptions,
};
use tokio::runtime::{Builder as RuntimeBuilder, Handle, Runtime};

/// Mounts all of `uris`, as [`crate::mount`].
///
/// # Errors
/// As [`crate::mount`].
pub fn mount(uris: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Kernel> {
    uris.into_iter()
        .try_fold(crate::Builder::new(), |builder, uri| builder.mount(uri))?
        .open_blocking()
}

impl crate::Builder {
    /// Opens everything, or nothing, for blocking use.
    ///
    /// # Errors
    /// As [`crate::Builder::open`], and `Internal` when no thread can be started.
    pub fn open_blocking(self) -> Result<Kernel> {
        let driver = Driver::start()?;
        let kernel = driver.run(self.open())?;
        Ok(Kernel { kernel, driver })
    }
}

/// Runs the work. Stops without waiting when the last handle is dropped.
#[derive(Clone)]
struct Driver(Arc<Stop>);

struct Stop(Option<Runtime>);

impl Drop for Stop {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Driver {
    fn start() -> Result<Self> {
        let runtime = RuntimeBuilder::new_multi_thread()
            .worker_threads(2)
            .thread_name("nexus-fs")
            .enable_all()
            .build()
            .map_err(|error| internal("the runtime did not start").with_source(error))?;
        Ok(Self(Arc::new(Stop(Some(runtime)))))
    }

    /// Waits for `work`. Outside of a runtime it is polled right here, so that what does not block
    /// costs no hop; inside of one, where a thread must not wait in that way, on the driver's own.
    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let Some(runtime) = &self.0.0 else {
            return Err(internal("the runtime was stopped"));
        };
        if Handle::try_current().is_err() {
            return runtime.block_on(work);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            // The receiver waits below; it can only be gone with the whole thread.
            let _ = sender.send(work.await);
        });
        receiver.recv().unwrap_or_else(|_| Err(internal("the operation ended without an answer")))
    }
}

fn internal(message: &'static str) -> Error {
    Error::new(ErrorKind::Internal, message)
}

/// One namespace over many mounts, as [`crate::Kernel`], with calls that block.
#[derive(Clone)]
pub struct Kernel {
    kernel: nexus_core::Kernel,
    driver: Driver,
}

/// Defines verbs that forward to the async kernel; arguments are made owned first, so that the work
/// can move to another thread.
macro_rules! verbs {
    ($(
        $(#[$doc:meta])*
        $name:ident($($path:ident),*; $($option:ident: &$kind:ty),*) -> $answer:ty;
    )*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// Those of the method of the same name of [`crate::Kernel`].
        pub fn $name(&self, $($path: impl IntoPath,)* $($option: &$kind),*) -> Result<$answer> {
            let kernel = self.kernel.clone();
            $(let $path = $path.into_path()?;)*
            $(let $option = $option.clone();)*
            self.driver.run(async move { kernel.$name($($path,)* $(&$option),*).await })
        }
    )*};
}

impl Kernel {
    verbs! {
        /// Metadata of what is at `path`.
        stat(path;) -> Metadata;
        /// Deletes the file, or the symbolic link, at `path`.
        delete(path;) -> ();
        /// Copies one file.
        copy(from, to; options: &CopyOptions) -> CopyMethod;
        /// Renames a file or a directory.
        rename(from, to; options: &CopyOptions) -> RenameMethod;
        /// Makes a directory, and those above it.
        create_dir(path;) -> ();
        /// Removes an empty directory.
        remove_dir(path;) -> ();
        /// Copies a file, or a directory with everything below it.
        copy_all(from, to; options: &CopyOptions) -> TreeReport;
        /// Copies what differs of a file or a tree into a store that keeps content by digest.
        import(from, to; options: &CopyOptions) -> TreeReport;
        /// Copies what differs of a file or a tree out of a store that keeps content by digest.
        export(from, to; options: &CopyOptions) -> TreeReport;
        /// Removes a file, or a directory with everything below it.
        remove_all(path;) -> TreeReport;
        /// Unmounts what is mounted at `at`.
        unmount(at;) -> ();
    }

    /// The async kernel beneath, for what has no blocking form.
    #[must_use]
    pub fn as_async(&self) -> &nexus_core::Kernel {
        &self.kernel
    }

    /// Every mount and its state.
    #[must_use]
    pub fn mounts(&self) -> Vec<MountInfo> {
        self.kernel.mounts()
    }

    /// Mounts all of `requests`, or none of them.
    ///
    /// # Errors
    /// Those of [`crate::Kernel::mount`].
    pub fn mount(&self, requests: Vec<MountRequest>) -> Result<Vec<MountInfo>> {
        let kernel = self.kernel.clone();
        self.driver.run(async move { kernel.mount(requests).await })
    }

    /// The content at `path`, whole or a range of it.
    ///
    /// # Errors
    /// Those of [`crate::Kernel::read`].
    pub fn read(&self, path: impl IntoPath, options: &ReadOptions) -> Result<Reader> {
        let (kernel, path, options) = (self.kernel.clone(), path.into_path()?, options.clone());
        let object = self.driver.run(async move { kernel.read(path, &options).await })?;
        Ok(Reader {
            metadata: object.metadata,
            body: Some(object.body),
            piece: Bytes::new(),
            driver: self.driver.clone(),
        })
    }

    /// Stores `content` as the whole object at `path`, atomically.
    ///
    /// # Errors
    /// Those of [`crate::Kernel::write`].
    pub fn write(
        &self,
        path: impl IntoPath,
        content: impl Into<Bytes>,
        options: &WriteOptions,
    ) -> Result<Metadata> {
        let (kernel, path, options) = (self.kernel.clone(), path.into_path()?, options.clone());
        let content = content.into();
        self.driver.run(async move { kernel.write(path, content, &options).await })
    }

    /// Begins an object whose content comes in pieces.
    ///
    /// # Errors
    /// Those of [`crate::Kernel::upload`].
    pub fn upload(&self, path: impl IntoPath, options: &WriteOptions) -> Result<Upload> {
        let (kernel, path, options) = (self.kernel.clone(), path.into_path()?, options.clone());
        let upload = self.driver.run(async move { kernel.upload(path, &options).await })?;
        Ok(Upload { upload: Some(upload), driver: self.driver.clone() })
    }

    /// The entries below the directory `path`.
    ///
    /// # Errors
    /// Those of [`crate::Kernel::list`].
    pub fn list(&self, path: impl IntoPath, options: &ListOptions) -> Result<Entries> {
        let (kernel, path, options) = (self.kernel.clone(), path.into_path()?, options.clone());
        self.entries(async move { kernel.list(path, &options).await })
    }

    /// Everything below the directory `path`.
    ///
    /// # Errors
    /// Those of [`crate::Kernel::walk`].
    pub fn walk(&self, path: impl IntoPath, options: &WalkOptions) -> Result<Entries> {
        let (kernel, path, options) = (self.kernel.clone(), path.into_path()?, options.clone());
        self.entries(async move { kernel.walk(path, &options).await })
    }

    /// Everything whose path matches `pattern`.
    ///
    /// # Errors
    /// Those of [`crate::Kernel::glob`].
    pub fn glob(&self, pattern: &str) -> Result<Entries> {
        let (kernel, pattern) = (self.kernel.clone(), pattern.to_owned());
        self.entries(async move { kernel.glob(&pattern).await })
    }

    fn entries(
        &self,
        listing: impl Future<Output = Result<Listing>> + Send + 'static,
    ) -> Result<Entries> {
        let listing = self.driver.run(listing)?;
        Ok(Entries { listing: Some(listing), driver: self.driver.clone() })
    }

    /// Deletes many files; one result a target, in the order given.
    ///
    /// # Errors
    /// `Internal` when the work could not be run at all.
    pub fn delete_many(&self, targets: Vec<DeleteTarget>) -> Result<Vec<Result<Deleted>>> {
        let kernel = self.kernel.clone();
        self.driver.run(async move { Ok(kernel.delete_many(targets).await) })
    }

    /// Closes every mount, and waits for operations under way up to the deadline.
    ///
    /// # Errors
    /// Those of [`crate::Kernel::close`].
    pub fn close(&self) -> Result<()> {
        let kernel = self.kernel.clone();
        self.driver.run(async move { kernel.close().await })
    }
}

/// Content that is being read; a [`std::io::Read`].
pub struct Reader {
    metadata: Metadata,
    body: Option<Body>,
    piece: Bytes,
    driver: Driver,
}

impl Reader {
    /// Metadata of the very object that the bytes belong to.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The next piece without copying it; `None` at the end.
    ///
    /// # Errors
    /// What the transfer fails with; the reader is at its end then.
    pub fn next_piece(&mut self) -> Result<Option<Bytes>> {
        if !self.piece.is_empty() {
            return Ok(Some(std::mem::take(&mut self.piece)));
        }
        let Some(mut body) = self.body.take() else { return Ok(None) };
        let (next, body) = self.driver.run(async move {
            let next = body.next().await.transpose()?;
            Ok((next, body))
        })?;
        if next.is_some() {
            self.body = Some(body);
        }
        Ok(next)
    }

    /// All that is left, up to `limit` bytes of memory.
    ///
    /// # Errors
    /// `TooLarge` past the limit, and what the transfer fails with.
    pub fn bytes(mut self, limit: usize) -> Result<Bytes> {
        let rest = self.body.take();
        let piece = std::mem::take(&mut self.piece);
        self.driver.run(async move {
            let first = futures_util::stream::iter((!piece.is_empty()).then_some(Ok(piece)));
            let rest =
                rest.map_or_else(|| futures_util::stream::empty().boxed(), Body::into_stream);
            Body::stream(first.chain(rest)).bytes(limit).await
        })
    }
}

impl io::Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.piece.is_empty() {
            self.piece = self.next_piece().map_err(into_io)?.unwrap_or_default();
        }
        let count = self.piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// An object that is being written in pieces; a [`std::io::Write`]. Dropping it publishes nothing.
pub struct Upload {
    upload: Option<Box<dyn nexus_core::Upload>>,
    driver: Driver,
}

impl Upload {
    /// Takes the next piece without copying it.
    ///
    /// # Errors
    /// Those of [`nexus_core::Upload::write`]. The upload is over then.
    pub fn push(&mut self, piece: impl Into<Bytes>) -> Result<()> {
        let (mut upload, piece) = (self.take()?, piece.into());
        self.upload = Some(self.driver.run(async move {
            upload.write(piece).await?;
            Ok(upload)
        })?);
        Ok(())
    }

    /// Publishes the object.
    ///
    /// # Errors
    /// Those of [`nexus_core::Upload::finish`]. The old state stands then.
    pub fn finish(mut self) -> Result<Metadata> {
        let upload = self.take()?;
        self.driver.run(async move { upload.finish().await })
    }

    /// Gives up, and waits until what was sent is gone.
    ///
    /// # Errors
    /// Those of [`nexus_core::Upload::abort`].
    pub fn abort(mut self) -> Result<()> {
        let upload = self.take()?;
        self.driver.run(async move { upload.abort().await })
    }

    fn take(&mut self) -> Result<Box<dyn nexus_core::Upload>> {
        self.upload.take().ok_or_else(|| {
            Error::new(ErrorKind::Closed, "the upload failed before")
                .with_operation(Operation::Upload)
        })
    }
}

impl io::Write for Upload {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.push(Bytes::copy_from_slice(buffer)).map_err(into_io)?;
        Ok(buffer.len())
    }

    /// Does nothing: pieces are on their way already, and only `finish` publishes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The entries of a listing, as they come.
pub struct Entries {
    listing: Option<Listing>,
    driver: Driver,
}

impl Iterator for Entries {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut listing = self.listing.take()?;
        let next = self.driver.run(async move {
            let entry = listing.next().await;
            Ok((entry, listing))
        });
        match next {
            Ok((entry, listing)) => {
                self.listing = entry.is_some().then_some(listing);
                entry
            }
            Err(error) => Some(Err(error)),
        }
    }
}

/// The error as `std::io` knows it; the whole of it is the inner error.
fn into_io(error: Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::NotFound => io::ErrorKind::NotFound,
        ErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => io::ErrorKind::PermissionDenied,
        ErrorKind::IsADirectory => io::ErrorKind::IsADirectory,
        ErrorKind::NotADirectory => io::ErrorKind::NotADirectory,
        ErrorKind::StorageFull => io::ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded => io::ErrorKind::QuotaExceeded,
        ErrorKind::Timeout => io::ErrorKind::TimedOut,
        ErrorKind::IntegrityMismatch => io::ErrorKind::InvalidData,
        ErrorKind::Unsupported => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
