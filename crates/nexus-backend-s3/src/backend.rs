//! The verbs of a bucket, each in a module of its own; what works follows from the probe.

use std::sync::Arc;

use nexus_core::{
    Backend, Bytes, Capabilities, CopyMethod, DeleteTarget, Deleted, Digests, Directories, Error,
    Info, Limits, ListOptions, Listing, Metadata, Object, Operation, ReadOptions, Report, Result,
    Upload, VfsPath, WriteMode, WriteOptions, async_trait,
};

use crate::store::Store;
use crate::writer::S3Upload;
use crate::{copier, deleter, lister, reader, writer};

/// A bucket, or a directory of one.
pub(crate) struct S3Backend {
    info: Info,
    store: Arc<Store>,
}

impl S3Backend {
    pub(crate) fn new(store: Arc<Store>, credentials: Option<Report>) -> Self {
        let info = Info {
            scheme: "s3",
            uri: store.config.uri.clone(),
            layout_reason: String::new(),
            credentials,
            capabilities: capabilities(&store),
        };
        Self { info, store }
    }
}

fn capabilities(store: &Store) -> Capabilities {
    let conditions = store.conditions;
    let mut capabilities = Capabilities::default();
    capabilities.write = conditions.write;
    capabilities.create = conditions.create;
    capabilities.replace = conditions.replace;
    capabilities.delete_if_version = conditions.delete;
    capabilities.versions = true;
    // An entity tag is made from the content.
    capabilities.versions_repeat = true;
    capabilities.copy = conditions.write;
    capabilities.copy_overwrites_only = !conditions.by_parts;
    capabilities.directories = Directories::Virtual;
    capabilities.list_recursive = true;
    capabilities.content_type = true;
    capabilities.user_metadata = true;
    capabilities.digests = Digests::Recorded;
    capabilities.limits = Limits {
        path_bytes: Some(store.keys.max_path()),
        delete_batch: Some(deleter::BATCH),
        ..Limits::default()
    };
    capabilities
}

/// The path that an error is about, unless it names one.
fn at(path: &VfsPath) -> impl Fn(Error) -> Error + '_ {
    move |error| if error.path().is_some() { error } else { error.with_path(path.as_str()) }
}

#[async_trait]
impl Backend for S3Backend {
    fn info(&self) -> &Info {
        &self.info
    }

    async fn stat(&self, path: &VfsPath) -> Result<Metadata> {
        self.store.check_open()?;
        reader::stat(&self.store, path).await.map_err(at(path))
    }

    async fn read(&self, path: &VfsPath, options: &ReadOptions) -> Result<Object> {
        self.store.check_open()?;
        reader::read(&self.store, path, options).await.map_err(at(path))
    }

    async fn write(
        &self,
        path: &VfsPath,
        content: Bytes,
        options: &WriteOptions,
    ) -> Result<Metadata> {
        writer::write(&self.store, path, content, options).await.map_err(at(path))
    }

    async fn upload(&self, path: &VfsPath, options: &WriteOptions) -> Result<Box<dyn Upload>> {
        let upload = S3Upload::new(&self.store, path, options).map_err(at(path))?;
        Ok(Box::new(upload))
    }

    async fn list(&self, path: &VfsPath, options: &ListOptions) -> Result<Listing> {
        if options.start_after.is_some() {
            return Err(Error::unsupported(Operation::List).with_path(path.as_str()));
        }
        lister::list(&self.store, path, options).await.map_err(at(path))
    }

    async fn delete(&self, targets: &[DeleteTarget]) -> Vec<Result<Deleted>> {
        deleter::delete(&self.store, targets).await
    }

    async fn copy(&self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Result<CopyMethod> {
        copier::copy(&self.store, from, to, mode).await.map_err(at(from))
    }

    async fn sync(&self, _: &VfsPath) -> Result<()> {
        // What the store acknowledged, it keeps.
        self.store.check_open()
    }

    async fn close(&self) -> Result<()> {
        self.store.close().await;
        Ok(())
    }
}
