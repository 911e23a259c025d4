//! Pending calls: the place of a result, and the two ways of waiting for it, as a thread or as a task.

use crate::command::Decision;
use crate::engine::{Writer, failed};
use crate::limits::MAX_QUEUE;
use crate::sync::{Condvar, Mutex};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// The place of a job's result.
#[derive(Debug)]
pub(super) struct Slot {
    state: Mutex<SlotState>,
    ready: Condvar,
    deadline: Instant,
}

#[derive(Debug, Default)]
struct SlotState {
    decision: Option<Decision>,
    waiter: Waiter,
}

/// The party that waits for a result. Without one, as for a leader's own job, no wake-up is paid for.
#[derive(Debug, Default)]
enum Waiter {
    #[default]
    None,
    Thread,
    Task(Waker),
}

impl Slot {
    pub(super) fn new(deadline: Instant) -> Self {
        Self { state: Mutex::default(), ready: Condvar::new(), deadline }
    }

    /// Stores the result, and wakes the waiter after the lock is released: a waker is foreign code, which may poll the
    /// call at once.
    pub(super) fn complete(&self, decision: Decision) {
        let mut state = self.state.lock();
        state.decision = Some(decision);
        let waiter = std::mem::take(&mut state.waiter);
        drop(state);
        match waiter {
            Waiter::None => {}
            Waiter::Thread => self.ready.notify_one(),
            // A waker that panics must not end the leader, on which every caller depends.
            Waiter::Task(waker) => drop(catch_unwind(AssertUnwindSafe(|| waker.wake()))),
        }
    }

    /// The end of the caller's wait.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The deadline, if a task waits for the result. A thread watches its deadline itself.
    pub(super) fn awaited_until(&self) -> Option<Instant> {
        matches!(self.state.lock().waiter, Waiter::Task(_)).then_some(self.deadline)
    }

    /// Returns true if a thread or a task waits for the result.
    pub(super) fn has_waiter(&self) -> bool {
        !matches!(self.state.lock().waiter, Waiter::None)
    }

    fn replace_waiter(&self, waiter: Waiter) {
        let replaced = std::mem::replace(&mut self.state.lock().waiter, waiter);
        // After the lock is released: dropping a waker runs foreign code, too.
        drop(replaced);
    }
}

/// A submitted command to wait for, as a thread or as a task.
#[derive(Debug)]
pub(crate) struct Pending {
    writer: Arc<Writer>,
    slot: Arc<Slot>,
    /// True once the engine enforces the deadline.
    is_watched: bool,
    /// True once the result was returned.
    is_done: bool,
}

impl Pending {
    pub(super) fn new(writer: Arc<Writer>, slot: Arc<Slot>) -> Self {
        Self { writer, slot, is_watched: false, is_done: false }
    }

    /// Waits for the result. A command that is queued at its deadline is withdrawn and fails as busy. One that is in a
    /// transaction then is not queued again.
    pub(crate) fn wait(mut self) -> Decision {
        self.slot.replace_waiter(Waiter::Thread);
        let mut state = self.slot.state.lock();
        let mut withdrawable = true;
        let decision = loop {
            if let Some(decision) = state.decision.take() {
                break decision;
            }
            let left = self.slot.deadline.saturating_duration_since(Instant::now());
            if withdrawable && left.is_zero() {
                drop(state);
                if let Some(job) = self.writer.withdraw(&self.slot, 0) {
                    self.is_done = true;
                    return failed(self.writer.busy(&job));
                }
                withdrawable = false;
                state = self.slot.state.lock();
            } else if withdrawable {
                state = self.slot.ready.wait_timeout(state, left);
            } else {
                state = self.slot.ready.wait(state);
            }
        };
        drop(state);
        self.is_done = true;
        decision
    }

    /// Returns the result, or has the task woken once it is there. A command that is still queued at its deadline fails
    /// as busy.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Decision> {
        if self.is_done {
            return Poll::Pending;
        }
        let waker = context.waker().clone();
        let mut state = self.slot.state.lock();
        if let Some(decision) = state.decision.take() {
            drop(state);
            self.is_done = true;
            return Poll::Ready(decision);
        }
        let replaced = std::mem::replace(&mut state.waiter, Waiter::Task(waker));
        drop(state);
        drop(replaced);
        if !self.is_watched {
            match self.writer.watch(self.slot.deadline) {
                Ok(()) => self.is_watched = true,
                Err(error) if self.writer.withdraw(&self.slot, 0).is_some() => {
                    self.is_done = true;
                    return Poll::Ready(failed(error));
                }
                // The leader has the job, and wakes the task.
                Err(_) => {}
            }
        }
        Poll::Pending
    }
}

/// Leaves the command to be carried out, unless the queue is full before it: memory must not be held by commands without
/// a caller beyond that.
impl Drop for Pending {
    fn drop(&mut self) {
        if !self.is_done {
            self.slot.replace_waiter(Waiter::None);
            self.writer.withdraw(&self.slot, MAX_QUEUE);
        }
    }
}
