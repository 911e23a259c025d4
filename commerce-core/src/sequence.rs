//! Calls that take effect in order, up to the first that fails.

use crate::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Calls that take effect in the order they are submitted, up to the first that is refused or fails. Those
/// behind it change nothing, however many were submitted before the failure was known, and are answered
/// [`StoreError::NotAttempted`](crate::error::StoreError::NotAttempted).
///
/// A sequence belongs to the calls of one shop; see [`PreparedCall::submit_in`](crate::shop::PreparedCall::submit_in).
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
    /// A sequence that goes on after those errors.
    #[must_use]
    pub fn tolerating(tolerates: fn(&Error) -> bool) -> Self {
        Self(Arc::new(Progress { tolerates, stopped: AtomicBool::new(false) }))
    }

    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.0)
    }
}

impl Progress {
    /// Whether a result ends the sequence.
    pub(crate) fn ends_with<T>(&self, result: &Result<T, Error>) -> bool {
        result.as_ref().is_err_and(|error| !(self.tolerates)(error))
    }

    /// Ends the sequence. Only for results that callers are given: what is decided in a transaction that
    /// is rolled back may be decided otherwise the next time.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}
