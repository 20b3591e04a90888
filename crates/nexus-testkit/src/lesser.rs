//! Less than a store can do: a wrapper that takes capabilities away and keeps to what is left, so
//! that the suite, and what the kernel composes, can be tried for every kind of store.

use std::sync::Arc;

use futures_util::StreamExt;
use nexus_core::{
    Backend, Bytes, Capabilities, Care, CopyMethod, DeleteTarget, Deleted, Digests, Directories,
    Entry, Error, Info, ListOptions, Listing, Metadata, Object, Operation, ReadOptions, Result,
    Upload, VfsPath, WriteMode, WriteOptions, async_trait,
};

/// A backend with fewer capabilities than the one inside it.
///
/// Without real directories a directory goes when the last file below it goes; that is done after
/// the file has gone, so a reader may see it empty for a moment.
pub struct Lesser {
    inner: Arc<dyn Backend>,
    info: Info,
}

impl Lesser {
    /// Takes away what `reduce` takes out of the capabilities. It must not add any.
    pub fn new(inner: Arc<dyn Backend>, reduce: impl FnOnce(&mut Capabilities)) -> Arc<Self> {
        let mut info = inner.info().clone();
        reduce(&mut info.capabilities);
        Arc::new(Self { inner, info })
    }

    fn has(&self) -> &Capabilities {
        &self.info.capabilities
    }

    fn is_virtual(&self) -> bool {
        self.has().directories == Directories::Virtual
    }

    fn filter(&self) -> Filter {
        Filter { versions: self.has().versions, digests: self.has().digests }
    }

    fn check_mode(&self, mode: &WriteMode) -> bool {
        self.has().write
            && match mode {
                WriteMode::Overwrite => true,
                WriteMode::Create => self.has().create,
                WriteMode::Replace(_) => self.has().replace,
            }
    }

    fn check_write(
        &self,
        operation: Operation,
        path: &VfsPath,
        options: &WriteOptions,
    ) -> Result<()> {
        let content_type = options.content_type.is_none() || self.has().content_type;
        let user = options.user.is_empty() || self.has().user_metadata;
        check(self.check_mode(&options.mode) && content_type && user, operation, path)
    }

    /// Removes the directories above a file that has gone, up to the first that holds something.
    async fn prune(&self, path: &VfsPath) {
        let mut above = path.parent().filter(|_| self.is_virtual());
        while let Some(directory) = above.filter(|directory| !directory.is_root()) {
            if self.inner.remove_dir(&directory).await.is_err() {
                return;
            }
            above = directory.parent();
        }
    }
}

fn check(can: bool, operation: Operation, path: &VfsPath) -> Result<()> {
    if can { Ok(()) } else { Err(Error::unsupported(operation).with_path(path.as_str())) }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Lesser {
    fn info(&self) -> &Info {
        &self.info
    }

    async fn stat(&self, path: &VfsPath) -> Result<Metadata> {
        self.inner.stat(path).await.map(|metadata| self.filter().pass(metadata))
    }

    async fn read(&self, path: &VfsPath, options: &ReadOptions) -> Result<Object> {
        let plain = options.if_match.is_none() && options.if_none_match.is_none();
        check(plain || self.has().versions, Operation::Read, path)?;
        let object = self.inner.read(path, options).await?;
        Ok(Object { metadata: self.filter().pass(object.metadata), body: object.body })
    }

    async fn write(
        &self,
        path: &VfsPath,
        content: Bytes,
        options: &WriteOptions,
    ) -> Result<Metadata> {
        self.check_write(Operation::Write, path, options)?;
        self.inner.write(path, content, options).await.map(|metadata| self.filter().pass(metadata))
    }

    async fn upload(&self, path: &VfsPath, options: &WriteOptions) -> Result<Box<dyn Upload>> {
        self.check_write(Operation::Upload, path, options)?;
        let inner = self.inner.upload(path, options).await?;
        Ok(Box::new(LesserUpload {
            inner,
            filter: self.filter(),
            named_last: self.has().upload_named_last,
        }))
    }

    async fn list(&self, path: &VfsPath, options: &ListOptions) -> Result<Listing> {
        check(!options.recursive || self.has().list_recursive, Operation::List, path)?;
        let from_start = options.start_after.is_none();
        check(from_start || self.has().list_start_after, Operation::List, path)?;
        let entries = self.inner.list(path, options).await?;
        let filter = self.filter();
        let pass = move |Entry { path, metadata }| Entry::new(path, filter.pass(metadata));
        Ok(entries.map(move |entry| entry.map(pass)).boxed())
    }

    async fn delete(&self, targets: &[DeleteTarget]) -> Vec<Result<Deleted>> {
        let mut results = Vec::with_capacity(targets.len());
        for target in targets {
            let plain = target.if_version.is_none() || self.has().delete_if_version;
            let can = check(self.has().write && plain, Operation::Delete, &target.path);
            let result = match can {
                Err(refused) => Some(Err(refused)),
                Ok(()) => self.inner.delete(std::slice::from_ref(target)).await.pop(),
            };
            self.prune(&target.path).await;
            results.extend(result);
        }
        results
    }

    async fn copy(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<CopyMethod> {
        check(self.has().copy && self.check_mode(mode), Operation::Copy, from)?;
        self.inner.copy(from, to, mode).await
    }

    async fn rename(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<()> {
        let has = self.has();
        let can = match (has.rename, has.rename_dir) {
            (true, true) => true,
            (false, false) => false,
            (file, directory) => {
                if self.inner.stat(from).await?.is_dir() {
                    directory
                } else {
                    file
                }
            }
        };
        check(can && self.check_mode(mode), Operation::Rename, from)?;
        self.inner.rename(from, to, mode).await?;
        self.prune(from).await;
        Ok(())
    }

    async fn create_dir(&self, path: &VfsPath) -> Result<()> {
        check(self.has().write && !self.is_virtual(), Operation::CreateDir, path)?;
        self.inner.create_dir(path).await
    }

    async fn remove_dir(&self, path: &VfsPath) -> Result<()> {
        check(self.has().write && !self.is_virtual(), Operation::RemoveDir, path)?;
        self.inner.remove_dir(path).await
    }

    async fn sync(&self, path: &VfsPath) -> Result<()> {
        self.inner.sync(path).await
    }

    fn care(&self) -> Option<&dyn Care> {
        self.inner.care()
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

/// Which metadata a store with these capabilities knows.
#[derive(Clone, Copy)]
struct Filter {
    versions: bool,
    digests: Digests,
}

impl Filter {
    fn pass(self, mut metadata: Metadata) -> Metadata {
        if !self.versions {
            metadata.version = None;
        }
        if self.digests == Digests::None {
            metadata.digest = None;
        }
        metadata
    }
}

struct LesserUpload {
    inner: Box<dyn Upload>,
    filter: Filter,
    named_last: bool,
}

#[async_trait]
impl Upload for LesserUpload {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        self.inner.write(piece).await
    }

    fn publish_at(&mut self, path: VfsPath) -> Result<()> {
        check(self.named_last, Operation::Upload, &path)?;
        self.inner.publish_at(path)
    }

    async fn finish(self: Box<Self>) -> Result<Metadata> {
        self.inner.finish().await.map(|metadata| self.filter.pass(metadata))
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}
