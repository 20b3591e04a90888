//! Care: what the store holds, everything read back, and mending.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use nexus_core::{
    Body, Care, Checked, Checking, CollectOptions, Collected, Digest, Error, ErrorKind, Result,
    Traffic, Usage, Verdict, VerifyOptions, async_trait,
};

use crate::backend::{INLINE, Shared};
use crate::blobs::Blobs;
use crate::collect::collect;
use crate::record::{Place, now};
use crate::refs::{Content, Refs};

/// How many contents are looked up at once.
const PAGE: usize = 128;

/// How many harmed paths are named of one content.
const HARMED: usize = 10_000;

/// A run of the verifier.
struct Run {
    refs: Arc<dyn Refs>,
    blobs: Blobs,
    /// In nanoseconds since 1970.
    before: i64,
    after: Option<(i64, Digest)>,
    page: std::vec::IntoIter<Content>,
    done: bool,
}

impl Run {
    async fn next(mut self) -> Option<(Result<Checked>, Self)> {
        if self.done {
            return None;
        }
        let checked = self.step().await.transpose()?;
        self.done = checked.is_err();
        Some((checked, self))
    }

    async fn step(&mut self) -> Result<Option<Checked>> {
        let content = match self.page.next() {
            Some(content) => content,
            None => {
                let due = self.refs.due(self.before, self.after, PAGE).await?;
                self.page = due.into_iter();
                let Some(content) = self.page.next() else { return Ok(None) };
                content
            }
        };
        self.after = Some((content.checked, content.digest));
        let Content { digest, size, .. } = content;
        let verdict = match self.check(&content).await {
            Ok(()) => {
                // Never before the time that the run asks for, or it would be due again in this run.
                self.refs.checked(&digest, now().max(self.before)).await?;
                Verdict::Good
            }
            Err(error) if error.kind() == ErrorKind::IntegrityMismatch => {
                if content.place == Place::Blob {
                    self.blobs.quarantine(&digest).await?;
                }
                let harmed = self.refs.paths_of(&digest, HARMED).await?;
                Verdict::Bad { harmed, reason: error.message().to_owned() }
            }
            Err(error) => return Err(error),
        };
        Ok(Some(Checked { digest, size, verdict }))
    }

    async fn check(&self, content: &Content) -> Result<()> {
        match content.place {
            Place::Blob => self.blobs.check(&content.digest, content.size).await,
            Place::Inline => {
                let found = self.refs.content(&content.digest).await?;
                let bytes = found.and_then(|(_, bytes)| bytes);
                right(bytes.as_deref(), &content.digest)
            }
        }
    }
}

fn right(bytes: Option<&[u8]>, digest: &Digest) -> Result<()> {
    if bytes.is_some_and(|bytes| Digest::of(bytes) == *digest) {
        return Ok(());
    }
    let message = format!("the stored content does not match its digest {digest}");
    Err(Error::new(ErrorKind::IntegrityMismatch, message))
}

#[async_trait]
impl Care for Shared {
    async fn usage(&self) -> Result<Usage> {
        match self.existing().await? {
            Some(store) => store.refs.usage().await,
            None => Ok(Usage::default()),
        }
    }

    fn traffic(&self) -> Traffic {
        self.opened().map_or_else(Traffic::default, |store| store.traffic.traffic())
    }

    async fn verify(&self, options: &VerifyOptions) -> Result<Checking> {
        let Some(store) = self.existing().await? else { return Ok(stream::empty().boxed()) };
        store.refs.audit().await?;
        let run = Run {
            refs: Arc::clone(&store.refs),
            blobs: store.blobs.clone(),
            before: options.before.map_or_else(now, |before| before.saturating_mul(1_000_000)),
            after: None,
            page: Vec::new().into_iter(),
            done: false,
        };
        Ok(stream::unfold(run, Run::next).boxed())
    }

    async fn collect(&self, options: &CollectOptions) -> Result<Collected> {
        match self.existing().await? {
            Some(store) => collect(store, options).await,
            None => Ok(Collected::default()),
        }
    }

    async fn content(&self, digest: &Digest) -> Result<Body> {
        let missing =
            || Error::new(ErrorKind::NotFound, format!("no content has the digest {digest}"));
        let Some(store) = self.existing().await? else { return Err(missing()) };
        let (content, bytes) = store.refs.content(digest).await?.ok_or_else(missing)?;
        match content.place {
            Place::Blob => store.blobs.read(digest, content.size, (0, content.size)).await,
            Place::Inline => {
                right(bytes.as_deref(), digest)?;
                Ok(Body::whole(bytes.unwrap_or_default()))
            }
        }
    }

    async fn mend(&self, digest: &Digest, mut body: Body) -> Result<()> {
        let store = self.made().await?;
        let known = store.refs.content(digest).await?;
        if known.is_some_and(|(content, _)| content.place == Place::Inline) {
            let bytes = body.bytes(INLINE).await?;
            right(Some(&bytes), digest)?;
            return store.refs.mend(digest, bytes).await;
        }
        let mut upload = store.blobs.upload().await?;
        while let Some(piece) = body.next().await.transpose()? {
            upload.write(piece).await?;
        }
        let sealed = upload.seal().await?;
        if sealed.digest != *digest {
            return right(None, digest);
        }
        sealed.publish(&*store.refs).await.map(drop)
    }
}
