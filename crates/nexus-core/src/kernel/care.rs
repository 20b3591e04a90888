//! Care of content-addressed mounts: the verbs of the store, in paths of the namespace, and mending
//! from whatever other mount has the content.

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::Kernel;
use super::guard::Visit;
use super::verbs::Place;
use crate::{
    Body, Care, Checked, Checking, CollectOptions, Collected, Digest, Error, ErrorKind, IntoPath,
    Operation, ReadOptions, Result, Usage, Verdict, VerifyOptions, VfsPath,
};

/// What became of a content that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Every byte is as it was written.
    Good,
    /// It was damaged or missing, and was fetched again.
    Mended {
        /// The mount point of the mount that had it.
        from: VfsPath,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Which.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
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
    /// the same digest.
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
        };
        Ok(stream::unfold(run, Run::next).boxed())
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
}

/// Decides what becomes of a content, and mends it where it can.
struct Judge {
    kernel: Kernel,
    visit: Visit,
}

impl Run {
    async fn next(mut self) -> Option<(Result<Verified>, Self)> {
        let checked = match self.judge.visit.ticket.check() {
            Ok(()) => self.checking.next().await?,
            Err(closed) => Err(closed),
        };
        let verified = match checked {
            Ok(checked) => self.judge.verdict(checked).await,
            Err(error) => Err(error),
        };
        Some((verified.map_err(|error| self.judge.visit.error(error)), self))
    }
}

impl Judge {
    async fn verdict(&self, checked: Checked) -> Result<Verified> {
        let Checked { digest, size, verdict } = checked;
        let outcome = match verdict {
            Verdict::Good => Outcome::Good,
            Verdict::Bad { harmed, reason } => match self.mend(&digest, &harmed).await? {
                Some(from) => Outcome::Mended { from },
                None => {
                    let at = self.visit.ticket.at();
                    let harmed = harmed.iter().map(|path| at.concat(path));
                    Outcome::Bad { harmed: harmed.collect::<Result<_>>()?, reason }
                }
            },
        };
        Ok(Verified { digest, size, outcome })
    }

    /// Puts a content back from the first mount that has it; answers which.
    async fn mend(&self, digest: &Digest, harmed: &[VfsPath]) -> Result<Option<VfsPath>> {
        for mount in self.kernel.mounts() {
            // A mount that is closing has nothing to give.
            let Ok(other) = self.kernel.visit(&mount.at, Operation::Read) else { continue };
            if other.ticket.is_same_store(&self.visit.ticket) {
                continue;
            }
            let Some(body) = found(&other, digest, harmed).await else { continue };
            match care(&self.visit)?.mend(digest, body).await {
                Ok(()) => return Ok(Some(mount.at)),
                // That copy is no better; the next may be.
                Err(error) => tracing::debug!(%error, mount = %mount.at, "could not mend"),
            }
        }
        Ok(None)
    }
}

/// The content in another mount: by its digest where the mount knows those, else at one of the paths.
async fn found(other: &Visit, digest: &Digest, harmed: &[VfsPath]) -> Option<Body> {
    let backend = other.ticket.backend();
    if let Some(care) = backend.care() {
        return care.content(digest).await.ok();
    }
    for path in harmed {
        let metadata = backend.stat(path).await;
        if metadata.is_ok_and(|metadata| metadata.digest == Some(*digest)) {
            return backend.read(path, &ReadOptions::default()).await.ok().map(|o| o.body);
        }
    }
    None
}
