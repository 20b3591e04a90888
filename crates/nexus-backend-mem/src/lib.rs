//! A store in the memory of the program, `mem://NAME`: for tests, examples and scratch space.
//!
//! Each mount is a store of its own, whatever its name, and is gone with the mount. Content is
//! shared, never copied: a read, a copy and a rename move no bytes.
//!
//! ```
//! use nexus_backend_mem::MemBackend;
//! use nexus_core::{Backend, VfsPath};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> nexus_core::Result<()> {
//! let store = MemBackend::new("scratch");
//! let path = VfsPath::parse("/hello.txt")?;
//! store.write(&path, "hello".into(), &Default::default()).await?;
//! assert_eq!(store.stat(&path).await?.size, Some(5));
//! # Ok(())
//! # }
//! ```

mod backend;
mod config;
mod store;
mod upload;

pub use backend::MemBackend;
use nexus_core::{BackendKind, CredentialNeed, Descriptor, MountUri, OptionSpec};

/// How the kernel finds this backend.
pub const DESCRIPTOR: Descriptor = Descriptor {
    scheme: "mem",
    aliases: &[],
    summary: "a store in the memory of this program, gone with the mount",
    kind: BackendKind::Storage,
    credentials: CredentialNeed::None,
    options: &[OptionSpec {
        name: "limit",
        values: "BYTES, or with K, M or G",
        summary: "how much content the store takes; no limit by default",
    }],
    mount_point: MountUri::mount_point,
    build: config::build,
};

nexus_core::register!(DESCRIPTOR);
