//! Opening connections, for the pool of those that read as well.

use super::connection::{Connection, Role};
use super::error::Failure;
use super::place::Place;
use crate::StoreError;
use crate::store::pool::{self, LastFailure};
use std::time::Duration;

/// How long a read waits for a connection of the pool.
pub(super) const POOL_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) type Reader<'a> = pool::Reader<'a, Opener>;

/// Opens connections to one place.
#[derive(Clone, Debug)]
pub(super) struct Opener {
    pub(super) place: Place,
    pub(super) last_failure: LastFailure,
}

impl Opener {
    pub(super) fn new(place: Place) -> Self {
        Self { place, last_failure: LastFailure::default() }
    }

    pub(super) fn open(&self, role: Role) -> Result<Connection, Failure> {
        Connection::open(&self.place, role)
    }
}

impl r2d2::ManageConnection for Opener {
    type Connection = Connection;
    type Error = StoreError;

    fn connect(&self) -> Result<Connection, StoreError> {
        self.last_failure.note(self.open(Role::Reader).map_err(Failure::before_commit))
    }

    fn is_valid(&self, _connection: &mut Connection) -> Result<(), StoreError> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.is_lost()
    }
}
