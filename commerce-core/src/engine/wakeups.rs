//! What wakes the relays of this process: a commit that has something for them tells so at once, and
//! nobody who looked before that commit sleeps through it.

use super::lock;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Counts commits that made events due.
#[derive(Debug, Default)]
pub(crate) struct Wakeups {
    count: Mutex<u64>,
    told: Condvar,
}

impl Wakeups {
    /// What [`Wakeups::wait`] has to be given: taken before looking for events.
    pub(crate) fn seen(&self) -> u64 {
        *lock(&self.count)
    }

    /// So many events have become due: as many of those who wait are woken, at most.
    pub(crate) fn tell(&self, events: usize) {
        if events == 0 {
            return;
        }
        let mut count = lock(&self.count);
        *count = count.wrapping_add(1);
        drop(count);
        if events >= crate::limits::MAX_BATCH {
            return self.told.notify_all();
        }
        for _ in 0..events {
            self.told.notify_one();
        }
    }

    /// Waits until something has happened since `seen`. False when nothing has in that time.
    pub(crate) fn wait(&self, seen: u64, patience: Duration) -> bool {
        let count = lock(&self.count);
        let waited = self.told.wait_timeout_while(count, patience, |count| *count == seen);
        *waited.unwrap_or_else(PoisonError::into_inner).0 != seen
    }
}
