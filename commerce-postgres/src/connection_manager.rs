//! Opens the writing connection and those of the pool of readers.

use crate::connect_options::ConnectOptions;
use crate::connection::{Connection, ConnectionRole};
use crate::error::Failure;
use commerce_core::StoreError;
use commerce_core::store::pool::{self, Connect};
use std::time::Duration;

/// The timeout of waiting for a connection of the pool.
pub(crate) const POOL_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) type Reader<'a> = pool::Reader<'a, ConnectionManager>;

/// Opens connections to one database.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionManager {
    pub(crate) options: ConnectOptions,
}

impl ConnectionManager {
    pub(crate) fn new(options: ConnectOptions) -> Self {
        Self { options }
    }

    pub(crate) fn open(&self, role: ConnectionRole) -> Result<Connection, Failure> {
        Connection::open(&self.options, role)
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
