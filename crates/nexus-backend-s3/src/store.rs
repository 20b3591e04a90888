//! The bucket as all verbs see it: the client, the keys of the mount, and the few requests that
//! more than one verb makes.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::types::RequestPayer;
use nexus_core::{Error, ErrorKind, MemoryBudget, Result, VfsPath};
use tokio_util::task::TaskTracker;

use crate::about::Headers;
use crate::config::Config;
use crate::error::from_sdk;
use crate::keys::Keys;
use crate::probe::Conditions;

/// How long closing waits for uploads that were given up to be gone from the store.
const CLEANUP: Duration = Duration::from_secs(10);

/// A bucket, or a directory of one.
pub(crate) struct Store {
    pub(crate) client: Client,
    pub(crate) config: Config,
    pub(crate) keys: Keys,
    pub(crate) conditions: Conditions,
    pub(crate) budget: MemoryBudget,
    /// What goes on after the future that began it was dropped.
    pub(crate) cleanup: TaskTracker,
    closed: AtomicBool,
}

impl Store {
    pub(crate) fn new(
        client: Client,
        config: Config,
        conditions: Conditions,
        budget: MemoryBudget,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            keys: Keys::below(&config.root),
            config,
            conditions,
            budget,
            cleanup: TaskTracker::new(),
            closed: AtomicBool::new(false),
        })
    }

    /// # Errors
    /// `Closed` once the mount was.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the mount was closed"));
        }
        Ok(())
    }

    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.cleanup.close();
        if tokio::time::timeout(CLEANUP, self.cleanup.wait()).await.is_err() {
            tracing::warn!(bucket = self.config.bucket, "closed with uploads not yet given up");
        }
    }

    pub(crate) fn payer(&self) -> Option<RequestPayer> {
        self.config.requester_pays.then_some(RequestPayer::Requester)
    }

    /// A request for bytes of the object at `key`; a range that ends at `u64::MAX` has no end.
    pub(crate) fn get(&self, key: &str, range: &Range<u64>) -> GetObjectFluentBuilder {
        let last = range.end.saturating_sub(1).min(i64::MAX as u64);
        let request = self.client.get_object().bucket(&self.config.bucket).key(key);
        request.range(format!("bytes={}-{last}", range.start)).set_request_payer(self.payer())
    }

    /// What is known of the object at `key`, or `None`.
    pub(crate) async fn head(&self, key: &str) -> Result<Option<Headers>> {
        let request = self.client.head_object().bucket(&self.config.bucket).key(key);
        let answer = match request.set_request_payer(self.payer()).send().await.map_err(from_sdk) {
            Ok(answer) => answer,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Headers {
            size: size(answer.content_length),
            etag: answer.e_tag,
            modified: answer.last_modified,
            content_type: answer.content_type,
            user: answer.metadata,
        }))
    }

    /// Whether any key is below the directory at `path`.
    pub(crate) async fn is_directory(&self, path: &VfsPath) -> Result<bool> {
        let request = self.client.list_objects_v2().bucket(&self.config.bucket);
        let request = request.prefix(self.keys.directory(path)).max_keys(1);
        let answer = request.set_request_payer(self.payer()).send().await.map_err(from_sdk)?;
        Ok(!answer.contents().is_empty())
    }

    /// Why there is no file at `path`: a directory is, or nothing.
    pub(crate) async fn no_file(&self, path: &VfsPath) -> Error {
        match self.is_directory(path).await {
            Ok(true) => is_a_directory(path),
            Ok(false) => Error::not_found(path),
            Err(error) => error,
        }
    }
}

/// A length as headers have it.
pub(crate) fn size(length: Option<i64>) -> u64 {
    length.and_then(|length| u64::try_from(length).ok()).unwrap_or_default()
}

pub(crate) fn is_a_directory(path: &VfsPath) -> Error {
    Error::new(ErrorKind::IsADirectory, "is a directory").with_path(path.as_str())
}

/// Timeouts of a request that sends `bytes`, or makes the store move them: it may take as long as a
/// slow line does.
pub(crate) fn timeouts(bytes: u64) -> TimeoutConfig {
    let attempt = ATTEMPT + Duration::from_secs(bytes / SLOWEST);
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .read_timeout(attempt)
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt * 3)
        .build()
}

const CONNECT: Duration = Duration::from_secs(5);
const ATTEMPT: Duration = Duration::from_secs(15);

/// Bytes a second below which a transfer is given up.
const SLOWEST: u64 = 128 << 10;

/// How many attempts a request took: after more than one, a refusal may be the answer to an attempt
/// whose success was lost on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts(Arc<AtomicU32>);

impl Attempts {
    pub(crate) fn were_several(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 1
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
