//! `cp` and `mv`: between any two mounts.

use std::sync::Arc;

use nexus_fs::{CopyOptions, Error, ErrorKind, RenameMethod, TreeReport, VfsPath, WriteMode};
use serde_json::json;

use super::each;
use super::remove::report_failures;
use crate::args::{CopyArgs, MoveArgs};
use crate::exit::{Failure, code};
use crate::output::Output;
use crate::progress::Bar;
use crate::render::{count, size};
use crate::session::{Reach, Session};

/// Where the operands go: to the target itself, or into it when it is a directory.
struct Destination {
    path: VfsPath,
    is_dir: bool,
}

impl Destination {
    async fn of(paths: &[String], session: &Session<'_>) -> Result<(Self, usize), Failure> {
        let last = paths.len() - 1;
        let path = session.path(&paths[last], Reach::Here).await?;
        let is_dir = match session.kernel.stat(&path).await {
            Ok(metadata) => metadata.is_dir(),
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error.into()),
        };
        if !is_dir && (last > 1 || paths[last].ends_with('/')) {
            let message = format!("{path}: is not a directory");
            return Err(Failure::new(code::FAILED, message)
                .with_hint("make it first (`nexus-fs mkdir`), or name a single source"));
        }
        Ok((Self { path, is_dir }, last))
    }

    fn for_source(&self, source: &VfsPath) -> Result<VfsPath, Failure> {
        match source.file_name() {
            Some(name) if self.is_dir => Ok(self.path.join(name)?),
            _ => Ok(self.path.clone()),
        }
    }
}

fn same(path: &VfsPath) -> Failure {
    Failure::new(code::CONFLICT, format!("{path}: source and target are the same file"))
}

fn options(no_clobber: bool, bar: &Arc<Bar>) -> CopyOptions {
    let mode = if no_clobber { WriteMode::Create } else { WriteMode::Overwrite };
    CopyOptions { mode, progress: Some(Arc::clone(bar) as _), ..Default::default() }
}

pub(crate) async fn cp(
    args: &CopyArgs,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let (destination, sources) = Destination::of(&args.paths, session).await?;
    let (destination, bar) = (&destination, Bar::new(output));
    let options = &options(args.no_clobber, &bar);
    let bar = &bar;
    each(&args.paths[..sources], output, |operand| async move {
        let from = session.path(operand, Reach::Below).await?;
        let to = destination.for_source(&from)?;
        if from == to {
            return Err(same(&from));
        }
        if !args.recursive && session.kernel.stat(&from).await?.is_dir() {
            let message = format!("{from}: is a directory");
            return Err(Failure::new(code::FAILED, message)
                .with_hint("copy it with all that is below, with `-r`"));
        }
        let copied = session.kernel.copy_all(&from, &to, options).await;
        bar.clear();
        let report = copied?;
        summarize(&from, &to, &report, output)?;
        report_failures(&report, output)
    })
    .await
}

fn summarize(
    from: &VfsPath,
    to: &VfsPath,
    report: &TreeReport,
    output: &Output,
) -> Result<(), Failure> {
    if output.json {
        return output.json(&json!({
            "from": from, "to": to, "files": report.files, "directories": report.directories,
            "bytes": report.bytes, "metadata": report.metadata, "reflink": report.reflink,
            "server_side": report.server_side, "streamed": report.streamed,
            "skipped": report.skipped_count, "failed": report.failed_count,
        }));
    }
    let ways = [
        (report.metadata, "by metadata"),
        (report.reflink, "by reflink"),
        (report.server_side, "server-side"),
        (report.streamed, "streamed"),
    ];
    let used: Vec<_> = ways.iter().filter(|(number, _)| *number > 0).collect();
    let how = match used.as_slice() {
        [] => String::new(),
        [(_, way)] => format!(", {way}"),
        several => {
            let each: Vec<_> = several.iter().map(|(n, way)| format!("{n} {way}")).collect();
            format!(", {}", each.join(", "))
        }
    };
    let bytes = match report.streamed {
        0 => String::new(),
        _ => format!(", {}", size(report.bytes)),
    };
    output.note(&format!("copied {}{bytes}{how} to {to}", count(report.files, "file")));
    Ok(())
}

pub(crate) async fn mv(
    args: &MoveArgs,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let (destination, sources) = Destination::of(&args.paths, session).await?;
    let (destination, bar) = (&destination, Bar::new(output));
    let options = &options(args.no_clobber, &bar);
    let bar = &bar;
    each(&args.paths[..sources], output, |operand| async move {
        let from = session.path(operand, Reach::Below).await?;
        let to =
            if destination.path == from { from.clone() } else { destination.for_source(&from)? };
        let moved: Result<RenameMethod, Error> = session.kernel.rename(&from, &to, options).await;
        bar.clear();
        let how = moved?.as_str();
        if output.json {
            return output.json(&json!({ "from": from, "to": to, "how": how }));
        }
        output.note(&match how {
            "unchanged" => format!("{from} is there already; nothing was done"),
            how => format!("moved {from} to {to}, {how}"),
        });
        Ok(())
    })
    .await
}
