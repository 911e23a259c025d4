//! Workers: threads that receive requests from `tiny_http` and answer them.

use super::bodies::Job;
use super::head::{self, Head};
use super::peers::{Admission, InFlightGuard};
use super::shared::{self, Shared};
use super::waiter_limit::WaiterLimit;
use super::worker_slot::WorkerSlot;
use crate::message::TransportError;
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Serves the current server until the shutdown.
pub(super) fn work(shared: &Shared, slot: &WorkerSlot) {
    while !shared.is_finished() {
        let server = shared.server();
        let keep_running = || !shared.is_finished() && Arc::ptr_eq(&server, &shared.server());
        serve(shared, slot, &server, &shared.waiters, keep_running);
    }
}

/// Serves the requests of one server while `keep_running` returns true. `unblock` wakes one arbitrary `recv`, so every
/// worker re-checks periodically.
pub(super) fn serve(
    shared: &Shared,
    slot: &WorkerSlot,
    server: &tiny_http::Server,
    waiters: &WaiterLimit,
    keep_running: impl Fn() -> bool,
) {
    loop {
        let received = match server.try_recv() {
            Ok(Some(raw)) => Some(raw),
            Ok(None) | Err(_) if !keep_running() => return,
            Ok(None) | Err(_) => {
                waiters.wait_for_request(|timeout| server.recv_timeout(timeout).ok().flatten())
            }
        };
        let Some(raw) = received else { continue };
        waiters.wake_one();
        // `tiny_http` panics in some places; the worker survives.
        let _ = catch_unwind(AssertUnwindSafe(|| handle(shared, slot, raw)));
        slot.set(None);
    }
}

fn handle(shared: &Shared, slot: &WorkerSlot, raw: tiny_http::Request) {
    let peer = raw.remote_addr().copied();
    let guard = match shared.peers.enter(peer) {
        Admission::Accepted(guard) => guard,
        Admission::OverLimit => {
            shared.cut.fetch_add(1, Ordering::Relaxed);
            shared.close_connection(peer, Shutdown::Both);
            return shared::drop_request(raw);
        }
        Admission::Closing => {
            // Without requests in flight it is a new connection from a reused address: close it rather than leave it
            // unanswered.
            if peer.and_then(|peer| shared.peers.get(peer)).is_some_and(|peer| peer.in_flight == 0)
            {
                shared.close_connection(peer, Shutdown::Both);
            }
            return shared::drop_request(raw);
        }
    };
    match head::read(&raw, &shared.settings) {
        Err(reason) => shared.send_rejection(raw, &guard, reason),
        Ok(head) if head::unread(&raw) => {
            let peer = guard.hand_over();
            if let Err(job) = shared.bodies.submit(Job { raw, head, peer }) {
                shared.send_rejection(
                    job.raw,
                    &shared.peers.resume(peer),
                    TransportError::Overloaded,
                );
            }
        }
        Ok(head) => answer_small(shared, slot, raw, head, &guard),
    }
}

/// Answers a request whose body, if any, `tiny_http` has already read.
fn answer_small(
    shared: &Shared,
    slot: &WorkerSlot,
    mut raw: tiny_http::Request,
    mut head: Head,
    guard: &InFlightGuard<'_>,
) {
    if head.length != Some(0) && raw.as_reader().read_to_end(&mut head.request.body).is_err() {
        return shared.send_rejection(raw, guard, TransportError::Malformed);
    }
    shared.serve(raw, &head.request, guard, slot);
}
