//! Reading connections, for every store that has a driver: one that is opened without any thread, and a
//! pool of more for reads that overlap.

use crate::error::StoreError;
use crate::threads;
use r2d2::{ManageConnection, NopErrorHandler, Pool, PooledConnection};
use scheduled_thread_pool::ScheduledThreadPool;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

/// Connections of the pool, eight with the first one: more than cores gain nothing, fewer would make reads
/// wait for slow ones.
const MAX_POOLED: u32 = 7;

/// Threads of the pool, which open its connections.
const POOL_THREADS: usize = 1;

/// The reading connections of a store.
///
/// A process that reads one thing at a time, as most commands do, needs no thread but its own: the first
/// connection is opened by its caller. The pool is made when two reads overlap for the first time.
#[derive(Debug)]
pub(crate) struct Readers<M: ManageConnection> {
    opener: M,
    timeout: Duration,
    last_failure: LastFailure,
    first: OnceLock<Mutex<M::Connection>>,
    pool: Mutex<Option<Pool<M>>>,
}

/// A reading connection, given back when dropped.
pub(crate) enum Reader<'a, M: ManageConnection> {
    First(MutexGuard<'a, M::Connection>),
    Pooled(PooledConnection<M>),
}

impl<M: ManageConnection<Error = StoreError> + Clone> Readers<M> {
    /// Opens nothing yet. A read waits for a connection of the pool for as long as `timeout`; the opener
    /// notes in `last_failure` why it could not open one.
    pub(crate) fn new(opener: M, timeout: Duration, last_failure: LastFailure) -> Self {
        let (first, pool) = (OnceLock::new(), Mutex::default());
        Self { opener, timeout, last_failure, first, pool }
    }

    /// A connection that no other read uses.
    pub(crate) fn get(&self) -> Result<Reader<'_, M>, StoreError> {
        let first = if let Some(first) = self.first.get() {
            first
        } else {
            let opened = Mutex::new(self.opener.connect()?);
            self.first.get_or_init(|| opened)
        };
        let mut connection = match first.try_lock() {
            Ok(connection) => connection,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return self.pooled(),
        };
        if self.opener.has_broken(&mut connection) {
            *connection = self.opener.connect()?;
        }
        Ok(Reader::First(connection))
    }

    /// Opens the first connection and one of the pool.
    pub(crate) fn prepare(&self) -> Result<(), StoreError> {
        self.get()?;
        self.pooled().map(drop)
    }

    fn pooled(&self) -> Result<Reader<'_, M>, StoreError> {
        let pool = self.pool()?;
        Ok(Reader::Pooled(pool.get().map_err(|_| self.last_failure.why())?))
    }

    fn pool(&self) -> Result<Pool<M>, StoreError> {
        let mut made = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = &*made {
            return Ok(pool.clone());
        }
        let spawn = || ScheduledThreadPool::builder().num_threads(POOL_THREADS).build();
        let threads = threads::for_library(POOL_THREADS, spawn)?;
        let pool = Pool::builder()
            .max_size(MAX_POOLED)
            .min_idle(Some(0))
            .connection_timeout(self.timeout)
            .test_on_check_out(false)
            .error_handler(Box::new(NopErrorHandler))
            .thread_pool(Arc::new(threads))
            .build(self.opener.clone());
        let pool = pool.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(made.insert(pool).clone())
    }
}

impl<M: ManageConnection> Deref for Reader<'_, M> {
    type Target = M::Connection;

    fn deref(&self) -> &M::Connection {
        match self {
            Self::First(connection) => connection,
            Self::Pooled(connection) => connection,
        }
    }
}

impl<M: ManageConnection> DerefMut for Reader<'_, M> {
    fn deref_mut(&mut self) -> &mut M::Connection {
        match self {
            Self::First(connection) => connection,
            Self::Pooled(connection) => connection,
        }
    }
}

/// Why the pool could not open the last connection: it says itself only that it waited in vain.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastFailure(Arc<Mutex<Option<StoreError>>>);

impl LastFailure {
    /// Takes note of how opening one ended.
    pub(crate) fn note<C>(&self, opened: Result<C, StoreError>) -> Result<C, StoreError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = opened.as_ref().err().cloned();
        opened
    }

    /// Why none could be opened of late, or that all are in use.
    pub(crate) fn why(&self) -> StoreError {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        last.unwrap_or(StoreError::Busy)
    }
}
