//! The open connections, and which of them may be closed for others.

use commerce_core::sync::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::AbortHandle;

/// The open connections.
#[derive(Default)]
pub(super) struct Registry(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    last: u64,
    open: HashMap<u64, (Arc<Activity>, AbortHandle)>,
}

/// The activity of one connection.
pub(super) struct Activity(Mutex<State>);

struct State {
    phase: Phase,
    /// False before the first complete request.
    is_known: bool,
    since: Instant,
    is_closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for a request, or for its end.
    Idle,
    /// Waits for the client in the middle of a request or a response.
    Transfer,
    /// The service works on a request.
    Work,
}

impl Activity {
    /// Changes the phase. Returns false if the connection is being closed for another one.
    pub(super) fn enter(&self, phase: Phase) -> bool {
        let mut state = self.0.lock();
        state.is_known |= phase == Phase::Work;
        (state.phase, state.since) = (phase, Instant::now());
        !state.is_closed
    }
}

impl Registry {
    /// Adds a connection; the function starts its task. The task calls [`Registry::remove`] at its end.
    pub(super) fn add(&self, start: impl FnOnce(u64, Arc<Activity>) -> AbortHandle) {
        let (phase, since) = (Phase::Idle, Instant::now());
        let state = State { phase, is_known: false, since, is_closed: false };
        let activity = Arc::new(Activity(Mutex::new(state)));
        let mut entries = self.0.lock();
        entries.last = entries.last.wrapping_add(1);
        let number = entries.last;
        // The lock is held, so that a task that ends at once finds its entry.
        let task = start(number, Arc::clone(&activity));
        entries.open.insert(number, (activity, task));
    }

    pub(super) fn remove(&self, number: u64) {
        self.0.lock().open.remove(&number);
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().open.len()
    }

    /// Closes the connection that can be missed most: one without any request so far, else the one that waits longest.
    /// Returns false if the service works for all of them.
    pub(super) fn evict(&self) -> bool {
        let entries = self.0.lock();
        let ranked = entries.open.values().filter_map(|(activity, task)| {
            let state = activity.0.lock();
            let rank = (state.is_known, state.since);
            state.may_close(|phase| phase != Phase::Work).then_some((rank, activity, task))
        });
        let least = ranked.min_by_key(|(rank, ..)| *rank);
        least.is_some_and(|(_, activity, task)| activity.close(|phase| phase != Phase::Work, task))
    }

    /// Closes all connections that wait for a request.
    pub(super) fn close_idle(&self) {
        for (activity, task) in self.0.lock().open.values() {
            activity.close(|phase| phase == Phase::Idle, task);
        }
    }
}

impl Activity {
    /// Closes the connection if it is in such a phase. A request that begins at the same time is not served.
    fn close(&self, is_such: impl Fn(Phase) -> bool, task: &AbortHandle) -> bool {
        let mut state = self.0.lock();
        let may_close = state.may_close(is_such);
        if may_close {
            state.is_closed = true;
            task.abort();
        }
        may_close
    }
}

impl State {
    fn may_close(&self, is_such: impl Fn(Phase) -> bool) -> bool {
        !self.is_closed && is_such(self.phase)
    }
}
