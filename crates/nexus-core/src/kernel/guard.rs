//! Bodies, uploads and listings on their way through the kernel: they keep their mount open, speak
//! in paths of the namespace, and end with `Closed` when the mount is released under them.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::mount::Ticket;
use crate::{Body, Entry, Error, Listing, Metadata, Operation, Result, Upload, VfsPath};

/// A ticket, the path inside its mount that it was issued for, and the verb.
pub(super) struct Visit {
    pub(super) ticket: Ticket,
    pub(super) inner: VfsPath,
    pub(super) operation: Operation,
}

impl Visit {
    /// The backend's error, as the caller of the kernel must see it.
    pub(super) fn error(&self, error: Error) -> Error {
        error.with_operation(self.operation).in_mount(self.ticket.at(), &self.inner)
    }

    /// A body that holds this visit until it ends. One that is here whole needs no guard.
    pub(super) fn body(self, body: Body) -> Body {
        if body.as_whole().is_some() {
            return body;
        }
        Body::stream(self.guard(body.into_stream(), |_, piece| Ok(piece)))
    }

    /// A listing in paths of the namespace.
    pub(super) fn listing(self, entries: Listing) -> Listing {
        self.guard(entries, |visit, entry| {
            Ok(Entry { path: visit.ticket.at().concat(&entry.path)?, ..entry })
        })
    }

    pub(super) fn upload(self, inner: Box<dyn Upload>) -> Box<dyn Upload> {
        Box::new(GuardedUpload { visit: self, inner })
    }

    fn guard<T: Send + 'static>(
        self,
        items: BoxStream<'static, Result<T>>,
        translate: impl Fn(&Self, T) -> Result<T> + Send + 'static,
    ) -> BoxStream<'static, Result<T>> {
        let state = Some((self, items, translate));
        stream::unfold(state, |state| async {
            let (visit, mut items, translate) = state?;
            if let Err(closed) = visit.ticket.check() {
                return Some((Err(visit.error(closed)), None));
            }
            let item = match items.next().await? {
                Ok(item) => translate(&visit, item),
                Err(error) => Err(visit.error(error)),
            };
            Some((item, Some((visit, items, translate))))
        })
        .boxed()
    }
}

struct GuardedUpload {
    visit: Visit,
    inner: Box<dyn Upload>,
}

#[async_trait]
impl Upload for GuardedUpload {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        self.visit.ticket.check().map_err(|error| self.visit.error(error))?;
        self.inner.write(piece).await.map_err(|error| self.visit.error(error))
    }

    async fn finish(self: Box<Self>) -> Result<Metadata> {
        let Self { visit, inner } = *self;
        visit.ticket.check().map_err(|error| visit.error(error))?;
        inner.finish().await.map_err(|error| visit.error(error))
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let Self { visit, inner } = *self;
        inner.abort().await.map_err(|error| visit.error(error))
    }
}
