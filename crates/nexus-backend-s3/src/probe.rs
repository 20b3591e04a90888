//! What a store really does with conditional writes. Some ignore a condition in silence and answer
//! success, so each is tried, by several writers at once, on an object of a random name that is
//! deleted again.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures_util::future::join_all;
use nexus_core::{Bytes, Error, ErrorKind, Result};

use crate::config::Config;
use crate::error::from_sdk;
use crate::keys::Keys;

/// What the object of the probe is called, before a random number.
const NAME: &str = ".nexus-fs-probe-";

/// Writers of one race.
const WRITERS: u8 = 6;

/// An entity tag that no content has.
const NEVER: &str = "\"00000000000000000000000000000000\"";

/// Which conditions hold, exactly, under concurrent writers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// Whether anything can be written at all.
    pub(crate) write: bool,
    /// If-None-Match on writes of one request.
    pub(crate) create: bool,
    /// If-Match on writes of one request.
    pub(crate) replace: bool,
    /// Both on uploads by parts. Some stores look at the condition and let several win all the same,
    /// which no short race shows for sure: only Amazon's word is taken for it.
    pub(crate) by_parts: bool,
    /// If-Match on deletes.
    pub(crate) delete: bool,
}

/// Tries each condition, and deletes what it wrote.
///
/// # Errors
/// Those that say nothing of conditions: the network, the credentials.
pub(crate) async fn conditions(
    client: &Client,
    config: &Config,
    of_amazon: bool,
) -> Result<Conditions> {
    let prefix = Keys::below(&config.root).directory(&nexus_core::VfsPath::root());
    let key = format!("{prefix}{NAME}{:016x}", fastrand::u64(..));
    let probe = Probe { client, config, of_amazon, key };
    let found = probe.run().await;
    let gone = client.delete_object().bucket(&config.bucket).key(&probe.key).send().await;
    if let Err(error) = gone.map_err(from_sdk)
        && found.as_ref().is_ok_and(|found| found.write)
    {
        tracing::warn!(key = probe.key, %error, "the object of the probe could not be deleted");
    }
    found
}

struct Probe<'a> {
    client: &'a Client,
    config: &'a Config,
    of_amazon: bool,
    key: String,
}

#[derive(Clone, Copy)]
enum If<'a> {
    Absent,
    Match(&'a str),
}

impl Probe<'_> {
    async fn run(&self) -> Result<Conditions> {
        let mut found = Conditions::default();
        let outcomes = self.race(If::Absent).await;
        if outcomes.iter().all(|outcome| is(outcome, ErrorKind::PermissionDenied)) {
            return Ok(found);
        }
        found.write = true;
        let first = one_winner(outcomes)?;
        found.create = first.is_some();
        let Some(etag) = first else { return Ok(found) };
        let stale = self.put(b"stale", If::Match(NEVER)).await;
        if refused(&stale)? {
            let second = one_winner(self.race(If::Match(&etag)).await)?;
            found.replace = second.is_some();
            found.by_parts = self.of_amazon
                && found.replace
                && self.by_parts_is_refused(If::Absent).await?
                && self.by_parts_is_refused(If::Match(NEVER)).await?;
        }
        let request = self.client.delete_object().bucket(&self.config.bucket).key(&self.key);
        let gone = request.if_match(NEVER).send().await.map(|_| String::new()).map_err(from_sdk);
        found.delete = refused(&gone)? && self.is_there().await?;
        Ok(found)
    }

    async fn put(&self, content: &[u8], condition: If<'_>) -> Result<String> {
        let request = self.client.put_object().bucket(&self.config.bucket).key(&self.key);
        let request = match condition {
            If::Absent => request.if_none_match("*"),
            If::Match(etag) => request.if_match(etag),
        };
        let content = ByteStream::from(Bytes::copy_from_slice(content));
        let answer = request.body(content).send().await.map_err(from_sdk)?;
        Ok(answer.e_tag.unwrap_or_default())
    }

    async fn race(&self, condition: If<'_>) -> Vec<Result<String>> {
        let contents: Vec<[u8; 2]> = (0..WRITERS)
            .map(|number| [number, u8::from(matches!(condition, If::Absent))])
            .collect();
        join_all(contents.iter().map(|content| self.put(content, condition))).await
    }

    /// Whether an upload by parts that must not be completed is refused.
    async fn by_parts_is_refused(&self, condition: If<'_>) -> Result<bool> {
        let (bucket, key) = (&self.config.bucket, &self.key);
        let begun = self.client.create_multipart_upload().bucket(bucket).key(key).send().await;
        let Some(id) = begun.map_err(from_sdk)?.upload_id else { return Ok(false) };
        let part = self.client.upload_part().bucket(bucket).key(key).upload_id(&id);
        let part = part.part_number(1).body(ByteStream::from_static(b"part")).send().await;
        let outcome = match part.map_err(from_sdk) {
            Ok(part) => {
                let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
                let parts = CompletedMultipartUpload::builder().parts(part).build();
                let request = self.client.complete_multipart_upload().bucket(bucket).key(key);
                let request = request.upload_id(&id).multipart_upload(parts);
                let request = match condition {
                    If::Absent => request.if_none_match("*"),
                    If::Match(etag) => request.if_match(etag),
                };
                request.send().await.map(|_| String::new()).map_err(from_sdk)
            }
            Err(error) => Err(error),
        };
        let abort = self.client.abort_multipart_upload().bucket(bucket).key(key).upload_id(id);
        if let Err(error) = abort.send().await.map_err(from_sdk) {
            tracing::debug!(%error, "the upload of the probe is gone already");
        }
        refused(&outcome)
    }

    async fn is_there(&self) -> Result<bool> {
        let request = self.client.head_object().bucket(&self.config.bucket).key(&self.key);
        match request.send().await.map_err(from_sdk) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn is(outcome: &Result<String>, kind: ErrorKind) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == kind)
}

/// Whether an answer is the refusal of a condition, rather than of conditions altogether or success.
fn refused(outcome: &Result<String>) -> Result<bool> {
    let Err(error) = outcome else { return Ok(false) };
    match error.kind() {
        ErrorKind::PreconditionFailed => Ok(true),
        ErrorKind::Unsupported
        | ErrorKind::PermissionDenied
        | ErrorKind::NotFound
        | ErrorKind::Internal => Ok(false),
        kind => Err(Error::new(kind, "the store could not be asked what it can do")
            .with_retry(error.retry())
            .with_source(error.to_string())),
    }
}

/// The winner's entity tag, when exactly one won and the others were refused for the condition or
/// for being at the same time.
fn one_winner(outcomes: Vec<Result<String>>) -> Result<Option<String>> {
    let (mut winners, mut lost) = (Vec::new(), true);
    for outcome in outcomes {
        match outcome {
            Ok(etag) => winners.push(etag),
            Err(error) if error.kind() == ErrorKind::Unauthenticated => return Err(error),
            Err(error) => {
                lost &=
                    matches!(error.kind(), ErrorKind::PreconditionFailed | ErrorKind::Unavailable);
            }
        }
    }
    let winner = winners.pop();
    Ok(winner.filter(|etag| lost && winners.is_empty() && !etag.is_empty()))
}
