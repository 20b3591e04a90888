//! One upload by parts: several of them in flight, each in memory of the kernel's budget. Whatever
//! does not become an object is given up, so that nothing stays that costs money and is not seen.

use std::ops::Range;
use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use nexus_core::{Bytes, Error, ErrorKind, Result, WriteMode};
use tokio::task::JoinSet;

use crate::about::About;
use crate::error::from_sdk;
use crate::store::{Attempts, Store};
use crate::transfer::backoff;
use crate::writer::{Verdict, limits, refusal};

/// What completing an upload may take, in bytes of a transfer: the store joins up to 10,000 parts.
const COMPLETING: u64 = 32 << 20;

/// How often completing is asked again because another write of the key was under way.
const CONFLICTS: u32 = 12;

pub(crate) struct Multipart {
    upload: Arc<Begun>,
    number: u32,
    sending: JoinSet<Result<CompletedPart>>,
    sent: Vec<CompletedPart>,
    /// Whether the store is to be told when this is dropped.
    unfinished: bool,
}

/// An upload that the store knows, until it is completed or given up.
struct Begun {
    store: Arc<Store>,
    key: String,
    id: String,
}

impl Multipart {
    pub(crate) async fn begin(store: &Arc<Store>, key: String, about: &About) -> Result<Self> {
        let request = store.client.create_multipart_upload().bucket(&store.config.bucket);
        let request = request
            .key(&key)
            .set_content_type(about.content_type.clone())
            .set_metadata(Some(about.headers()))
            .set_server_side_encryption(store.config.encryption.clone())
            .set_ssekms_key_id(store.config.kms_key.clone())
            .set_storage_class(store.config.storage_class.clone())
            .set_request_payer(store.payer());
        let id = request.send().await.map_err(from_sdk)?.upload_id;
        let id = id.ok_or_else(|| {
            Error::new(ErrorKind::Internal, "the store began an upload without a name")
        })?;
        let upload = Arc::new(Begun { store: Arc::clone(store), key, id });
        Ok(Self { upload, number: 1, sending: JoinSet::new(), sent: Vec::new(), unfinished: true })
    }

    /// How large the next part must be, unless it is the last.
    pub(crate) fn next_size(&self) -> Result<u64> {
        self.upload.store.config.sizes.of(self.number)
    }

    /// Sends the next part once there is room for it.
    pub(crate) async fn send(&mut self, part: Bytes) -> Result<()> {
        let store = &self.upload.store;
        let memory = loop {
            let room = self.sending.len() < store.config.concurrency;
            // One part at a time goes without the budget, so that an upload always moves on.
            let memory = store.budget.try_reserve(part.len());
            if self.sending.is_empty() || room && memory.is_some() {
                break memory;
            }
            if let Some(sent) = self.sending.join_next().await {
                self.sent.push(joined(sent)?);
            }
        };
        let (upload, number) = (Arc::clone(&self.upload), self.number);
        self.number += 1;
        self.sending.spawn(async move {
            let sent = upload.send(number, part).await;
            drop(memory);
            sent
        });
        Ok(())
    }

    /// Lets the store copy the next part from a range of another object.
    pub(crate) async fn copy(
        &mut self,
        source: &str,
        etag: Option<&str>,
        range: Range<u64>,
    ) -> Result<()> {
        while self.sending.len() >= self.upload.store.config.concurrency {
            if let Some(sent) = self.sending.join_next().await {
                self.sent.push(joined(sent)?);
            }
        }
        let (upload, number) = (Arc::clone(&self.upload), self.number);
        let (source, etag) = (source.to_owned(), etag.map(str::to_owned));
        self.number += 1;
        self.sending.spawn(async move { upload.copy(number, source, etag, range).await });
        Ok(())
    }

    /// Publishes the object; the answer is its entity tag.
    pub(crate) async fn complete(
        mut self,
        mode: &WriteMode,
        write: &str,
    ) -> Result<Option<String>> {
        while let Some(sent) = self.sending.join_next().await {
            self.sent.push(joined(sent)?);
        }
        let mut parts = std::mem::take(&mut self.sent);
        parts.sort_by_key(|part| part.part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let etag = self.upload.publish(&parts, mode, write).await?;
        self.unfinished = false;
        Ok(etag)
    }

    /// Gives the upload up, and waits until the store has.
    pub(crate) async fn abort(mut self) -> Result<()> {
        self.sending.shutdown().await;
        self.upload.abort().await?;
        self.unfinished = false;
        Ok(())
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if !self.unfinished {
            return;
        }
        self.sending.abort_all();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let upload = Arc::clone(&self.upload);
        let mut sending = std::mem::take(&mut self.sending);
        let tracker = upload.store.cleanup.clone();
        tracker.spawn_on(
            async move {
                sending.shutdown().await;
                if let Err(error) = upload.abort().await {
                    tracing::debug!(key = upload.key, %error, "an upload was not given up");
                }
            },
            &runtime,
        );
    }
}

impl Begun {
    async fn send(&self, number: u32, part: Bytes) -> Result<CompletedPart> {
        let store = &self.store;
        let bytes = part.len() as u64;
        let request = store.client.upload_part().bucket(&store.config.bucket).key(&self.key);
        let request = request
            .upload_id(&self.id)
            .part_number(number as i32)
            .body(ByteStream::from(part))
            .set_request_payer(store.payer());
        let request = request.customize().config_override(limits(bytes));
        let answer = request.send().await.map_err(from_sdk)?;
        Ok(CompletedPart::builder()
            .part_number(number as i32)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .build())
    }

    async fn copy(
        &self,
        number: u32,
        source: String,
        etag: Option<String>,
        range: Range<u64>,
    ) -> Result<CompletedPart> {
        let store = &self.store;
        let bytes = range.end - range.start;
        let request = store.client.upload_part_copy().bucket(&store.config.bucket);
        let request = request
            .key(&self.key)
            .upload_id(&self.id)
            .part_number(number as i32)
            .copy_source(source)
            .copy_source_range(format!("bytes={}-{}", range.start, range.end - 1))
            .set_copy_source_if_match(etag)
            .set_request_payer(store.payer());
        let request = request.customize().config_override(limits(bytes));
        let answer = request.send().await.map_err(from_sdk)?;
        let etag = answer.copy_part_result.and_then(|part| part.e_tag);
        Ok(CompletedPart::builder().part_number(number as i32).set_e_tag(etag).build())
    }

    /// Completes the upload, and tells what a failure means.
    async fn publish(
        &self,
        parts: &CompletedMultipartUpload,
        mode: &WriteMode,
        write: &str,
    ) -> Result<Option<String>> {
        let mut conflicts = 0;
        loop {
            let attempts = Attempts::default();
            let error = match self.complete(parts, mode, &attempts).await {
                Ok(etag) => return Ok(etag),
                Err(error) => error,
            };
            if attempts.were_several()
                && let Ok(Some(found)) = self.store.head(&self.key).await
                && found.is_from(write)
            {
                return Ok(found.etag);
            }
            let error = match refusal(&self.store, &self.key, mode, write, &attempts, error).await {
                Verdict::Stored(etag) => return Ok(etag),
                Verdict::Refused(error) => return Err(error),
                Verdict::Conflict(error) => error,
            };
            conflicts += 1;
            let wait = backoff::wait(&error, conflicts).filter(|_| conflicts <= CONFLICTS);
            let Some(wait) = wait else { return Err(error) };
            tokio::time::sleep(wait).await;
        }
    }

    async fn complete(
        &self,
        parts: &CompletedMultipartUpload,
        mode: &WriteMode,
        attempts: &Attempts,
    ) -> Result<Option<String>> {
        let store = &self.store;
        let request = store.client.complete_multipart_upload().bucket(&store.config.bucket);
        let request = request.key(&self.key).upload_id(&self.id).multipart_upload(parts.clone());
        let request = match mode {
            WriteMode::Overwrite => request,
            WriteMode::Create => request.if_none_match("*"),
            WriteMode::Replace(version) => request.if_match(version.as_str()),
        };
        let request = request.set_request_payer(store.payer()).customize();
        let request = request.interceptor(attempts.clone()).config_override(limits(COMPLETING));
        Ok(request.send().await.map_err(from_sdk)?.e_tag)
    }

    async fn abort(&self) -> Result<()> {
        let store = &self.store;
        let request = store.client.abort_multipart_upload().bucket(&store.config.bucket);
        let request = request.key(&self.key).upload_id(&self.id);
        match request.set_request_payer(store.payer()).send().await.map_err(from_sdk) {
            Ok(_) => Ok(()),
            // Completed, or given up before.
            Err(error) if error.message().contains("dropped the upload") => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn joined(sent: Result<Result<CompletedPart>, tokio::task::JoinError>) -> Result<CompletedPart> {
    sent.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "a part was not sent").with_source(error))
    })
}
