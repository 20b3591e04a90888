//! What is recorded of contents: rows that carry a seal over their numbers and their digest, and which
//! chunks a content is made of.

use nexus_core::{Bytes, Digest, Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::schema::{RESTORE, from_sqlite};
use crate::manifest::Manifest;
use crate::refs::{Content, Kept, Place};

/// The length of a seal, in bytes.
const SEAL: usize = 8;

/// Added to the number of a place when the content is shared.
const SHARED: i64 = 4;

const CONTEXT: &str = "nexus-fs 2026 content row v1";

/// The columns of [`content_of`].
pub(super) const COLUMNS: &str = "digest, size, stored, checked, place, seal";

impl Place {
    fn number(self) -> i64 {
        match self {
            Self::Inline => 0,
            Self::Blob => 1,
            Self::Chunked => 2,
        }
    }

    fn of(number: i64) -> Option<Self> {
        [Self::Inline, Self::Blob, Self::Chunked].into_iter().find(|p| p.number() == number)
    }
}

fn seal(digest: &Digest, numbers: [i64; 4]) -> [u8; SEAL] {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(digest.as_bytes());
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    let mut seal = [0; SEAL];
    hasher.finalize_xof().fill(&mut seal);
    seal
}

/// A row of [`COLUMNS`]. Its place is `None` when the seal does not fit.
pub(super) fn content_of(row: &Row<'_>) -> rusqlite::Result<Content> {
    let digest = Digest::from_bytes(row.get(0)?);
    let numbers: [i64; 4] = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
    let sealed = row.get_ref(5)?.as_bytes_or_null()? == Some(&seal(&digest, numbers)[..]);
    let [size, stored, checked, place] = numbers;
    let shared = place & SHARED != 0;
    Ok(Content {
        digest,
        size: size as u64,
        stored: stored as u64,
        checked,
        place: Place::of(place & !SHARED).filter(|_| sealed),
        shared,
    })
}

/// A content and what is kept of it beside the refs.
pub(super) fn get(
    connection: &Connection,
    digest: &Digest,
) -> Result<Option<(Content, Option<Bytes>)>> {
    let found = connection
        .prepare_cached(&format!("SELECT {COLUMNS}, content FROM contents WHERE digest = ?"))
        .and_then(|mut found| {
            let columns = |row: &Row<'_>| {
                let bytes: Option<Vec<u8>> = row.get(6)?;
                Ok((content_of(row)?, bytes.map(Bytes::from)))
            };
            found.query_row([digest.as_bytes()], columns).optional()
        })
        .map_err(from_sqlite)?;
    match found {
        Some((Content { place: None, .. }, _)) => Err(damaged(digest)),
        found => Ok(found),
    }
}

/// What is recorded of a content, without what is kept of it.
pub(super) fn look_up(connection: &Connection, digest: &Digest) -> Result<Option<Content>> {
    let found = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM contents WHERE digest = ?"))
        .and_then(|mut found| found.query_row([digest.as_bytes()], content_of).optional());
    found.map_err(from_sqlite)
}

/// What reading a content begins with.
pub(super) fn kept(connection: &Connection, digest: &Digest) -> Result<Option<Kept>> {
    let found = get(connection, digest)?;
    Ok(found.and_then(|(content, bytes)| Some(Kept { place: content.place?, bytes })))
}

/// Records a content, over what was recorded of it before.
pub(super) fn put(
    connection: &Connection,
    content: &Content,
    bytes: Option<&[u8]>,
) -> rusqlite::Result<()> {
    let digest = content.digest;
    let numbers = numbers_of(content);
    connection
        .prepare_cached(&format!(
            "INSERT OR REPLACE INTO contents ({COLUMNS}, content) VALUES (?, ?, ?, ?, ?, ?, ?)"
        ))?
        .execute(params![
            digest.as_bytes(),
            numbers[0],
            numbers[1],
            numbers[2],
            numbers[3],
            seal(&digest, numbers),
            bytes
        ])
        .map(drop)
}

fn numbers_of(content: &Content) -> [i64; 4] {
    let place = content.place.map_or(i64::MAX, Place::number);
    let place = if content.shared { place | SHARED } else { place };
    [content.size as i64, content.stored as i64, content.checked, place]
}

/// Records when a content was read back.
pub(super) fn set_checked(connection: &Connection, digest: &Digest, at: i64) -> Result<()> {
    update(connection, digest, |content| content.checked = at)
}

/// Records that another path was given a content.
pub(super) fn set_shared(connection: &Connection, digest: &Digest) -> Result<()> {
    update(connection, digest, |content| content.shared = true)
}

/// Changes what is recorded of a content, unless that is damaged.
fn update(
    connection: &Connection,
    digest: &Digest,
    change: impl FnOnce(&mut Content),
) -> Result<()> {
    let Some(before @ Content { place: Some(_), .. }) = look_up(connection, digest)? else {
        return Ok(());
    };
    let mut content = before;
    change(&mut content);
    if content == before {
        return Ok(());
    }
    let numbers = numbers_of(&content);
    let [_, _, checked, place] = numbers;
    connection
        .prepare_cached("UPDATE contents SET checked = ?, place = ?, seal = ? WHERE digest = ?")
        .and_then(|mut update| {
            let seal = seal(digest, numbers);
            update.execute(params![checked, place, seal, digest.as_bytes()])
        })
        .map(drop)
        .map_err(from_sqlite)
}

/// Records which chunks a content is made of.
pub(super) fn put_chunks(connection: &Connection, manifest: &Manifest) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT OR IGNORE INTO chunks (content, chunk) VALUES (?, ?)")?;
    for chunk in manifest.chunks() {
        insert.execute(params![manifest.digest().as_bytes(), chunk.digest.as_bytes()])?;
    }
    Ok(())
}

/// Forgets which chunks a content was made of.
pub(super) fn forget_chunks(connection: &Connection, digest: &Digest) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM chunks WHERE content = ?")?
        .execute([digest.as_bytes()])
        .map(drop)
}

/// A content that this is a chunk of.
pub(super) fn whole_of(connection: &Connection, chunk: &Digest) -> Result<Option<Manifest>> {
    let wholes: Vec<Digest> = connection
        .prepare_cached("SELECT content FROM chunks WHERE chunk = ? LIMIT 8")
        .and_then(|mut statement| {
            let digest = |row: &Row<'_>| row.get(0).map(Digest::from_bytes);
            statement.query_map([chunk.as_bytes()], digest)?.collect()
        })
        .map_err(from_sqlite)?;
    for whole in wholes {
        // One that is damaged says nothing; another may.
        if let Ok(Some((_, Some(bytes)))) = get(connection, &whole)
            && let Ok(manifest) = Manifest::decode(&whole, &bytes)
        {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

/// Looks at every content: whether its row is whole, and every chunk known to be one.
pub(super) fn audit(connection: &Connection) -> Result<()> {
    let mut statement =
        connection.prepare(&format!("SELECT {COLUMNS} FROM contents")).map_err(from_sqlite)?;
    let mut rows = statement.query([]).map_err(from_sqlite)?;
    while let Some(row) = rows.next().map_err(from_sqlite)? {
        let content = content_of(row).map_err(from_sqlite)?;
        if content.place == Some(Place::Chunked) {
            audit_chunks(connection, &content.digest)?;
        }
    }
    Ok(())
}

fn audit_chunks(connection: &Connection, digest: &Digest) -> Result<()> {
    let Some((_, Some(bytes))) = get(connection, digest)? else { return Err(damaged(digest)) };
    // A damaged manifest is found, and named with what it harms, when the content is checked.
    let Ok(manifest) = Manifest::decode(digest, &bytes) else { return Ok(()) };
    let mut known = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM chunks INDEXED BY chunks_chunk \
             WHERE chunk = ?1 AND content = ?2) \
             AND EXISTS (SELECT 1 FROM chunks WHERE content = ?2 AND chunk = ?1)",
        )
        .map_err(from_sqlite)?;
    for chunk in manifest.chunks() {
        let known: bool = known
            .query_row(params![chunk.digest.as_bytes(), digest.as_bytes()], |row| row.get(0))
            .map_err(from_sqlite)?;
        if !known {
            let message = format!("the refs forgot the chunk {} of a content", chunk.digest);
            return Err(Error::new(ErrorKind::IntegrityMismatch, message).with_hint(RESTORE));
        }
    }
    Ok(())
}

pub(super) fn damaged(digest: &Digest) -> Error {
    let message = format!("what the store recorded of the content {digest} is damaged");
    Error::new(ErrorKind::IntegrityMismatch, message)
        .with_hint("write the file again, or mend it with `nexus-fs verify`")
}
