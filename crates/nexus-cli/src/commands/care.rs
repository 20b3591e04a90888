//! `verify`, `gc` and `du --physical`: care of content-addressed mounts.

use std::time::SystemTime;

use futures_util::StreamExt;
use nexus_fs::{CollectOptions, Outcome, VerifyOptions};
use serde_json::json;

use super::each;
use super::find::parse_time;
use crate::exit::{Failure, code};
use crate::output::Output;
use crate::render::{count, size};
use crate::session::{Reach, Session};

/// Reads everything back; with `older`, only what was not read back since then, so that a run that
/// was interrupted goes on.
pub(crate) async fn verify(
    path: &str,
    older: Option<&str>,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let path = session.path(path, Reach::Here).await?;
    // Any of them may have what is damaged here.
    for (at, failure) in session.open_all().await {
        output.note(&format!("left out {at}: {}", failure.message));
    }
    let older = older.map(|text| parse_time(text, SystemTime::now())).transpose()?;
    let options = VerifyOptions { before: older.map(millis) };
    let mut checking = session.kernel.verify(&path, &options).await?;
    let (mut good, mut mended, mut bad, mut read) = (0_u64, 0_u64, 0_u64, 0_u64);
    let (mut unmended, mut hint) = (0_u64, None);
    while let Some(verified) = checking.next().await {
        let verified = verified?;
        read += verified.read;
        let digest = verified.digest;
        let (what, line, paths) = match verified.outcome {
            Outcome::Good => {
                good += 1;
                continue;
            }
            Outcome::Mended { from } => {
                mended += 1;
                ("mended", format!("mended {digest} from {from}"), Vec::new())
            }
            Outcome::Bad { harmed, reason } => {
                bad += 1;
                ("bad", format!("damaged {digest}: {reason}"), harmed)
            }
            Outcome::Unmended { from, harmed, reason, error } => {
                unmended += 1;
                let why = format!("{from} has it, but it could not be put back: {error}");
                hint = Failure::from(error).hint;
                ("unmended", format!("damaged {digest}: {reason}; {why}"), harmed)
            }
            _ => return Err(Failure::internal("an unknown outcome")),
        };
        if output.json {
            output.json(&json!({ "digest": digest, "outcome": what, "harmed": paths }))?;
            continue;
        }
        output.line(&line)?;
        for path in paths {
            output.line(&format!("    needed by {path}"))?;
        }
    }
    let contents = count(good + mended + bad + unmended, "content");
    let damaged = bad + unmended;
    output.note(&format!("read {contents}, {}: {damaged} damaged, {mended} mended", size(read)));
    if unmended > 0 {
        let message = format!("{} damaged, and could not be put back", count(damaged, "content"));
        let failure = Failure::new(code::INTEGRITY, message);
        return Err(Failure { hint, ..failure });
    }
    if bad > 0 {
        let message = format!("{} damaged, and in no other mount", count(bad, "content"));
        return Err(Failure::new(code::INTEGRITY, message)
            .with_hint("write the files again, or name a mount that has them with `--mount`"));
    }
    Ok(())
}

/// Milliseconds since 1970.
fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Says what nobody needs, and deletes it when told to.
pub(crate) async fn gc(
    path: &str,
    options: CollectOptions,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let path = session.path(path, Reach::Here).await?;
    let collected = session.kernel.collect(&path, &options).await?;
    if output.json {
        return output.json(&collected);
    }
    let garbage = count(collected.garbage, "content");
    let garbage_size = size(collected.garbage_bytes);
    let scanned = count(collected.scanned, "stored content");
    if options.delete {
        return output.line(&format!("deleted {} of {scanned}, {garbage_size}", collected.deleted));
    }
    output.line(&format!("{garbage} of {scanned}, {garbage_size}, would be deleted"))?;
    if collected.garbage > 0 {
        output.note("nothing was deleted: `nexus-fs gc --delete` does it");
    }
    Ok(())
}

/// What is stored, beside what it would take without sharing.
pub(crate) async fn physical(
    paths: &[String],
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    each(paths, output, |operand| async move {
        let path = session.path(operand, Reach::Here).await?;
        let usage = session.kernel.usage(&path).await?;
        if output.json {
            return output.json(&json!({ "path": path, "usage": usage }));
        }
        output.line(&format!(
            "{path}: {} logical in {}, {} stored in {}",
            size(usage.logical_bytes),
            count(usage.files, "file"),
            size(usage.stored_bytes),
            count(usage.contents, "content"),
        ))
    })
    .await
}
