//! Opens connections. Every setting that correctness depends on is set here, and read back.

use super::read_only::ReadOnly;
use super::schema::{self, Contents};
use crate::error::StoreError;
use crate::store::pool::{self, Connect};
use crate::sync::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The timeout of waiting for programs that lock the file without the write lock, such as a database shell.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The timeout of waiting for a connection of the pool.
pub(super) const POOL_TIMEOUT: Duration = Duration::from_secs(10);

/// 4,096 pages of 4 KiB: a checkpoint copies 16 MiB of the log, which needs fewer syncs a commit than SQLite's
/// default of 4 MiB.
const CHECKPOINT_PAGES: i64 = 4_096;

/// A log that has grown beyond this is truncated when it is reset.
const LOG_SIZE_LIMIT: i64 = 64 * 1024 * 1024;

/// The page cache of a connection: 8 MiB, in negative KiB as SQLite expects. A bigger one makes a writer slower: after
/// the split of a page that is not the last of its index, SQLite searches the whole cache at the commit, while a page
/// outside of the cache comes from the system's memory.
const CACHE: i64 = -8 * 1024;

/// Prepared statements kept for each connection: more than the code has.
const STATEMENTS: usize = 256;

pub(super) type Reader<'a> = pool::Reader<'a, ConnectionManager>;

/// The use of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionRole {
    Writer,
    Reader,
}

/// Opens connections to one file.
#[derive(Clone, Debug)]
pub(super) struct ConnectionManager {
    path: PathBuf,
    /// The state of a read-only store when it was opened.
    read_only: Option<ReadOnly>,
    /// The connection that opened the store, until it gets a role: a process that reads once or writes once needs no
    /// other, and each further one parses the schema again.
    first: Arc<Mutex<Option<Connection>>>,
}

impl ConnectionManager {
    pub(super) fn new(path: &Path) -> Self {
        let read_only = ReadOnly::find(path);
        Self { path: path.to_owned(), read_only, first: Arc::default() }
    }

    /// Returns true if the file or its folder cannot be written.
    pub(super) fn is_read_only(&self) -> bool {
        self.read_only.is_some()
    }

    /// Fails if a store that is read without locks was written since it was opened.
    pub(super) fn check_unchanged(&self) -> Result<(), StoreError> {
        self.read_only.as_ref().map_or(Ok(()), |read_only| read_only.check_unchanged(&self.path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn open_unconfigured(&self) -> Result<Connection, StoreError> {
        if let Some(read_only) = &self.read_only {
            return read_only.open(&self.path);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    }

    /// Opens the file and checks that it belongs to this program, before any change to it or beside it. Returns the
    /// connection and the contents; fails with `Busy` while another process creates a store.
    pub(super) fn inspect(&self) -> Result<(Connection, Contents), StoreError> {
        let connection = self.open_unconfigured()?;
        let contents = schema::inspect(&connection)?;
        Ok((connection, contents))
    }

    /// Keeps a configured connection for the first caller of [`ConnectionManager::open_or_take`].
    pub(super) fn keep(&self, connection: Connection) {
        *self.first.lock() = Some(connection);
    }

    /// Takes the first connection, or opens another. It stays open as long as the store: closing the last connection
    /// removes the log.
    pub(super) fn open_or_take(&self, role: ConnectionRole) -> Result<Connection, StoreError> {
        let first = self.first.lock().take();
        first.map_or_else(|| self.open(role), |first| self.assign(first, role))
    }

    pub(super) fn open(&self, role: ConnectionRole) -> Result<Connection, StoreError> {
        self.assign(self.configure(self.open_unconfigured()?)?, role)
    }

    fn assign(
        &self,
        connection: Connection,
        role: ConnectionRole,
    ) -> Result<Connection, StoreError> {
        if self.is_read_only() {
            return Ok(connection);
        }
        match role {
            ConnectionRole::Writer => connection.execute_batch(&format!(
                "PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
                 PRAGMA journal_size_limit = {LOG_SIZE_LIMIT};"
            ))?,
            ConnectionRole::Reader => connection.execute_batch("PRAGMA query_only = ON;")?,
        }
        Ok(connection)
    }

    /// Makes the settings that do not depend on the role.
    pub(super) fn configure(&self, connection: Connection) -> Result<Connection, StoreError> {
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
        // Plans that do not depend on values: otherwise SQLite prepares a statement on a table with a partial
        // index again each time that values are bound to it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.execute_batch(&format!(
            "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;
             PRAGMA cache_size = {CACHE}; PRAGMA temp_store = MEMORY;"
        ))?;
        if self.is_read_only() {
            return Ok(connection);
        }
        // On filesystems without shared memory SQLite stays in another mode, which `ensure` detects.
        ensure(&connection, "journal_mode = WAL", "journal_mode", &Value::Text("wal".to_owned()))?;
        // FULL syncs the disk at every commit; a lower value loses acknowledged orders.
        ensure(&connection, "synchronous = FULL", "synchronous", &Value::Integer(2))?;
        ensure(&connection, "foreign_keys = ON", "foreign_keys", &Value::Integer(1))?;
        Ok(connection)
    }
}

impl Connect for ConnectionManager {
    type Connection = Connection;

    fn connect(&self) -> Result<Connection, StoreError> {
        self.open_or_take(ConnectionRole::Reader)
    }

    fn is_broken(&self, connection: &mut Connection) -> bool {
        !connection.is_autocommit()
    }
}

fn ensure(
    connection: &Connection,
    set: &str,
    name: &str,
    wanted: &Value,
) -> Result<(), StoreError> {
    connection.execute_batch(&format!("PRAGMA {set};"))?;
    let actual: Value = connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?;
    if actual == *wanted {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!("SQLite kept {name} = {actual:?} after PRAGMA {set}")))
}

/// Creates the file if it does not exist, readable by its owner only, and resolves its path: two names for one file
/// would have two logs.
pub(super) fn prepare_file(path: &Path) -> Result<PathBuf, StoreError> {
    let failed = |error| StoreError::Unavailable(format!("{}: {error}", path.display()));
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    existing_file(path)
}

/// Resolves the path of an existing file.
pub(super) fn existing_file(path: &Path) -> Result<PathBuf, StoreError> {
    let failed = |error| StoreError::Unavailable(format!("{}: {error}", path.display()));
    let path = fs::canonicalize(path).map_err(failed)?;
    let metadata = fs::metadata(&path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(StoreError::Unavailable(format!("{} is not a file", path.display())));
    }
    if metadata.nlink() > 1 {
        let text = format!("{} has two names (hard links): remove one", path.display());
        return Err(StoreError::Unavailable(text));
    }
    Ok(path)
}
