//! Outboard BLAKE3 trees.
