//! Reading connections of a store: a first one that needs no thread, and a pool for reads that overlap.

use crate::error::StoreError;
use crate::sync::{Mutex, MutexGuard};
use crate::threads;
use r2d2::{ManageConnection, NopErrorHandler, Pool, PooledConnection};
use scheduled_thread_pool::ScheduledThreadPool;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Connections of the pool, eight with the first one: more than the cores do not help, fewer would
/// make reads wait for slow ones.
const MAX_POOLED: u32 = 7;

/// Threads of the pool, which open its connections.
const POOL_THREADS: usize = 1;

/// Opens reading connections.
pub trait Connect: Clone + fmt::Debug + Send + Sync + 'static {
    /// A connection of the driver.
    type Connection: fmt::Debug + Send + 'static;

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// The reason why it cannot be opened.
    fn connect(&self) -> Result<Self::Connection, StoreError>;

    /// Returns true if the connection must not be used again.
    fn is_broken(&self, connection: &mut Self::Connection) -> bool;
}

/// The reading connections of a store.
///
/// A process that reads one thing at a time, as most commands do, needs no thread but its own: the caller
/// opens the first connection. The pool is created when two reads overlap for the first time.
#[derive(Debug)]
pub struct Readers<C: Connect> {
    opener: C,
    timeout: Duration,
    last_failure: LastFailure,
    first: OnceLock<Mutex<C::Connection>>,
    pool: Mutex<Option<Pool<Manager<C>>>>,
}

/// A reading connection, returned to its pool when dropped.
pub struct Reader<'a, C: Connect>(Slot<'a, C>);

enum Slot<'a, C: Connect> {
    First(MutexGuard<'a, C::Connection>),
    Pooled(PooledConnection<Manager<C>>),
}

impl<C: Connect> Readers<C> {
    /// Creates an empty set of connections. A read waits up to `timeout` for a connection of the pool.
    #[must_use]
    pub fn new(opener: C, timeout: Duration) -> Self {
        let (first, pool) = (OnceLock::new(), Mutex::default());
        Self { opener, timeout, last_failure: LastFailure::default(), first, pool }
    }

    /// Returns a connection that no other read uses.
    ///
    /// # Errors
    ///
    /// The reason why the last connection could not be opened, or [`StoreError::Busy`] if all are in use
    /// for longer than the timeout.
    pub fn get(&self) -> Result<Reader<'_, C>, StoreError> {
        let first = if let Some(first) = self.first.get() {
            first
        } else {
            let opened = Mutex::new(self.opener.connect()?);
            self.first.get_or_init(|| opened)
        };
        let Some(mut connection) = first.try_lock() else { return self.pooled() };
        if self.opener.is_broken(&mut connection) {
            *connection = self.opener.connect()?;
        }
        Ok(Reader(Slot::First(connection)))
    }

    /// Returns a connection that is open and that no other read uses, if there is one.
    pub fn idle(&self) -> Option<Reader<'_, C>> {
        if let Some(mut connection) = self.first.get()?.try_lock() {
            let is_broken = self.opener.is_broken(&mut connection);
            return (!is_broken).then_some(Reader(Slot::First(connection)));
        }
        let pool = self.pool.lock().clone()?;
        Some(Reader(Slot::Pooled(pool.try_get()?)))
    }

    /// Opens the first connection and one of the pool.
    ///
    /// # Errors
    ///
    /// The reason why one of them cannot be opened.
    pub fn prepare(&self) -> Result<(), StoreError> {
        self.get()?;
        self.pooled().map(drop)
    }

    fn pooled(&self) -> Result<Reader<'_, C>, StoreError> {
        let connection = self.pool()?.get().map_err(|_| self.last_failure.take())?;
        Ok(Reader(Slot::Pooled(connection)))
    }

    fn pool(&self) -> Result<Pool<Manager<C>>, StoreError> {
        let mut slot = self.pool.lock();
        if let Some(pool) = &*slot {
            return Ok(pool.clone());
        }
        let spawn = || ScheduledThreadPool::builder().num_threads(POOL_THREADS).build();
        let threads = threads::for_library(POOL_THREADS, spawn)?;
        let manager =
            Manager { opener: self.opener.clone(), last_failure: self.last_failure.clone() };
        let pool = Pool::builder()
            .max_size(MAX_POOLED)
            .min_idle(Some(0))
            .connection_timeout(self.timeout)
            .test_on_check_out(false)
            .error_handler(Box::new(NopErrorHandler))
            .thread_pool(Arc::new(threads))
            .build(manager);
        let pool = pool.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(slot.insert(pool).clone())
    }
}

impl<C: Connect> Deref for Reader<'_, C> {
    type Target = C::Connection;

    fn deref(&self) -> &C::Connection {
        match &self.0 {
            Slot::First(connection) => connection,
            Slot::Pooled(connection) => connection,
        }
    }
}

impl<C: Connect> DerefMut for Reader<'_, C> {
    fn deref_mut(&mut self) -> &mut C::Connection {
        match &mut self.0 {
            Slot::First(connection) => connection,
            Slot::Pooled(connection) => connection,
        }
    }
}

impl<C: Connect> fmt::Debug for Reader<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// Connects the pool of `r2d2` to an opener.
#[derive(Debug)]
struct Manager<C> {
    opener: C,
    last_failure: LastFailure,
}

impl<C: Connect> ManageConnection for Manager<C> {
    type Connection = C::Connection;
    type Error = StoreError;

    fn connect(&self) -> Result<C::Connection, StoreError> {
        self.last_failure.record(self.opener.connect())
    }

    fn is_valid(&self, _connection: &mut C::Connection) -> Result<(), StoreError> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut C::Connection) -> bool {
        self.opener.is_broken(connection)
    }
}

/// The reason why the pool could not open its last connection: `r2d2` reports only that it timed out.
#[derive(Clone, Debug, Default)]
struct LastFailure(Arc<Mutex<Option<StoreError>>>);

impl LastFailure {
    fn record<T>(&self, opened: Result<T, StoreError>) -> Result<T, StoreError> {
        *self.0.lock() = opened.as_ref().err().cloned();
        opened
    }

    /// Takes the last failure; without one, all connections are in use.
    fn take(&self) -> StoreError {
        self.0.lock().take().unwrap_or(StoreError::Busy(None))
    }
}
