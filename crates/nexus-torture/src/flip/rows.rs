//! What is done to rows of the refs, by SQL: every page of the database stays right, and what it says is wrong.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::support::Result;
use crate::tree::Tree;

/// Where the refs are, below the root of a store.
pub(super) const FILE: &str = ".nexus/refs.db";

/// Columns of a table that two rows exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    table: &'static str,
    key: &'static str,
    columns: &'static str,
}

/// What a row says beside its key, and each part of it.
const EXCHANGED: [Columns; 6] = [
    Columns { table: "refs", key: "path", columns: "digest, record" },
    Columns { table: "refs", key: "path", columns: "digest" },
    Columns { table: "contents", key: "digest", columns: "size, stored, place, seal, content" },
    Columns { table: "contents", key: "digest", columns: "content" },
    Columns { table: "contents", key: "digest", columns: "size" },
    Columns { table: "contents", key: "digest", columns: "seal" },
];

/// Tables that lose rows, and what tells their rows apart.
const LOSING: [(&str, &str); 3] =
    [("refs", "path"), ("contents", "digest"), ("chunks", "hex(content) || hex(chunk)")];

/// One damage to rows, which are given by their place in the order of their keys.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rows {
    /// Two rows have each other's columns.
    Exchanged(Columns, usize, usize),
    /// A row is not there.
    Gone(&'static str, &'static str, usize),
}

impl Rows {
    /// Every damage to rows of the store that a disk holds.
    ///
    /// # Errors
    /// When its refs can not be read.
    pub(super) fn of(tree: &Tree) -> Result<Vec<Self>> {
        let scratch = crate::support::Scratch::new(None)?;
        let dir = scratch.path().join("store");
        tree.store(&dir)?;
        let refs = Connection::open(dir.join(FILE))?;
        let mut all = Vec::new();
        for columns in EXCHANGED {
            let count = keys(&refs, columns.table, columns.key)?.len();
            for one in 0..count {
                all.extend((one + 1..count).map(|other| Self::Exchanged(columns, one, other)));
            }
        }
        for (table, key) in LOSING {
            let count = keys(&refs, table, key)?.len();
            all.extend((0..count).map(|one| Self::Gone(table, key, one)));
        }
        Ok(all)
    }

    /// Does it to the store in `dir`.
    ///
    /// # Errors
    /// When the refs can not be changed.
    pub(super) fn apply(&self, dir: &Path) -> Result {
        let refs = Connection::open(dir.join(FILE))?;
        match *self {
            Self::Exchanged(Columns { table, key, columns }, one, other) => {
                let keys = keys(&refs, table, key)?;
                refs.execute_batch(&format!("CREATE TEMP TABLE was AS SELECT * FROM {table}"))?;
                let exchange = format!(
                    "UPDATE {table} SET ({columns}) = \
                     (SELECT {columns} FROM was WHERE was.{key} = ?2) WHERE {key} = ?1"
                );
                refs.execute(&exchange, [&keys[one], &keys[other]])?;
                refs.execute(&exchange, [&keys[other], &keys[one]])?;
            }
            Self::Gone(table, key, one) => {
                let keys = keys(&refs, table, key)?;
                refs.execute(&format!("DELETE FROM {table} WHERE {key} = ?"), [&keys[one]])?;
            }
        }
        Ok(refs.close().map_err(|(_, error)| error)?)
    }

    /// In a few words, for people.
    pub(super) fn about(&self) -> String {
        match self {
            Self::Exchanged(Columns { table, columns, .. }, one, other) => {
                format!("{table}: {columns} of rows {one} and {other} exchanged")
            }
            Self::Gone(table, _, one) => format!("{table}: row {one} gone"),
        }
    }
}

fn keys(refs: &Connection, table: &str, key: &str) -> Result<Vec<Value>> {
    let mut statement = refs.prepare(&format!("SELECT {key} FROM {table} ORDER BY 1"))?;
    let keys = statement.query_map([], |row| row.get(0))?;
    Ok(keys.collect::<rusqlite::Result<_>>()?)
}
