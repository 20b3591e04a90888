//! The content-addressed layout: a [`Backend`](nexus_core::Backend) over a backend, in which content
//! is named by its BLAKE3 digest, stored once, and verified whenever it is read.
//!
//! Refs say which path has which content; they are behind a trait, and kept in SQLite where the store
//! is a directory of this computer. Content of up to 16 KiB is kept beside the refs, larger content as
//! a blob in the store below, under the name of its digest. A path is given content only while that
//! content is there, in one transaction; the collector looks again in the transaction that deletes.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use nexus_core::{Kernel, Registry, kernel::MountRequest};
//!
//! let folder = tempfile::tempdir()?;
//! let registry = Registry::of(&[nexus_backend_local::DESCRIPTOR])?;
//! let fs = Kernel::new(registry.with_layouts(Arc::new(nexus_cas::CasLayouts)));
//! let uri = format!("local://{}?layout=cas", folder.path().display());
//! fs.mount(vec![MountRequest::parse(&uri)?.at("/store".parse()?)]).await?;
//! fs.write("/store/a", vec![7; 100_000], &Default::default()).await?;
//! fs.copy("/store/a", "/store/b", &Default::default()).await?;
//! fs.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! | Module | Owns |
//! |---|---|
//! | `layouts` | which layout a mount gets, and why |
//! | `backend`, `upload` | the verbs: what each asks of refs and blobs |
//! | `content` | content wherever it is: read, looked at, put back |
//! | `care` | usage, verifying, mending |
//! | `collect` | what nobody needs, found and deleted |
//! | `store` | how a store is made and opened |
//! | `pins` | keeping the collector away from content on its way |
//! | [`refs`] | which path has which content |
//! | [`record`] | what is recorded of a path, and how damage to it shows |
//! | `blobs` | content under its digest |
//! | `chunker`, `chunks` | content in chunks, cut and put together |
//! | [`manifest`] | which chunks make a content |
//! | [`tree`] | verification of a part of a content |
//! | `names` | what lies where in the store |

mod backend;
mod blobs;
mod care;
mod chunker;
mod chunks;
mod collect;
mod content;
mod layouts;
pub mod manifest;
mod names;
mod pieces;
mod pins;
pub mod record;
pub mod refs;
mod store;
pub mod tree;
mod upload;

pub use backend::{CasBackend, Options};
pub use chunker::ChunkSizes;
pub use layouts::CasLayouts;
pub use store::OpenRefs;
