//! Opening connections: every setting that correctness rests on, set and read back, in one place.

use super::read_only::ReadOnly;
use super::schema;
use crate::error::StoreError;
use crate::store::pool::{self, Connect};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long SQLite waits for others who hold the file without a guard, like a database shell.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a read waits for a connection of the pool.
pub(super) const POOL_TIMEOUT: Duration = Duration::from_secs(10);

/// 4,096 pages of 4 KiB: the log is copied back in strides of 16 MiB, which costs fewer syncs a
/// commit than SQLite's own 4 MiB.
const CHECKPOINT_PAGES: i64 = 4_096;

/// A log that has once checked_credit beyond this is cut back when it is reset.
const LOG_SIZE_LIMIT: i64 = 64 * 1024 * 1024;

/// 8 MiB of pages for each connection, in KiB and negative, as SQLite wants it. More makes a writer slower:
/// splitting a page that is not the last of its index has SQLite look through all of them at the commit,
/// while a page that is not among them comes from the system's memory.
const CACHE: i64 = -8 * 1024;

/// Prepared statements kept for each connection: more than there are in the code.
const STATEMENTS: usize = 128;

pub(super) type Reader<'a> = pool::Reader<'a, ConnectionManager>;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionRole {
    Writer,
    Reader,
}

/// Opens connections to one file.
#[derive(Clone, Debug)]
pub(super) struct ConnectionManager {
    path: PathBuf,
    /// What the store was when it was opened, where it can only be read.
    read_only: Option<ReadOnly>,
}

impl ConnectionManager {
    pub(super) fn new(path: &Path) -> Self {
        let read_only = ReadOnly::find(path);
        Self { path: path.to_owned(), read_only }
    }

    /// Whether the store can only be read: its file or its folder cannot be written to.
    pub(super) fn is_read_only(&self) -> bool {
        self.read_only.is_some()
    }

    /// Fails when a store that is read without locks has been written to since it was opened.
    pub(super) fn check_unchanged(&self) -> Result<(), StoreError> {
        self.read_only.as_ref().map_or(Ok(()), |read_only| read_only.check_unchanged(&self.path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn bare(&self) -> Result<Connection, StoreError> {
        if let Some(read_only) = &self.read_only {
            return read_only.open(&self.path);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    }

    /// Looks whether the file is ours, before anything is done to it or beside it, and whether there is a
    /// store in it already. Busy while another process is making one.
    pub(super) fn holds_store(&self) -> Result<bool, StoreError> {
        Ok(schema::identify_now(&self.bare()?)? > 0)
    }

    pub(super) fn open(&self, role: ConnectionRole) -> Result<Connection, StoreError> {
        let connection = self.bare()?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
        // Plans that do not depend on values: where a table has a partial index, a statement would else be
        // prepared anew each time that values are bound to it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.execute_batch(&format!(
            "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;
             PRAGMA cache_size = {CACHE}; PRAGMA temp_store = MEMORY;"
        ))?;
        if self.is_read_only() {
            return Ok(connection);
        }
        // Some filesystems cannot share memory; SQLite then stays in another mode and says so.
        ensure(&connection, "journal_mode = WAL", "journal_mode", "wal")?;
        // FULL waits for the disk at every commit; anything less loses acknowledged orders.
        ensure(&connection, "synchronous = FULL", "synchronous", "2")?;
        ensure(&connection, "foreign_keys = ON", "foreign_keys", "1")?;
        match role {
            ConnectionRole::Writer => connection.execute_batch(&format!(
                "PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
                 PRAGMA journal_size_limit = {LOG_SIZE_LIMIT};"
            ))?,
            ConnectionRole::Reader => connection.execute_batch("PRAGMA query_only = ON;")?,
        }
        Ok(connection)
    }
}

impl Connect for ConnectionManager {
    type Connection = Connection;

    fn connect(&self) -> Result<Connection, StoreError> {
        self.open(ConnectionRole::Reader)
    }

    fn is_broken(&self, connection: &mut Connection) -> bool {
        !connection.is_autocommit()
    }
}

fn ensure(connection: &Connection, set: &str, name: &str, wanted: &str) -> Result<(), StoreError> {
    connection.execute_batch(&format!("PRAGMA {set};"))?;
    let ask = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
    let got: String = connection.query_row(&ask, [], |row| row.get(0))?;
    if got == wanted {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!("SQLite answers {name} = {got} to {set}")))
}

/// Makes the file when there is none, readable by its owner only, and resolves its path: two names
/// for one file would have two logs.
pub(super) fn prepare_file(path: &Path) -> Result<PathBuf, StoreError> {
    let says = |error| StoreError::Unavailable(format!("{}: {error}", path.display()));
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(says(error)),
    }
    existing_file(path)
}

/// The path of a file that is there, resolved.
pub(super) fn existing_file(path: &Path) -> Result<PathBuf, StoreError> {
    let says = |error| StoreError::Unavailable(format!("{}: {error}", path.display()));
    let path = fs::canonicalize(path).map_err(says)?;
    let metadata = fs::metadata(&path).map_err(says)?;
    if !metadata.is_file() {
        return Err(StoreError::Unavailable(format!("{} is not a file", path.display())));
    }
    if metadata.nlink() > 1 {
        let text = format!("{} has two names (hard links): remove one", path.display());
        return Err(StoreError::Unavailable(text));
    }
    Ok(path)
}
