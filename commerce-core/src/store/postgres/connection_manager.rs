//! Opening connections, for the pool of those that read as well.

use super::connect_options::ConnectOptions;
use super::connection::{Connection, ConnectionRole};
use super::error::Failure;
use crate::error::StoreError;
use crate::store::pool::{self, LastFailure};
use std::time::Duration;

/// How long a read waits for a connection of the pool.
pub(super) const POOL_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) type Reader<'a> = pool::Reader<'a, ConnectionManager>;

/// Opens connections to one target.
#[derive(Clone, Debug)]
pub(super) struct ConnectionManager {
    pub(super) target: ConnectOptions,
    pub(super) last_failure: LastFailure,
}

impl ConnectionManager {
    pub(super) fn new(target: ConnectOptions) -> Self {
        Self { target, last_failure: LastFailure::default() }
    }

    pub(super) fn open(&self, role: ConnectionRole) -> Result<Connection, Failure> {
        Connection::open(&self.target, role)
    }
}

impl r2d2::ManageConnection for ConnectionManager {
    type Connection = Connection;
    type Error = StoreError;

    fn connect(&self) -> Result<Connection, StoreError> {
        self.last_failure.note(self.open(ConnectionRole::Reader).map_err(Failure::before_commit))
    }

    fn is_valid(&self, _connection: &mut Connection) -> Result<(), StoreError> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.is_lost()
    }
}
