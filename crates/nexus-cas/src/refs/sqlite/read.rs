//! Reading refs: every row is checked before it is believed.

use nexus_core::{Digest, Error, ErrorKind, Result, Usage, VfsPath};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::change::Totals;
use super::contents::{self, COLUMNS, content_of};
use super::schema::{RESTORE, from_sqlite};
use crate::record::{FileRecord, Record, damaged};
use crate::refs::{Content, Kept};

pub(super) fn get(connection: &Connection, path: &VfsPath) -> Result<Option<Record>> {
    let row = connection
        .prepare_cached("SELECT digest, record FROM refs WHERE path = ?")
        .and_then(|mut found| {
            found.query_row([path.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })
        .map_err(from_sqlite)?;
    row.map(|(digest, record)| decode(path.as_str(), digest, record)).transpose()
}

/// Both must be of one moment: `connection` is in a transaction.
pub(super) fn open(
    connection: &Connection,
    path: &VfsPath,
) -> Result<Option<(Record, Option<Kept>)>> {
    let Some(record) = get(connection, path)? else { return Ok(None) };
    let kept = match record.file() {
        Some(file) => contents::kept(connection, &file.digest)?,
        None => None,
    };
    Ok(Some((record, kept)))
}

fn decode(path: &str, digest: Option<Vec<u8>>, record: Vec<u8>) -> Result<Record> {
    let record = Record::decode(path, &record)?;
    // The column is what the index and the join go by.
    let same = record.file().map(|file| file.digest.as_bytes().as_slice()) == digest.as_deref();
    if same { Ok(record) } else { Err(damaged(path)) }
}

/// The directories above `path`, from the nearest up, without the root.
pub(super) fn ancestors(path: &VfsPath) -> impl Iterator<Item = VfsPath> + use<> {
    std::iter::successors(path.parent(), VfsPath::parent).filter(|parent| !parent.is_root())
}

/// Whether everything above `path` is a directory, or nothing yet.
pub(super) fn check_parents(connection: &Connection, path: &VfsPath) -> Result<()> {
    for parent in ancestors(path) {
        match get(connection, &parent)? {
            Some(Record::File(_)) => {
                let message = format!("{parent} is a file, not a directory");
                return Err(Error::new(ErrorKind::NotADirectory, message).with_path(path.as_str()));
            }
            Some(Record::Directory) => return Ok(()),
            None => {}
        }
    }
    Ok(())
}

/// Up to `count` entries below `dir` after `after`, by the bytes of their paths.
pub(super) fn page(
    connection: &Connection,
    dir: &VfsPath,
    recursive: bool,
    after: Option<String>,
    count: usize,
) -> Result<Vec<(VfsPath, Record)>> {
    let prefix = if dir.is_root() { "/".to_owned() } else { format!("{dir}/") };
    // Everything below a directory sorts before its name and the byte after `/`.
    let end = format!("{}0", &prefix[..prefix.len() - 1]);
    let mut from = after.filter(|after| *after > prefix).unwrap_or_else(|| prefix.clone());
    let mut inclusive = false;
    let mut page = Vec::new();
    while page.len() < count {
        let skip = scan(connection, (&from, inclusive), &end, |path, row| {
            let below = &path[prefix.len()..];
            if !recursive && let Some(child) = below.find('/') {
                return Ok(Step::SkipTo(format!("{}0", &path[..prefix.len() + child])));
            }
            let record = decode(path, row.get(1).map_err(from_sqlite)?, blob(row, 2)?)?;
            page.push((VfsPath::parse(path).map_err(|_| damaged(path))?, record));
            Ok(if page.len() < count { Step::Next } else { Step::Stop })
        })?;
        match skip {
            Some(next) => (from, inclusive) = (next, true),
            None => break,
        }
    }
    Ok(page)
}

enum Step {
    Next,
    Stop,
    SkipTo(String),
}

fn blob(row: &Row<'_>, column: usize) -> Result<Vec<u8>> {
    row.get(column).map_err(from_sqlite)
}

/// Visits rows in the order of their paths; answers where to go on when `visit` asks for it.
fn scan(
    connection: &Connection,
    (from, inclusive): (&str, bool),
    end: &str,
    mut visit: impl FnMut(&str, &Row<'_>) -> Result<Step>,
) -> Result<Option<String>> {
    let text = match inclusive {
        true => "SELECT path, digest, record FROM refs WHERE path >= ? AND path < ? ORDER BY path",
        false => "SELECT path, digest, record FROM refs WHERE path > ? AND path < ? ORDER BY path",
    };
    let mut statement = connection.prepare_cached(text).map_err(from_sqlite)?;
    let mut rows = statement.query([from, end]).map_err(from_sqlite)?;
    while let Some(row) = rows.next().map_err(from_sqlite)? {
        let path: String = row.get(0).map_err(from_sqlite)?;
        // A damaged page can give rows that were not asked for.
        if path.as_str() < from || path.as_str() >= end {
            return Err(damaged(&path));
        }
        match visit(&path, row)? {
            Step::Next => {}
            Step::Stop => return Ok(None),
            Step::SkipTo(next) => return Ok(Some(next)),
        }
    }
    Ok(None)
}

pub(super) fn usage(connection: &Connection) -> Result<Usage> {
    let totals = Totals::load(connection)?;
    let (contents, stored): (i64, i64) = connection
        .query_row("SELECT count(*), coalesce(sum(stored), 0) FROM contents", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .map_err(from_sqlite)?;
    Ok(Usage {
        files: totals.files,
        logical_bytes: totals.logical,
        contents: contents as u64,
        stored_bytes: stored as u64,
    })
}

pub(super) fn paths_of(connection: &Connection, digest: &Digest) -> Result<Vec<VfsPath>> {
    let paths = connection
        .prepare_cached(
            "SELECT path FROM refs WHERE digest = ?1 \
             UNION SELECT path FROM refs WHERE digest IN \
             (SELECT content FROM chunks WHERE chunk = ?1) ORDER BY path",
        )
        .and_then(|mut statement| {
            let rows = statement.query_map([digest.as_bytes()], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        })
        .map_err(from_sqlite)?;
    paths.iter().map(|path| VfsPath::parse(path).map_err(|_| damaged(path))).collect()
}

pub(super) fn due(
    connection: &Connection,
    before: i64,
    after: Option<(i64, Digest)>,
    count: usize,
) -> Result<Vec<Content>> {
    let (time, digest) = after.map_or((-1, [0; 32]), |(time, digest)| (time, *digest.as_bytes()));
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM contents WHERE checked < ?1 AND (checked, digest) > (?2, ?3) \
             AND (EXISTS (SELECT 1 FROM refs WHERE refs.digest = contents.digest) \
             OR EXISTS (SELECT 1 FROM chunks WHERE chunk = contents.digest)) \
             ORDER BY checked, digest LIMIT ?4"
        ))
        .and_then(|mut statement| {
            let rows =
                statement.query_map(params![before, time, digest, count as i64], content_of)?;
            rows.collect()
        })
        .map_err(from_sqlite)
}

pub(super) fn unknown(
    connection: &Connection,
    after: Option<Digest>,
    count: usize,
) -> Result<Vec<Content>> {
    let after = after.map_or(Vec::new(), |digest| digest.as_bytes().to_vec());
    let found: Vec<(String, Option<Vec<u8>>, Vec<u8>)> = connection
        .prepare_cached(
            "SELECT min(path), digest, record FROM refs WHERE digest > ? \
             AND NOT EXISTS (SELECT 1 FROM contents WHERE contents.digest = refs.digest) \
             GROUP BY digest ORDER BY digest LIMIT ?",
        )
        .and_then(|mut statement| {
            let columns = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            statement.query_map(params![after, count as i64], columns)?.collect()
        })
        .map_err(from_sqlite)?;
    let mut unknown = Vec::new();
    for (path, digest, record) in found {
        if let Record::File(FileRecord { digest, size, .. }) = decode(&path, digest, record)? {
            unknown.push(Content {
                digest,
                size,
                stored: 0,
                checked: 0,
                place: None,
                shared: true,
            });
        }
    }
    Ok(unknown)
}

pub(super) fn unreferenced(
    connection: &Connection,
    after: Option<Digest>,
    count: usize,
) -> Result<Vec<Content>> {
    let after = after.map_or(Vec::new(), |digest| digest.as_bytes().to_vec());
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM contents WHERE digest > ? \
             AND NOT EXISTS (SELECT 1 FROM refs WHERE refs.digest = contents.digest) \
             AND NOT EXISTS (SELECT 1 FROM chunks WHERE chunk = contents.digest) \
             ORDER BY digest LIMIT ?"
        ))
        .and_then(|mut statement| {
            statement.query_map(params![after, count as i64], content_of)?.collect()
        })
        .map_err(from_sqlite)
}

/// Looks at every row, by itself and through the index, and compares with the totals what they amount
/// to.
pub(super) fn audit(connection: &Connection) -> Result<()> {
    let mut found = Totals::default();
    // One snapshot for both.
    let expected = Totals::load(connection)?;
    let mut statement =
        connection.prepare("SELECT path, digest, record FROM refs").map_err(from_sqlite)?;
    let mut rows = statement.query([]).map_err(from_sqlite)?;
    // What the collector goes by.
    let mut indexed = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM refs INDEXED BY refs_digest WHERE digest = ? AND path = ?) \
             AND EXISTS (SELECT 1 FROM refs WHERE path = ?2)",
        )
        .map_err(from_sqlite)?;
    while let Some(row) = rows.next().map_err(from_sqlite)? {
        let path: String = row.get(0).map_err(from_sqlite)?;
        let encoded = blob(row, 2)?;
        let record = decode(&path, row.get(1).map_err(from_sqlite)?, encoded.clone())?;
        found.add(&record, &encoded);
        if let Some(file) = record.file() {
            let known: bool = indexed
                .query_row(params![file.digest.as_bytes(), path], |row| row.get(0))
                .map_err(from_sqlite)?;
            if !known {
                return Err(damaged(&path));
            }
        }
    }
    contents::audit(connection)?;
    let found = Totals { version: expected.version, ..found };
    if found == expected {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::IntegrityMismatch,
        format!("the refs hold {} paths, and should hold {}", found.rows, expected.rows),
    )
    .with_hint(RESTORE))
}
