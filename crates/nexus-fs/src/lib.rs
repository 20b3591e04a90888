//! One namespace over many stores. A program mounts stores by URI, and every path below a mount
//! point answers the same calls: read, write, list, stat, delete, rename, copy, mkdir.
//!
//! ```
//! # #[cfg(feature = "backend-mem")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> nexus_fs::Result<()> {
//! let fs = nexus_fs::mount(["mem://inbox", "mem://archive"]).await?;
//! fs.write("/mem/inbox/hello.txt", "hello", &Default::default()).await?;
//! fs.copy("/mem/inbox/hello.txt", "/mem/archive/hello.txt", &Default::default()).await?;
//! let read = fs.read("/mem/archive/hello.txt", &Default::default()).await?;
//! assert_eq!(read.body.bytes(1024).await?, "hello");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "backend-mem"))]
//! # fn main() {}
//! ```
//!
//! [`mount`] is the short way, [`Builder`] the one with settings, [`blocking`] the one for programs
//! without a runtime. The vocabulary, the [`Kernel`] and the contract of a [`Backend`] are those of
//! `nexus-core`, all re-exported here.
//!
//! Features choose the backends that are built in:
//!
//! | Feature | Scheme | Default |
//! |---|---|---|
//! | `backend-local` | `local://PATH`, files of this computer | yes |
//! | `backend-mem` | `mem://NAME`, a store in this program's memory | yes |
//! | `backend-s3` | `s3://BUCKET`, Amazon S3 and what speaks its protocol | no |
//! | `layout-cas` | `layout=cas`, content by digest in a folder | yes |
//! | `full` | all of them | |

pub mod blocking;
mod builder;
#[cfg(all(doctest, feature = "backend-local", feature = "backend-mem"))]
mod guides;
mod linked;
mod process;

pub use builder::Builder;
pub use linked::registry;
pub use nexus_core::kernel::{
    CopyOptions, KernelBuilder, MountInfo, MountRequest, MountState, Outcome, Progress,
    RenameMethod, TreeReport, Verified, WalkOptions,
};
pub use nexus_core::*;

/// Mounts all of `uris`, each at the mount point that follows from it, or none of them.
///
/// # Errors
/// Those of [`Kernel::mount`], and `Internal` when the program was linked without a backend that
/// its features promise.
pub async fn mount(uris: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Kernel> {
    uris.into_iter().try_fold(Builder::new(), |builder, uri| builder.mount(uri))?.open().await
}
