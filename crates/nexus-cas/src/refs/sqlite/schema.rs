//! The tables, how a connection is set up, and what SQLite's errors mean.

use std::path::Path;
use std::time::Duration;

use nexus_core::{Error, ErrorKind, Result, Retry};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, ffi};

use crate::refs::Expect;

/// Older libraries can lose a write-ahead log while it is reset (<https://sqlite.org/wal.html>).
const OLDEST_LIBRARY: i32 = 3_051_003;

/// The format of the tables. A newer one is not touched.
const FORMAT: i64 = 1;

/// How long a connection waits for a lock of another process.
const BUSY: Duration = Duration::from_secs(30);

const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE refs (path TEXT PRIMARY KEY, digest BLOB, record BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX refs_digest ON refs (digest) WHERE digest IS NOT NULL;
CREATE TABLE contents (
    digest BLOB PRIMARY KEY, size INTEGER NOT NULL, stored INTEGER NOT NULL,
    checked INTEGER NOT NULL, place INTEGER NOT NULL, seal BLOB NOT NULL, content BLOB);
CREATE INDEX contents_checked ON contents (checked, digest);
CREATE TABLE chunks (content BLOB, chunk BLOB, PRIMARY KEY (content, chunk)) WITHOUT ROWID;
CREATE INDEX chunks_chunk ON chunks (chunk);
CREATE TABLE pins (id INTEGER PRIMARY KEY, digest BLOB NOT NULL, owner TEXT NOT NULL);
CREATE INDEX pins_digest ON pins (digest);
";

/// What to do about damaged refs.
pub(super) const RESTORE: &str =
    "put the latest copy below `.nexus/backup` in the place of `.nexus/refs.db`";

/// What survives what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// What was acknowledged survives a power cut.
    Full,
    /// It survives the end of the process, however it comes, but not always a power cut.
    Process,
}

/// Opens the database, and makes the tables where there are none and none must be.
pub(super) fn open(path: &Path, durability: Durability, expect: Expect) -> Result<Connection> {
    if rusqlite::version_number() < OLDEST_LIBRARY {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("SQLite {} can lose writes", rusqlite::version()),
        )
        .with_hint("build with the bundled SQLite"));
    }
    // SQLite takes no file, and an empty one, for an empty database.
    if expect == Expect::Refs {
        match std::fs::metadata(path) {
            Ok(file) if file.len() > 0 => {}
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(from_io(error));
            }
            _ => return Err(gone()),
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(path, flags).map_err(from_sqlite)?;
    set_up(&connection).map_err(from_sqlite)?;
    if expect == Expect::Anything {
        make_tables(&mut connection).map_err(from_sqlite)?;
    }
    match version(&connection).map_err(from_sqlite)? {
        0 => return Err(gone()),
        FORMAT => check_tables(&connection)?,
        _ => {
            return Err(Error::new(ErrorKind::Unsupported, "a newer nexus-fs made this store")
                .with_hint("open it with that version"));
        }
    }
    // Only now: tables are made for good, whatever this mount promises.
    synchronize(&connection, durability)?;
    Ok(connection)
}

/// Has a connection leave the log as it is when it is closed, even when it is the last one.
pub(super) fn leave_log(connection: &Connection) -> Result<()> {
    let left = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    left.map(drop).map_err(from_sqlite)
}

/// What commits survive from now on.
pub(super) fn synchronize(connection: &Connection, durability: Durability) -> Result<()> {
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Process => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous).map_err(from_sqlite)
}

/// Refuses tables that are not as they were made: what is asked of them would be answered otherwise.
fn check_tables(connection: &Connection) -> Result<()> {
    let mut found: Vec<String> = connection
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .map_err(from_sqlite)?;
    let mut expected: Vec<_> =
        TABLES.split(';').map(str::trim).filter(|text| !text.is_empty()).collect();
    found.sort();
    expected.sort_unstable();
    if found == expected {
        return Ok(());
    }
    Err(Error::new(ErrorKind::IntegrityMismatch, "the tables of the store's refs are damaged")
        .with_hint(RESTORE))
}

/// The refusal of a store whose description is there and whose refs are not.
fn gone() -> Error {
    Error::new(ErrorKind::IntegrityMismatch, "the store's refs are gone").with_hint(RESTORE)
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // A page that was damaged must not lead SQLite astray.
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "trusted_schema", false)
}

/// Makes the tables where there are none.
fn make_tables(connection: &mut Connection) -> rusqlite::Result<()> {
    if version(connection)? > 0 {
        return Ok(());
    }
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Another process may have been first.
    if version(&transaction)? == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    transaction.commit()
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// What an error of the system means, about a file beside the database.
pub(super) fn from_io(error: std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let (kind, message) = match error.kind() {
        Io::StorageFull => (ErrorKind::StorageFull, "no space is left on the disk"),
        Io::QuotaExceeded => (ErrorKind::QuotaExceeded, "the disk quota is used up"),
        Io::PermissionDenied | Io::ReadOnlyFilesystem => {
            (ErrorKind::PermissionDenied, "the store can not be written")
        }
        _ => (ErrorKind::Unavailable, "the disk failed under the store"),
    };
    Error::new(kind, message).with_source(error)
}

/// What an error of SQLite means to a caller.
pub(super) fn from_sqlite(error: rusqlite::Error) -> Error {
    let code = match &error {
        rusqlite::Error::SqliteFailure(failure, _) => failure.extended_code & 0xff,
        // A value that was never stored, a table that is not as it was made.
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => ffi::SQLITE_CORRUPT,
        _ => -1,
    };
    let (kind, message) = match code {
        ffi::SQLITE_FULL => (ErrorKind::StorageFull, "no space is left on the disk"),
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => {
            (ErrorKind::Unavailable, "another process holds the store's refs for too long")
        }
        // What is asked is always the same, and small: these are said of what was damaged, too.
        ffi::SQLITE_CORRUPT
        | ffi::SQLITE_NOTADB
        | ffi::SQLITE_ERROR
        | ffi::SQLITE_TOOBIG
        | ffi::SQLITE_CONSTRAINT
        | ffi::SQLITE_MISMATCH => (ErrorKind::IntegrityMismatch, "the store's refs are damaged"),
        ffi::SQLITE_PERM | ffi::SQLITE_READONLY | ffi::SQLITE_AUTH => {
            (ErrorKind::PermissionDenied, "the store's refs can not be written")
        }
        ffi::SQLITE_CANTOPEN => (ErrorKind::Unavailable, "the store's refs can not be opened"),
        ffi::SQLITE_IOERR => (ErrorKind::Unavailable, "the disk failed under the store's refs"),
        ffi::SQLITE_PROTOCOL => (ErrorKind::Unavailable, "the store's refs can not be locked"),
        ffi::SQLITE_NOMEM => (ErrorKind::Unavailable, "the system is out of memory"),
        _ => (ErrorKind::Internal, "the store's refs answered an unexpected error"),
    };
    let mapped = Error::new(kind, message).with_source(error);
    match kind {
        ErrorKind::IntegrityMismatch => mapped.with_hint(RESTORE),
        ErrorKind::Unavailable if code == ffi::SQLITE_BUSY => {
            mapped.with_retry(Retry::After(Duration::from_secs(1)))
        }
        _ => mapped,
    }
}
