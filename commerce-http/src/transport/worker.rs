//! Takes requests from `tiny_http` and has them answered, many at a time.

use super::bodies::Job;
use super::head::{self, Head};
use super::lookout::WaiterLimit;
use super::peers::{Admission, InFlightGuard};
use super::shared::{self, Shared};
use crate::message::TransportError;
use std::net::{Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Whom a worker is answering, and since when: the guard looks for those that do not read.
#[derive(Debug, Default)]
pub(super) struct WorkerSlot(Mutex<Option<(SocketAddr, Instant)>>);

impl WorkerSlot {
    pub(super) fn set(&self, peer: Option<SocketAddr>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            peer.map(|peer| (peer, Instant::now()));
    }

    pub(super) fn get(&self) -> Option<(SocketAddr, Instant)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works until all is finished, for the server that accepts.
pub(super) fn work(shared: &Shared, post: &WorkerSlot) {
    while !shared.is_finished() {
        let server = shared.server();
        let goes_on = || !shared.is_finished() && Arc::ptr_eq(&server, &shared.server());
        serve(shared, post, &server, &shared.lookouts, goes_on);
    }
}

/// Serves what comes to that server for as long as that is wanted. Whoever unblocks the server has one of
/// its threads look whether it is; nobody can tell which, so that all look from time to time.
pub(super) fn serve(
    shared: &Shared,
    post: &WorkerSlot,
    server: &tiny_http::Server,
    lookouts: &WaiterLimit,
    goes_on: impl Fn() -> bool,
) {
    loop {
        let taken = match server.try_recv() {
            Ok(Some(raw)) => Some(raw),
            Ok(None) | Err(_) if !goes_on() => return,
            Ok(None) | Err(_) => {
                lookouts.wait_for_request(|timeout| server.recv_timeout(timeout).ok().flatten())
            }
        };
        let Some(raw) = taken else { continue };
        lookouts.wake_one();
        // `tiny_http` panics in some places; a worker outlives it.
        let _ = catch_unwind(AssertUnwindSafe(|| handle(shared, post, raw)));
        post.set(None);
    }
}

fn handle(shared: &Shared, post: &WorkerSlot, raw: tiny_http::Request) {
    let peer = raw.remote_addr().copied();
    let pass = match shared.peers.enter(peer) {
        Admission::Accepted(pass) => pass,
        Admission::OverLimit => {
            shared.cut.fetch_add(1, Ordering::Relaxed);
            shared.close_connection(peer, Shutdown::Both);
            return shared::drop_request(raw);
        }
        Admission::Closing => {
            // With nothing in flight it is a new connection of an old address: better cut than unheard.
            if peer.and_then(|peer| shared.peers.get(peer)).is_some_and(|peer| peer.in_flight == 0)
            {
                shared.close_connection(peer, Shutdown::Both);
            }
            return shared::drop_request(raw);
        }
    };
    match head::read(&raw, &shared.settings) {
        Err(why) => shared.refuse(raw, &pass, why),
        Ok(head) if head::unread(&raw) => {
            let peer = pass.hand_over();
            if let Err(job) = shared.bodies.give(Job { raw, head, peer }) {
                shared.refuse(job.raw, &shared.peers.resume(peer), TransportError::Overloaded);
            }
        }
        Ok(head) => answer_small(shared, post, raw, head, &pass),
    }
}

/// Answers a request whose body, if any, `tiny_http` has in memory.
fn answer_small(
    shared: &Shared,
    post: &WorkerSlot,
    mut raw: tiny_http::Request,
    mut head: Head,
    pass: &InFlightGuard<'_>,
) {
    if head.length != Some(0) && raw.as_reader().read_to_end(&mut head.request.body).is_err() {
        return shared.refuse(raw, pass, TransportError::Malformed);
    }
    shared.serve(raw, &head.request, pass, post);
}
