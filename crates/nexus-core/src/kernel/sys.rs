//! `/__sys__`: a read-only tree that tells about the kernel itself.

use std::sync::Weak;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;

use super::Shared;
use crate::{
    Backend, Body, Capabilities, DeleteTarget, Deleted, Entry, Error, ErrorKind, Info, ListOptions,
    Listing, Metadata, Object, Operation, ReadOptions, Result, Upload, VfsPath, WriteOptions,
};

/// The mount point of the tree.
pub(super) const AT: &str = "/__sys__";

const FILES: [&str; 3] = ["backends.json", "mounts.json", "version"];

pub(super) struct Sys {
    info: Info,
    kernel: Weak<Shared>,
}

impl Sys {
    pub(super) fn new(kernel: Weak<Shared>) -> Self {
        let info = Info {
            scheme: "sys",
            uri: "sys://".to_owned(),
            layout_reason: String::new(),
            credentials: None,
            capabilities: Capabilities::default(),
        };
        Self { info, kernel }
    }

    fn content(&self, path: &VfsPath) -> Result<Bytes> {
        let kernel = self
            .kernel
            .upgrade()
            .ok_or_else(|| Error::new(ErrorKind::Closed, "the kernel was closed"))?;
        let document = match path.as_str() {
            "/" => return Err(Error::new(ErrorKind::IsADirectory, "is a directory")),
            "/version" => {
                return Ok(Bytes::from_static(concat!(env!("CARGO_PKG_VERSION"), "\n").as_bytes()));
            }
            "/mounts.json" => json!(kernel.mounts()),
            "/backends.json" => kernel.registry.descriptors().iter().map(descriptor_json).collect(),
            _ => return Err(Error::not_found(path)),
        };
        Ok(format!("{document:#}\n").into())
    }

    fn read_only<T>(&self, operation: Operation, path: &VfsPath) -> Result<T> {
        Err(Error::unsupported(operation).with_path(path.as_str()))
    }
}

fn descriptor_json(descriptor: &crate::Descriptor) -> serde_json::Value {
    json!({
        "scheme": descriptor.scheme,
        "aliases": descriptor.aliases,
        "summary": descriptor.summary,
        "kind": descriptor.kind,
        "credentials": descriptor.credentials,
        "options": descriptor.options,
    })
}

#[async_trait]
impl Backend for Sys {
    fn info(&self) -> &Info {
        &self.info
    }

    async fn stat(&self, path: &VfsPath) -> Result<Metadata> {
        if path.is_root() {
            return Ok(Metadata::directory());
        }
        self.content(path).map(|content| Metadata::file(content.len() as u64))
    }

    async fn read(&self, path: &VfsPath, options: &ReadOptions) -> Result<Object> {
        let content = self.content(path)?;
        if options.if_match.is_some() || options.if_none_match.is_some() {
            return self.read_only(Operation::Read, path);
        }
        let metadata = Metadata::file(content.len() as u64);
        let body = match options.range {
            None => content,
            Some(range) => {
                let range = range.resolve(content.len() as u64)?;
                content.slice(range.start as usize..range.end as usize)
            }
        };
        Ok(Object { metadata, body: Body::whole(body) })
    }

    async fn write(&self, path: &VfsPath, _: Bytes, _: &WriteOptions) -> Result<Metadata> {
        self.read_only(Operation::Write, path)
    }

    async fn upload(&self, path: &VfsPath, _: &WriteOptions) -> Result<Box<dyn Upload>> {
        self.read_only(Operation::Upload, path)
    }

    async fn list(&self, path: &VfsPath, options: &ListOptions) -> Result<Listing> {
        if options.recursive || options.start_after.is_some() {
            return self.read_only(Operation::List, path);
        }
        if !path.is_root() {
            self.content(path)?;
            return Err(
                Error::new(ErrorKind::NotADirectory, "is not a directory").with_path(path.as_str())
            );
        }
        let entry = |name: &&str| {
            let path = VfsPath::root().join(name)?;
            let size = self.content(&path)?.len() as u64;
            Ok(Entry::new(path, Metadata::file(size)))
        };
        let entries: Vec<Result<Entry>> = FILES.iter().map(entry).collect();
        let limit = options.limit.unwrap_or(usize::MAX);
        Ok(futures_util::stream::iter(entries).take(limit).boxed())
    }

    async fn delete(&self, targets: &[DeleteTarget]) -> Vec<Result<Deleted>> {
        targets.iter().map(|target| self.read_only(Operation::Delete, &target.path)).collect()
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
