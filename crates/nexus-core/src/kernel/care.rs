//! Care of content-addressed mounts: the verbs of the store, in paths of the namespace, and mending
//! from whatever other mount has the content.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::Kernel;
use super::guard::Visit;
use super::verbs::Place;
use crate::{
    Body, ByteRange, Care, Checked, Checking, CollectOptions, Collected, Digest, Error, ErrorKind,
    IntoPath, Operation, ReadOptions, Result, Usage, Verdict, VerifyOptions, VfsPath,
};

/// At how many of the harmed paths a plain mount is asked for a content.
const LOOKED_AT: usize = 1_000;

/// How many copies of a content are read from one plain mount before it is given up.
const TRIED: usize = 16;

/// What became of a content that was read back.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Every byte is as it was written.
    Good,
    /// It was damaged or missing, and was fetched again.
    Mended {
        /// The mount point of the mount that had it.
        from: VfsPath,
    },
    /// It is damaged or missing; another mount has it, and it could not be put back.
    Unmended {
        /// The mount point of the mount that has it.
        from: VfsPath,
        /// Every path that needs it.
        harmed: Vec<VfsPath>,
        /// What is wrong, as a clause.
        reason: String,
        /// Why the store did not take it.
        error: Error,
    },
    /// It is damaged or missing, and no mount has it.
    Bad {
        /// Every path that needs it.
        harmed: Vec<VfsPath>,
        /// What is wrong, as a clause.
        reason: String,
    },
}

/// One content that was read back.
#[derive(Debug)]
pub struct Verified {
    /// Which.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// How many bytes were read of it: fewer than its size where its chunks are read for themselves.
    pub read: u64,
    /// What was found and done.
    pub outcome: Outcome,
}

impl Kernel {
    /// What the content-addressed mount that holds `path` stores.
    ///
    /// # Errors
    /// `Unsupported` for a mount in another layout, and those of the store.
    pub async fn usage(&self, path: impl IntoPath) -> Result<Usage> {
        let visit = self.visit(&path.into_path()?, Operation::Stat)?;
        care(&visit)?.usage().await.map_err(|error| visit.error(error))
    }

    /// Reads back the contents of the mount that holds `path`, the one checked longest ago first.
    /// What is bad is fetched from another mount that has it: by its digest, or at the same path with
    /// the same digest, or with the same size where the mount knows no digest. Content that can not be
    /// put back is an [`Outcome`], and the run goes on; it ends after the first error.
    ///
    /// # Errors
    /// `Unsupported` for a mount in another layout; `IntegrityMismatch` when what the store recorded
    /// of its paths is damaged; and those of the store, from the call or at the end of the stream.
    pub async fn verify(
        &self,
        path: impl IntoPath,
        options: &VerifyOptions,
    ) -> Result<BoxStream<'static, Result<Verified>>> {
        let visit = self.visit(&path.into_path()?, Operation::Read)?;
        let checking = care(&visit)?.verify(options).await;
        let run = Run {
            checking: checking.map_err(|error| visit.error(error))?,
            judge: Judge { kernel: self.clone(), visit },
            failed: false,
        };
        Ok(stream::unfold(run, Run::next).boxed())
    }

    /// The [`VerifyOptions::before`] of a verification of the mount that holds `path` that began, whoever
    /// began it, and did not come to its end.
    ///
    /// # Errors
    /// `Unsupported` for a mount in another layout, and those of the store.
    pub async fn unfinished_verification(&self, path: impl IntoPath) -> Result<Option<i64>> {
        let visit = self.visit(&path.into_path()?, Operation::Read)?;
        care(&visit)?.unfinished().await.map_err(|error| visit.error(error))
    }

    /// Collects what nothing refers to in the mount that holds `path`.
    ///
    /// # Errors
    /// `Unsupported` for a mount in another layout, `PreconditionFailed` for more garbage than is
    /// deleted without force, and those of the store.
    pub async fn collect(
        &self,
        path: impl IntoPath,
        options: &CollectOptions,
    ) -> Result<Collected> {
        let visit = self.visit(&path.into_path()?, Operation::Delete)?;
        care(&visit)?.collect(options).await.map_err(|error| visit.error(error))
    }

    fn visit(&self, path: &VfsPath, operation: Operation) -> Result<Visit> {
        match self.place(path, operation)? {
            Place::Mounted(visit) => Ok(visit),
            Place::Virtual(_) => Err(Error::new(ErrorKind::Unsupported, "no mount is meant")
                .with_operation(operation)
                .with_path(path.as_str())
                .with_hint("name a mount point, or a path in a mount")),
        }
    }
}

fn care(visit: &Visit) -> Result<&dyn Care> {
    visit.ticket.backend().care().ok_or_else(|| {
        visit.error(
            Error::new(ErrorKind::Unsupported, "the mount does not keep content by digest")
                .with_hint("`layout=cas` makes a content-addressed store of an empty directory"),
        )
    })
}

/// A run of the verifier.
struct Run {
    checking: Checking,
    judge: Judge,
    failed: bool,
}

/// Decides what becomes of a content, and mends it where it can.
struct Judge {
    kernel: Kernel,
    visit: Visit,
}

/// A content that is bad, and where it is missed, in paths of the mount.
struct Missing<'a> {
    digest: Digest,
    size: u64,
    harmed: &'a [VfsPath],
    /// A content that it is a part of, and where it begins there.
    part_of: Option<(Digest, u64)>,
}

impl Missing<'_> {
    /// The range that it is in the content that it is a part of.
    fn part(&self) -> Result<Option<(Digest, ByteRange)>> {
        let Some((whole, start)) = self.part_of else { return Ok(None) };
        let range = ByteRange::new(start, Some(start.saturating_add(self.size)))?;
        Ok(Some((whole, range)))
    }
}

/// What came of trying to put a content back.
enum Mending {
    Done(VfsPath),
    /// No mount has it.
    Nowhere,
    /// A mount has it, and the store does not take it.
    Refused(VfsPath, Error),
}

impl Run {
    async fn next(mut self) -> Option<(Result<Verified>, Self)> {
        if self.failed {
            return None;
        }
        let checked = match self.judge.visit.ticket.check() {
            Ok(()) => self.checking.next().await?,
            Err(closed) => Err(closed),
        };
        let verified = match checked {
            Ok(checked) => self.judge.verdict(checked).await,
            Err(error) => Err(error),
        };
        self.failed = verified.is_err();
        Some((verified.map_err(|error| self.judge.visit.error(error)), self))
    }
}

impl Judge {
    async fn verdict(&self, checked: Checked) -> Result<Verified> {
        let Checked { digest, size, read, verdict } = checked;
        let outcome = match verdict {
            Verdict::Good => Outcome::Good,
            Verdict::Bad { harmed, part_of, reason } => {
                let missing = Missing { digest, size, harmed: &harmed, part_of };
                let mending = self.mend(&missing).await?;
                let at = self.visit.ticket.at();
                let harmed = || harmed.iter().map(|path| at.concat(path)).collect::<Result<_>>();
                match mending {
                    Mending::Done(from) => Outcome::Mended { from },
                    Mending::Nowhere => Outcome::Bad { harmed: harmed()?, reason },
                    Mending::Refused(from, error) => {
                        let error = self.visit.error(error);
                        Outcome::Unmended { from, harmed: harmed()?, reason, error }
                    }
                }
            }
        };
        Ok(Verified { digest, size, read, outcome })
    }

    /// Puts a content back from the first mount that has it. What the store refuses from one mount it
    /// would refuse from the next.
    async fn mend(&self, missing: &Missing<'_>) -> Result<Mending> {
        for mount in self.kernel.mounts() {
            // A mount that is closing has nothing to give.
            let Ok(other) = self.kernel.visit(&mount.at, Operation::Read) else { continue };
            if other.ticket.is_same_store(&self.visit.ticket) {
                continue;
            }
            match self.mend_from(&other, missing).await? {
                Some(Ok(())) => return Ok(Mending::Done(mount.at)),
                Some(Err(error)) => return Ok(Mending::Refused(mount.at, error)),
                None => {}
            }
        }
        Ok(Mending::Nowhere)
    }

    /// Puts a content back from one mount: by its digest where the mount knows those, else from one of
    /// the paths that are harmed. `None` when the mount does not have it.
    async fn mend_from(&self, other: &Visit, missing: &Missing<'_>) -> Result<Option<Result<()>>> {
        let backend = other.ticket.backend();
        if let Some(care) = backend.care() {
            if let Ok(body) = care.content(&missing.digest, None).await
                && let Some(taken) = self.take(other, missing, body).await?
            {
                return Ok(Some(taken));
            }
            let Some((whole, range)) = missing.part()? else { return Ok(None) };
            return match care.content(&whole, Some(range)).await {
                Ok(body) => self.take(other, missing, body).await,
                Err(_) => Ok(None),
            };
        }
        // What paths have is the content itself, or the one that it is a part of.
        let part = missing.part()?;
        let (wanted, size) = match part {
            Some((whole, _)) => (whole, None),
            None => (missing.digest, Some(missing.size)),
        };
        let options = match part {
            Some((_, range)) => ReadOptions::range(range),
            None => ReadOptions::default(),
        };
        let mut tried = 0;
        for path in missing.harmed.iter().take(LOOKED_AT) {
            let Ok(metadata) = backend.stat(path).await else { continue };
            let promising = match metadata.digest {
                Some(digest) => digest == wanted,
                None => metadata.is_file() && (size.is_none() || metadata.size == size),
            };
            if !promising {
                continue;
            }
            if tried == TRIED {
                return Ok(None);
            }
            tried += 1;
            let Ok(object) = backend.read(path, &options).await else { continue };
            if let Some(taken) = self.take(other, missing, object.body).await? {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// Gives the store a body. `None` when the body broke, or is not that content: another may be.
    async fn take(
        &self,
        other: &Visit,
        missing: &Missing<'_>,
        body: Body,
    ) -> Result<Option<Result<()>>> {
        let (body, broke) = watched(body);
        match care(&self.visit)?.mend(&missing.digest, body).await {
            Ok(()) => Ok(Some(Ok(()))),
            Err(error)
                if broke.load(Ordering::Relaxed)
                    || error.kind() == ErrorKind::IntegrityMismatch =>
            {
                tracing::debug!(%error, mount = %other.ticket.at(), "a copy is no better");
                Ok(None)
            }
            Err(error) => Ok(Some(Err(error))),
        }
    }
}

/// A body that tells whether it broke.
fn watched(body: Body) -> (Body, Arc<AtomicBool>) {
    let broke = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&broke);
    let pieces = body.into_stream().inspect(move |piece| {
        if piece.is_err() {
            seen.store(true, Ordering::Relaxed);
        }
    });
    (Body::stream(pieces), broke)
}
