//! Amazon S3 and every store that speaks its protocol, `s3://BUCKET[/PREFIX]`: an object at its own
//! key, as every other tool sees it.
//!
//! What a store really does with conditional writes is tried at mount, with a small object of the
//! backend's own that is deleted again, and declared as a capability. Large bodies move in parts,
//! several at once; a transfer that breaks goes on where it stopped, with bytes of the same object.
//!
//! ```
//! use nexus_core::{ErrorKind, MountUri};
//!
//! let uri: MountUri = "s3://my-bucket/photos?region=eu-west-1&sise=1".parse()?;
//! let error = nexus_backend_s3::DESCRIPTOR.check_options(&uri).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::InvalidOption);
//! # Ok::<(), nexus_core::Error>(())
//! ```
//!
//! - `backend`: the verbs; `config`, `connect`: from a URI to them; `probe`: what the store can do
//! - `reader`, `writer`, `multipart`, `copier`, `deleter`, `lister`: one verb each
//! - `store`: what they share; `keys`, `about`, `error`: names, metadata and refusals, as S3 has them
//! - `transfer`: large bodies, without any knowledge of S3

mod about;
mod backend;
#[cfg(all(test, feature = "peers"))]
mod by_parts_tests;
mod config;
mod connect;
mod copier;
mod deleter;
mod error;
mod keys;
mod lister;
mod multipart;
mod probe;
mod reader;
mod store;
mod transfer;
mod writer;

use nexus_core::{BackendKind, CredentialNeed, Descriptor, MountUri};

/// How the kernel finds this backend.
pub const DESCRIPTOR: Descriptor = Descriptor {
    scheme: "s3",
    aliases: &[],
    summary: "Amazon S3, and every store that speaks its protocol",
    kind: BackendKind::Storage,
    credentials: CredentialNeed::Optional,
    options: config::OPTIONS,
    mount_point: MountUri::mount_point,
    build: connect::build,
};

nexus_core::register!(DESCRIPTOR);
