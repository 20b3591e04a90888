//! `rm` and `mkdir`.

use nexus_fs::{ErrorKind, TreeReport};

use super::each;
use crate::exit::{Failure, code};
use crate::output::Output;
use crate::render::count;
use crate::session::{Reach, Session};

pub(crate) async fn rm(
    paths: &[String],
    recursive: bool,
    force: bool,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    each(paths, output, |operand| async move {
        let path = session.path(operand, Reach::Here).await?;
        let removed = if recursive {
            session.kernel.remove_all(&path).await
        } else {
            session.kernel.delete(&path).await.map(|()| TreeReport::default())
        };
        let report = match removed {
            Err(error) if force && error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::IsADirectory => {
                return Err(Failure::from(error).with_hint("remove it with `-r`, or use `rm -r`"));
            }
            removed => removed?,
        };
        report_failures(&report, output)?;
        if recursive {
            let files = count(report.files, "file");
            let directories = count(report.directories, "directory");
            output.note(&format!("removed {files}, {directories}"));
        }
        Ok(())
    })
    .await
}

/// Names what failed in a tree; the whole is then done in part.
pub(crate) fn report_failures(report: &TreeReport, output: &Output) -> Result<(), Failure> {
    for error in &report.failures {
        let mut failure = Failure::new(crate::exit::code_of(error.kind()), error.to_string());
        failure.hint = error.hint().map(str::to_owned);
        output.one_failed(&failure);
    }
    for path in &report.skipped {
        output.note(&format!("skipped {path}: a link to a directory, or no regular file"));
    }
    let unnamed = report.failed_count.saturating_sub(report.failures.len() as u64)
        + report.skipped_count.saturating_sub(report.skipped.len() as u64);
    if unnamed > 0 {
        output.note(&format!("… and {unnamed} more"));
    }
    match report.failed_count {
        0 => Ok(()),
        failed => Err(Failure::new(code::PARTIAL, format!("{} failed", count(failed, "file")))),
    }
}

pub(crate) async fn mkdir(
    paths: &[String],
    parents: bool,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    each(paths, output, |operand| async move {
        let path = session.path(operand, Reach::Here).await?;
        if !parents {
            if session.kernel.stat(&path).await.is_ok() {
                let message = format!("{path}: something is there already");
                return Err(Failure::new(code::CONFLICT, message));
            }
            if let Some(parent) = path.parent() {
                session.kernel.stat(&parent).await.map_err(|error| {
                    Failure::from(error).with_hint("make the directories above too, with `-p`")
                })?;
            }
        }
        Ok(session.kernel.create_dir(&path).await?)
    })
    .await
}
