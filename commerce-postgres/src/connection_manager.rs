//! Opening connections, for the pool of those that read as well.

use crate::connect_options::ConnectOptions;
use crate::connection::{Connection, ConnectionRole};
use crate::error::Failure;
use commerce_core::StoreError;
use commerce_core::store::pool::{self, Connect};
use std::time::Duration;

/// How long a read waits for a connection of the pool.
pub(crate) const POOL_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) type Reader<'a> = pool::Reader<'a, ConnectionManager>;

/// Opens connections to one target.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionManager {
    pub(crate) target: ConnectOptions,
}

impl ConnectionManager {
    pub(crate) fn new(target: ConnectOptions) -> Self {
        Self { target }
    }

    pub(crate) fn open(&self, role: ConnectionRole) -> Result<Connection, Failure> {
        Connection::open(&self.target, role)
    }
}

impl Connect for ConnectionManager {
    type Connection = Connection;

    fn connect(&self) -> Result<Connection, StoreError> {
        self.open(ConnectionRole::Reader).map_err(Failure::before_commit)
    }

    fn is_broken(&self, connection: &mut Connection) -> bool {
        connection.is_lost()
    }
}
