//! Import into stores that keep content by digest, and export out of them: trees of which only what
//! differs is copied.

use super::Kernel;
use super::guard::Visit;
use super::transfer::CopyOptions;
use super::tree::{Step, TreeReport};
use super::verbs::Place;
use crate::{
    ByteRange, Digest, Error, ErrorKind, Hasher, IntoPath, Metadata, Operation, ReadOptions,
    Result, VfsPath,
};

impl Kernel {
    /// Copies a file, or a tree, of any mount into one that keeps content by digest, and tells how much
    /// of it was kept there already. What is at its path with the same content is passed over, so that
    /// an import that was interrupted goes on. With other writers on the same mount meanwhile, what they
    /// wrote again is counted, too.
    ///
    /// # Errors
    /// `Unsupported` when the target keeps no digests, and those of [`Kernel::copy_all`].
    pub async fn import(
        &self,
        from: impl IntoPath,
        to: impl IntoPath,
        options: &CopyOptions,
    ) -> Result<TreeReport> {
        let to = to.into_path()?;
        let target = self.by_digest(&to, "import")?;
        let traffic = || target.ticket.backend().care().map(crate::Care::traffic);
        let before = traffic().unwrap_or_default();
        let options = CopyOptions { only_differing: true, ..options.clone() };
        let mut report = self.copy_all(from, to, &options).await?;
        if !options.dry_run {
            let after = traffic().unwrap_or_default();
            report.known_bytes = after.known_bytes.saturating_sub(before.known_bytes);
        }
        Ok(report)
    }

    /// Copies a file, or a tree, out of a mount that keeps content by digest: every byte is verified on
    /// its way. What is at its path with the same content is passed over, so that an export that was
    /// interrupted goes on.
    ///
    /// # Errors
    /// `Unsupported` when the source keeps no digests, and those of [`Kernel::copy_all`].
    pub async fn export(
        &self,
        from: impl IntoPath,
        to: impl IntoPath,
        options: &CopyOptions,
    ) -> Result<TreeReport> {
        let from = from.into_path()?;
        self.by_digest(&from, "export")?;
        let options = CopyOptions { only_differing: true, ..options.clone() };
        self.copy_all(from, to, &options).await
    }

    fn by_digest(&self, path: &VfsPath, verb: &str) -> Result<Visit> {
        if let Place::Mounted(visit) = self.place(path, Operation::Copy)?
            && visit.ticket.backend().care().is_some()
        {
            return Ok(visit);
        }
        let message = format!("{verb} is for mounts that keep content by digest");
        Err(Error::new(ErrorKind::Unsupported, message)
            .with_operation(Operation::Copy)
            .with_path(path.as_str())
            .with_hint(
                "`layout=cas` makes a content-addressed store of an empty directory; \
                        `cp -r` copies between any mounts",
            ))
    }

    /// Whether the content of a file is at the other path already; answers its size then.
    pub(super) async fn is_same(&self, from: &VfsPath, to: &VfsPath) -> Result<Option<u64>> {
        let target = match self.stat(to).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        let source = self.stat(from).await?;
        let Some(size) = source.size else { return Ok(None) };
        if !target.is_file() || target.size != Some(size) {
            return Ok(None);
        }
        let same = self.digest(from, &source).await? == self.digest(to, &target).await?;
        Ok(same.then_some(size))
    }

    /// What a copy would do, without doing it.
    pub(super) async fn plan(&self, from: &VfsPath, to: &VfsPath) -> Result<Step> {
        let source = self.stat(from).await?;
        let Place::Mounted(target) = self.place(to, Operation::Copy)? else {
            return Ok(Step::Planned { bytes: source.size.unwrap_or_default(), known: false });
        };
        let known = match target.ticket.backend().care() {
            None => false,
            Some(care) => {
                let digest = self.digest(from, &source).await?;
                let nothing = ByteRange::new(0, Some(0))?;
                match care.content(&digest, Some(nothing)).await {
                    // One that is damaged would be stored anew.
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::NotFound | ErrorKind::IntegrityMismatch
                        ) =>
                    {
                        false
                    }
                    found => found.map(|_| true).map_err(|error| target.error(error))?,
                }
            }
        };
        Ok(Step::Planned { bytes: source.size.unwrap_or_default(), known })
    }

    /// The digest of a file: as it is known, else of what is read.
    async fn digest(&self, path: &VfsPath, metadata: &Metadata) -> Result<Digest> {
        if let Some(digest) = metadata.digest {
            return Ok(digest);
        }
        let mut body = self.read(path, &ReadOptions::default()).await?.body;
        let mut hasher = Hasher::new();
        while let Some(piece) = body.next().await.transpose()? {
            hasher.update(&piece);
        }
        Ok(hasher.finish())
    }
}
