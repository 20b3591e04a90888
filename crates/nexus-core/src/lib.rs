//! The vocabulary of nexus-fs, the contract of a backend, the registry that finds backends, and the
//! kernel that makes many mounts one namespace. It knows no concrete store, no HTTP, no environment
//! and no home directory.
//!
//! Programs use the facade crate `nexus-fs`; this crate is for those who write a backend:
//! implement [`Backend`] and [`Candidate`], describe them in a [`Descriptor`], and submit it with
//! [`register!`]. The crate `nexus-testkit` then tells whether the backend keeps the contract.
//!
//! ```
//! use nexus_core::{ErrorKind, MountUri, VfsPath};
//!
//! let uri: MountUri = "local://./data?durability=full".parse()?;
//! assert_eq!(uri.mount_point()?, VfsPath::parse("/local/data")?);
//! assert_eq!(VfsPath::parse("/a//b").unwrap_err().kind(), ErrorKind::InvalidPath);
//! # Ok::<(), nexus_core::Error>(())
//! ```

mod backend;
mod body;
mod budget;
mod capabilities;
mod care;
mod digest;
mod error;
pub mod kernel;
mod layout;
mod metadata;
mod options;
mod path;
mod registry;
mod report;
mod surroundings;
mod uri;

pub use async_trait::async_trait;
pub use backend::{Backend, BackendExt, Listing, Upload};
pub use body::{Body, Object};
pub use budget::{MemoryBudget, Reservation};
pub use bytes::{self, Bytes};
pub use capabilities::{Capabilities, Digests, Directories, Info, Layout, Limits, ListOrder};
pub use care::{
    Care, Checked, Checking, CollectOptions, Collected, Traffic, Usage, Verdict, VerifyOptions,
};
pub use digest::{Digest, Hasher};
pub use error::{Error, ErrorKind, Operation, Result, Retry};
#[doc(hidden)]
pub use inventory;
pub use kernel::Kernel;
pub use layout::{Chosen, Layouts};
pub use metadata::{Entry, EntryKind, Metadata, Version};
pub use options::{
    ByteRange, CopyMethod, DeleteTarget, Deleted, ListOptions, ReadOptions, WriteMode, WriteOptions,
};
pub use path::{IntoPath, VfsPath};
pub use registry::{
    BackendKind, Candidate, CredentialNeed, Descriptor, MountContext, OptionSpec, Registry,
};
pub use report::{Answer, Attempt, Finding, Report};
pub use surroundings::Surroundings;
pub use uri::MountUri;
