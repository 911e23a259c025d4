//! The store in one SQLite file: the default, for any number of processes on one machine.

use crate::error::StoreError;
use crate::money::Currency;
use crate::store::pool::Readers;
use crate::store::sqlite::connection::{BUSY_TIMEOUT, ConnectionManager, ConnectionRole};
use crate::store::sqlite::identity::OpenFiles;
use crate::store::sqlite::read::SqliteSnapshot;
use crate::store::sqlite::transaction::SqliteTransaction;
use crate::store::sqlite::write_lock::{WriteLock, WriteLockGuard};
use crate::store::{Snapshot, Store, Transaction};
use rusqlite::Connection;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

mod apply;
mod auth;
mod backup;
mod connection;
mod deliveries;
mod error;
mod identity;
mod load;
mod log;
mod read;
mod read_only;
mod rows;
mod sales;
mod scan;
mod schema;
mod transaction;
mod write_lock;

pub use backup::BackupProgress;

/// How long opening a store that is to be made or migrated waits for its turn.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a flush waits for readers that still need the log.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two tries to open it meanwhile: nobody tells when the other process is done.
const OPEN_PAUSE: Duration = Duration::from_millis(5);

/// A store in one SQLite file, durable and shared by any number of processes of one machine.
///
/// Beside the file stand SQLite's `-wal` and `-shm`, which belong to it, and `-lock`, where processes
/// take turns to write.
#[derive(Debug)]
pub struct SqliteStore {
    currency: Currency,
    /// The connection that writes, while no transaction has it; opened anew after it was lost.
    writer: Mutex<Option<Connection>>,
    /// The files that all connections have open.
    files: OpenFiles,
    connections: ConnectionManager,
    /// None for a store that can only be read.
    write_lock: Option<WriteLock>,
    readers: Readers<ConnectionManager>,
}

impl SqliteStore {
    /// The version of the schema that this program writes.
    pub const SCHEMA_VERSION: i64 = schema::VERSION;

    /// Opens the store in that file; creates it, with [`Currency::KRW`], when there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Incompatible`] when the file is no store of this program, or of a newer version;
    /// [`StoreError::Unavailable`] when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::opened(path, Currency::KRW)
    }

    /// Opens the store in that file; creates it, with that currency, when there is none.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`], and [`StoreError::Incompatible`] when the store has another currency.
    pub fn create(path: &Path, currency: Currency) -> Result<Self, StoreError> {
        let store = Self::opened(path, currency)?;
        if store.currency != currency {
            let text = format!("its currency is {} and cannot be changed", store.currency);
            return Err(StoreError::Incompatible(text));
        }
        Ok(store)
    }

    /// Opens the store in that file, and brings it up to date; `None` when there is no file, or nothing
    /// in it yet.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`].
    pub fn find(path: &Path) -> Result<Option<Self>, StoreError> {
        if !path.exists() {
            return Ok(None);
        }
        let connections = ConnectionManager::new(&connection::existing_file(path)?);
        check_log(connections.path())?;
        if !in_time(|| connections.holds_store())? {
            return Ok(None);
        }
        Self::opened_by(connections, Currency::KRW).map(Some)
    }

    /// Opens the store in that file, and makes it, with that currency, when there is none.
    fn opened(path: &Path, currency: Currency) -> Result<Self, StoreError> {
        // Before a file is made: an empty one would have SQLite delete the log of a store that was lost.
        if !path.exists() {
            check_log(path)?;
        }
        let connections = ConnectionManager::new(&connection::prepare_file(path)?);
        check_log(connections.path())?;
        in_time(|| connections.holds_store())?;
        Self::opened_by(connections, currency)
    }

    /// As [`SqliteStore::opened`], once the file is known to be ours.
    fn opened_by(connections: ConnectionManager, currency: Currency) -> Result<Self, StoreError> {
        if connections.is_read_only() {
            return Self::read_only(connections);
        }
        let write_lock = WriteLock::open(connections.path())?;
        let index = identity::index(connections.path())?;
        let (writer, currency) = match connections
            .open(ConnectionRole::Writer)
            .and_then(|writer| schema::ready(writer, &index))
        {
            Ok(Some(ready)) => ready,
            // A new file, an old version, a restored file, or one that another process is making right now. Turning a
            // file to WAL is a write as well, and SQLite does not wait for its turn there.
            Ok(None) | Err(StoreError::Busy) => {
                let _guard = write_lock.lock_within(OPEN_TIMEOUT)?;
                let writer = in_time(|| connections.open(ConnectionRole::Writer))?;
                let currency = schema::migrate(&writer, currency, &index)?;
                // The file alone has to hold its name. Where others read, the next process sees to it.
                checkpoint(&writer)?;
                (writer, currency)
            }
            Err(error) => return Err(error),
        };
        // Stays open as long as the store does: with its last connection the log would be removed and made again.
        let readers = readers(&connections);
        drop(readers.get()?);
        write_lock.bind(connections.path(), &schema::name_of(&writer)?)?;
        let files = OpenFiles::of(connections.path())?;
        let (writer, write_lock) = (Mutex::new(Some(writer)), Some(write_lock));
        Ok(Self { currency, writer, files, connections, write_lock, readers })
    }

    /// As [`SqliteStore::opened_by`], where neither the file nor anything beside it can be written. Each read
    /// looks by itself whether the file has changed.
    fn read_only(connections: ConnectionManager) -> Result<Self, StoreError> {
        let ready = schema::readable(&connections.open(ConnectionRole::Reader)?)?;
        let currency = ready.ok_or_else(|| read_only::refusal_of_older(connections.path()))?;
        let (writer, readers) = (Mutex::new(None), readers(&connections));
        Ok(Self {
            currency,
            writer,
            files: OpenFiles::default(),
            connections,
            write_lock: None,
            readers,
        })
    }

    fn write_lock(&self) -> Result<&WriteLock, StoreError> {
        self.write_lock.as_ref().ok_or_else(|| read_only::refusal(self.path()))
    }

    /// The file, with every link resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.connections.path()
    }

    /// Copies the store as it is now to a new file, while it is in use.
    ///
    /// # Errors
    ///
    /// [`StoreError::Copy`] when the file is there already or cannot be written, as on a full disk;
    /// [`StoreError::Busy`] when others keep the store locked.
    pub fn backup(
        &self,
        to: &Path,
        progress: &mut dyn FnMut(BackupProgress),
    ) -> Result<(), StoreError> {
        backup::backup(&self.connections, to, progress)
    }
}

/// The connections that read, of which none is open yet.
fn readers(connections: &ConnectionManager) -> Readers<ConnectionManager> {
    Readers::new(connections.clone(), connection::POOL_TIMEOUT)
}

/// Refuses a log that belongs to another store or is damaged, before SQLite plays any of it.
fn check_log(path: &Path) -> Result<(), StoreError> {
    identity::check_log(path)?;
    log::check(path)
}

/// Copies the log into the file and empties it, as far as no reader needs it.
fn checkpoint(connection: &Connection) -> Result<(), StoreError> {
    Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

/// Tries again while a store is being made. Processes that only look at the file keep it from being turned
/// to WAL for moments, and SQLite does not wait for them.
fn in_time<T>(work: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let begun = Instant::now();
    loop {
        match work() {
            Err(StoreError::Busy) if begun.elapsed() < OPEN_TIMEOUT => {
                std::thread::sleep(OPEN_PAUSE);
            }
            result => return result,
        }
    }
}

impl Store for SqliteStore {
    fn currency(&self) -> Currency {
        self.currency
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let slot = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.begin_with(slot, self.write_lock()?.wait()?, BUSY_TIMEOUT)
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        let slot = match self.writer.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        let Some(guard) = self.write_lock()?.get()? else { return Ok(None) };
        match self.begin_with(slot, guard, Duration::ZERO) {
            Err(StoreError::Busy) => Ok(None),
            begun => begun.map(Some),
        }
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        // Before another connection is opened, which would open whatever is there now.
        self.files.check()?;
        let reader = self.readers.get()?;
        self.files.check()?;
        Ok(Box::new(SqliteSnapshot::begin(reader, &self.connections)?))
    }

    fn prepare(&self) -> Result<(), StoreError> {
        self.readers.prepare()
    }

    fn flush(&self) -> Result<(), StoreError> {
        if self.connections.is_read_only() {
            return Ok(());
        }
        self.files.check()?;
        let connection = self.connections.open(ConnectionRole::Writer)?;
        connection.busy_timeout(FLUSH_TIMEOUT)?;
        checkpoint(&connection)
    }
}

impl SqliteStore {
    fn begin_with<'a>(
        &'a self,
        mut slot: MutexGuard<'a, Option<Connection>>,
        guard: WriteLockGuard<'a>,
        timeout: Duration,
    ) -> Result<Box<dyn Transaction + 'a>, StoreError> {
        self.files.check()?;
        let connection = match slot.take() {
            Some(connection) => connection,
            None => self.connections.open(ConnectionRole::Writer)?,
        };
        Ok(Box::new(SqliteTransaction::begin(self, connection, slot, guard, timeout)?))
    }
}
