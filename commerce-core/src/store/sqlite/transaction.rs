//! The transaction that writes: it has the one writing connection, and gives it back only when sound.

use super::connection::{ConnectionManager, ConnectionRole};
use super::error::{is_failed_sync, of_commit};
use super::write_lock::WriteLockGuard;
use super::{SqliteStore, apply, load};
use crate::error::StoreError;
use crate::state::{Needs, State};
use crate::store::Transaction;
use rusqlite::Connection;
use std::sync::MutexGuard;
use std::time::Duration;

pub(super) struct SqliteTransaction<'a> {
    /// `None` once the transaction has ended.
    connection: Option<Connection>,
    /// Whether anything was written, so that a commit waits for the disk.
    written: bool,
    slot: MutexGuard<'a, Option<Connection>>,
    store: &'a SqliteStore,
    // Dropped last: others begin when everything else is done.
    _guard: WriteLockGuard<'a>,
}

impl<'a> SqliteTransaction<'a> {
    pub(super) fn begin(
        store: &'a SqliteStore,
        connection: Connection,
        mut slot: MutexGuard<'a, Option<Connection>>,
        guard: WriteLockGuard<'a>,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        connection.busy_timeout(timeout)?;
        match run(&connection, "BEGIN IMMEDIATE") {
            Ok(_) => {
                let connection = Some(connection);
                let begun = Self { connection, written: false, slot, store, _guard: guard };
                begun.store.files.check()?;
                Ok(begun)
            }
            Err(error) => {
                let error = StoreError::from(error);
                if error == StoreError::Busy {
                    *slot = Some(connection);
                }
                Err(error)
            }
        }
    }

    /// The connection, as long as the transaction that was begun on it is still open: some errors make
    /// SQLite roll all of it back.
    fn open(&self) -> Result<&Connection, StoreError> {
        let gone = || StoreError::Unavailable("the transaction was rolled back".to_owned());
        self.connection.as_ref().filter(|connection| !connection.is_autocommit()).ok_or_else(gone)
    }
}

/// Commits nothing on a new connection. After a failed sync the log still shows the commit that failed, while the
/// system takes its pages for written and never writes them again: a process that recovers that log would copy a
/// commit into the store that a power cut takes out of the log. The empty commit takes its place in the log.
fn overwrite_log(connections: &ConnectionManager) -> Result<Connection, StoreError> {
    let connection = connections.open(ConnectionRole::Writer)?;
    for sql in ["BEGIN IMMEDIATE", REWRITE, "COMMIT"] {
        run(&connection, sql)?;
    }
    Ok(connection)
}

/// Changes nothing, and is written to the log all the same.
const REWRITE: &str = "UPDATE store SET id = id";

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute([])
}

impl Transaction for SqliteTransaction<'_> {
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        load::load(self.open()?, needs, state)
    }

    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        self.written = true;
        apply::apply(self.open()?, state)
    }

    fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        if !self.written {
            // A process that was killed may have left its last commit in the log, and not yet on disk.
            run(self.open()?, REWRITE)?;
        }
        self.store.files.check()?;
        match run(self.open()?, "COMMIT") {
            // What was replaced meanwhile may have taken the commit with it.
            Ok(_) => {
                let replaced = self.store.files.check();
                replaced.map_err(|error| StoreError::CommitUnknown(error.to_string()))
            }
            Err(error) => {
                let failed_sync = is_failed_sync(&error);
                let error = of_commit(error);
                if matches!(error, StoreError::CommitUnknown(_)) {
                    // What this connection believes of the file cannot be trusted any more.
                    self.connection = None;
                }
                if failed_sync {
                    // Should this fail as well, the next transaction begins with it.
                    *self.slot = overwrite_log(&self.store.connections).ok();
                }
                Err(error)
            }
        }
    }
}

impl Drop for SqliteTransaction<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok() {
            *self.slot = Some(connection);
        }
    }
}
