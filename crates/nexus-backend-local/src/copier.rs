//! Copies inside the mount: shared where the file system can, else moved by the system.

use std::os::fd::OwnedFd;

use nexus_core::{CopyMethod, EntryKind, Error, ErrorKind, Result, VfsPath};
use rustix::fs::fstat;
use rustix::io::Errno;

use crate::attributes::{Attributes, DigestCache};
use crate::blocking::{Gate, GivenUp};
use crate::publish::{Publishing, Temp, is_a_directory, not_a_file};
use crate::writer;

/// How much is copied between two looks at the gate, in bytes.
#[cfg(target_os = "linux")]
const COPY_STEP: usize = 64 << 20;

/// Copies a file; the digest goes with it.
pub(crate) fn copy(
    publishing: &Publishing<'_>,
    digests: &DigestCache,
    from: &VfsPath,
    to: &VfsPath,
) -> Result<CopyMethod> {
    let root = publishing.root;
    let about_source = |error: Errno| root.error(error, from);
    let source = root.file(from)?;
    let before = fstat(&source).map(Attributes::from).map_err(about_source)?;
    match before.kind {
        EntryKind::File => {}
        EntryKind::Directory => return Err(is_a_directory(from)),
        _ => return Err(not_a_file(from)),
    }
    let about_target = |error: Errno| root.error(error, to);
    publishing.persist(|| {
        let spot = publishing.find(to)?;
        let mut temp = publishing.temp(&spot, spot.current.is_some(), Some(before.mode))?;
        let method = clone_content(&source, &temp, before.size, publishing.gate).map_err(
            |error| match error {
                CopyFault::Source(error) => about_source(error),
                CopyFault::Target(error) => about_target(error),
                CopyFault::GivenUp => GivenUp.into(),
            },
        )?;
        let after = fstat(&source).map(Attributes::from).map_err(about_source)?;
        let written = fstat(temp.file()).map(Attributes::from).map_err(about_target)?;
        if !after.same_content(&before) || written.size != before.size {
            let error =
                Error::new(ErrorKind::Unavailable, "the file was changed while it was copied");
            return Err(error.with_path(from.as_str()).with_hint("copy it again"));
        }
        let digest = digests.digest(&source, &before);
        publishing.publish(spot, &mut temp, before.size, digest)?;
        Ok(method)
    })
}

enum CopyFault {
    Source(Errno),
    Target(Errno),
    GivenUp,
}

fn clone_content(
    source: &OwnedFd,
    temp: &Temp,
    size: u64,
    gate: &Gate,
) -> Result<CopyMethod, CopyFault> {
    #[cfg(target_os = "linux")]
    {
        if rustix::fs::ioctl_ficlone(temp.file(), source).is_ok() {
            return Ok(CopyMethod::Reflink);
        }
        let mut copied = 0;
        while copied < size {
            if gate.is_closed() {
                return Err(CopyFault::GivenUp);
            }
            let length = (size - copied).min(COPY_STEP as u64) as usize;
            let (mut from, mut to) = (copied, copied);
            let step = rustix::fs::copy_file_range(
                source,
                Some(&mut from),
                temp.file(),
                Some(&mut to),
                length,
            );
            match step {
                Ok(0) => break,
                Ok(step) => copied += step as u64,
                Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM)
                    if copied == 0 =>
                {
                    return copy_by_hand(source, temp, gate);
                }
                Err(error) => return Err(CopyFault::Target(error)),
            }
        }
        Ok(CopyMethod::ServerSide)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = size;
        copy_by_hand(source, temp, gate)
    }
}

/// Where the system has no call for it.
fn copy_by_hand(source: &OwnedFd, temp: &Temp, gate: &Gate) -> Result<CopyMethod, CopyFault> {
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    while !gate.is_closed() {
        let length = match rustix::io::pread(source, &mut buffer[..], offset) {
            Ok(0) => return Ok(CopyMethod::Streamed),
            Ok(length) => length,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(CopyFault::Source(error)),
        };
        writer::write_at(temp, &buffer[..length], offset).map_err(CopyFault::Target)?;
        offset += length as u64;
    }
    Err(CopyFault::GivenUp)
}
