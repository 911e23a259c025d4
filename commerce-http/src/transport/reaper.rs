//! Closes unproductive connections: silent ones, slowloris, idle ones, excess ones, and clients that do not read.

use super::descriptors;
use super::shared::Shared;
use crate::message::Connections;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A connection that was shut disappears at once, unless its thread is blocked for good. One that is left after this
/// time is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(3);
/// The divisor of the timeout for stalled clients while there are many of them.
const OVERLOAD_FACTOR: u32 = 8;
/// Descriptors reserved for other uses than connections.
const OTHERS: u64 = 64;

/// The maximum number of connections: two descriptors each.
pub(super) fn max_connections(shared: &Shared) -> usize {
    let limit = descriptors::limit();
    let left = limit.saturating_sub(OTHERS.min(limit / 2)) / 2;
    usize::try_from(left).unwrap_or(usize::MAX).min(shared.settings.max_connections)
}

/// Checks all connections, and shuts those past their deadline or over the limit. Returns the number of stuck ones.
pub(super) fn reap(shared: &Shared, now: Instant, most: usize) -> usize {
    let Some(mut sockets) = shared.sockets() else { return 0 };
    sockets.scan(now);
    let (mut stuck, mut expired, mut idle) = (0_usize, Vec::new(), Vec::new());
    let mut late = Vec::new();
    let mut all = 0_usize;
    for (peer, seen) in sockets.connections() {
        let known = shared.peers.get(peer);
        all = all.saturating_add(1);
        if known.is_some_and(|known| known.in_flight > 0) {
            continue;
        }
        let (since, timeout) = match known.filter(|known| !known.closing) {
            Some(known) => (known.last_active, shared.settings.idle_deadline),
            None => (seen.first, shared.settings.head_deadline),
        };
        match seen.shut {
            Some(at) if now.saturating_duration_since(at) > STUCK_AFTER => {
                stuck = stuck.saturating_add(1);
            }
            Some(_) => {}
            None if now.saturating_duration_since(since) > timeout => match known {
                Some(_) => expired.push(peer),
                None => late.push(peer),
            },
            None => idle.push((known.is_some(), since, peer)),
        }
    }
    idle.sort_unstable();
    let closing = expired.len().saturating_add(late.len());
    let excess = all.saturating_sub(most).saturating_sub(closing).min(idle.len());
    expired.extend(idle.into_iter().take(excess).map(|(_, _, peer)| peer));
    shared.service.observe(Connections {
        open: all.saturating_sub(closing).saturating_sub(excess),
        beyond_limit: excess,
        too_far_ahead: shared.cut.swap(0, Ordering::Relaxed),
        too_slow: late.len(),
    });
    for peer in late {
        sockets.write_and_close(peer, &shared.timeout_response());
    }
    for peer in expired {
        sockets.shut(peer, Shutdown::Both);
    }
    sockets.reserve_descriptors();
    shared.peers.forget(now, |peer| sockets.has(peer));
    stuck
}

/// Shuts all connections without requests in flight for reading. Requests received before are still served.
pub(super) fn shutdown_idle(shared: &Shared) {
    let Some(mut sockets) = shared.sockets() else { return };
    sockets.scan(Instant::now());
    let busy = |peer| shared.peers.get(peer).is_some_and(|peer| peer.in_flight > 0);
    let all = sockets.connections().map(|(peer, _)| peer);
    let idle: Vec<SocketAddr> = all.filter(|peer| !busy(*peer)).collect();
    for peer in idle {
        sockets.shut(peer, Shutdown::Read);
    }
}

/// Shuts all connections.
pub(super) fn shutdown_all(shared: &Shared) {
    let Some(mut sockets) = shared.sockets() else { return };
    sockets.scan(Instant::now());
    let all: Vec<SocketAddr> = sockets.connections().map(|(peer, _)| peer).collect();
    for peer in all {
        sockets.shut(peer, Shutdown::Both);
    }
}

/// Shuts connections whose body is past its deadline; the body reader then sees the end of the stream.
pub(super) fn timeout_bodies(shared: &Shared, now: Instant) {
    for peer in shared.bodies.overdue(now) {
        shared.close_connection(Some(peer), Shutdown::Read);
    }
}

/// Disconnects clients that do not read their responses: if they hold half of the workers, or past the write deadline.
/// A client holds one worker per request in flight, because responses of a connection are sent in order. Returns true
/// if half of the workers were held; the timeout is then shorter for a while (`overloaded`).
pub(super) fn end_stalled_responses(shared: &Shared, now: Instant, overloaded: bool) -> bool {
    let timeout = shared.settings.write_timeout;
    let timeout =
        timeout.checked_div(if overloaded { OVERLOAD_FACTOR } else { 1 }).unwrap_or(timeout);
    let is_stalled = |since: Instant| now.saturating_duration_since(since) > timeout;
    let stalled =
        shared.slots.iter().filter_map(|slot| slot.get().filter(|(_, since)| is_stalled(*since)));
    let mut stalled: Vec<_> = stalled.collect();
    stalled.sort_unstable();
    stalled.dedup_by_key(|(peer, _)| *peer);
    let held = stalled.iter().fold(0_usize, |held, (peer, _)| {
        held.saturating_add(shared.peers.get(*peer).map_or(1, |peer| peer.in_flight.max(1)))
    });
    let is_overloaded = held.saturating_mul(2) >= shared.settings.workers;
    let write_deadline = shared.settings.write_deadline;
    for (peer, since) in stalled {
        if is_overloaded || now.saturating_duration_since(since) > write_deadline {
            shared.close_connection(Some(peer), Shutdown::Both);
        }
    }
    is_overloaded
}
