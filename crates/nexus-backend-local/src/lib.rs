//! Files of this computer, `local://PATH`: every file at its own path, as every other tool sees it.
//!
//! Every verb resolves its path beneath a handle of the root, so that nothing, no symbolic link and
//! no race, leads out of it. Files are published whole: a reader sees the old content or the new.
//! The BLAKE3 digest of what nexus-fs wrote is kept beside the content, and whole reads are checked
//! against it while the file is unchanged.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use nexus_core::{Kernel, Registry, kernel::MountRequest};
//!
//! let folder = tempfile::tempdir()?;
//! let fs = Kernel::new(Registry::of(&[nexus_backend_local::DESCRIPTOR])?);
//! let uri = format!("local://{}", folder.path().display());
//! let request = MountRequest::parse(&uri)?.at("/desk".parse()?);
//! fs.mount(vec![request]).await?;
//! fs.write("/desk/notes/today.txt", "hello", &Default::default()).await?;
//! assert_eq!(std::fs::read_to_string(folder.path().join("notes/today.txt"))?, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! | Module | Owns |
//! |---|---|
//! | `beneath` | resolution of paths below the root: the only place that opens by path |
//! | `names` | names on disk that are not UTF-8 |
//! | `attributes` | from file attributes to metadata, versions and recorded digests |
//! | `lock` | exclusion between writers, other processes included |
//! | `durable` | syncs, and which directories need none any more |
//! | `publish` | temporary files, and how they become files |
//! | `blocking` | the hop to threads that may block, and what becomes of work that is given up |
//! | `reader`, `writer`, `lister`, `copier`, `entries` | the verbs: content out, content in, listings, copies, names |
//! | `error` | from system errors to kinds |

#[cfg(not(unix))]
compile_error!("nexus-backend-local works on Unix systems only, so far");

mod attributes;
mod backend;
mod beneath;
mod blocking;
mod config;
mod copier;
mod durable;
mod entries;
mod error;
mod lister;
mod lock;
mod names;
mod publish;
mod reader;
mod writer;

use nexus_core::{BackendKind, CredentialNeed, Descriptor, MountUri, OptionSpec};

/// How the kernel finds this backend.
pub const DESCRIPTOR: Descriptor = Descriptor {
    scheme: "local",
    aliases: &[],
    summary: "files of this computer",
    kind: BackendKind::Storage,
    credentials: CredentialNeed::None,
    options: &[
        OptionSpec {
            name: "chunking",
            values: "none|cdc",
            summary: "cdc, with layout=cas: large files are cut where their content says so, and share chunks",
        },
        OptionSpec {
            name: "create",
            values: "true|false",
            summary: "make the root directory when it is missing",
        },
        OptionSpec {
            name: "durability",
            values: "process|full",
            summary: "full: what was acknowledged survives a power cut (fsync of file and directory)",
        },
        OptionSpec {
            name: "layout",
            values: "auto|cas|plain",
            summary: "cas: content by digest, stored once, verified; plain: a file at its own path",
        },
        OptionSpec {
            name: "resolver",
            values: "auto|openat2|portable",
            summary: "how paths are kept beneath the root",
        },
    ],
    mount_point: MountUri::mount_point,
    build: config::build,
};

nexus_core::register!(DESCRIPTOR);
