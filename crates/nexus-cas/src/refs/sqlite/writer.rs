//! The one thread that writes: it takes what waits, makes it one transaction, and answers once that
//! is committed. Many callers share the cost of one sync.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use nexus_core::{Digest, Error, ErrorKind, Result, Version, VfsPath};
use rusqlite::{Connection, Transaction, TransactionBehavior, ffi};
use tokio::sync::oneshot;

use super::backup::Backups;
use super::change::{Changes, Fault, Totals};
use super::location::Location;
use super::owner;
use super::reserve::Reserve;
use super::schema::{self, Durability, from_io, from_sqlite};
use super::{contents, meta, read};
use crate::refs::{Change, NewFile, Outcome, Place, Probe};

/// The most changes of one transaction.
const GROUP: usize = 256;

/// What the thread is asked to do.
pub(super) enum Job {
    Change(Ask),
    Checked(Digest, i64, oneshot::Sender<Result<()>>),
    SetAside(Digest, Option<Version>, oneshot::Sender<Result<Option<Vec<VfsPath>>>>),
    Run(Option<i64>, oneshot::Sender<Result<()>>),
    Mend(Box<NewFile>, oneshot::Sender<Result<()>>),
    Collect(Vec<Digest>, oneshot::Sender<Result<u64>>),
    Close(oneshot::Sender<()>),
}

/// A change, and who waits for it.
pub(super) struct Ask {
    pub(super) change: Change,
    pub(super) gate: Gate,
    pub(super) reply: oneshot::Sender<Result<Outcome>>,
}

/// Whether the caller went away. Locked by the writer while the change is on its way, so that
/// nothing lands once the caller's future is dropped.
pub(super) type Gate = Arc<Mutex<bool>>;

pub(super) fn locked(gate: &Gate) -> MutexGuard<'_, bool> {
    gate.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's own.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) location: Location,
    pub(super) durability: Durability,
    pub(super) owner: owner::Owner,
    pub(super) owners: PathBuf,
    pub(super) probe: Arc<dyn Probe>,
    pub(super) backups: Backups,
    pub(super) reserve: Reserve,
    /// Set when a commit failed: what the disk holds is unknown, and nothing is written any more.
    pub(super) distrusted: bool,
}

impl Drop for Writer {
    /// The last connection removes the log, by its path: another store's, where this one was moved.
    fn drop(&mut self) {
        if !self.location.is_kept()
            && let Err(error) = schema::leave_log(&self.connection)
        {
            tracing::debug!(%error, "the log of moved refs may be removed");
        }
    }
}

impl Writer {
    /// Works until it is told to close or nobody is left to ask.
    pub(super) fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        let mut next = None;
        loop {
            self.backups.tick(&self.connection);
            let job = match next.take() {
                Some(job) => job,
                None => match jobs.recv() {
                    Ok(job) => job,
                    Err(_) => return,
                },
            };
            match job {
                Job::Change(ask) => {
                    let mut group = vec![ask];
                    while group.len() < GROUP {
                        match jobs.try_recv() {
                            Ok(Job::Change(ask)) => group.push(ask),
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.group(group);
                }
                Job::Checked(digest, at, reply) => {
                    // Whoever asked may be gone; the check was made all the same.
                    let _ = reply.send(self.checked(&digest, at));
                }
                Job::SetAside(digest, version, reply) => {
                    let _ = reply.send(self.set_aside(&digest, version.as_ref()));
                }
                Job::Run(before, reply) => {
                    let _ = reply.send(self.set_run(before));
                }
                Job::Mend(file, reply) => {
                    let _ = reply.send(self.mend(&file));
                }
                Job::Collect(digests, reply) => {
                    if !reply.is_closed() {
                        let _ = reply.send(self.collect(&digests));
                    }
                }
                Job::Close(reply) => {
                    drop(self);
                    let _ = reply.send(());
                    return;
                }
            }
        }
    }

    fn group(&mut self, mut group: Vec<Ask>) {
        if self.distrusted {
            return group.into_iter().for_each(|ask| answer(ask, Err(distrusted())));
        }
        let gates: Vec<_> = group.iter().map(|ask| Arc::clone(&ask.gate)).collect();
        let held: Vec<_> = gates.iter().map(locked).collect();
        let wanted: Vec<_> = held.iter().map(|given_up| !**given_up).collect();
        let mut keep = wanted.into_iter();
        group.retain(|_| keep.next().unwrap_or_default());
        let done = match group.iter().all(|ask| frees(&ask.change)) {
            true => self.with_room(|writer| writer.transaction(&group)),
            false => self.transaction(&group),
        };
        match done {
            Ok(results) => {
                drop(held);
                group.into_iter().zip(results).for_each(|(ask, result)| answer(ask, result));
            }
            // One that can not be made must not take the others with it.
            Err(_) if group.len() > 1 && !self.distrusted => {
                drop(held);
                group.into_iter().for_each(|ask| self.group(vec![ask]));
            }
            Err(error) => {
                drop(held);
                let kind = error.kind();
                let text = error.message().to_owned();
                let mut first = Some(error);
                for ask in group {
                    let error = first.take().unwrap_or_else(|| Error::new(kind, text.clone()));
                    answer(ask, Err(error));
                }
            }
        }
    }

    /// Makes all changes in one transaction. An error means that none of them was made.
    fn transaction(&mut self, group: &[Ask]) -> Result<Vec<Result<Outcome>>> {
        let for_now =
            group.iter().all(|ask| matches!(ask.change, Change::Pin(_) | Change::Unpin(_)));
        if !for_now || self.durability == Durability::Process {
            return self.make_all(group);
        }
        // A pin ends with its process at the latest: no power cut can take it from anybody. The next
        // commit that lasts syncs it, too.
        schema::synchronize(&self.connection, Durability::Process)?;
        let made = self.make_all(group);
        let restored = schema::synchronize(&self.connection, self.durability);
        self.distrusted |= restored.is_err();
        restored.and(made)
    }

    fn make_all(&mut self, group: &[Ask]) -> Result<Vec<Result<Outcome>>> {
        self.location.check()?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(from_sqlite)?;
        let before = Totals::load(&transaction)?;
        let mut changes = Changes {
            connection: &transaction,
            totals: before,
            owner: self.owner.name(),
            probe: &*self.probe,
        };
        let mut results = Vec::with_capacity(group.len());
        for ask in group {
            match changes.make(&ask.change) {
                Ok(outcome) => results.push(Ok(outcome)),
                Err(Fault::Refused(error)) => results.push(Err(error)),
                Err(Fault::Database(error)) => return Err(from_sqlite(error)),
            }
        }
        let after = changes.totals;
        if after != before {
            after.store(&transaction).map_err(from_sqlite)?;
        }
        let committed = transaction.commit();
        self.trust(committed)?;
        Ok(results)
    }

    /// A commit that failed for want of space or of a lock was rolled back. After any other failure
    /// nobody knows what the disk holds.
    fn trust(&mut self, committed: rusqlite::Result<()>) -> Result<()> {
        let Err(error) = committed else { return Ok(()) };
        let code = error.sqlite_error().map_or(0, |error| error.extended_code & 0xff);
        self.distrusted = !matches!(code, ffi::SQLITE_FULL | ffi::SQLITE_BUSY);
        Err(from_sqlite(error))
    }

    fn checked(&mut self, digest: &Digest, at: i64) -> Result<()> {
        if self.distrusted {
            return Err(distrusted());
        }
        let transaction = self.begin()?;
        contents::set_checked(&transaction, digest, at)?;
        transaction.commit().map_err(from_sqlite)
    }

    /// While the transaction lasts nobody gives the content a path, in any process.
    fn set_aside(
        &mut self,
        digest: &Digest,
        version: Option<&Version>,
    ) -> Result<Option<Vec<VfsPath>>> {
        let probe = Arc::clone(&self.probe);
        let transaction = self.begin()?;
        match probe.set_aside(digest, version)? {
            true => read::paths_of(&transaction, digest).map(Some),
            false => Ok(None),
        }
    }

    fn set_run(&mut self, before: Option<i64>) -> Result<()> {
        if self.distrusted {
            return Err(distrusted());
        }
        meta::set_run(&self.connection, before).map_err(from_sqlite)
    }

    fn mend(&mut self, file: &NewFile) -> Result<()> {
        if self.distrusted {
            return Err(distrusted());
        }
        let (owner, probe) = (self.owner.name().to_owned(), Arc::clone(&self.probe));
        let transaction = self.begin()?;
        let totals = Totals::default();
        let mut changes =
            Changes { connection: &transaction, totals, owner: &owner, probe: &*probe };
        changes.record(file, true)?;
        for pin in &file.pins {
            changes.unpin(*pin)?;
        }
        let committed = transaction.commit();
        self.trust(committed)
    }

    fn begin(&mut self) -> Result<Transaction<'_>> {
        self.location.check()?;
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        begun.map_err(from_sqlite)
    }

    /// Removes what nothing refers to, blobs and rows, while no other writer can commit. Blobs go
    /// before the rows are committed: a crash between the two leaves rows of nothing, which the next
    /// collection removes, never a path without content.
    fn collect(&mut self, digests: &[Digest]) -> Result<u64> {
        self.with_room(|writer| writer.collect_once(digests))
    }

    /// Does what frees space: on a full disk in what was set aside for it, or in what the log gives back.
    fn with_room<T>(&mut self, work: impl Fn(&mut Self) -> Result<T>) -> Result<T> {
        match work(self) {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                if !self.reserve.release() {
                    self.cut_log();
                }
                let done = work(self);
                self.cut_log();
                self.reserve.fill();
                done
            }
            done => done,
        }
    }

    /// Puts what was logged in its place, and gives the space of the log back. Where a reader or the disk
    /// is in the way, a later one will.
    fn cut_log(&self) {
        let cut = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = cut {
            tracing::debug!(%error, "the log of the refs was not cut");
        }
    }

    fn collect_once(&mut self, digests: &[Digest]) -> Result<u64> {
        if self.distrusted {
            return Err(distrusted());
        }
        self.location.check()?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(from_sqlite)?;
        forget_dead_owners(&transaction, &self.owners)?;
        let needless = unneeded(&transaction, digests)?;
        self.probe.remove(&needless)?;
        for digest in &needless {
            // A blob too many, of a content in chunks, leaves the row of the content.
            let gone = transaction
                .prepare_cached(
                    "DELETE FROM contents WHERE digest = ?1 AND (content IS NULL \
                     OR NOT EXISTS (SELECT 1 FROM refs WHERE digest = ?1))",
                )
                .and_then(|mut delete| delete.execute([digest.as_bytes()]))
                .map_err(from_sqlite)?;
            if gone > 0 {
                contents::forget_chunks(&transaction, digest).map_err(from_sqlite)?;
            }
        }
        let committed = transaction.commit();
        self.trust(committed)?;
        Ok(needless.len() as u64)
    }
}

/// Whether a change needs no more space than it leaves.
fn frees(change: &Change) -> bool {
    matches!(change, Change::Delete(_) | Change::RemoveDir(_) | Change::Unpin(_))
}

/// Which of these contents no path has, nothing that a path has is made of, and no pin keeps. A blob whose
/// content paths have in chunks is one too many.
pub(super) fn unneeded(connection: &Connection, digests: &[Digest]) -> Result<Vec<Digest>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM pins WHERE digest = ?1) \
             OR EXISTS (SELECT 1 FROM chunks JOIN refs ON refs.digest = chunks.content \
             WHERE chunks.chunk = ?1), \
             EXISTS (SELECT 1 FROM refs WHERE digest = ?1)",
        )
        .map_err(from_sqlite)?;
    let mut needless = Vec::new();
    for digest in digests {
        let (kept, has_path): (bool, bool) = statement
            .query_row([digest.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(from_sqlite)?;
        let in_chunks = || -> Result<bool> {
            let content = contents::look_up(connection, digest)?;
            Ok(content.is_some_and(|content| content.place == Some(Place::Chunked)))
        };
        if !kept && (!has_path || in_chunks()?) {
            needless.push(*digest);
        }
    }
    Ok(needless)
}

fn forget_dead_owners(connection: &Connection, owners: &std::path::Path) -> Result<()> {
    let names: Vec<String> = connection
        .prepare_cached("SELECT DISTINCT owner FROM pins")
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .map_err(from_sqlite)?;
    for name in names {
        let lives = owner::lives(owners, &name).map_err(from_io)?;
        if !lives {
            connection.execute("DELETE FROM pins WHERE owner = ?", [name]).map_err(from_sqlite)?;
        }
    }
    Ok(())
}

fn answer(ask: Ask, result: Result<Outcome>) {
    // Whoever asked may be gone.
    let _ = ask.reply.send(result);
}

fn distrusted() -> Error {
    Error::new(ErrorKind::Unavailable, "the disk failed under the store's refs before")
        .with_hint("see the system log; unmount and mount again once the disk is well")
}
