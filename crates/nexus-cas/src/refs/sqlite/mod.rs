//! Refs in SQLite, in a file of the store: for stores that are a directory of this computer.
//!
//! One thread writes, in groups; readers see the last commit and wait for nobody. Several processes
//! may have one store open.
//!
//! - `schema`: tables, connections, what errors mean
//! - `read`: rows, each checked before it is believed
//! - `change`: what each change checks and writes
//! - `writer`: groups of changes, and what is collected
//! - `owner`: who made a pin, and whether it lives
//! - `contents`: rows of contents, and what their chunks are
//! - `location`: whether the database is where it was
//! - `meta`: what is recorded of the whole store
//! - `boot`: since when blobs can be relied on
//! - `backup`: copies of the refs
//! - `reserve`: space for deletes on a full disk

mod backup;
mod boot;
mod change;
mod contents;
mod location;
mod meta;
mod owner;
mod read;
mod reserve;
mod schema;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use nexus_core::{Bytes, Digest, Error, ErrorKind, Result, Usage, Version, VfsPath, async_trait};
use rusqlite::Connection;
use tokio::sync::oneshot;

use self::backup::Backups;
use self::location::Location;
use self::owner::Owner;
use self::reserve::Reserve;
pub use self::schema::Durability;
use self::writer::{Ask, Gate, Job, Writer, locked};
use super::{Change, Content, Expect, Kept, NewFile, Outcome, Pin, Probe, Refs};
use crate::manifest::Manifest;
use crate::record::Record;

/// The name of the database in the directory of the store.
const FILE: &str = "refs.db";

/// The directory of its copies.
const BACKUPS: &str = "backup";

/// The space that is set aside.
const RESERVE: &str = "reserve";

/// How many connections for reading are kept.
const READERS: usize = 4;

/// Refs in an SQLite database.
pub struct SqliteRefs {
    trusted_since: i64,
    readers: Arc<Readers>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

struct Readers {
    location: Location,
    idle: Mutex<Option<Vec<Connection>>>,
}

impl Readers {
    fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = |taken: &mut Option<Vec<Connection>>| match taken {
            Some(idle) => Ok(idle.pop()),
            None => Err(closed()),
        };
        let taken = idle(&mut self.idle.lock().unwrap_or_else(PoisonError::into_inner))?;
        let connection = match taken {
            Some(connection) => connection,
            None => {
                let opened = schema::open(&self.location.path, Durability::Process, Expect::Refs)?;
                self.location.check()?;
                schema::leave_log(&opened)?;
                opened
            }
        };
        let done = work(&connection);
        let mut kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &mut *kept
            && kept.len() < READERS
        {
            kept.push(connection);
        }
        done
    }
}

impl SqliteRefs {
    /// Opens the refs in `dir`, an existing directory. `probe` knows the blobs. Blocks on the disk.
    ///
    /// # Errors
    /// `Unsupported` for what a newer program made, `IntegrityMismatch` for what is no database or is
    /// not what must be there, and those of the disk.
    pub fn open(
        dir: &Path,
        durability: Durability,
        expect: Expect,
        probe: Arc<dyn Probe>,
    ) -> Result<Self> {
        let path = dir.join(FILE);
        let alone = owner::opening(dir).map_err(schema::from_io)?;
        let reserve = Reserve::new(dir.join(RESERVE));
        let connection = match schema::open(&path, durability, expect) {
            // Opening takes a little space, even to read.
            Err(error) if out_of_space(&error) && reserve.release() => {
                schema::open(&path, durability, expect)?
            }
            opened => {
                let opened = opened?;
                reserve.fill();
                opened
            }
        };
        let trusted_since = boot::since(&connection);
        drop(alone);
        let owners = dir.join("owners");
        let owner = Owner::new(&owners).map_err(schema::from_io)?;
        let location = Location::of(path.clone())?;
        let writer = Writer {
            connection,
            location: location.clone(),
            durability,
            owner,
            owners,
            probe,
            backups: Backups::new(path.clone(), dir.join(BACKUPS)),
            reserve,
            distrusted: false,
        };
        let (jobs, waiting) = mpsc::channel();
        std::thread::Builder::new()
            .name("nexus-refs".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, "no thread can be started").with_source(error)
            })?;
        let readers = Readers { location, idle: Mutex::new(Some(Vec::new())) };
        Ok(Self { trusted_since, readers: Arc::new(readers), jobs: Mutex::new(Some(jobs)) })
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let readers = Arc::clone(&self.readers);
        let done = tokio::task::spawn_blocking(move || readers.with(work)).await;
        done.unwrap_or_else(|error| Err(shut_down(error)))
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let sent = match &*self.jobs.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(jobs) => jobs.send(job(reply)).is_ok(),
            None => false,
        };
        if !sent {
            return Err(closed());
        }
        answer.await.map_err(|_| closed())
    }
}

/// Tells the writer when the caller goes away; waits for a change that is on its way.
struct GivesUp(Gate);

impl Drop for GivesUp {
    fn drop(&mut self) {
        *locked(&self.0) = true;
    }
}

#[async_trait]
impl Refs for SqliteRefs {
    async fn get(&self, path: &VfsPath) -> Result<Option<Record>> {
        let path = path.clone();
        self.read(move |connection| read::get(connection, &path)).await
    }

    async fn open(&self, path: &VfsPath) -> Result<Option<(Record, Option<Kept>)>> {
        let path = path.clone();
        self.read(move |connection| {
            let snapshot = connection.unchecked_transaction().map_err(schema::from_sqlite)?;
            read::open(&snapshot, &path)
        })
        .await
    }

    async fn page(
        &self,
        dir: &VfsPath,
        recursive: bool,
        after: Option<String>,
        count: usize,
    ) -> Result<Vec<(VfsPath, Record)>> {
        let dir = dir.clone();
        self.read(move |connection| read::page(connection, &dir, recursive, after, count)).await
    }

    async fn apply(&self, change: Change) -> Result<Outcome> {
        let gate = Gate::default();
        let _gives_up = GivesUp(Arc::clone(&gate));
        self.ask(|reply| Job::Change(Ask { change, gate, reply })).await?
    }

    fn release(&self, pin: Pin) {
        let (reply, _) = oneshot::channel();
        let ask = Ask { change: Change::Unpin(pin), gate: Gate::default(), reply };
        if let Some(jobs) = &*self.jobs.lock().unwrap_or_else(PoisonError::into_inner) {
            // A thread that has ended took its pins with it.
            let _ = jobs.send(Job::Change(ask));
        }
    }

    fn trusted_since(&self) -> i64 {
        self.trusted_since
    }

    async fn usage(&self) -> Result<Usage> {
        self.read(read::usage).await
    }

    async fn whole_of(&self, chunk: &Digest) -> Result<Option<Manifest>> {
        let chunk = *chunk;
        self.read(move |connection| contents::whole_of(connection, &chunk)).await
    }

    async fn content(&self, digest: &Digest) -> Result<Option<(Content, Option<Bytes>)>> {
        let digest = *digest;
        self.read(move |connection| contents::get(connection, &digest)).await
    }

    async fn due(
        &self,
        before: i64,
        after: Option<(i64, Digest)>,
        count: usize,
    ) -> Result<Vec<Content>> {
        self.read(move |connection| read::due(connection, before, after, count)).await
    }

    async fn checked(&self, digest: &Digest, at: i64) -> Result<()> {
        let digest = *digest;
        self.ask(|reply| Job::Checked(digest, at, reply)).await?
    }

    async fn needed(&self, digest: &Digest) -> Result<(Option<Kept>, Vec<VfsPath>)> {
        let digest = *digest;
        self.read(move |connection| {
            let snapshot = connection.unchecked_transaction().map_err(schema::from_sqlite)?;
            let paths = read::paths_of(&snapshot, &digest)?;
            // What is damaged is as good as none.
            Ok((contents::kept(&snapshot, &digest).unwrap_or_default(), paths))
        })
        .await
    }

    async fn set_aside(
        &self,
        digest: &Digest,
        version: Option<Version>,
    ) -> Result<Option<Vec<VfsPath>>> {
        let digest = *digest;
        self.ask(|reply| Job::SetAside(digest, version, reply)).await?
    }

    async fn run(&self) -> Result<Option<i64>> {
        self.read(meta::run).await
    }

    async fn set_run(&self, before: Option<i64>) -> Result<()> {
        self.ask(|reply| Job::Run(before, reply)).await?
    }

    async fn unneeded(&self, digests: Vec<Digest>) -> Result<Vec<Digest>> {
        self.read(move |connection| writer::unneeded(connection, &digests)).await
    }

    async fn unknown(&self, after: Option<Digest>, count: usize) -> Result<Vec<Content>> {
        self.read(move |connection| read::unknown(connection, after, count)).await
    }

    async fn unreferenced(&self, after: Option<Digest>, count: usize) -> Result<Vec<Content>> {
        self.read(move |connection| read::unreferenced(connection, after, count)).await
    }

    async fn collect(&self, digests: Vec<Digest>) -> Result<u64> {
        self.ask(|reply| Job::Collect(digests, reply)).await?
    }

    async fn mend(&self, file: NewFile) -> Result<()> {
        self.ask(|reply| Job::Mend(Box::new(file), reply)).await?
    }

    async fn audit(&self) -> Result<()> {
        self.read(|connection| {
            let snapshot = connection.unchecked_transaction().map_err(schema::from_sqlite)?;
            read::audit(&snapshot)
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(jobs) = jobs {
            let (reply, done) = oneshot::channel();
            if jobs.send(Job::Close(reply)).is_ok() {
                // Without an answer the thread has ended by itself.
                let _ = done.await;
            }
        }
        Ok(())
    }
}

/// Whether a full disk can be why. SQLite calls it a failure of the disk where it maps a file.
fn out_of_space(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::Unavailable)
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the mount was closed")
}

fn shut_down(error: tokio::task::JoinError) -> Error {
    if error.is_panic() {
        return Error::new(ErrorKind::Internal, "a task of the store's refs failed")
            .with_source(error);
    }
    Error::new(ErrorKind::Closed, "the runtime is shutting down")
}
