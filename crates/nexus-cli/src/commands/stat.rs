//! `stat`: everything that is known of a file.

use nexus_fs::{Metadata, VfsPath};

use super::each;
use crate::exit::Failure;
use crate::output::Output;
use crate::render;
use crate::session::{Reach, Session};

pub(crate) async fn stat(
    paths: &[String],
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    each(paths, output, |operand| async move {
        let path = session.path(operand, Reach::Here).await?;
        let metadata = match session.kernel.stat(&path).await {
            // A directory that only leads to saved mounts is there without any of them.
            Err(_) if !session.saved_below(&path).is_empty() => Metadata::directory(),
            metadata => metadata?,
        };
        if output.json {
            output.json(&render::entry(&path, &metadata))
        } else {
            print(&path, &metadata, output)
        }
    })
    .await
}

fn print(path: &VfsPath, metadata: &Metadata, output: &Output) -> Result<(), Failure> {
    let field = |name: &str, value: Option<String>| match value {
        Some(value) => output.line(&format!("{name:>12}  {value}")),
        None => Ok(()),
    };
    field("path", Some(path.to_string()))?;
    field("kind", Some(metadata.kind.to_string()))?;
    let exact = |bytes: u64| match bytes {
        0..1024 => render::count(bytes, "byte"),
        _ => format!("{} ({})", render::size(bytes), render::count(bytes, "byte")),
    };
    field("size", metadata.size.map(exact))?;
    field("modified", metadata.modified.and_then(render::rfc3339))?;
    field("etag", metadata.etag.as_ref().map(ToString::to_string))?;
    field("version", metadata.version.as_ref().map(ToString::to_string))?;
    field("digest", metadata.digest.map(|digest| format!("blake3 {digest}")))?;
    field("content type", metadata.content_type.as_ref().map(ToString::to_string))?;
    metadata.user.iter().try_for_each(|(key, value)| field(key, Some(value.clone())))
}
