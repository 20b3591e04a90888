//! Copies that the store makes by itself.

use std::sync::Arc;

use aws_sdk_s3::types::MetadataDirective;
use nexus_core::{Bytes, CopyMethod, Error, ErrorKind, Operation, Result, VfsPath, WriteMode};

use crate::about::{About, Headers, quoted};
use crate::error::from_sdk;
use crate::keys::encode;
use crate::multipart::Multipart;
use crate::store::{Store, is_a_directory};
use crate::writer::{check, limits, put};

/// The largest object that one request copies:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/copy-object.html>.
const MOST: u64 = 5 << 30;

/// The part of a copy by parts.
const PART: u64 = 512 << 20;

pub(crate) async fn copy(
    store: &Arc<Store>,
    from: &VfsPath,
    to: &VfsPath,
    mode: &WriteMode,
) -> Result<CopyMethod> {
    store.check_open()?;
    if *mode != WriteMode::Overwrite && !store.conditions.by_parts {
        return Err(Error::unsupported(Operation::Copy));
    }
    let target = check(store, to, mode)?;
    if from.is_root() {
        return Err(is_a_directory(from));
    }
    let key = store.keys.file(from)?;
    let Some(headers) = store.head(&key).await? else { return Err(store.no_file(from).await) };
    let source = encode(&format!("{}/{key}", store.config.bucket));
    if *mode == WriteMode::Overwrite && headers.size <= MOST {
        whole(store, &source, &headers, &target).await?;
    } else {
        by_parts(store, &source, headers, target, mode).await?;
    }
    Ok(CopyMethod::ServerSide)
}

/// Content and all that is known of it, in one request.
async fn whole(store: &Store, source: &str, headers: &Headers, target: &str) -> Result<()> {
    let request = store.client.copy_object().bucket(&store.config.bucket).key(target);
    let request = request
        .copy_source(source)
        .set_copy_source_if_match(headers.etag.as_deref().map(quoted))
        .metadata_directive(MetadataDirective::Copy)
        .set_server_side_encryption(store.config.encryption.clone())
        .set_ssekms_key_id(store.config.kms_key.clone())
        .set_storage_class(store.config.storage_class.clone())
        .set_request_payer(store.payer());
    let request = request.customize().config_override(limits(headers.size));
    request.send().await.map(drop).map_err(from_sdk).map_err(changed)
}

/// By parts: for what is too large for one request, and for copies under a condition, which stores
/// know for uploads and often not for copies.
async fn by_parts(
    store: &Arc<Store>,
    source: &str,
    headers: Headers,
    target: String,
    mode: &WriteMode,
) -> Result<()> {
    let (size, etag) = (headers.size, headers.etag.as_deref().map(quoted));
    let about = About::of(&headers.metadata());
    if size == 0 {
        return put(store, &target, Bytes::new(), mode, about).await.map(drop);
    }
    let mut multipart = Multipart::begin(store, target, &about).await?;
    let mut at = 0;
    while at < size {
        let end = size.min(at + PART.max(size.div_ceil(9_000)));
        multipart.copy(source, etag.as_deref(), at..end).await?;
        at = end;
    }
    multipart.complete(mode, &about.write).await.map(drop)
}

/// The source is not what it was when the copy began.
fn changed(error: Error) -> Error {
    match error.kind() {
        ErrorKind::PreconditionFailed => {
            Error::new(ErrorKind::PreconditionFailed, "the source changed while it was copied")
        }
        _ => error,
    }
}
