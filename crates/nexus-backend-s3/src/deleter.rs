//! Deletes: many keys in one request, each with an outcome of its own.

use std::collections::HashMap;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use nexus_core::{DeleteTarget, Deleted, Error, ErrorKind, Operation, Result, Retry, Version};

use crate::error::{from_code, from_sdk};
use crate::store::{Store, is_a_directory};

/// The most keys of one request.
pub(crate) const BATCH: usize = 1000;

pub(crate) async fn delete(store: &Store, targets: &[DeleteTarget]) -> Vec<Result<Deleted>> {
    let mut results = Vec::with_capacity(targets.len());
    let mut rest = targets;
    // A target may be named twice: what is asked first happens first.
    while let Some(target) = rest.first() {
        if target.if_version.is_some() {
            results.push(only(store, target).await);
            rest = &rest[1..];
            continue;
        }
        let plain = rest.iter().take(BATCH).take_while(|target| target.if_version.is_none());
        let (batch, after) = rest.split_at(plain.count());
        results.extend(plain_batch(store, batch).await);
        rest = after;
    }
    let named = |(result, target): (Result<Deleted>, &DeleteTarget)| {
        result.map_err(|error| error.with_path(target.path.as_str()))
    };
    results.into_iter().zip(targets).map(named).collect()
}

/// Deletes one version of one object.
async fn only(store: &Store, target: &DeleteTarget) -> Result<Deleted> {
    let key = key(store, target)?;
    one(store, key, target.if_version.as_ref()).await
}

async fn plain_batch(store: &Store, targets: &[DeleteTarget]) -> Vec<Result<Deleted>> {
    let keys: Vec<_> = targets.iter().map(|target| key(store, target)).collect();
    let good: Vec<_> = keys.iter().filter_map(|key| key.as_ref().ok()).collect();
    let mut outcomes = match good.as_slice() {
        [] => Vec::new(),
        [key] => vec![single(store, (*key).clone()).await],
        good => many(store, good.iter().copied()).await,
    }
    .into_iter();
    let lost = || Err(Error::new(ErrorKind::Internal, "the store answered less than it was asked"));
    keys.into_iter()
        .map(|key| match key {
            Ok(_) => outcomes.next().unwrap_or_else(lost),
            Err(error) => Err(error),
        })
        .collect()
}

fn key(store: &Store, target: &DeleteTarget) -> Result<String> {
    store.check_open()?;
    if !store.conditions.write || target.if_version.is_some() && !store.conditions.delete {
        return Err(Error::unsupported(Operation::Delete));
    }
    if target.path.is_root() {
        return Err(is_a_directory(&target.path));
    }
    store.keys.file(&target.path)
}

/// One key that is asked for by itself: a delete that finds nothing says so, which S3 does not.
async fn single(store: &Store, key: String) -> Result<Deleted> {
    match store.head(&key).await? {
        Some(_) => one(store, key, None).await,
        None => Ok(Deleted::Absent),
    }
}

async fn one(store: &Store, key: String, version: Option<&Version>) -> Result<Deleted> {
    let request = store.client.delete_object().bucket(&store.config.bucket).key(key);
    let request = request.set_if_match(version.map(|version| version.as_str().to_owned()));
    match request.set_request_payer(store.payer()).send().await.map_err(from_sdk) {
        Ok(_) => Ok(Deleted::Gone),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Deleted::Absent),
        Err(error) => Err(error),
    }
}

/// One request for all keys.
async fn many(store: &Store, keys: impl Iterator<Item = &String> + Clone) -> Vec<Result<Deleted>> {
    let failed = match request(store, keys.clone()).await {
        Ok(failed) => failed,
        Err(error) => return keys.map(|_| Err(again(&error))).collect(),
    };
    keys.map(|key| match failed.get(key) {
        Some(error) if error.kind() == ErrorKind::NotFound => Ok(Deleted::Absent),
        Some(error) => Err(again(error)),
        None => Ok(Deleted::Gone),
    })
    .collect()
}

/// The same failure, of another key.
fn again(error: &Error) -> Error {
    Error::new(error.kind(), error.message().to_owned()).with_retry(error.retry())
}

async fn request(
    store: &Store,
    keys: impl Iterator<Item = &String>,
) -> Result<HashMap<String, Error>> {
    let invalid =
        |error| Error::new(ErrorKind::Internal, "the request could not be made").with_source(error);
    let objects = keys.map(|key| ObjectIdentifier::builder().key(key).build());
    let objects = objects.collect::<Result<Vec<_>, _>>().map_err(invalid)?;
    let delete = Delete::builder().set_objects(Some(objects)).quiet(true);
    let delete = delete.build().map_err(invalid)?;
    let request = store.client.delete_objects().bucket(&store.config.bucket).delete(delete);
    let answer = request.set_request_payer(store.payer()).send().await.map_err(from_sdk)?;
    let failed = answer.errors.unwrap_or_default().into_iter().map(|failed| {
        let error = from_code(failed.code(), failed.message());
        (failed.key.unwrap_or_default(), error)
    });
    let failed: HashMap<_, _> = failed.collect();
    // A failure that names no key that was asked about may be of any of them.
    if failed.contains_key("") {
        return Err(Error::new(ErrorKind::Unavailable, "the store failed to delete some of these")
            .with_retry(Retry::After(std::time::Duration::ZERO)));
    }
    Ok(failed)
}
