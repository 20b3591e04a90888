//! `edit`: exact replacement of text, refused when it is not clear what is meant.

use nexus_fs::{ReadOptions, WriteMode, WriteOptions};
use serde_json::json;
use similar::{ChangeTag, TextDiff};

use crate::args::EditArgs;
use crate::exit::{Failure, code};
use crate::output::{Color, Output};
use crate::render::count;
use crate::session::{Reach, Session};

/// The largest file that is edited, in bytes: it is held in memory.
const MAX_BYTES: usize = 16 << 20;

pub(crate) async fn edit(
    args: &EditArgs,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    if args.old.is_empty() {
        return Err(Failure::usage("the text to replace can not be empty"));
    }
    if args.old == args.new {
        return Err(Failure::usage("the new text is the old one"));
    }
    let path = session.path(&args.path, Reach::Here).await?;
    let read = session.kernel.read(&path, &ReadOptions::default()).await?;
    let metadata = read.metadata;
    let content = read.body.bytes(MAX_BYTES).await.map_err(|e| e.with_path(path.as_str()))?;
    let old = str::from_utf8(&content).map_err(|_| {
        Failure::new(code::FAILED, format!("{path}: is not UTF-8 text, and was left as it is"))
    })?;
    let found = old.matches(&args.old).count() as u64;
    if found == 0 {
        let message = format!("{path}: the text to replace is not in it");
        return Err(Failure::new(code::NOT_FOUND, message));
    }
    if found > 1 && !args.all {
        let message = format!("{path}: the text to replace is in it {found} times");
        return Err(Failure::new(code::CONFLICT, message)
            .with_hint("give more of the text around it, or replace all of them with `--all`"));
    }
    let new = old.replace(&args.old, &args.new);
    if args.preview {
        return diff(old, &new, output);
    }
    let mode = metadata.version.map_or(WriteMode::Overwrite, WriteMode::Replace);
    let written = WriteOptions {
        mode,
        content_type: metadata.content_type.map(String::from),
        user: metadata.user,
        ..WriteOptions::default()
    };
    let written = session.kernel.write(&path, new, &written).await?;
    if output.json {
        let version = written.version.map(|version| version.to_string());
        return output.json(&json!({ "path": path, "replaced": found, "version": version }));
    }
    output.note(&format!("replaced {} in {path}", count(found, "match")));
    Ok(())
}

fn diff(old: &str, new: &str, output: &Output) -> Result<(), Failure> {
    let diff = TextDiff::from_lines(old, new);
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        output.colored(&[(Color::Faint, hunk.header().to_string().trim_end())])?;
        for change in hunk.iter_changes() {
            let (sign, color) = match change.tag() {
                ChangeTag::Equal => (" ", Color::Plain),
                ChangeTag::Insert => ("+", Color::Added),
                ChangeTag::Delete => ("-", Color::Removed),
            };
            let line = change.value().strip_suffix('\n').unwrap_or(change.value());
            output.colored(&[(color, &format!("{sign}{line}"))])?;
        }
    }
    Ok(())
}
