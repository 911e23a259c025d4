//! Body readers: threads that read the bodies that `tiny_http` leaves on the connection. Each body has a thread and a
//! deadline, so that slow bodies delay only each other.

use super::bodies::Job;
use super::head::Head;
use super::shared::Shared;
use super::worker_slot::WorkerSlot;
use crate::message::TransportError;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

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
