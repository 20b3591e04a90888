//! The contestants, each used as its own documentation advises.

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use nexus_fs::{Kernel, ListOptions, ReadOptions, WalkOptions, WriteOptions};
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use opendal::Operator;

/// Whatever a contestant fails with.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What is measured, in each contestant's own way. Keys have no leading `/`.
#[async_trait(?Send)]
pub(crate) trait Contestant {
    fn name(&self) -> &'static str;
    /// The size of an object.
    async fn stat(&self, key: &str) -> Result<u64>;
    /// The whole content, in memory.
    async fn read(&self, key: &str) -> Result<Bytes>;
    async fn write(&self, key: &str, content: Bytes) -> Result<()>;
    /// How many entries a directory has, from their names alone.
    async fn list(&self, dir: &str) -> Result<usize>;
    /// The same, and the sum of their sizes.
    async fn list_sizes(&self, dir: &str) -> Result<(usize, u64)>;
    /// How many files are below a directory.
    async fn walk(&self, dir: &str) -> Result<usize>;
    async fn delete(&self, keys: Vec<String>) -> Result<()>;
    async fn copy(&self, from: &str, to: &str) -> Result<()>;
    async fn rename(&self, from: &str, to: &str) -> Result<()>;
    /// Writes `pieces` times `piece`, as a stream.
    async fn write_stream(&self, key: &str, piece: &Bytes, pieces: usize) -> Result<()>;
    /// Reads as a stream; answers how many bytes came.
    async fn read_stream(&self, key: &str) -> Result<u64>;
    /// Reads many at once, 64 under way.
    async fn read_many(&self, keys: Vec<String>) -> Result<()>;
    /// Writes many at once, 64 under way.
    async fn write_many(&self, keys: Vec<String>, content: &Bytes) -> Result<()>;
}

/// How many operations are under way at once in the concurrent workloads.
const AT_ONCE: usize = 64;

/// nexus-fs with its local backend, through the kernel.
pub(crate) struct Nexus(Kernel);

impl Nexus {
    pub(crate) async fn new(folder: &Path) -> Result<Self> {
        let uri = format!("local://{}?create=true&layout=plain", folder.display());
        Ok(Self(nexus_fs::Builder::new().mount_at(uri, "/n")?.open().await?))
    }
}

fn path(key: &str) -> String {
    format!("/n/{key}")
}

#[async_trait(?Send)]
impl Contestant for Nexus {
    fn name(&self) -> &'static str {
        "nexus-fs"
    }

    async fn stat(&self, key: &str) -> Result<u64> {
        Ok(self.0.stat(path(key)).await?.size.unwrap_or_default())
    }

    async fn read(&self, key: &str) -> Result<Bytes> {
        let object = self.0.read(path(key), &ReadOptions::default()).await?;
        Ok(object.body.bytes(usize::MAX).await?)
    }

    async fn write(&self, key: &str, content: Bytes) -> Result<()> {
        self.0.write(path(key), content, &WriteOptions::default()).await?;
        Ok(())
    }

    async fn list(&self, dir: &str) -> Result<usize> {
        let options = ListOptions { names_only: true, ..ListOptions::default() };
        let mut listing = self.0.list(path(dir), &options).await?;
        let mut count = 0;
        while let Some(entry) = listing.next().await {
            entry?;
            count += 1;
        }
        Ok(count)
    }

    async fn list_sizes(&self, dir: &str) -> Result<(usize, u64)> {
        let mut listing = self.0.list(path(dir), &ListOptions::default()).await?;
        let (mut count, mut bytes) = (0, 0);
        while let Some(entry) = listing.next().await {
            count += 1;
            bytes += entry?.metadata.size.unwrap_or_default();
        }
        Ok((count, bytes))
    }

    async fn walk(&self, dir: &str) -> Result<usize> {
        let mut walk = self.0.walk(path(dir), &WalkOptions::default()).await?;
        let mut count = 0;
        while let Some(entry) = walk.next().await {
            count += usize::from(entry?.metadata.is_file());
        }
        Ok(count)
    }

    async fn delete(&self, keys: Vec<String>) -> Result<()> {
        let paths = keys.iter().map(|key| nexus_fs::VfsPath::parse(&path(key)));
        let targets = paths.map(|path| path.map(Into::into)).collect::<nexus_fs::Result<_>>()?;
        for deleted in self.0.delete_many(targets).await {
            deleted?;
        }
        Ok(())
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.0.copy(path(from), path(to), &Default::default()).await?;
        Ok(())
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.0.rename(path(from), path(to), &Default::default()).await?;
        Ok(())
    }

    async fn write_stream(&self, key: &str, piece: &Bytes, pieces: usize) -> Result<()> {
        let mut upload = self.0.upload(path(key), &WriteOptions::default()).await?;
        for _ in 0..pieces {
            upload.write(piece.clone()).await?;
        }
        upload.finish().await?;
        Ok(())
    }

    async fn read_stream(&self, key: &str) -> Result<u64> {
        let mut body = self.0.read(path(key), &ReadOptions::default()).await?.body;
        let mut bytes = 0;
        while let Some(piece) = body.next().await {
            bytes += piece?.len() as u64;
        }
        Ok(bytes)
    }

    async fn read_many(&self, keys: Vec<String>) -> Result<()> {
        let kernel = &self.0;
        let reads = futures_util::stream::iter(keys).map(Ok).try_for_each_concurrent(
            AT_ONCE,
            |key| async move {
                let object = kernel.read(path(&key), &ReadOptions::default()).await?;
                object.body.bytes(usize::MAX).await.map(drop)
            },
        );
        Ok(reads.await?)
    }

    async fn write_many(&self, keys: Vec<String>, content: &Bytes) -> Result<()> {
        let kernel = &self.0;
        let writes = futures_util::stream::iter(keys).map(Ok).try_for_each_concurrent(
            AT_ONCE,
            |key| async move {
                kernel.write(path(&key), content.clone(), &WriteOptions::default()).await.map(drop)
            },
        );
        Ok(writes.await?)
    }
}

/// `object_store` with its local file system.
pub(crate) struct ObjectStoreLocal(LocalFileSystem);

impl ObjectStoreLocal {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self(LocalFileSystem::new_with_prefix(folder)?))
    }
}

#[async_trait(?Send)]
impl Contestant for ObjectStoreLocal {
    fn name(&self) -> &'static str {
        "object_store"
    }

    async fn stat(&self, key: &str) -> Result<u64> {
        Ok(self.0.head(&key.into()).await?.size)
    }

    async fn read(&self, key: &str) -> Result<Bytes> {
        Ok(self.0.get(&key.into()).await?.bytes().await?)
    }

    async fn write(&self, key: &str, content: Bytes) -> Result<()> {
        self.0.put(&key.into(), content.into()).await?;
        Ok(())
    }

    async fn list(&self, dir: &str) -> Result<usize> {
        Ok(self.list_sizes(dir).await?.0)
    }

    async fn list_sizes(&self, dir: &str) -> Result<(usize, u64)> {
        let listed = self.0.list_with_delimiter(Some(&dir.into())).await?;
        Ok((listed.objects.len(), listed.objects.iter().map(|object| object.size).sum()))
    }

    async fn walk(&self, dir: &str) -> Result<usize> {
        Ok(self
            .0
            .list(Some(&dir.into()))
            .try_fold(0, |count, _| async move { Ok(count + 1) })
            .await?)
    }

    async fn delete(&self, keys: Vec<String>) -> Result<()> {
        let keys = futures_util::stream::iter(keys).map(|key| Ok(key.into())).boxed();
        self.0.delete_stream(keys).try_for_each(|_| async { Ok(()) }).await?;
        Ok(())
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        Ok(self.0.copy(&from.into(), &to.into()).await?)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        Ok(self.0.rename(&from.into(), &to.into()).await?)
    }

    async fn write_stream(&self, key: &str, piece: &Bytes, pieces: usize) -> Result<()> {
        let upload = self.0.put_multipart(&key.into()).await?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, piece.len());
        for _ in 0..pieces {
            writer.wait_for_capacity(4).await?;
            writer.put(piece.clone());
        }
        writer.finish().await?;
        Ok(())
    }

    async fn read_stream(&self, key: &str) -> Result<u64> {
        let stream = self.0.get(&key.into()).await?.into_stream();
        Ok(stream.try_fold(0, |bytes, piece| async move { Ok(bytes + piece.len() as u64) }).await?)
    }

    async fn read_many(&self, keys: Vec<String>) -> Result<()> {
        let store = &self.0;
        let reads = futures_util::stream::iter(keys)
            .map(Ok)
            .try_for_each_concurrent(AT_ONCE, |key| async move {
                store.get(&key.into()).await?.bytes().await.map(drop)
            });
        Ok(reads.await?)
    }

    async fn write_many(&self, keys: Vec<String>, content: &Bytes) -> Result<()> {
        let store = &self.0;
        let writes = futures_util::stream::iter(keys)
            .map(Ok)
            .try_for_each_concurrent(AT_ONCE, |key| async move {
                store.put(&key.into(), content.clone().into()).await.map(drop)
            });
        Ok(writes.await?)
    }
}

/// `opendal` with its file system service, writing in place or by a temporary file.
pub(crate) struct OpenDal {
    name: &'static str,
    operator: Operator,
}

impl OpenDal {
    pub(crate) fn new(folder: &Path, atomic: Option<&Path>) -> Result<Self> {
        let text = |path: &Path| path.display().to_string();
        let mut service = opendal::services::Fs::default().root(&text(folder));
        if let Some(temporary) = atomic {
            service = service.atomic_write_dir(&text(temporary));
        }
        let name = if atomic.is_some() { "opendal-atomic" } else { "opendal" };
        Ok(Self { name, operator: Operator::new(service)? })
    }
}

#[async_trait(?Send)]
impl Contestant for OpenDal {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn stat(&self, key: &str) -> Result<u64> {
        Ok(self.operator.stat(key).await?.content_length())
    }

    async fn read(&self, key: &str) -> Result<Bytes> {
        Ok(self.operator.read(key).await?.to_bytes())
    }

    async fn write(&self, key: &str, content: Bytes) -> Result<()> {
        self.operator.write(key, content).await?;
        Ok(())
    }

    async fn list(&self, dir: &str) -> Result<usize> {
        let mut lister = self.operator.lister(&format!("{dir}/")).await?;
        let mut count = 0;
        while let Some(entry) = lister.try_next().await? {
            count += usize::from(entry.metadata().is_file());
        }
        Ok(count)
    }

    async fn list_sizes(&self, dir: &str) -> Result<(usize, u64)> {
        let mut lister = self.operator.lister(&format!("{dir}/")).await?;
        let (mut count, mut bytes) = (0, 0);
        while let Some(entry) = lister.try_next().await? {
            if entry.metadata().is_file() {
                count += 1;
                // A listing of this service has no sizes.
                bytes += self.operator.stat(entry.path()).await?.content_length();
            }
        }
        Ok((count, bytes))
    }

    async fn walk(&self, dir: &str) -> Result<usize> {
        let mut lister = self.operator.lister_with(&format!("{dir}/")).recursive(true).await?;
        let mut count = 0;
        while let Some(entry) = lister.try_next().await? {
            count += usize::from(entry.metadata().is_file());
        }
        Ok(count)
    }

    async fn delete(&self, keys: Vec<String>) -> Result<()> {
        Ok(self.operator.delete_iter(keys).await?)
    }

    async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.operator.copy(from, to).await?;
        Ok(())
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.operator.rename(from, to).await?;
        Ok(())
    }

    async fn write_stream(&self, key: &str, piece: &Bytes, pieces: usize) -> Result<()> {
        let mut writer = self.operator.writer(key).await?;
        for _ in 0..pieces {
            writer.write(piece.clone()).await?;
        }
        writer.close().await?;
        Ok(())
    }

    async fn read_stream(&self, key: &str) -> Result<u64> {
        let reader = self.operator.reader_with(key).chunk(1 << 20).await?;
        let stream = reader.into_bytes_stream(..).await?;
        Ok(stream.try_fold(0, |bytes, piece| async move { Ok(bytes + piece.len() as u64) }).await?)
    }

    async fn read_many(&self, keys: Vec<String>) -> Result<()> {
        let operator = &self.operator;
        let reads =
            futures_util::stream::iter(keys)
                .map(Ok)
                .try_for_each_concurrent(AT_ONCE, |key| async move {
                    operator.read(&key).await.map(drop)
                });
        Ok(reads.await?)
    }

    async fn write_many(&self, keys: Vec<String>, content: &Bytes) -> Result<()> {
        let operator = &self.operator;
        let writes = futures_util::stream::iter(keys)
            .map(Ok)
            .try_for_each_concurrent(AT_ONCE, |key| async move {
                operator.write(&key, content.clone()).await.map(drop)
            });
        Ok(writes.await?)
    }
}
