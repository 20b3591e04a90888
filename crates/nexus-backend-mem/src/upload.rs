//! Content that comes in pieces: kept aside, put into the store when it is finished.

use std::sync::Arc;

use nexus_core::{Bytes, Hasher, Metadata, Result, Upload, VfsPath, WriteOptions, async_trait};

use crate::backend::Shared;
use crate::store::Incoming;

pub(crate) struct MemUpload {
    shared: Arc<Shared>,
    path: VfsPath,
    options: WriteOptions,
    pieces: Vec<Bytes>,
    size: u64,
    hasher: Hasher,
}

impl MemUpload {
    pub(crate) fn new(shared: Arc<Shared>, path: VfsPath, options: WriteOptions) -> Self {
        Self { shared, path, options, pieces: Vec::new(), size: 0, hasher: Hasher::new() }
    }
}

#[async_trait]
impl Upload for MemUpload {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        let size = self.size + piece.len() as u64;
        self.shared.store()?.check_room(&self.path, size)?;
        self.size = size;
        self.hasher.update(&piece);
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
        Ok(())
    }

    fn publish_at(&mut self, path: VfsPath) -> Result<()> {
        self.path = path;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Metadata> {
        let content =
            Incoming { pieces: self.pieces, size: self.size, digest: self.hasher.finish() };
        self.shared.store()?.put(&self.path, content, &self.options)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
