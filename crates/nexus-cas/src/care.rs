//! Care: what the store holds, everything read back, and mending.

use futures_util::{StreamExt, stream};
use nexus_core::{
    Body, ByteRange, Care, Checked, Checking, CollectOptions, Collected, Digest, Error, ErrorKind,
    Result, Traffic, Usage, Verdict, VerifyOptions, VfsPath, async_trait,
};

use crate::backend::Shared;
use crate::collect::collect;
use crate::record::now;
use crate::refs::{Content, Kept, Place};
use crate::store::Store;

/// How many contents are looked up at once.
const PAGE: usize = 128;

/// Nanoseconds in a millisecond.
const NANOS: i64 = 1_000_000;

/// How often a content that changes is looked at.
const LOOKS: usize = 16;

/// A run of the verifier.
struct Run {
    store: Store,
    /// In nanoseconds since 1970.
    before: i64,
    after: Option<(i64, Digest)>,
    /// What is recorded was read back: what follows are paths whose content is not.
    unknown: bool,
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
        let Some(content) = self.next_content().await? else {
            self.store.refs.set_run(None).await?;
            return Ok(None);
        };
        let Content { digest, size, .. } = content;
        let verdict = match self.damage(&content).await? {
            None => {
                // Never before the time that the run asks for, or it would be due again in this run.
                self.store.refs.checked(&digest, now().max(self.before)).await?;
                Verdict::Good
            }
            Some((harmed, reason)) => {
                let whole = self.store.refs.whole_of(&digest).await?;
                let part_of = whole
                    .and_then(|manifest| Some((manifest.digest(), manifest.offset_of(&digest)?)));
                Verdict::Bad { harmed, part_of, reason }
            }
        };
        let read = match content.place {
            Some(Place::Chunked) => content.stored,
            _ => size,
        };
        Ok(Some(Checked { digest, size, read, verdict }))
    }
}

impl Run {
    /// Reads a content back; answers which paths are harmed and why, when it is bad. What changes
    /// meanwhile is looked at again.
    async fn damage(&self, content: &Content) -> Result<Option<(Vec<VfsPath>, String)>> {
        let Store { refs, blobs, .. } = &self.store;
        let digest = &content.digest;
        for _ in 0..LOOKS {
            let version = blobs.version(digest).await?;
            let reason = match self.store.check(content).await {
                Err(error) if error.kind() == ErrorKind::IntegrityMismatch => error,
                checked => return checked.map(|()| None),
            };
            let harmed = match content.place {
                Some(Place::Inline | Place::Chunked) => {
                    let (kept, paths) = refs.needed(digest).await?;
                    let whole = kept.is_some_and(|kept| kept.check(digest).is_ok());
                    (!whole).then_some(paths)
                }
                Some(Place::Blob) | None => refs.set_aside(digest, version).await?,
            };
            match harmed {
                // Nobody needs it any more.
                Some(harmed) if harmed.is_empty() => return Ok(None),
                Some(harmed) => return Ok(Some((harmed, reason.message().to_owned()))),
                None => {}
            }
        }
        Ok(None)
    }

    async fn next_content(&mut self) -> Result<Option<Content>> {
        loop {
            if let Some(content) = self.page.next() {
                self.after = Some((content.checked, content.digest));
                return Ok(Some(content));
            }
            let refs = &self.store.refs;
            let page = match self.unknown {
                false => refs.due(self.before, self.after, PAGE).await?,
                true => refs.unknown(self.after.map(|(_, digest)| digest), PAGE).await?,
            };
            if page.is_empty() {
                if self.unknown {
                    return Ok(None);
                }
                (self.unknown, self.after) = (true, None);
            }
            self.page = page.into_iter();
        }
    }
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
        let before = options.before.map_or_else(now, |before| before.saturating_mul(NANOS));
        store.refs.set_run(Some(before)).await?;
        let run = Run {
            store: store.clone(),
            before,
            after: None,
            unknown: false,
            page: Vec::new().into_iter(),
            done: false,
        };
        Ok(stream::unfold(run, Run::next).boxed())
    }

    async fn unfinished(&self) -> Result<Option<i64>> {
        let Some(store) = self.existing().await? else { return Ok(None) };
        // What was checked in the millisecond in which the run began is checked once more.
        Ok(store.refs.run().await?.map(|before| before.div_euclid(NANOS) + 1))
    }

    async fn collect(&self, options: &CollectOptions) -> Result<Collected> {
        match self.existing().await? {
            Some(store) => collect(store, options).await,
            None => Ok(Collected::default()),
        }
    }

    async fn content(&self, digest: &Digest, range: Option<ByteRange>) -> Result<Body> {
        let missing =
            || Error::new(ErrorKind::NotFound, format!("no content has the digest {digest}"));
        let Some(store) = self.existing().await? else { return Err(missing()) };
        let (content, bytes) = store.refs.content(digest).await?.ok_or_else(missing)?;
        let range = match range {
            None => 0..content.size,
            Some(range) => range.resolve(content.size)?,
        };
        let kept = content.place.map(|place| Kept { place, bytes });
        store.read(digest, content.size, kept, (range.start, range.end)).await
    }

    async fn mend(&self, digest: &Digest, body: Body) -> Result<()> {
        self.made().await?.mend(digest, body).await
    }
}
