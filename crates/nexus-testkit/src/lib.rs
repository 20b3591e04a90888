//! Proof for backends: what every one of them must do, and the tools that make it hard to cheat.
//!
//! - [`conformance`]: every sentence of the contract as a named case, run on a fresh store each
//! - [`cancel`]: drops a future at each of its awaits, one after the other
//!
//! It knows the contract and the kernel, never a concrete store. Everything here fails by
//! panicking, as tests do.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

pub mod cancel;
pub mod conformance;
mod support;
