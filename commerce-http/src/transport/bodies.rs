//! Body readers: threads that read the bodies that `tiny_http` leaves on the connection. Each body has a thread and a
//! deadline, so that slow bodies delay only each other.

use super::head::Head;
use super::shared::Shared;
use super::worker::WorkerSlot;
use crate::message::TransportError;
use commerce_core::sync::{Condvar, Mutex, MutexGuard};
use std::io::Read;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// Creates the queue of this number of threads, each of which runs [`read`].
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

    fn take(&self) -> Option<Job> {
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

    fn begin(&self, peer: Option<SocketAddr>, by: Option<Instant>) {
        self.lock().reading.extend(peer.zip(by));
    }

    /// Returns true if the body arrived in time.
    fn end(&self, peer: Option<SocketAddr>) -> bool {
        let mut queue = self.lock();
        queue.reading.retain(|(other, _)| Some(*other) != peer);
        let late = queue.late.len();
        queue.late.retain(|other| Some(*other) != peer);
        queue.late.len() == late
    }

    fn done(&self) {
        let mut queue = self.lock();
        queue.free = queue.free.saturating_add(1);
    }

    fn lock(&self) -> MutexGuard<'_, BodyQueue> {
        self.queue.lock()
    }
}

/// Reads bodies and has their requests answered, until the server has finished.
pub(super) fn read(shared: &Shared, slot: &WorkerSlot) {
    while let Some(job) = shared.bodies.take() {
        let _ = catch_unwind(AssertUnwindSafe(|| handle(shared, slot, job)));
        slot.set(None);
        shared.bodies.done();
    }
}

fn handle(shared: &Shared, slot: &WorkerSlot, job: Job) {
    let Job { mut raw, mut head, peer } = job;
    let guard = shared.peers.resume(peer);
    shared.bodies.begin(peer, Instant::now().checked_add(shared.settings.body_deadline));
    let result = read_body(&mut raw, &mut head, shared.settings.max_body);
    let in_time = shared.bodies.end(peer);
    let error = if in_time { result.err() } else { Some(TransportError::TooSlow) };
    if let Some(error) = error {
        return shared.send_rejection(raw, &guard, error);
    }
    shared.serve(raw, &head.request, &guard, slot);
}

/// Reads the complete body: the announced length, or all chunks.
fn read_body(
    raw: &mut tiny_http::Request,
    head: &mut Head,
    max_body: usize,
) -> Result<(), TransportError> {
    let limit = u64::try_from(max_body).unwrap_or(u64::MAX).saturating_add(1);
    let body = &mut head.request.body;
    // `as_reader` sends `100 Continue` to a client that waits for it.
    let read = raw.as_reader().take(limit).read_to_end(body);
    if body.len() > max_body {
        return Err(TransportError::BodyTooLarge { limit: max_body });
    }
    let complete = read.is_ok() && head.length.is_none_or(|length| length == body.len());
    if complete { Ok(()) } else { Err(TransportError::Malformed) }
}
