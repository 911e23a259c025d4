//! Notifies the relays of this process of events that became due. A relay reads the generation before it polls,
//! so that a notification that arrives between the poll and the wait is not lost.

use crate::sync::{Condvar, Mutex};
use std::time::Duration;

/// Counts the commits that made events due, and wakes waiting relays.
#[derive(Debug, Default)]
pub(crate) struct EventNotifier {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    generation: u64,
    /// Waiting relays. A commit notifies no more than these.
    waiting: usize,
}

impl EventNotifier {
    /// The argument of [`EventNotifier::wait`]. The caller reads it before it looks for events.
    pub(crate) fn generation(&self) -> u64 {
        self.state.lock().generation
    }

    /// Wakes as many waiting relays as events became due, at most.
    pub(crate) fn notify(&self, events: usize) {
        if events == 0 {
            return;
        }
        let mut state = self.state.lock();
        state.generation = state.generation.wrapping_add(1);
        let woken = state.waiting.min(events);
        drop(state);
        for _ in 0..woken {
            self.changed.notify_one();
        }
    }

    /// Waits for a notification after `generation`. Returns false if there was none within the timeout.
    pub(crate) fn wait(&self, generation: u64, timeout: Duration) -> bool {
        let mut state = self.state.lock();
        state.waiting = state.waiting.saturating_add(1);
        let is_unchanged = |state: &mut State| state.generation == generation;
        let mut state = self.changed.wait_timeout_while(state, timeout, is_unchanged);
        state.waiting = state.waiting.saturating_sub(1);
        state.generation != generation
    }
}
