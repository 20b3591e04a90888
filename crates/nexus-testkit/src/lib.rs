//! Proof for backends: what every one of them must do, and the tools that make it hard to cheat.
//!
//! - [`conformance`]: every sentence of the contract as a named case, run on a fresh store each
//! - [`model`]: random operations on the kernel, and on a simple tree beside it
//! - [`fault`]: a wrapper that fails on demand, before an effect or after it
//! - [`lesser`]: a wrapper that takes capabilities away
//! - [`disk`]: small disks that are full, read-only, or gone
//! - [`cancel`]: drops a future at each of its awaits, one after the other
//!
//! ```
//! use std::sync::Arc;
//!
//! use nexus_backend_mem::MemBackend;
//! use nexus_core::Backend;
//! use nexus_testkit::conformance;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let fresh = || async { Arc::new(MemBackend::new("fresh")) as Arc<dyn Backend> };
//! let expected = fresh().await.info().capabilities.clone();
//! let report = conformance::run_matching(fresh, &expected, "write::overwrites").await;
//! assert_eq!(report.passed, ["write::overwrites"]);
//! # }
//! ```
//!
//! It knows the contract and the kernel, never a concrete store. Everything here fails by
//! panicking, as tests do.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

pub mod cancel;
pub mod conformance;
pub mod disk;
pub mod fault;
pub mod lesser;
pub mod model;
mod support;
