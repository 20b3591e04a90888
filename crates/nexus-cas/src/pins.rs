//! Pins of content on its way to a path: the collector keeps away from it, until a path has it or it is
//! given up.

use std::sync::Arc;

use nexus_core::{Digest, Result};

use crate::backend::unexpected;
use crate::refs::{Change, Outcome, Pin, Refs};

/// Pins that are released when this is dropped.
pub(crate) struct Pins {
    refs: Arc<dyn Refs>,
    held: Vec<Pin>,
}

impl Pins {
    pub(crate) fn new(refs: Arc<dyn Refs>) -> Self {
        Self { refs, held: Vec::new() }
    }

    /// Keeps the collector away from a digest. Comes before the content has its name: from then on a
    /// collector may see it.
    pub(crate) async fn add(&mut self, digest: Digest) -> Result<()> {
        match self.refs.apply(Change::Pin(digest)).await? {
            Outcome::Pinned(pin) => self.held.push(pin),
            other => return Err(unexpected(&other)),
        }
        Ok(())
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.held.append(&mut other.held);
    }

    pub(crate) fn all(&self) -> Vec<Pin> {
        self.held.clone()
    }

    /// The change that gave a path the content released them.
    pub(crate) fn released(mut self) {
        self.held.clear();
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.held.drain(..).for_each(|pin| self.refs.release(pin));
    }
}
