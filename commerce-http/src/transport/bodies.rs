//! Reads the bodies that `tiny_http` leaves on the connection, where a client may take its time over them.
//! Each has a thread to itself and a deadline, so that slow ones stop nobody but each other.

use super::head::Head;
use super::shared::Shared;
use super::worker::WorkerSlot;
use crate::message::TransportError;
use std::io::Read;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A request whose body is yet to be read. It counts as in flight.
pub(super) struct Job {
    pub(super) raw: tiny_http::Request,
    pub(super) head: Head,
    pub(super) peer: Option<SocketAddr>,
}

/// The threads' common desk.
pub(super) struct Bodies {
    desk: Mutex<BodyQueue>,
    come: Condvar,
}

struct BodyQueue {
    waiting: Vec<Job>,
    /// Threads with nothing to do, less the jobs that wait for them.
    free: usize,
    /// When each body must have arrived.
    reading: Vec<(SocketAddr, Instant)>,
    /// Those whose time is over.
    late: Vec<SocketAddr>,
    finished: bool,
}

impl Bodies {
    /// For so many threads, which [`read`] is to be run on.
    pub(super) fn new(threads: usize) -> Self {
        let (waiting, reading, late) = (Vec::new(), Vec::new(), Vec::new());
        let desk = BodyQueue { waiting, free: threads, reading, late, finished: false };
        Self { desk: Mutex::new(desk), come: Condvar::new() }
    }

    /// Gives a job to a free thread, or back.
    pub(super) fn give(&self, job: Job) -> Result<(), Box<Job>> {
        let mut desk = self.lock();
        let Some(free) = desk.free.checked_sub(1) else { return Err(Box::new(job)) };
        desk.free = free;
        desk.waiting.push(job);
        self.come.notify_one();
        Ok(())
    }

    /// Those whose body has not arrived in time, to be shut for reading. Each is told once.
    pub(super) fn overdue(&self, now: Instant) -> Vec<SocketAddr> {
        let mut desk = self.lock();
        let over: Vec<_> =
            desk.reading.iter().filter(|(_, by)| *by <= now).map(|(who, _)| *who).collect();
        desk.reading.retain(|(_, by)| *by > now);
        desk.late.extend(&over);
        over
    }

    /// Threads end once nothing waits.
    pub(super) fn finish(&self) {
        self.lock().finished = true;
        self.come.notify_all();
    }

    fn take(&self) -> Option<Job> {
        let mut desk = self.lock();
        loop {
            if let Some(job) = desk.waiting.pop() {
                return Some(job);
            }
            if desk.finished {
                return None;
            }
            desk = self.come.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn begin(&self, peer: Option<SocketAddr>, by: Option<Instant>) {
        self.lock().reading.extend(peer.zip(by));
    }

    /// Whether it was in time.
    fn end(&self, peer: Option<SocketAddr>) -> bool {
        let mut desk = self.lock();
        desk.reading.retain(|(who, _)| Some(*who) != peer);
        let late = desk.late.len();
        desk.late.retain(|who| Some(*who) != peer);
        desk.late.len() == late
    }

    fn done(&self) {
        let mut desk = self.lock();
        desk.free = desk.free.saturating_add(1);
    }

    fn lock(&self) -> MutexGuard<'_, BodyQueue> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads bodies, and has them answered, until the server has finished.
pub(super) fn read(shared: &Shared, post: &WorkerSlot) {
    while let Some(job) = shared.bodies.take() {
        let _ = catch_unwind(AssertUnwindSafe(|| handle(shared, post, job)));
        post.set(None);
        shared.bodies.done();
    }
}

fn handle(shared: &Shared, post: &WorkerSlot, job: Job) {
    let Job { mut raw, mut head, peer } = job;
    let pass = shared.peers.resume(peer);
    shared.bodies.begin(peer, Instant::now().checked_add(shared.settings.body_deadline));
    let whole = read_body(&mut raw, &mut head, shared.settings.max_body);
    let in_time = shared.bodies.end(peer);
    let refused = if in_time { whole.err() } else { Some(TransportError::TooSlow) };
    if let Some(why) = refused {
        return shared.refuse(raw, &pass, why);
    }
    shared.serve(raw, &head.request, &pass, post);
}

/// Reads the whole body: so many bytes, or chunks up to their end.
fn read_body(
    raw: &mut tiny_http::Request,
    head: &mut Head,
    most: usize,
) -> Result<(), TransportError> {
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let body = &mut head.request.body;
    // Asking for the reader says `100 Continue` to a client that waits for it.
    let read = raw.as_reader().take(limit).read_to_end(body);
    if body.len() > most {
        return Err(TransportError::BodyTooLarge { limit: most });
    }
    let whole = read.is_ok() && head.length.is_none_or(|length| length == body.len());
    if whole { Ok(()) } else { Err(TransportError::Malformed) }
}
