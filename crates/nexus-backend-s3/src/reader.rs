//! Reads: one request for what is small, and for the first part of what is large.

use std::ops::Range;
use std::sync::Arc;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use futures_util::StreamExt;
use futures_util::stream;
use nexus_core::{
    Body, Bytes, Digest, Error, ErrorKind, Metadata, Object, ReadOptions, Result, VfsPath,
    async_trait,
};

use crate::about::{Headers, quoted};
use crate::error::{from_body, from_sdk};
use crate::store::{Store, is_a_directory, size};
use crate::transfer::download::{Download, Plan};
use crate::transfer::resume::Resuming;
use crate::transfer::{Pieces, Ranges, verify};

pub(crate) async fn read(
    store: &Arc<Store>,
    path: &VfsPath,
    options: &ReadOptions,
) -> Result<Object> {
    if path.is_root() {
        return Err(is_a_directory(path));
    }
    let key = store.keys.file(path)?;
    let start = options.range.map_or(0, nexus_core::ByteRange::start);
    let end = options.range.and_then(nexus_core::ByteRange::end);
    if end == Some(start) || start > i64::MAX as u64 {
        return nothing(store, path, &key, options).await;
    }
    let first = start..end.unwrap_or(u64::MAX).min(start.saturating_add(store.config.part));
    let request = store.get(&key, &first);
    let request = request.set_if_match(text(options.if_match.as_ref()));
    let request = request.set_if_none_match(text(options.if_none_match.as_ref()));
    let answer = match request.send().await.map_err(from_sdk) {
        Ok(answer) => answer,
        Err(error) => match error.kind() {
            ErrorKind::RangeNotSatisfiable => return nothing(store, path, &key, options).await,
            ErrorKind::NotFound => return Err(store.no_file(path).await),
            _ => return Err(error),
        },
    };
    served(store, key, start, end, answer).await
}

/// An answer of no bytes: the range is empty, or begins past the end.
async fn nothing(
    store: &Arc<Store>,
    path: &VfsPath,
    key: &str,
    options: &ReadOptions,
) -> Result<Object> {
    let Some(headers) = store.head(key).await? else { return Err(store.no_file(path).await) };
    let metadata = headers.metadata();
    options.check(metadata.version.as_ref())?;
    let size = metadata.size.unwrap_or_default();
    let range = options.range.map_or(Ok(0..size), |range| range.resolve(size))?;
    if !range.is_empty() {
        // It was shorter when the range was asked for.
        return Err(Error::new(ErrorKind::PreconditionFailed, "the object changed meanwhile"));
    }
    Ok(Object { metadata, body: Body::whole(Bytes::new()) })
}

/// What the first answer, and the requests that follow from it, give.
async fn served(
    store: &Arc<Store>,
    key: String,
    start: u64,
    end: Option<u64>,
    answer: GetObjectOutput,
) -> Result<Object> {
    let length = size(answer.content_length);
    let (first, total) = match answer.content_range.as_deref() {
        Some(text) => content_range(text).filter(|(range, _)| range.start == start),
        // The whole object: there is no more than was asked for, or the store knows no ranges.
        None => Some((0..length, length)).filter(|_| start == 0),
    }
    .ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "the store serves other bytes than the range asked for")
    })?;
    let wanted = start..end.unwrap_or(total).min(total);
    let source = Arc::new(Source {
        store: Arc::clone(store),
        key,
        etag: answer.e_tag.as_deref().map(quoted),
    });
    let metadata = Headers {
        size: total,
        etag: answer.e_tag,
        modified: answer.last_modified,
        content_type: answer.content_type,
        user: answer.metadata,
    }
    .metadata();
    let whole = wanted == (0..total);
    let first = first.start..first.end.min(wanted.end);
    let resuming = Resuming::begun(source.clone(), first.clone(), pieces(answer.body));
    let expected = metadata.digest.filter(|_| whole);
    let body = body(store, source, resuming, first, wanted, expected).await?;
    Ok(Object { metadata, body })
}

async fn body(
    store: &Arc<Store>,
    source: Arc<Source>,
    mut first: Resuming,
    range: Range<u64>,
    wanted: Range<u64>,
    expected: Option<Digest>,
) -> Result<Body> {
    // Small: in one piece, and verified before any of it is given out.
    if range.end >= wanted.end && range.end - range.start <= SMALL {
        let mut content = Vec::with_capacity((range.end - range.start) as usize);
        while let Some(piece) = first.next().await? {
            content.extend_from_slice(&piece);
        }
        if let Some(expected) = expected {
            verify::check(Digest::of(&content), expected)?;
        }
        return Ok(Body::whole(content));
    }
    let plan = Plan {
        part: store.config.part,
        most: store.config.concurrency,
        budget: store.budget.clone(),
    };
    let download = Download::new(source, plan, first, range.end..wanted.end);
    Ok(Body::stream(verify::pieces(download, expected)))
}

/// Bodies of up to this many bytes come in one piece.
const SMALL: u64 = 1 << 20;

/// One state of one object.
struct Source {
    store: Arc<Store>,
    key: String,
    /// `None` from a store that has none: then nothing is resumed.
    etag: Option<String>,
}

#[async_trait]
impl Ranges for Source {
    async fn open(&self, range: Range<u64>) -> Result<Pieces> {
        self.store.check_open()?;
        let changed =
            || Error::new(ErrorKind::PreconditionFailed, "the object changed while it was read");
        let Some(etag) = &self.etag else { return Err(changed()) };
        let request = self.store.get(&self.key, &range).if_match(etag);
        let answer =
            request.send().await.map_err(from_sdk).map_err(|error| match error.kind() {
                ErrorKind::NotFound | ErrorKind::RangeNotSatisfiable => changed(),
                _ => error,
            })?;
        if answer.e_tag.as_deref().map(quoted).as_ref() != Some(etag) {
            return Err(changed());
        }
        let served = answer.content_range.as_deref().and_then(content_range);
        if served.is_none_or(|(served, _)| served != range) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the store serves other bytes than the range asked for",
            ));
        }
        Ok(pieces(answer.body))
    }
}

fn pieces(body: ByteStream) -> Pieces {
    stream::unfold(body, |mut body| async move {
        let piece = body.next().await?;
        Some((piece.map_err(from_body), body))
    })
    .boxed()
}

fn text(version: Option<&nexus_core::Version>) -> Option<String> {
    version.map(|version| version.as_str().to_owned())
}

/// `bytes 0-9/10` as a half-open range and the size of the whole.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) =
        (first.parse().ok()?, last.parse::<u64>().ok()?, total.parse().ok()?);
    let end = last.checked_add(1)?;
    (first < end && end <= total).then_some((first..end, total))
}

/// What is at `path`: a file before a directory of the same name.
pub(crate) async fn stat(store: &Store, path: &VfsPath) -> Result<Metadata> {
    if path.is_root() {
        return Ok(Metadata::directory());
    }
    let key = store.keys.file(path)?;
    if let Some(headers) = store.head(&key).await? {
        return Ok(headers.metadata());
    }
    match store.is_directory(path).await? {
        true => Ok(Metadata::directory()),
        false => Err(Error::not_found(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_answers_are_read_strictly() {
        assert_eq!(content_range("bytes 0-9/10"), Some((0..10, 10)));
        assert_eq!(content_range("bytes 5-5/10"), Some((5..6, 10)));
        for bad in ["", "bytes */10", "bytes 5-4/10", "bytes 0-10/10", "0-9/10", "bytes 0-9/*"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
        assert_eq!(content_range(&format!("bytes 0-{}/{}", u64::MAX, u64::MAX)), None);
    }
}
