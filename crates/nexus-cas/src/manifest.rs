//! Manifests: the lists of chunks that make large files.
