//! Deadlines of awaited calls. A thread that waits for its call watches the deadline itself; a task could do so only
//! with the timer of its executor. A thread of the engine therefore ends awaited calls that are queued past their
//! deadlines. It is started by the first call that is awaited.

use crate::engine::{Queue, Writer, failed};
use crate::error::StoreError;
use crate::sync::{Condvar, Mutex};
use crate::threads;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    alarm: Mutex<Alarm>,
    /// Notified when the alarm is set to an earlier time, or the thread must end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Alarm {
    /// The next time to look for expired calls. Calls that end earlier do not change it, so that the deadline of one
    /// call serves all that follow it, and the thread rarely wakes.
    at: Option<Instant>,
    closed: bool,
    thread: Option<JoinHandle<()>>,
}

impl Deadlines {
    /// Looks for expired calls at that time or earlier.
    pub(super) fn set(&self, deadline: Instant) {
        let mut alarm = self.alarm.lock();
        if alarm.at.is_none_or(|at| deadline < at) {
            alarm.at = Some(deadline);
            drop(alarm);
            self.changed.notify_one();
        }
    }

    pub(super) fn is_current(&self) -> bool {
        threads::is_current(self.alarm.lock().thread.as_ref())
    }

    /// Lets the thread end, and returns it.
    pub(super) fn close(&self) -> Option<JoinHandle<()>> {
        let mut alarm = self.alarm.lock();
        alarm.closed = true;
        self.changed.notify_one();
        alarm.thread.take()
    }
}

impl Writer {
    /// Enforces the deadline of an awaited call.
    pub(super) fn watch(self: &Arc<Self>, deadline: Instant) -> Result<(), StoreError> {
        let mut alarm = self.deadlines.alarm.lock();
        if alarm.thread.is_none() {
            let writer = Arc::clone(self);
            alarm.thread = Some(threads::start("deadlines", move || writer.enforce_deadlines())?);
        }
        drop(alarm);
        self.deadlines.set(deadline);
        Ok(())
    }

    fn enforce_deadlines(&self) {
        let Deadlines { alarm: mutex, changed } = &self.deadlines;
        let mut alarm = mutex.lock();
        while !alarm.closed {
            let now = Instant::now();
            alarm = match alarm.at {
                None => changed.wait(alarm),
                Some(at) if now < at => changed.wait_timeout(alarm, at.duration_since(now)),
                Some(_) => {
                    alarm.at = None;
                    drop(alarm);
                    if let Some(next) = self.end_expired(now) {
                        self.deadlines.set(next);
                    }
                    mutex.lock()
                }
            };
        }
    }

    /// Withdraws the awaited calls that are queued past their deadlines, and fails them as busy. Returns the next
    /// deadline.
    fn end_expired(&self, now: Instant) -> Option<Instant> {
        let (mut expired, mut next) = (Vec::new(), None);
        let mut queue = self.shared.queue.lock();
        let Queue { jobs, isolated, .. } = &mut *queue;
        for list in [isolated, jobs] {
            for job in std::mem::take(list) {
                match job.slot.awaited_until() {
                    Some(deadline) if deadline <= now => {
                        job.stop_sequence();
                        expired.push(job);
                    }
                    deadline => {
                        next = next.into_iter().chain(deadline).min();
                        list.push_back(job);
                    }
                }
            }
        }
        self.shared.note_progress(&queue);
        drop(queue);
        for job in expired {
            job.slot.complete(failed(self.busy(&job)));
        }
        next
    }
}
