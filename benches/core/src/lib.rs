//! Benchmarks of the paths that every call takes; see `benches/`.
