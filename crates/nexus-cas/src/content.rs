//! Content, wherever the store keeps it: read, looked at, and put back.

use nexus_core::{Body, Bytes, Digest, Error, ErrorKind, Result};

use crate::backend::INLINE;
use crate::blobs::TREE_ABOVE;
use crate::chunker::ChunkSizes;
use crate::chunks::{self, ChunkUpload};
use crate::manifest::Manifest;
use crate::pins::Pins;
use crate::refs::{Content, Kept, NewContent, NewFile, Place};
use crate::store::Store;

impl Store {
    /// Reads `start..end` of a content of `size` bytes, verified.
    pub(crate) async fn read(
        &self,
        digest: &Digest,
        size: u64,
        kept: Option<Kept>,
        (start, end): (u64, u64),
    ) -> Result<Body> {
        match kept {
            Some(Kept { place: Place::Blob, .. }) => {
                self.blobs.read(digest, size, (start, end)).await
            }
            Some(Kept { place: Place::Chunked, bytes }) => {
                let manifest = Manifest::decode(digest, &bytes.unwrap_or_default())?;
                match manifest.size() == size {
                    true => chunks::read(&self.blobs, &manifest, (start, end)).await,
                    false => Err(damaged(digest)),
                }
            }
            Some(Kept { place: Place::Inline, bytes: Some(bytes) }) => {
                right(&bytes, digest)?;
                match bytes.len() as u64 == size {
                    true => Ok(Body::whole(bytes.slice(start as usize..end as usize))),
                    false => Err(damaged(digest)),
                }
            }
            Some(Kept { place: Place::Inline, bytes: None }) | None => Err(damaged(digest)),
        }
    }

    /// Reads a content back, as far as its chunks are not contents of their own.
    pub(crate) async fn check(&self, content: &Content) -> Result<()> {
        let digest = &content.digest;
        match content.place {
            Some(Place::Blob) => return self.blobs.check(digest, content.size).await,
            // Where the blob is there, only what was recorded of it is lost: its size, too.
            None => {
                if let Some(size) = self.blobs.size(digest).await?
                    && self.blobs.check(digest, size).await.is_ok()
                {
                    return self.refs.mend(file(digest, size, NewContent::Blob)).await;
                }
            }
            Some(Place::Inline | Place::Chunked) => {}
        }
        match self.refs.content(digest).await? {
            // Put otherwise meanwhile.
            Some((Content { place: Some(Place::Blob), size, .. }, _)) => {
                self.blobs.check(digest, size).await
            }
            Some((Content { place: Some(place), .. }, bytes)) => {
                Kept { place, bytes }.check(digest)
            }
            _ => Err(damaged(digest)),
        }
    }

    /// Whether a content is there in chunks, all of them.
    pub(crate) async fn is_chunked(&self, digest: &Digest, size: u64) -> Result<bool> {
        if size <= TREE_ABOVE {
            return Ok(false);
        }
        // What is damaged is not there, and will be recorded anew.
        let Ok(Some((Content { place: Some(Place::Chunked), .. }, Some(bytes)))) =
            self.refs.content(digest).await
        else {
            return Ok(false);
        };
        let Ok(manifest) = Manifest::decode(digest, &bytes) else { return Ok(false) };
        for chunk in manifest.chunks() {
            let length = u64::from(chunk.length);
            if !self.blobs.found(&chunk.digest, length, &*self.refs).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts a content back, in the form in which the refs know it.
    pub(crate) async fn mend(&self, digest: &Digest, mut body: Body) -> Result<()> {
        // What is recorded may be what is damaged.
        let known = self.refs.content(digest).await.unwrap_or_default();
        let place = known.and_then(|(content, _)| content.place);
        if place == Some(Place::Chunked) {
            return self.mend_chunks(digest, body).await;
        }
        let mut head = Vec::new();
        let mut rest = None;
        while let Some(piece) = body.next().await.transpose()? {
            if place == Some(Place::Blob) || head.len() + piece.len() > INLINE {
                rest = Some(piece);
                break;
            }
            head.extend_from_slice(&piece);
        }
        let Some(piece) = rest else {
            right(&head, digest)?;
            let size = head.len() as u64;
            return self.refs.mend(file(digest, size, NewContent::Inline(head.into()))).await;
        };
        self.mend_blob(digest, head.into(), piece, body).await
    }

    async fn mend_blob(
        &self,
        digest: &Digest,
        head: Bytes,
        piece: Bytes,
        mut body: Body,
    ) -> Result<()> {
        let mut upload = self.blobs.upload().await?;
        for piece in [head, piece] {
            upload.write(piece).await?;
        }
        while let Some(piece) = body.next().await.transpose()? {
            upload.write(piece).await?;
        }
        let sealed = upload.seal().await?;
        if sealed.digest != *digest {
            return Err(damaged(digest));
        }
        let mut file = file(digest, sealed.size, NewContent::Blob);
        let mut pins = Pins::new(std::sync::Arc::clone(&self.refs));
        pins.add(*digest).await?;
        sealed.publish(&*self.refs).await?;
        file.pins = pins.all();
        self.refs.mend(file).await?;
        pins.released();
        Ok(())
    }

    async fn mend_chunks(&self, digest: &Digest, mut body: Body) -> Result<()> {
        let mut upload = ChunkUpload::new(self, ChunkSizes::LOCAL);
        while let Some(piece) = body.next().await.transpose()? {
            upload.write(piece).await?;
        }
        let sealed = upload.seal().await?;
        if sealed.manifest.digest() != *digest {
            return Err(damaged(digest));
        }
        let size = sealed.manifest.size();
        let mut file = file(digest, size, NewContent::in_chunks(sealed.manifest));
        file.pins = sealed.pins.all();
        self.refs.mend(file).await?;
        sealed.pins.released();
        Ok(())
    }
}

impl Kept {
    /// Whether what is kept beside the refs is what it must be. A blob is elsewhere.
    pub(crate) fn check(&self, digest: &Digest) -> Result<()> {
        let bytes = self.bytes.as_ref().ok_or_else(|| damaged(digest));
        match self.place {
            Place::Inline => right(bytes?, digest),
            Place::Chunked => Manifest::decode(digest, bytes?).map(drop),
            Place::Blob => Ok(()),
        }
    }
}

fn file(digest: &Digest, size: u64, content: NewContent) -> NewFile {
    let (content_type, user) = (None, Default::default());
    NewFile { digest: *digest, size, content, content_type, user, pins: Vec::new() }
}

fn right(bytes: &[u8], digest: &Digest) -> Result<()> {
    if Digest::of(bytes) == *digest { Ok(()) } else { Err(damaged(digest)) }
}

fn damaged(digest: &Digest) -> Error {
    let message = format!("the stored content does not match its digest {digest}");
    Error::new(ErrorKind::IntegrityMismatch, message)
        .with_hint("`nexus-fs verify` finds all damage, and mends it from other mounts")
}
