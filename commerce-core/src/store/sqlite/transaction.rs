//! The transaction that writes. It owns the one writing connection, and returns it only in a known state.

use super::connection::{ConnectionManager, ConnectionRole};
use super::error::{is_failed_sync, of_commit};
use super::write_lock::WriteLockGuard;
use super::{SqliteStore, apply, load};
use crate::error::StoreError;
use crate::state::{Needs, State};
use crate::store::Transaction;
use crate::sync::MutexGuard;
use rusqlite::Connection;
use std::time::Duration;

pub(super) struct SqliteTransaction<'a> {
    /// `None` once the transaction has ended.
    connection: Option<Connection>,
    /// A row was written, so that the commit syncs the disk.
    written: bool,
    slot: MutexGuard<'a, Option<Connection>>,
    store: &'a SqliteStore,
    // Dropped last: another process begins when all else is done.
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
                Ok(Self { connection, written: false, slot, store, _guard: guard })
            }
            Err(error) => {
                let error = StoreError::from(error);
                if matches!(error, StoreError::Busy(_)) {
                    *slot = Some(connection);
                }
                Err(error)
            }
        }
    }

    /// Returns the connection while its transaction is open: after some errors SQLite rolls it back by itself.
    fn open(&self) -> Result<&Connection, StoreError> {
        let ended = || StoreError::Unavailable("the transaction was rolled back".to_owned());
        self.connection.as_ref().filter(|connection| !connection.is_autocommit()).ok_or_else(ended)
    }
}

/// Makes an empty commit on a new connection. After a failed sync the log still contains the failed commit, while the
/// system considers its pages written and never writes them again: a process that recovers the log would copy a
/// commit into the store that a power failure removes from the log. The empty commit overwrites it in the log.
fn overwrite_log(connections: &ConnectionManager) -> Result<Connection, StoreError> {
    let connection = connections.open(ConnectionRole::Writer)?;
    for sql in ["BEGIN IMMEDIATE", REWRITE, "COMMIT"] {
        run(&connection, sql)?;
    }
    Ok(connection)
}

/// Changes no value, and is written to the log nevertheless.
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
            // The last commit of a killed process may be in the log, but not on disk yet.
            run(self.open()?, REWRITE)?;
        }
        self.store.files.check()?;
        match run(self.open()?, "COMMIT") {
            // A file that was replaced meanwhile may have lost the commit.
            Ok(_) => {
                let replaced = self.store.files.check();
                replaced.map_err(|error| StoreError::CommitUnknown(error.to_string()))
            }
            Err(error) => {
                let failed_sync = is_failed_sync(&error);
                let error = of_commit(error);
                if matches!(error, StoreError::CommitUnknown(_)) {
                    // The cache of this connection may differ from the file.
                    let lost = self.connection.take();
                    self.store.close(lost);
                }
                if failed_sync {
                    // If this fails too, the next transaction starts by opening a connection.
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
        } else {
            self.store.close(Some(connection));
        }
    }
}
