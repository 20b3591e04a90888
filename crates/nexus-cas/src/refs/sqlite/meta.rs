//! What is recorded of the whole store: values by key, each with a check of its own.

use nexus_core::{Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension, params};

use super::schema::from_sqlite;

/// The length of a check, in bytes.
const CHECK: usize = 8;

/// The value of a key, if it has one.
pub(super) fn get(connection: &Connection, key: &str) -> Result<Option<Vec<u8>>> {
    let stored: Option<Vec<u8>> = connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?")
        .and_then(|mut statement| statement.query_row([key], |row| row.get(0)).optional())
        .map_err(from_sqlite)?;
    let Some(mut stored) = stored else { return Ok(None) };
    let whole =
        stored.split_last_chunk::<CHECK>().is_some_and(|(value, found)| check(value) == *found);
    if !whole {
        let message = format!("the {key} of the store's refs are damaged");
        return Err(Error::new(ErrorKind::IntegrityMismatch, message));
    }
    stored.truncate(stored.len() - CHECK);
    Ok(Some(stored))
}

/// Gives a key a value.
pub(super) fn put(connection: &Connection, key: &str, mut value: Vec<u8>) -> rusqlite::Result<()> {
    let check = check(&value);
    value.extend_from_slice(&check);
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)")?
        .execute(params![key, value])
        .map(drop)
}

/// The key of [`run`].
const RUN: &str = "verification";

/// Since when contents are read back in a run that did not come to its end, in nanoseconds since 1970.
pub(super) fn run(connection: &Connection) -> Result<Option<i64>> {
    let stored = get(connection, RUN)?;
    Ok(stored.and_then(|stored| Some(i64::from_le_bytes(*stored.first_chunk()?))))
}

/// Records that such a run began, or that it came to its end.
pub(super) fn set_run(connection: &Connection, before: Option<i64>) -> rusqlite::Result<()> {
    match before {
        Some(before) => put(connection, RUN, before.to_le_bytes().to_vec()),
        None => connection.execute("DELETE FROM meta WHERE key = ?", [RUN]).map(drop),
    }
}

fn check(value: &[u8]) -> [u8; CHECK] {
    let mut check = [0; CHECK];
    check.copy_from_slice(&blake3::hash(value).as_bytes()[..CHECK]);
    check
}
