//! The store in one SQLite file, shared by any number of processes on one machine: the default.

use crate::error::StoreError;
use crate::money::Currency;
use crate::store::pool::Readers;
use crate::store::sqlite::connection::{BUSY_TIMEOUT, ConnectionManager, ConnectionRole};
use crate::store::sqlite::identity::OpenFiles;
use crate::store::sqlite::read::SqliteSnapshot;
use crate::store::sqlite::schema::Contents;
use crate::store::sqlite::transaction::SqliteTransaction;
use crate::store::sqlite::write_lock::{WriteLock, WriteLockGuard};
use crate::store::{Snapshot, Store, Transaction};
use crate::sync::{Mutex, MutexGuard};
use rusqlite::Connection;
use std::path::Path;
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
mod paths;
mod query;
mod read;
mod read_only;
mod recount;
mod rows;
mod sales;
mod scan;
mod schema;
mod transaction;
mod write_lock;

pub use backup::BackupProgress;

/// The timeout of waiting for the write lock to create or migrate a store.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The timeout of a flush that waits for readers of the log.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The poll interval while another process creates the store: SQLite has no notification for its end.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A store in one SQLite file, durable and shared by any number of processes of one machine.
///
/// The files with the endings `-wal` and `-shm` beside it are SQLite's and belong to the store; the file with the
/// ending `-lock` is the write lock of processes.
#[derive(Debug)]
pub struct SqliteStore {
    currency: Currency,
    /// The connection that writes, while no transaction uses it; reopened after it was lost.
    writer: Mutex<Option<Connection>>,
    /// The files that the connections have open.
    files: OpenFiles,
    connections: ConnectionManager,
    /// `None` for a read-only store.
    write_lock: Option<WriteLock>,
    readers: Readers<ConnectionManager>,
}

impl SqliteStore {
    /// The version of the schema that this program writes.
    pub const SCHEMA_VERSION: i64 = schema::VERSION;

    /// Opens the store in a file. Creates it, with [`Currency::KRW`], if the file does not exist.
    ///
    /// # Errors
    ///
    /// [`StoreError::Incompatible`] when the file belongs to another program or has a newer version;
    /// [`StoreError::Corrupt`] when it is damaged; [`StoreError::Unavailable`] when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::opened(path, Currency::KRW)
    }

    /// Opens the store in a file. Creates it, with this currency, if the file does not exist.
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

    /// Opens the store in a file and migrates it to the present version; `None` if the file does not exist or is
    /// empty.
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
        let (first, contents) = retry_busy(|| connections.inspect())?;
        if let Contents::Nothing = contents {
            return Ok(None);
        }
        Self::opened_by(connections, first, contents, Currency::KRW).map(Some)
    }

    /// Opens the store in a file, and creates it with this currency if there is none.
    fn opened(path: &Path, currency: Currency) -> Result<Self, StoreError> {
        // Before the file is created: beside an empty file SQLite deletes the log of a lost store.
        if !path.exists() {
            check_log(path)?;
        }
        let connections = ConnectionManager::new(&connection::prepare_file(path)?);
        check_log(connections.path())?;
        let (first, contents) = retry_busy(|| connections.inspect())?;
        Self::opened_by(connections, first, contents, currency)
    }

    /// Opens the store with the connection that has found the file to belong to this program.
    fn opened_by(
        connections: ConnectionManager,
        first: Connection,
        contents: Contents,
        currency: Currency,
    ) -> Result<Self, StoreError> {
        if connections.is_read_only() {
            return Self::read_only(connections, first, contents);
        }
        let write_lock = WriteLock::open(connections.path())?;
        let place = identity::file_identity(connections.path())?;
        let ready = match (connections.configure(first), contents) {
            (Ok(first), Contents::Store(found)) if found.place == place => Some((first, found)),
            // A new file, an old version, a restored file, or one that another process creates right now.
            // Switching a file to WAL mode is a write as well, for which SQLite does not wait.
            (Ok(_) | Err(StoreError::Busy(_)), _) => None,
            (Err(error), _) => return Err(error),
        };
        let (first, description) = if let Some(ready) = ready {
            ready
        } else {
            let _guard = write_lock.lock_within(OPEN_TIMEOUT)?;
            let first = retry_busy(|| connections.open(ConnectionRole::Writer))?;
            let description = schema::migrate(&first, currency, &place)?;
            // The file has to hold its name without the log. While others read, the next process does this.
            checkpoint(&first)?;
            (first, description)
        };
        write_lock.bind(connections.path(), &description.name)?;
        let files = OpenFiles::of(connections.path())?;
        connections.keep(first);
        let (readers, writer) = (readers(&connections), Mutex::new(None));
        let write_lock = Some(write_lock);
        let currency = description.currency;
        Ok(Self { currency, writer, files, connections, write_lock, readers })
    }

    /// Opens a store with a file or folder that cannot be written. Each read checks by itself that the file has not
    /// changed.
    fn read_only(
        connections: ConnectionManager,
        first: Connection,
        contents: Contents,
    ) -> Result<Self, StoreError> {
        let Contents::Store(description) = contents else {
            return Err(read_only::refusal_of_older(connections.path()));
        };
        connections.keep(connections.configure(first)?);
        let (writer, readers) = (Mutex::new(None), readers(&connections));
        Ok(Self {
            currency: description.currency,
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

    /// Returns the path of the file, with symbolic links resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.connections.path()
    }

    /// Copies the present contents of the store to a new file, while it is in use.
    ///
    /// # Errors
    ///
    /// [`StoreError::Copy`] when the file exists or cannot be written, as on a full disk;
    /// [`StoreError::Busy`] when another process keeps the store locked.
    pub fn backup(
        &self,
        to: &Path,
        progress: &mut dyn FnMut(BackupProgress),
    ) -> Result<(), StoreError> {
        backup::backup(&self.connections, to, progress)
    }
}

/// Creates the set of reading connections, without opening one.
fn readers(connections: &ConnectionManager) -> Readers<ConnectionManager> {
    Readers::new(connections.clone(), connection::POOL_TIMEOUT)
}

/// Refuses a log that belongs to another store or is damaged, before SQLite replays any of it.
fn check_log(path: &Path) -> Result<(), StoreError> {
    identity::check_log(path)?;
    log::check(path)
}

/// Copies the log into the file and truncates it, as far as no reader needs it.
fn checkpoint(connection: &Connection) -> Result<(), StoreError> {
    Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

/// Repeats `work` while the store is busy. A process that only inspects the file can block the switch to WAL mode for
/// a moment, and SQLite does not wait for it.
fn retry_busy<T>(work: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let start = Instant::now();
    loop {
        match work() {
            Err(StoreError::Busy(_)) if start.elapsed() < OPEN_TIMEOUT => {
                std::thread::sleep(POLL_INTERVAL);
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
        let slot = self.writer.lock();
        self.begin_with(slot, self.write_lock()?.lock()?, BUSY_TIMEOUT)
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        let Some(slot) = self.writer.try_lock() else { return Ok(None) };
        let Some(guard) = self.write_lock()?.try_lock()? else { return Ok(None) };
        match self.begin_with(slot, guard, Duration::ZERO) {
            Err(StoreError::Busy(_)) => Ok(None),
            begun => begun.map(Some),
        }
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        let reader = if let Some(idle) = self.readers.idle() {
            idle
        } else {
            // Before another connection is opened, which would open a replaced file.
            self.files.check()?;
            self.readers.get()?
        };
        self.files.check()?;
        Ok(Box::new(SqliteSnapshot::begin(reader, &self.connections)?))
    }

    fn reads_locally(&self) -> bool {
        true
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
    /// Closes a connection that must not be used again. A reader is opened before it: closing the last connection of the
    /// process removes the log.
    fn close(&self, connection: Option<Connection>) {
        // If no reader can be opened, the commits are safe, and the store has to be opened again.
        drop(self.readers.get());
        drop(connection);
    }

    fn begin_with<'a>(
        &'a self,
        mut slot: MutexGuard<'a, Option<Connection>>,
        guard: WriteLockGuard<'a>,
        timeout: Duration,
    ) -> Result<Box<dyn Transaction + 'a>, StoreError> {
        let connection = if let Some(connection) = slot.take() {
            connection
        } else {
            // A new connection would open a replaced file. Every commit checks the files again.
            self.files.check()?;
            self.connections.open_or_take(ConnectionRole::Writer)?
        };
        Ok(Box::new(SqliteTransaction::begin(self, connection, slot, guard, timeout)?))
    }
}
