//! Writes: small content in one request, large content by parts as it comes. Either way a reader
//! sees the old object or the new one.

use std::sync::Arc;

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::primitives::ByteStream;
use nexus_core::{
    Bytes, Digest, Error, ErrorKind, Hasher, Metadata, Operation, Result, Upload, VfsPath,
    WriteMode, WriteOptions, async_trait,
};

use crate::about::About;
use crate::error::from_sdk;
use crate::multipart::Multipart;
use crate::store::{Attempts, Store, is_a_directory, timeouts};
use crate::transfer::backoff;
use crate::transfer::parts::Pending;

/// How often a write is sent again because another one of the same key was under way.
const CONFLICTS: u32 = 12;

/// Refuses what can not be written, before anything is sent.
pub(crate) fn check(store: &Store, path: &VfsPath, mode: &WriteMode) -> Result<String> {
    store.check_open()?;
    let can = match mode {
        WriteMode::Overwrite => store.conditions.write,
        WriteMode::Create => store.conditions.create,
        WriteMode::Replace(_) => store.conditions.replace,
    };
    if !can {
        return Err(Error::new(ErrorKind::Unsupported, "the store can not do it")
            .with_operation(Operation::Write));
    }
    if path.is_root() {
        return Err(is_a_directory(path));
    }
    store.keys.file(path)
}

/// Stores content that is here as a whole.
pub(crate) async fn write(
    store: &Arc<Store>,
    path: &VfsPath,
    content: Bytes,
    options: &WriteOptions,
) -> Result<Metadata> {
    let key = check(store, path, &options.mode)?;
    let mut about = About::new(options)?;
    about.digest = (!options.skip_digest).then(|| Digest::of(&content));
    if content.len() as u64 <= store.config.sizes.of(1)? {
        return put(store, &key, content, &options.mode, about).await;
    }
    let size = content.len() as u64;
    if options.mode != WriteMode::Overwrite && !store.conditions.by_parts {
        // The content is in memory anyway.
        return put(store, &key, content, &options.mode, about).await;
    }
    let mut multipart = Multipart::begin(store, key, &about).await?;
    let mut rest = content;
    while !rest.is_empty() {
        let part = multipart.next_size()?.min(rest.len() as u64);
        multipart.send(rest.split_to(part as usize)).await?;
    }
    let etag = multipart.complete(&options.mode, &about.write).await?;
    Ok(about.stored(size, etag.as_deref()))
}

/// Stores content in one request.
pub(crate) async fn put(
    store: &Store,
    key: &str,
    content: Bytes,
    mode: &WriteMode,
    about: About,
) -> Result<Metadata> {
    let size = content.len() as u64;
    let mut conflicts = 0;
    loop {
        let attempts = Attempts::default();
        match put_once(store, key, content.clone(), mode, &about, &attempts).await {
            Ok(etag) => return Ok(about.stored(size, etag.as_deref())),
            Err(error) => {
                let error = match refusal(store, key, mode, &about.write, &attempts, error).await {
                    Verdict::Stored(etag) => return Ok(about.stored(size, etag.as_deref())),
                    Verdict::Refused(error) => return Err(error),
                    Verdict::Conflict(error) => error,
                };
                conflicts += 1;
                let wait = backoff::wait(&error, conflicts).filter(|_| conflicts <= CONFLICTS);
                let Some(wait) = wait else { return Err(error) };
                tokio::time::sleep(wait).await;
            }
        }
    }
}

async fn put_once(
    store: &Store,
    key: &str,
    content: Bytes,
    mode: &WriteMode,
    about: &About,
    attempts: &Attempts,
) -> Result<Option<String>> {
    let bytes = content.len() as u64;
    let request = store.client.put_object().bucket(&store.config.bucket).key(key);
    let request = match mode {
        WriteMode::Overwrite => request,
        WriteMode::Create => request.if_none_match("*"),
        WriteMode::Replace(version) => request.if_match(version.as_str()),
    };
    let request = request
        .body(ByteStream::from(content))
        .set_content_type(about.content_type.clone())
        .set_metadata(Some(about.headers()))
        .set_server_side_encryption(store.config.encryption.clone())
        .set_ssekms_key_id(store.config.kms_key.clone())
        .set_storage_class(store.config.storage_class.clone())
        .set_request_payer(store.payer());
    let request = request.customize().interceptor(attempts.clone()).config_override(limits(bytes));
    Ok(request.send().await.map_err(from_sdk)?.e_tag)
}

/// Time limits of a request that sends so many bytes.
pub(crate) fn limits(bytes: u64) -> Builder {
    Builder::default().timeout_config(timeouts(bytes))
}

/// What a failed write means.
pub(crate) enum Verdict {
    /// It did not fail: the answer to an earlier attempt was lost.
    Stored(Option<String>),
    /// It failed.
    Refused(Error),
    /// Another write of the key was under way: the condition was not looked at.
    Conflict(Error),
}

/// Tells why a write under a condition failed.
pub(crate) async fn refusal(
    store: &Store,
    key: &str,
    mode: &WriteMode,
    write: &str,
    attempts: &Attempts,
    error: Error,
) -> Verdict {
    let conditional = *mode != WriteMode::Overwrite;
    let refused = matches!(error.kind(), ErrorKind::PreconditionFailed | ErrorKind::NotFound);
    if !refused || !conditional {
        let conflict = conditional && error.message().contains("another change");
        return if conflict { Verdict::Conflict(error) } else { Verdict::Refused(error) };
    }
    let found = match store.head(key).await {
        Ok(found) => found,
        Err(error) => return Verdict::Refused(error),
    };
    if let Some(found) = &found
        && attempts.were_several()
        && found.is_from(write)
    {
        return Verdict::Stored(found.etag.clone());
    }
    Verdict::Refused(match (mode, &found) {
        (WriteMode::Create, _) => {
            Error::new(ErrorKind::AlreadyExists, "something is there already").with_source(error)
        }
        // Some stores answer that nothing is there as they answer that something else is.
        (WriteMode::Replace(_), None) if error.kind() == ErrorKind::PreconditionFailed => {
            Error::new(ErrorKind::NotFound, "there is nothing to replace").with_source(error)
        }
        _ => error,
    })
}

fn too_large_for_a_condition(part: u64) -> Error {
    let message = format!(
        "this store checks what a write may replace only for content of one request, {part} bytes"
    );
    Error::new(ErrorKind::Unsupported, message)
        .with_hint("mount with a larger `part_size`, or let it overwrite what is there")
}

/// An object whose content comes in pieces.
pub(crate) struct S3Upload {
    store: Arc<Store>,
    path: VfsPath,
    key: String,
    mode: WriteMode,
    about: About,
    pending: Pending,
    /// While all of the content may still go in one request.
    hasher: Option<Hasher>,
    multipart: Option<Multipart>,
    size: u64,
}

impl S3Upload {
    pub(crate) fn new(store: &Arc<Store>, path: &VfsPath, options: &WriteOptions) -> Result<Self> {
        let key = check(store, path, &options.mode)?;
        Ok(Self {
            store: Arc::clone(store),
            path: path.clone(),
            key,
            mode: options.mode.clone(),
            about: About::new(options)?,
            pending: Pending::default(),
            hasher: (!options.skip_digest).then(Hasher::new),
            multipart: None,
            size: 0,
        })
    }

    async fn take(&mut self, piece: Bytes) -> Result<()> {
        self.store.check_open()?;
        self.size += piece.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&piece);
        }
        self.pending.push(piece);
        loop {
            let size = match &self.multipart {
                None => self.store.config.sizes.of(1)?,
                Some(multipart) => multipart.next_size()?,
            };
            // The last part is never empty.
            if self.pending.len() <= size {
                return Ok(());
            }
            let multipart = match &mut self.multipart {
                Some(multipart) => multipart,
                none => {
                    if self.mode != WriteMode::Overwrite && !self.store.conditions.by_parts {
                        return Err(too_large_for_a_condition(size));
                    }
                    self.hasher = None;
                    let key = self.key.clone();
                    none.insert(Multipart::begin(&self.store, key, &self.about).await?)
                }
            };
            multipart.send(self.pending.take(size)).await?;
        }
    }

    async fn publish(mut self) -> Result<Metadata> {
        self.store.check_open()?;
        let Some(mut multipart) = self.multipart.take() else {
            self.about.digest = self.hasher.take().map(|hasher| hasher.finish());
            let content = self.pending.take(self.size);
            return put(&self.store, &self.key, content, &self.mode, self.about).await;
        };
        let last = self.pending.take(self.pending.len());
        multipart.send(last).await?;
        let etag = multipart.complete(&self.mode, &self.about.write).await?;
        Ok(self.about.stored(self.size, etag.as_deref()))
    }
}

#[async_trait]
impl Upload for S3Upload {
    async fn write(&mut self, piece: Bytes) -> Result<()> {
        let taken = self.take(piece).await;
        taken.map_err(|error| error.with_path(self.path.as_str()))
    }

    async fn finish(self: Box<Self>) -> Result<Metadata> {
        let path = self.path.clone();
        (*self).publish().await.map_err(|error| error.with_path(path.as_str()))
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        match self.multipart.take() {
            Some(multipart) => {
                let path = self.path.clone();
                multipart.abort().await.map_err(|error| error.with_path(path.as_str()))
            }
            None => Ok(()),
        }
    }
}
