//! A scheme from outside: `calendar://YEAR` shows a year as twelve files, one a month, each line a
//! day and its weekday. It is made of nexus-core alone, as a crate of somebody else would be; a
//! program that links it can mount `calendar://2026` like any other store.
//!
//! What a backend needs is all here: the URI and its options checked without I/O ([`DESCRIPTOR`]), a
//! [`Candidate`], and a [`Backend`] that declares what it can do and refuses the rest. The dates are
//! in `year`.

mod year;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use nexus_core::{
    Backend, BackendKind, Body, Bytes, Candidate, Capabilities, CredentialNeed, DeleteTarget,
    Deleted, Descriptor, Digest, Entry, Error, ErrorKind, Info, ListOptions, Listing, Metadata,
    MountContext, MountUri, Object, Operation, OptionSpec, ReadOptions, Result, Upload, Version,
    VfsPath, WriteOptions, async_trait,
};

use crate::year::{Weekdays, Year};

/// How nexus-fs finds this backend.
pub const DESCRIPTOR: Descriptor = Descriptor {
    scheme: "calendar",
    aliases: &[],
    summary: "a year as twelve files",
    kind: BackendKind::Storage,
    credentials: CredentialNeed::None,
    options: &[OptionSpec {
        name: "weekdays",
        values: "short|long",
        summary: "how weekdays are written; short by default",
    }],
    mount_point: MountUri::mount_point,
    build,
};

nexus_core::register!(DESCRIPTOR);

/// Checks the URI. No I/O happens before `open`; this backend has none at all.
fn build(uri: &MountUri, _: &MountContext) -> Result<Box<dyn Candidate>> {
    let number = uri.authority().parse().ok().filter(|_| uri.path().is_empty());
    let year = number.and_then(Year::new).ok_or_else(|| {
        Error::new(ErrorKind::InvalidUri, "a calendar needs a year from 1583 to 9999")
            .with_hint("write it like `calendar://2026`")
    })?;
    let weekdays = match uri.option("weekdays") {
        None | Some("short") => Weekdays::Short,
        Some("long") => Weekdays::Long,
        Some(_) => {
            let message = "option `weekdays` is `short` or `long`";
            return Err(Error::new(ErrorKind::InvalidOption, message));
        }
    };
    let mut capabilities = Capabilities::default();
    capabilities.versions = true;
    let info = Info {
        scheme: DESCRIPTOR.scheme,
        uri: uri.to_string(),
        layout_reason: String::new(),
        credentials: None,
        capabilities,
    };
    let months = (1..=12).map(|month| year.month(month, weekdays).into()).collect();
    Ok(Box::new(Ready(Calendar { info, months, closed: AtomicBool::new(false) })))
}

struct Ready(Calendar);

#[async_trait]
impl Candidate for Ready {
    async fn check_credentials(&mut self) -> Result<()> {
        Ok(())
    }

    async fn open(self: Box<Self>) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(self.0))
    }
}

struct Calendar {
    info: Info,
    /// The content of `01.txt` to `12.txt`.
    months: Vec<Bytes>,
    closed: AtomicBool,
}

impl Calendar {
    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the calendar was closed"));
        }
        Ok(())
    }

    fn month(&self, path: &VfsPath) -> Result<&Bytes> {
        self.check_open()?;
        if path.is_root() {
            return Err(Error::new(ErrorKind::IsADirectory, "is a directory"));
        }
        let found = (0..self.months.len()).find(|index| path.key() == file_name(*index));
        found.map(|index| &self.months[index]).ok_or_else(|| Error::not_found(path))
    }
}

fn file_name(index: usize) -> String {
    format!("{:02}.txt", index + 1)
}

fn metadata(content: &Bytes) -> Metadata {
    let mut metadata = Metadata::file(content.len() as u64);
    let digest = Digest::of(content);
    metadata.version = Some(Version::new(digest.to_string()));
    metadata
}

#[async_trait]
impl Backend for Calendar {
    fn info(&self) -> &Info {
        &self.info
    }

    async fn stat(&self, path: &VfsPath) -> Result<Metadata> {
        self.check_open()?;
        if path.is_root() {
            return Ok(Metadata::directory());
        }
        self.month(path).map(metadata)
    }

    async fn read(&self, path: &VfsPath, options: &ReadOptions) -> Result<Object> {
        let about = |error: Error| error.with_path(path.as_str());
        let content = self.month(path).map_err(about)?;
        let metadata = metadata(content);
        options.check(metadata.version.as_ref()).map_err(about)?;
        let bytes = match options.range {
            None => content.clone(),
            Some(range) => {
                let range = range.resolve(content.len() as u64).map_err(about)?;
                content.slice(range.start as usize..range.end as usize)
            }
        };
        Ok(Object { metadata, body: Body::whole(bytes) })
    }

    async fn list(&self, path: &VfsPath, options: &ListOptions) -> Result<Listing> {
        if options.recursive || options.start_after.is_some() {
            return Err(Error::unsupported(Operation::List).with_path(path.as_str()));
        }
        if !self.stat(path).await?.is_dir() {
            let error = Error::new(ErrorKind::NotADirectory, "is not a directory");
            return Err(error.with_path(path.as_str()));
        }
        let entries: Vec<Result<Entry>> = (0..self.months.len())
            .map(|index| {
                let path = VfsPath::root().join(&file_name(index))?;
                Ok(Entry::new(path, metadata(&self.months[index])))
            })
            .collect();
        let limit = options.limit.unwrap_or(usize::MAX);
        Ok(futures_util::stream::iter(entries).take(limit).boxed())
    }

    async fn write(&self, path: &VfsPath, _: Bytes, _: &WriteOptions) -> Result<Metadata> {
        Err(Error::unsupported(Operation::Write).with_path(path.as_str()))
    }

    async fn upload(&self, path: &VfsPath, _: &WriteOptions) -> Result<Box<dyn Upload>> {
        Err(Error::unsupported(Operation::Upload).with_path(path.as_str()))
    }

    async fn delete(&self, targets: &[DeleteTarget]) -> Vec<Result<Deleted>> {
        let refuse = |target: &DeleteTarget| {
            Err(Error::unsupported(Operation::Delete).with_path(target.path.as_str()))
        };
        targets.iter().map(refuse).collect()
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}
