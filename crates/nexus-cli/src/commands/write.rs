//! `write`: a whole file from an argument, a file or standard input, in bounded memory.

use std::io;

use nexus_fs::{Bytes, Metadata, Version, VfsPath, WriteMode, WriteOptions};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::args::WriteArgs;
use crate::exit::{Failure, code};
use crate::output::Output;
use crate::render;
use crate::session::{Reach, Session};

/// How much is read at once, in bytes.
const PIECE: usize = 1 << 20;

pub(crate) async fn write(
    args: &WriteArgs,
    session: &Session<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let path = session.path(&args.path, Reach::Here).await?;
    let mode = match &args.if_version {
        _ if args.create => WriteMode::Create,
        Some(version) => WriteMode::Replace(Version::new(version.as_str())),
        None => WriteMode::Overwrite,
    };
    let content_type = args.content_type.clone();
    let options = WriteOptions { mode, content_type, ..WriteOptions::default() };
    let metadata = match (&args.text, &args.file) {
        (Some(text), _) if text != "-" => {
            session.kernel.write(&path, text.clone(), &options).await?
        }
        (_, Some(file)) => {
            let about = |error: io::Error| {
                let code = match error.kind() {
                    io::ErrorKind::NotFound => code::NOT_FOUND,
                    io::ErrorKind::PermissionDenied => code::DENIED,
                    _ => code::FAILED,
                };
                Failure::new(code, format!("{}: {error}", file.display()))
            };
            let opened = tokio::fs::File::open(file).await.map_err(about)?;
            stream(opened, &path, &options, session, about).await?
        }
        _ => {
            let about = |error| Failure::internal(format!("standard input: {error}"));
            stream(tokio::io::stdin(), &path, &options, session, about).await?
        }
    };
    if output.json {
        return output.json(&render::entry(&path, &metadata));
    }
    let size = metadata.size.map(|size| format!(", {}", render::size(size))).unwrap_or_default();
    let version = metadata.version.map(|v| format!(", version {v}")).unwrap_or_default();
    output.note(&format!("wrote {path}{size}{version}"));
    Ok(())
}

async fn stream(
    mut from: impl AsyncRead + Unpin + Send,
    path: &VfsPath,
    options: &WriteOptions,
    session: &Session<'_>,
    about: impl Fn(io::Error) -> Failure + Send,
) -> Result<Metadata, Failure> {
    let mut upload = session.kernel.upload(path, options).await?;
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        // A dropped upload publishes nothing, so leaving in the middle is safe.
        while piece.len() < PIECE {
            if from.read_buf(&mut piece).await.map_err(&about)? == 0 {
                break;
            }
        }
        if piece.is_empty() {
            return Ok(upload.finish().await?);
        }
        upload.write(Bytes::from(piece)).await?;
    }
}
