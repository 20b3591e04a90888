//! The content-addressed layout: a [`Backend`](nexus_core::Backend) over a backend, in which content
//! is named by its BLAKE3 digest, stored once, and verified whenever it is read.

pub mod manifest;
pub mod tree;
