//! Sequences: pipelined calls that take effect in order, up to the first failure.

use crate::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Calls that take effect in the order they are submitted, up to the first that is refused or fails. Later calls change
/// nothing, no matter how many were submitted before the failure was known, and fail with
/// [`StoreError::NotAttempted`](crate::error::StoreError::NotAttempted).
///
/// All calls of a sequence must be of one shop; see
/// [`PreparedCall::submit_in`](crate::shop::PreparedCall::submit_in).
///
/// ```
/// use commerce_core::{AddCustomer, AddProduct, Currency, MemoryStore, Money, Sequence, Shop};
/// let shop = Shop::open(MemoryStore::new(Currency::KRW));
/// let mut sequence = Sequence::default();
/// let refused = shop.call(AddCustomer::new("")).submit_in(&mut sequence);
/// let behind = shop.call(AddProduct::new("Tea", Money::from_minor(100), 1)).submit_in(&mut sequence);
/// assert!(refused.wait().is_err());
/// assert!(behind.wait().is_err());
/// ```
#[derive(Debug)]
pub struct Sequence(Arc<Progress>);

/// The state of a sequence, shared with its commands.
#[derive(Debug)]
pub(crate) struct Progress {
    tolerates: fn(&Error) -> bool,
    stopped: AtomicBool,
}

impl Default for Sequence {
    fn default() -> Self {
        Self::tolerating(|_| false)
    }
}

impl Sequence {
    /// Returns a sequence that continues after the errors for which `tolerates` returns true.
    #[must_use]
    pub fn tolerating(tolerates: fn(&Error) -> bool) -> Self {
        Self(Arc::new(Progress { tolerates, stopped: AtomicBool::new(false) }))
    }

    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.0)
    }
}

impl Progress {
    /// Returns true if a result ends the sequence.
    pub(crate) fn ends_with<T>(&self, result: &Result<T, Error>) -> bool {
        result.as_ref().is_err_and(|error| !(self.tolerates)(error))
    }

    /// Ends the sequence. Called only for results that callers receive: a decision in a transaction that is rolled back
    /// may be different the next time.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}
