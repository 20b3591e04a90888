//! Copies of the refs, taken while the store is in use: one a day, of which the latest few stay.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;

use super::schema::{self, Durability};
use crate::refs::Expect;

/// How old the latest copy becomes.
const AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a store that stays open asks how old it is.
const ASK: Duration = Duration::from_secs(60 * 60);

/// How many copies stay.
const KEPT: usize = 3;

/// The copy on its way. Locked by whoever takes it; one that is left from a process that was killed is
/// written over.
const TAKING: &str = "taking";

/// The copies of one store.
pub(super) struct Backups {
    database: PathBuf,
    dir: PathBuf,
    asked: Option<Instant>,
    taking: Option<JoinHandle<()>>,
}

impl Backups {
    pub(super) fn new(database: PathBuf, dir: PathBuf) -> Self {
        Self { database, dir, asked: None, taking: None }
    }

    /// Begins a copy, beside everything else, when one is due. Refs without a path need none; what
    /// `connection` sees now decides that, not what is written while the copy begins.
    pub(super) fn tick(&mut self, connection: &Connection) {
        if self.asked.is_some_and(|asked| asked.elapsed() < ASK) {
            return;
        }
        self.asked = Some(Instant::now());
        if !is_due(&self.dir) || is_empty(connection).unwrap_or_default() {
            return;
        }
        let (database, dir) = (self.database.clone(), self.dir.clone());
        let taking = std::thread::Builder::new().name("nexus-backup".to_owned()).spawn(move || {
            if let Err(error) = take(&database, &dir) {
                tracing::warn!(%error, dir = %dir.display(), "the refs could not be backed up");
                // A disk that is full has better use for the space.
                let _ = std::fs::remove_file(dir.join(TAKING));
            }
        });
        self.taking = taking.ok();
    }
}

impl Drop for Backups {
    fn drop(&mut self) {
        if let Some(taking) = self.taking.take() {
            // A copy that failed has said so.
            let _ = taking.join();
        }
    }
}

/// The copies that are there, the oldest first.
fn copies(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut copies: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
        .collect();
    copies.sort();
    copies
}

fn is_due(dir: &Path) -> bool {
    let latest = copies(dir).pop().and_then(|latest| latest.metadata().ok()?.modified().ok());
    // A clock that was set back makes no copy young.
    latest.is_none_or(|taken| SystemTime::now().duration_since(taken).is_ok_and(|age| age > AGE))
}

fn take(database: &Path, dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let connection = schema::open(database, Durability::Process, Expect::Refs)?;
    std::fs::create_dir_all(dir)?;
    let path = dir.join(TAKING);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    // Another process may have taken one while this one came here.
    if !is_due(dir) {
        return Ok(());
    }
    file.set_len(0)?;
    let target = path.to_str().ok_or("the store's path is not UTF-8")?;
    connection.execute("VACUUM INTO ?", [target])?;
    file.sync_all()?;
    std::fs::rename(&path, dir.join(name(&connection)?))?;
    sync_dir(dir)?;
    let copies = copies(dir);
    for old in copies.iter().take(copies.len().saturating_sub(KEPT)) {
        std::fs::remove_file(old)?;
    }
    Ok(())
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM refs)", [], |row| row.get(0))
}

/// When it was taken, so that names sort by age.
fn name(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("SELECT strftime('refs-%Y%m%dT%H%M%SZ.db', 'now')", [], |row| row.get(0))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
