//! `verify`, `gc` and `du --physical`: care of content-addressed mounts.

use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use nexus_fs::{CollectOptions, Layout, Outcome, Progress, VerifyOptions, VfsPath};
use serde_json::json;

use super::each;
use super::find::parse_time;
use crate::exit::{Failure, code};
use crate::output::Output;
use crate::progress::Bar;
use crate::render::{count, size, time};
use crate::session::{Reach, Session};

/// What a verification reads.
#[derive(Clone, Copy)]
pub(crate) enum What {
    Everything,
    /// What an interrupted run did not come to.
    Rest,
    /// What was not read back since this time, in milliseconds since 1970.
    Before(i64),
}

impl What {
    pub(crate) fn of(resume: bool, older: Option<&str>) -> Result<Self, Failure> {
        Ok(match older {
            Some(text) => Self::Before(millis(parse_time(text, SystemTime::now())?)),
            None if resume => Self::Rest,
            None => Self::Everything,
        })
    }
}

/// The content-addressed mounts that are meant: the one that holds a path, or all of them.
async fn stores(path: Option<&str>, session: &Session<'_>) -> Result<Vec<VfsPath>, Failure> {
    if let Some(path) = path {
        return Ok(vec![session.path(path, Reach::Here).await?]);
    }
    let mounts = session.kernel.mounts().into_iter().filter(|mount| {
        let info = mount.info.as_ref();
        info.is_some_and(|info| info.capabilities.layout == Layout::Cas)
    });
    let stores: Vec<_> = mounts.map(|mount| mount.at).collect();
    if stores.is_empty() {
        let message = "no mount keeps content by digest";
        return Err(Failure::new(code::NOT_FOUND, message)
            .with_hint("`nexus-fs mount` on an empty directory makes one that does"));
    }
    Ok(stores)
}

/// Opens every saved mount, and says which could not be.
async fn open_all(session: &Session<'_>, output: &Output) {
    for (at, failure) in session.open_all().await {
        output.note(&format!("left out {at}: {}", failure.message));
    }
}

/// Reads stores back. One that fails does not keep the others from it.
pub(crate) async fn verify(
    path: Option<&str>,
    what: What,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    // Any of them may have what is damaged here.
    open_all(session, output).await;
    let mut worst = Ok(());
    for store in stores(path, session).await? {
        let verified = verify_one(&store, what, session, output).await;
        if let (Ok(()), Err(failure)) = (&worst, verified) {
            worst = Err(failure);
        }
    }
    worst
}

/// What became of the contents of a store.
#[derive(Default)]
struct Counts {
    contents: u64,
    read: u64,
    mended: u64,
    bad: u64,
    unmended: u64,
}

async fn verify_one(
    store: &VfsPath,
    what: What,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let before = match what {
        What::Everything => None,
        What::Before(before) => Some(before),
        What::Rest => {
            let unfinished = session.kernel.unfinished_verification(store).await?;
            output.note(&match unfinished {
                Some(before) => format!("{store}: goes on with the run of {}", date(before)),
                None => format!("{store}: no run was interrupted, everything is read"),
            });
            unfinished
        }
    };
    let (mut counts, mut hint) = (Counts::default(), None);
    let bar = Bar::new(output);
    bar.begin(store, session.kernel.usage(store).await.ok().map(|usage| usage.stored_bytes));
    let mut checking = session.kernel.verify(store, &VerifyOptions { before }).await?;
    while let Some(verified) = checking.next().await {
        let verified = verified?;
        counts.contents += 1;
        counts.read += verified.read;
        bar.advance(verified.read);
        let digest = verified.digest;
        let (what, line, paths) = match verified.outcome {
            Outcome::Good => continue,
            Outcome::Mended { from } => {
                counts.mended += 1;
                ("mended", format!("mended {digest} from {from}"), Vec::new())
            }
            Outcome::Bad { harmed, reason } => {
                counts.bad += 1;
                ("bad", format!("damaged {digest}: {reason}"), harmed)
            }
            Outcome::Unmended { from, harmed, reason, error } => {
                counts.unmended += 1;
                let why = format!("{from} has it, but it could not be put back: {error}");
                hint = Failure::from(error).hint;
                ("unmended", format!("damaged {digest}: {reason}; {why}"), harmed)
            }
            _ => return Err(Failure::internal("an unknown outcome")),
        };
        bar.aside(|| {
            if output.json {
                return output.json(&json!({ "digest": digest, "outcome": what, "harmed": paths }));
            }
            output.line(&line)?;
            paths.iter().try_for_each(|path| output.line(&format!("    needed by {path}")))
        })?;
    }
    bar.clear();
    conclude(&counts, hint, output)
}

fn conclude(counts: &Counts, hint: Option<String>, output: &Output) -> Result<(), Failure> {
    let damaged = counts.bad + counts.unmended;
    let (contents, read) = (count(counts.contents, "content"), size(counts.read));
    output.note(&format!("read {contents}, {read}: {damaged} damaged, {} mended", counts.mended));
    if counts.unmended > 0 {
        let message = format!("{} damaged, and could not be put back", count(damaged, "content"));
        let failure = Failure::new(code::INTEGRITY, message);
        return Err(Failure { hint, ..failure });
    }
    if damaged > 0 {
        let message = format!("{} damaged, and in no other mount", count(damaged, "content"));
        return Err(Failure::new(code::INTEGRITY, message)
            .with_hint("write the files again, or name a mount that has them with `--mount`"));
    }
    Ok(())
}

/// A moment in milliseconds since 1970, for people.
fn date(millis: i64) -> String {
    let since = Duration::from_millis(millis.unsigned_abs());
    time(SystemTime::UNIX_EPOCH.checked_add(since))
}

/// Milliseconds since 1970.
fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Says what nobody needs, and deletes it when told to.
pub(crate) async fn gc(
    path: Option<&str>,
    options: CollectOptions,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let all = path.is_none();
    if all {
        open_all(session, output).await;
    }
    let mut garbage = 0;
    for store in stores(path, session).await? {
        let collected = session.kernel.collect(&store, &options).await?;
        if output.json {
            let mut document = json!(collected);
            document["path"] = json!(store);
            output.json(&document)?;
            continue;
        }
        let about = if all { format!("{store}: ") } else { String::new() };
        let (scanned, bytes) =
            (count(collected.scanned, "stored content"), size(collected.garbage_bytes));
        if options.delete {
            let deleted = collected.deleted;
            output.line(&format!("{about}deleted {deleted} of {scanned}, {bytes}"))?;
        } else {
            garbage += collected.garbage;
            let contents = count(collected.garbage, "content");
            output.line(&format!("{about}{contents} of {scanned}, {bytes}, would be deleted"))?;
        }
    }
    if garbage > 0 {
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
    if paths.is_empty() {
        open_all(session, output).await;
        for store in stores(None, session).await? {
            usage(&store, session, output).await?;
        }
        return Ok(());
    }
    each(paths, output, |operand| async move {
        let path = session.path(operand, Reach::Here).await?;
        usage(&path, session, output).await
    })
    .await
}

async fn usage(path: &VfsPath, session: &Session<'_>, output: &Output) -> Result<(), Failure> {
    let usage = session.kernel.usage(path).await?;
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
}
