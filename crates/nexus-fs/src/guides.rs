//! The Rust in README and in the guides, run as doc tests. Nothing here is part of the library.

#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(feature = "layout-cas")]
#[doc = include_str!("../../../docs/content-addressed.md")]
struct ContentAddressed;

#[doc = include_str!("../../../docs/backends/mem.md")]
struct BackendMem;

#[doc = include_str!("../../../docs/backends/s3.md")]
struct BackendS3;

#[doc = include_str!("../../../docs/backends/local.md")]
struct BackendLocal;
