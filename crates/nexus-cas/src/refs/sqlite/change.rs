//! Changes, inside a write transaction: what each verb checks, and which rows it touches.
//!
//! A change that is refused has written nothing. One that fails otherwise takes its whole
//! transaction with it.

use nexus_core::{
    DeleteTarget, Deleted, Digest, Error, ErrorKind, Operation, Result, VfsPath, WriteMode,
};
use rusqlite::{Connection, params};

use super::schema::from_sqlite;
use super::{contents, meta, read};
use crate::backend::INLINE;
use crate::blobs::Blobs;
use crate::manifest::Chunk;
use crate::record::{FileRecord, Record, now};
use crate::refs::{Change, Content, NewContent, NewFile, Outcome, Pin, Place, Probe};

/// Why a change was not made.
pub(super) enum Fault {
    /// It may not be made; nothing was written.
    Refused(Error),
    /// The database failed: the transaction is lost.
    Database(rusqlite::Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(error) => error,
            Fault::Database(error) => from_sqlite(error),
        }
    }
}

type Done<T> = std::result::Result<T, Fault>;

/// The key of [`Totals`].
const TOTALS: &str = "totals";

/// What is true of the whole store; read when a transaction begins, written when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// The last version that was given.
    pub(super) version: u64,
    /// How many rows of refs there are.
    pub(super) rows: u64,
    /// The sum of their weights, so that a row that vanishes is noticed.
    pub(super) weight: u128,
    /// Files among them.
    pub(super) files: u64,
    /// The sizes of the files together.
    pub(super) logical: u64,
}

impl Totals {
    pub(super) fn load(connection: &Connection) -> Result<Self> {
        let Some(stored) = meta::get(connection, TOTALS)? else { return Ok(Self::default()) };
        Self::decode(&stored).ok_or_else(|| {
            Error::new(ErrorKind::IntegrityMismatch, "the totals of the store's refs are damaged")
        })
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, weight) = bytes.split_last_chunk::<16>()?;
        let (numbers, rest) = numbers.as_chunks::<8>();
        let [version, rows, files, logical] = *numbers else { return None };
        rest.is_empty().then(|| Self {
            version: u64::from_le_bytes(version),
            rows: u64::from_le_bytes(rows),
            files: u64::from_le_bytes(files),
            logical: u64::from_le_bytes(logical),
            weight: u128::from_le_bytes(*weight),
        })
    }

    pub(super) fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut bytes = Vec::with_capacity(56);
        for number in [self.version, self.rows, self.files, self.logical] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.weight.to_le_bytes());
        meta::put(connection, TOTALS, bytes)
    }

    pub(super) fn add(&mut self, record: &Record, encoded: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.weight = self.weight.wrapping_add(Record::weight(encoded));
        if let Some(file) = record.file() {
            self.files = self.files.wrapping_add(1);
            self.logical = self.logical.wrapping_add(file.size);
        }
    }

    fn remove(&mut self, record: &Record, encoded: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.weight = self.weight.wrapping_sub(Record::weight(encoded));
        if let Some(file) = record.file() {
            self.files = self.files.wrapping_sub(1);
            self.logical = self.logical.wrapping_sub(file.size);
        }
    }
}

/// A write transaction on its way.
pub(super) struct Changes<'a> {
    pub(super) connection: &'a Connection,
    pub(super) totals: Totals,
    pub(super) owner: &'a str,
    pub(super) probe: &'a dyn Probe,
}

impl Changes<'_> {
    pub(super) fn make(&mut self, change: &Change) -> Done<Outcome> {
        match change {
            Change::Put { path, file, mode } => self.put(path, file, mode),
            Change::Copy { from, to, mode } => self.copy(from, to, mode),
            Change::Rename { from, to, mode } => {
                self.rename(from, to, mode).map(|()| Outcome::Done)
            }
            Change::Delete(target) => self.delete(target).map(Outcome::Deleted),
            Change::CreateDir(path) => self.create_dir(path).map(|()| Outcome::Done),
            Change::RemoveDir(path) => self.remove_dir(path).map(|()| Outcome::Done),
            Change::Pin(digest) => self.pin(digest).map(Outcome::Pinned),
            Change::Unpin(pin) => self.unpin(*pin).map(|()| Outcome::Done),
        }
    }

    fn get(&self, path: &VfsPath) -> Done<Option<Record>> {
        read::get(self.connection, path).map_err(Fault::Refused)
    }

    /// Writes the record of a path, over the `old` one.
    fn set(&mut self, path: &VfsPath, record: &Record, old: Option<&Record>) -> Done<()> {
        let encoded = record.encode(path.as_str());
        if let Some(old) = old {
            self.totals.remove(old, &old.encode(path.as_str()));
        }
        self.totals.add(record, &encoded);
        let digest = record.file().map(|file| *file.digest.as_bytes());
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO refs (path, digest, record) VALUES (?, ?, ?)")?
            .execute(params![path.as_str(), digest, encoded])?;
        if let Some(file) = old.and_then(Record::file) {
            self.forget(file)?;
        }
        Ok(())
    }

    fn remove(&mut self, path: &VfsPath, record: &Record) -> Done<()> {
        self.totals.remove(record, &record.encode(path.as_str()));
        self.connection
            .prepare_cached("DELETE FROM refs WHERE path = ?")?
            .execute([path.as_str()])?;
        match record.file() {
            Some(file) => self.forget(file),
            None => Ok(()),
        }
    }

    /// What is beside the refs of a content that was never shared goes with its path. Whether a shared
    /// one has other paths is known by an index alone, which may be damaged: it is left to the collector.
    fn forget(&mut self, file: &FileRecord) -> Done<()> {
        let content = contents::look_up(self.connection, &file.digest)?;
        let sole = content.is_some_and(|content| {
            !content.shared && matches!(content.place, Some(Place::Inline | Place::Chunked))
        });
        if !sole {
            return Ok(());
        }
        let gone = self
            .connection
            .prepare_cached(
                "DELETE FROM contents WHERE digest = ?1 AND content IS NOT NULL \
                 AND NOT EXISTS (SELECT 1 FROM refs WHERE digest = ?1)",
            )?
            .execute([file.digest.as_bytes()])?;
        if gone > 0 && file.size > INLINE as u64 {
            contents::forget_chunks(self.connection, &file.digest)?;
        }
        Ok(())
    }

    /// Whether a file of this mode may be put at `path`; answers what is there.
    fn check_target(&self, path: &VfsPath, mode: &WriteMode) -> Done<Option<Record>> {
        if path.is_root() {
            return Err(is_a_directory(path).into());
        }
        let current = self.get(path)?;
        let version = match &current {
            None => {
                self.check_parents(path)?;
                None
            }
            Some(Record::Directory) => return Err(is_a_directory(path).into()),
            Some(Record::File(file)) => Some(file.neutral_version()),
        };
        mode.check(version.as_ref()).map_err(|error| error.with_path(path.as_str()))?;
        Ok(current)
    }

    /// Whether everything above `path` is a directory, or nothing yet.
    fn check_parents(&self, path: &VfsPath) -> Done<()> {
        read::check_parents(self.connection, path).map_err(Fault::Refused)
    }

    fn make_parents(&mut self, path: &VfsPath) -> Done<()> {
        for parent in read::ancestors(path) {
            if self.get(&parent)?.is_some() {
                break;
            }
            self.set(&parent, &Record::Directory, None)?;
        }
        Ok(())
    }

    fn put(&mut self, path: &VfsPath, file: &NewFile, mode: &WriteMode) -> Done<Outcome> {
        let old = self.check_target(path, mode)?;
        let known = contents::look_up(self.connection, &file.digest)?;
        if !self.keep(file, known.as_ref())? {
            return Ok(Outcome::Missing);
        }
        let again =
            old.as_ref().and_then(Record::file).is_some_and(|old| old.digest == file.digest);
        if known.is_some() && !again {
            contents::set_shared(self.connection, &file.digest)?;
        }
        for pin in &file.pins {
            self.unpin(*pin)?;
        }
        let record = FileRecord {
            digest: file.digest,
            size: file.size,
            modified: now(),
            version: 0,
            content_type: file.content_type.clone(),
            user: file.user.clone(),
        };
        let record = self.put_record(path, record, old.as_ref())?;
        let known = known.is_some_and(|known| known.place.is_some());
        Ok(Outcome::Put { record, known })
    }

    /// Makes sure that the content is known, in the place where it is; answers whether it is there.
    fn keep(&mut self, file: &NewFile, known: Option<&Content>) -> Done<bool> {
        let (digest, size) = (&file.digest, file.size);
        let shared = known.is_some();
        Ok(match (&file.content, known.and_then(|content| content.place)) {
            (NewContent::Inline(_), Some(Place::Inline)) => true,
            (NewContent::Inline(_), _) => {
                self.record(file, shared)?;
                true
            }
            (NewContent::Blob, known) => {
                let there = self.probe.is_there(digest, size)?;
                if there && known != Some(Place::Blob) {
                    self.record(file, shared)?;
                }
                there
            }
            (NewContent::Known, known) => known == Some(Place::Chunked),
            // Kept whole by another mount: one form is enough.
            (NewContent::Chunked(_), Some(Place::Blob)) if self.probe.is_there(digest, size)? => {
                true
            }
            (NewContent::Chunked(_), _) => {
                self.record(file, shared)?;
                true
            }
        })
    }

    /// Records where a content is, over what was recorded before: `shared` says that something was.
    pub(super) fn record(&mut self, file: &NewFile, shared: bool) -> Done<()> {
        let mut content = Content {
            digest: file.digest,
            size: file.size,
            stored: file.size,
            checked: 0,
            place: Some(Place::Inline),
            shared,
        };
        let (connection, digest) = (self.connection, &file.digest);
        contents::forget_chunks(connection, digest)?;
        match &file.content {
            NewContent::Inline(bytes) => contents::put(connection, &content, Some(bytes))?,
            NewContent::Known => {}
            NewContent::Blob => {
                content.place = Some(Place::Blob);
                content.stored = Blobs::stored_size(file.size);
                contents::put(connection, &content, None)?;
            }
            NewContent::Chunked(manifest) => {
                let bytes = manifest.encode();
                content.place = Some(Place::Chunked);
                content.stored = bytes.len() as u64;
                contents::put(connection, &content, Some(&bytes))?;
                contents::put_chunks(connection, manifest)?;
                for chunk in manifest.chunks() {
                    self.record_chunk(chunk)?;
                }
            }
        }
        Ok(())
    }

    /// A chunk is a content as well: it is checked, and counted, by itself.
    fn record_chunk(&mut self, chunk: &Chunk) -> Done<()> {
        let known = contents::look_up(self.connection, &chunk.digest)?;
        if known.is_some_and(|known| known.place == Some(Place::Blob)) {
            return Ok(());
        }
        let size = u64::from(chunk.length);
        let content = Content {
            digest: chunk.digest,
            size,
            stored: Blobs::stored_size(size),
            checked: 0,
            place: Some(Place::Blob),
            shared: true,
        };
        contents::put(self.connection, &content, None)?;
        Ok(())
    }

    /// Puts a file where [`Changes::check_target`] allowed it, under a new version.
    fn put_record(
        &mut self,
        path: &VfsPath,
        mut file: FileRecord,
        old: Option<&Record>,
    ) -> Done<FileRecord> {
        self.totals.version += 1;
        file.version = self.totals.version;
        if old.is_none() {
            self.make_parents(path)?;
        }
        let record = Record::File(file);
        self.set(path, &record, old)?;
        match record {
            Record::File(file) => Ok(file),
            Record::Directory => Err(is_a_directory(path).into()),
        }
    }

    fn file(&self, path: &VfsPath) -> Done<FileRecord> {
        match self.get(path)? {
            Some(Record::File(file)) => Ok(file),
            Some(Record::Directory) => Err(is_a_directory(path).into()),
            None if path.is_root() => Err(is_a_directory(path).into()),
            None => Err(self.missing(path)),
        }
    }

    /// Why nothing is at `path`: `NotADirectory` below a file, else `NotFound`.
    fn missing(&self, path: &VfsPath) -> Fault {
        match self.check_parents(path) {
            Ok(()) => Error::not_found(path).into(),
            Err(fault) => fault,
        }
    }

    fn copy(&mut self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Done<Outcome> {
        let mut file = self.file(from)?;
        let old = self.check_target(to, mode)?;
        file.modified = now();
        contents::set_shared(self.connection, &file.digest)?;
        let record = self.put_record(to, file, old.as_ref())?;
        Ok(Outcome::Put { record, known: true })
    }

    fn rename(&mut self, from: &VfsPath, to: &VfsPath, mode: &WriteMode) -> Done<()> {
        match self.get(from)? {
            None if from.is_root() => Err(root_stays(from, Operation::Rename).into()),
            None => Err(self.missing(from)),
            Some(Record::Directory) => self.rename_dir(from, to),
            Some(record) => {
                let old = self.check_target(to, mode)?;
                if from == to {
                    return Ok(());
                }
                if old.is_none() {
                    self.make_parents(to)?;
                }
                // The new name first: content beside the refs must not lose its last one between.
                self.set(to, &record, old.as_ref())?;
                self.remove(from, &record)
            }
        }
    }

    fn rename_dir(&mut self, from: &VfsPath, to: &VfsPath) -> Done<()> {
        self.check_parents(to)?;
        if to.is_root() || self.get(to)?.is_some() {
            let error = Error::new(ErrorKind::AlreadyExists, "something is there already");
            return Err(error.with_path(to.as_str()).into());
        }
        if to.starts_with(from) {
            let error =
                Error::new(ErrorKind::InvalidPath, "a directory can not be moved into itself");
            return Err(error.with_path(from.as_str()).into());
        }
        self.make_parents(to)?;
        self.set(to, &Record::Directory, None)?;
        let mut after = None;
        loop {
            let page = read::page(self.connection, from, true, after.take(), PAGE)?;
            for (path, record) in &page {
                let below = path.strip_prefix(from).unwrap_or_else(VfsPath::root);
                self.set(&to.concat(&below)?, record, None)?;
                self.remove(path, record)?;
            }
            match page.last() {
                Some((path, _)) if page.len() == PAGE => after = Some(path.as_str().to_owned()),
                _ => break,
            }
        }
        self.remove(from, &Record::Directory)
    }

    fn delete(&mut self, target: &DeleteTarget) -> Done<Deleted> {
        let path = &target.path;
        let file = match self.get(path)? {
            Some(Record::File(file)) => file,
            Some(Record::Directory) => return Err(is_a_directory(path).into()),
            None if path.is_root() => return Err(is_a_directory(path).into()),
            None => {
                self.check_parents(path)?;
                return Ok(Deleted::Absent);
            }
        };
        let wanted = target.if_version.as_ref();
        if wanted.is_some_and(|wanted| *wanted != file.neutral_version()) {
            let error = Error::new(ErrorKind::PreconditionFailed, "the version has changed");
            return Err(error.with_path(path.as_str()).into());
        }
        self.remove(path, &Record::File(file))?;
        Ok(Deleted::Removed)
    }

    fn create_dir(&mut self, path: &VfsPath) -> Done<()> {
        if path.is_root() {
            return Ok(());
        }
        match self.get(path)? {
            Some(Record::Directory) => Ok(()),
            Some(Record::File(_)) => {
                let error = Error::new(ErrorKind::AlreadyExists, "a file is there already");
                Err(error.with_path(path.as_str()).into())
            }
            None => {
                self.check_parents(path)?;
                self.make_parents(path)?;
                self.set(path, &Record::Directory, None)
            }
        }
    }

    fn remove_dir(&mut self, path: &VfsPath) -> Done<()> {
        if path.is_root() {
            return Err(root_stays(path, Operation::RemoveDir).into());
        }
        match self.get(path)? {
            None => return Err(self.missing(path)),
            Some(Record::File(_)) => {
                let error = Error::new(ErrorKind::NotADirectory, "is not a directory");
                return Err(error.with_path(path.as_str()).into());
            }
            Some(Record::Directory) => {}
        }
        if !read::page(self.connection, path, true, None, 1)?.is_empty() {
            let error = Error::new(ErrorKind::DirectoryNotEmpty, "the directory is not empty");
            return Err(error.with_path(path.as_str()).into());
        }
        self.remove(path, &Record::Directory)
    }

    fn pin(&mut self, digest: &Digest) -> Done<Pin> {
        self.connection
            .prepare_cached("INSERT INTO pins (digest, owner) VALUES (?, ?)")?
            .execute(params![digest.as_bytes(), self.owner])?;
        Ok(Pin(self.connection.last_insert_rowid()))
    }

    pub(super) fn unpin(&mut self, pin: Pin) -> Done<()> {
        self.connection.prepare_cached("DELETE FROM pins WHERE id = ?")?.execute([pin.0])?;
        Ok(())
    }
}

/// How many rows are looked at in one go.
const PAGE: usize = 512;

fn is_a_directory(path: &VfsPath) -> Error {
    Error::new(ErrorKind::IsADirectory, "is a directory").with_path(path.as_str())
}

fn root_stays(path: &VfsPath, operation: Operation) -> Error {
    Error::new(ErrorKind::Unsupported, "the root of a store stays")
        .with_operation(operation)
        .with_path(path.as_str())
}
