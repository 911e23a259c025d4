//! Opening connections, and the pool of those that read.

use super::connection::{Connection, Role};
use super::error::Failure;
use super::place::Place;
use crate::StoreError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a read waits for a connection of the pool.
const POOL_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections for reading, of each instance: more than the cores of a usual server gain nothing.
const MAX_READERS: u32 = 8;

pub(super) type Pool = r2d2::Pool<Opener>;
pub(super) type Pooled = r2d2::PooledConnection<Opener>;

/// Opens connections to one place.
#[derive(Clone, Debug)]
pub(super) struct Opener {
    pub(super) place: Place,
    /// Why the pool could not open the last one: it says itself only that it waited in vain.
    last_failure: Arc<Mutex<Option<StoreError>>>,
}

impl Opener {
    pub(super) fn new(place: Place) -> Self {
        Self { place, last_failure: Arc::default() }
    }

    pub(super) fn open(&self, role: Role) -> Result<Connection, Failure> {
        Connection::open(&self.place, role)
    }

    /// Why no connection could be opened of late, or that all are in use.
    pub(super) fn why_none(&self) -> StoreError {
        let mut last = self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        last.take().unwrap_or(StoreError::Busy)
    }

    /// The pool of reading connections. None is opened before it is wanted.
    pub(super) fn pool(&self) -> Result<Pool, StoreError> {
        let pool = r2d2::Pool::builder()
            .max_size(MAX_READERS)
            .min_idle(Some(0))
            .connection_timeout(POOL_TIMEOUT)
            .test_on_check_out(false)
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .build(self.clone());
        pool.map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}

impl r2d2::ManageConnection for Opener {
    type Connection = Connection;
    type Error = StoreError;

    fn connect(&self) -> Result<Connection, StoreError> {
        // A server that is not there may be back before whoever waits gives up.
        let opened = self.open(Role::Reader).map_err(Failure::before_commit);
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) =
            opened.as_ref().err().cloned();
        opened
    }

    fn is_valid(&self, _connection: &mut Connection) -> Result<(), StoreError> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.is_lost()
    }
}
