//! `import` and `export`: what differs, into and out of content-addressed mounts.

use std::sync::Arc;

use nexus_fs::{CopyOptions, TreeReport, VfsPath};
use serde_json::json;

use super::each;
use super::remove::report_failures;
use crate::args::AdoptArgs;
use crate::exit::Failure;
use crate::output::Output;
use crate::progress::Bar;
use crate::render::{count, size};
use crate::session::{Reach, Session};

#[derive(Clone, Copy)]
enum Direction {
    Import,
    Export,
}

pub(crate) async fn import(
    args: &AdoptArgs,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    adopt(Direction::Import, args, session, output).await
}

pub(crate) async fn export(
    args: &AdoptArgs,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    adopt(Direction::Export, args, session, output).await
}

async fn adopt(
    direction: Direction,
    args: &AdoptArgs,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let Some((destination, sources)) = args.paths.split_last() else {
        return Err(Failure::usage("no path is given"));
    };
    let destination = &session.path(destination, Reach::Here).await?;
    let bar = &Bar::new(output);
    let options = &CopyOptions {
        dry_run: args.dry_run,
        progress: Some(Arc::clone(bar) as _),
        ..CopyOptions::default()
    };
    each(sources, output, |operand| async move {
        let from = session.path(operand, Reach::Below).await?;
        // Whether something is there already changes nothing: the next run goes to the same place.
        let to = match from.file_name() {
            Some(name) if !operand.ends_with('/') => destination.join(name)?,
            _ => destination.clone(),
        };
        let done = match direction {
            Direction::Import => session.kernel.import(&from, &to, options).await,
            Direction::Export => session.kernel.export(&from, &to, options).await,
        };
        bar.clear();
        let report = done?;
        summarize(direction, options.dry_run, (&from, &to), &report, output)?;
        report_failures(&report, output)
    })
    .await
}

fn summarize(
    direction: Direction,
    dry_run: bool,
    (from, to): (&VfsPath, &VfsPath),
    report: &TreeReport,
    output: &Output,
) -> Result<(), Failure> {
    let known = report.known_bytes;
    let new = report.bytes.saturating_sub(known);
    if output.json {
        let mut document = json!({
            "from": from, "to": to, "dry_run": dry_run, "files": report.files,
            "directories": report.directories, "bytes": report.bytes,
            "unchanged": report.unchanged, "unchanged_bytes": report.unchanged_bytes,
            "skipped": report.skipped_count, "failed": report.failed_count,
        });
        if let Direction::Import = direction {
            document["new_bytes"] = new.into();
            document["known_bytes"] = known.into();
        }
        return output.json(&document);
    }
    let did = match (direction, dry_run) {
        (Direction::Import, false) => "imported",
        (Direction::Import, true) => "would import",
        (Direction::Export, false) => "exported",
        (Direction::Export, true) => "would export",
    };
    let mut line = format!("{did} {}, {} to {to}", count(report.files, "file"), size(report.bytes));
    if let Direction::Import = direction {
        line += &format!(": {} new, {} stored already", size(new), size(known));
    }
    if report.unchanged > 0 {
        let unchanged = count(report.unchanged, "file");
        line += &format!("; {unchanged}, {}, unchanged", size(report.unchanged_bytes));
    }
    output.line(&line)
}
