//! The pool of reading connections, for every store that has a driver.

use crate::StoreError;
use r2d2::{ManageConnection, NopErrorHandler, Pool};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Connections for reading: more than cores gain nothing, fewer would make reads wait for slow ones.
const MAX_READERS: u32 = 8;

/// A pool that opens no connection before it is wanted, and waits so long for one.
pub(crate) fn pool<M: ManageConnection>(
    opener: M,
    patience: Duration,
) -> Result<Pool<M>, StoreError> {
    let pool = Pool::builder()
        .max_size(MAX_READERS)
        .min_idle(Some(0))
        .connection_timeout(patience)
        .test_on_check_out(false)
        .error_handler(Box::new(NopErrorHandler))
        .build(opener);
    pool.map_err(|error| StoreError::Unavailable(error.to_string()))
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
