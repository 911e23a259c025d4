//! The requests whose bodies are still to be read, and the deadlines of those being read.

use super::head::Head;
use commerce_core::sync::{Condvar, Mutex, MutexGuard};
use std::net::SocketAddr;
use std::time::Instant;

/// A request whose body is not read yet. It counts as in flight.
pub(super) struct Job {
    pub(super) raw: tiny_http::Request,
    pub(super) head: Head,
    pub(super) peer: Option<SocketAddr>,
}

/// The queue of the body readers.
pub(super) struct Bodies {
    queue: Mutex<BodyQueue>,
    changed: Condvar,
}

struct BodyQueue {
    waiting: Vec<Job>,
    /// Idle threads minus waiting jobs.
    free: usize,
    /// The deadline of each body being read.
    reading: Vec<(SocketAddr, Instant)>,
    /// Peers whose deadline has passed.
    late: Vec<SocketAddr>,
    finished: bool,
}

impl Bodies {
    /// Creates the queue of this number of threads, the body readers.
    pub(super) fn new(threads: usize) -> Self {
        let (waiting, reading, late) = (Vec::new(), Vec::new(), Vec::new());
        let queue = BodyQueue { waiting, free: threads, reading, late, finished: false };
        Self { queue: Mutex::new(queue), changed: Condvar::new() }
    }

    /// Passes a job to an idle thread, or returns it.
    pub(super) fn submit(&self, job: Job) -> Result<(), Box<Job>> {
        let mut queue = self.lock();
        let Some(free) = queue.free.checked_sub(1) else { return Err(Box::new(job)) };
        queue.free = free;
        queue.waiting.push(job);
        self.changed.notify_one();
        Ok(())
    }

    /// The peers whose body has not arrived in time, to be shut for reading. Each is returned once.
    pub(super) fn overdue(&self, now: Instant) -> Vec<SocketAddr> {
        let mut queue = self.lock();
        let overdue: Vec<_> =
            queue.reading.iter().filter(|(_, by)| *by <= now).map(|(peer, _)| *peer).collect();
        queue.reading.retain(|(_, by)| *by > now);
        queue.late.extend(&overdue);
        overdue
    }

    /// Ends the threads once the queue is empty.
    pub(super) fn finish(&self) {
        self.lock().finished = true;
        self.changed.notify_all();
    }

    pub(super) fn take(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.waiting.pop() {
                return Some(job);
            }
            if queue.finished {
                return None;
            }
            queue = self.changed.wait(queue);
        }
    }

    pub(super) fn begin(&self, peer: Option<SocketAddr>, by: Option<Instant>) {
        self.lock().reading.extend(peer.zip(by));
    }

    /// Returns true if the body arrived in time.
    pub(super) fn end(&self, peer: Option<SocketAddr>) -> bool {
        let mut queue = self.lock();
        queue.reading.retain(|(other, _)| Some(*other) != peer);
        let late = queue.late.len();
        queue.late.retain(|other| Some(*other) != peer);
        queue.late.len() == late
    }

    pub(super) fn done(&self) {
        let mut queue = self.lock();
        queue.free = queue.free.saturating_add(1);
    }

    fn lock(&self) -> MutexGuard<'_, BodyQueue> {
        self.queue.lock()
    }
}
