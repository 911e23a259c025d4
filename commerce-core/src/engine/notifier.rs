//! What wakes the relays of this process: a commit that has something for them tells so at once, and
//! nobody who looked before that commit sleeps through it.

use super::lock;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Counts commits that made events due.
#[derive(Debug, Default)]
pub(crate) struct EventNotifier {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    /// How many wait: where nobody does, a commit has nobody to wake.
    waiting: usize,
}

impl EventNotifier {
    /// What [`EventNotifier::wait`] has to be given: taken before looking for events.
    pub(crate) fn generation(&self) -> u64 {
        lock(&self.state).count
    }

    /// So many events have become due: as many of those who wait are woken, at most.
    pub(crate) fn notify(&self, events: usize) {
        if events == 0 {
            return;
        }
        let mut state = lock(&self.state);
        state.count = state.count.wrapping_add(1);
        let woken = state.waiting.min(events);
        drop(state);
        for _ in 0..woken {
            self.told.notify_one();
        }
    }

    /// Waits until something has happened since `generation`. False when nothing has in that time.
    pub(crate) fn wait(&self, generation: u64, timeout: Duration) -> bool {
        let mut state = lock(&self.state);
        state.waiting = state.waiting.saturating_add(1);
        let waited =
            self.told.wait_timeout_while(state, timeout, |state| state.count == generation);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.waiting = state.waiting.saturating_sub(1);
        state.count != generation
    }
}
