//! Closes connections that only cost: silent, dripping, idle, too many, or not reading their answers.

use super::descriptors;
use super::shared::Shared;
use crate::message::Connections;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A connection that was shut is gone at once, unless its thread is held for good.
const GONE_BY: Duration = Duration::from_secs(3);
/// By what the timeout with clients that do not read is divided while there are many of them.
const OVERLOAD_FACTOR: u32 = 8;
/// Descriptors that are left to everything but connections.
const OTHERS: u64 = 64;

/// How many connections there may be: two descriptors each.
pub(super) fn most_connections(shared: &Shared) -> usize {
    let limit = descriptors::limit();
    let left = limit.saturating_sub(OTHERS.min(limit / 2)) / 2;
    usize::try_from(left).unwrap_or(usize::MAX).min(shared.settings.max_connections)
}

/// Looks at every connection, and shuts those whose time is over. How many are stuck.
pub(super) fn reap(shared: &Shared, now: Instant, most: usize) -> usize {
    let Some(mut sockets) = shared.sockets() else { return 0 };
    sockets.scan(now);
    let (mut stuck, mut over, mut quiet) = (0_usize, Vec::new(), Vec::new());
    let mut late = Vec::new();
    let mut all = 0_usize;
    for (peer, seen) in sockets.connections() {
        let known = shared.peers.get(peer);
        all = all.saturating_add(1);
        if known.is_some_and(|known| known.in_flight > 0) {
            continue;
        }
        let (since, timeout) = match known.filter(|known| !known.closing) {
            Some(known) => (known.last, shared.settings.idle_deadline),
            None => (seen.first, shared.settings.head_deadline),
        };
        match seen.shut {
            Some(at) if now.saturating_duration_since(at) > GONE_BY => {
                stuck = stuck.saturating_add(1);
            }
            Some(_) => {}
            None if now.saturating_duration_since(since) > timeout => match known {
                Some(_) => over.push(peer),
                None => late.push(peer),
            },
            None => quiet.push((known.is_some(), since, peer)),
        }
    }
    quiet.sort_unstable();
    let closing = over.len().saturating_add(late.len());
    let excess = all.saturating_sub(most).saturating_sub(closing).min(quiet.len());
    over.extend(quiet.into_iter().take(excess).map(|(_, _, peer)| peer));
    shared.service.observe(Connections {
        open: all.saturating_sub(closing).saturating_sub(excess),
        beyond_limit: excess,
        too_far_ahead: shared.cut.swap(0, Ordering::Relaxed),
        too_slow: late.len(),
    });
    for peer in late {
        sockets.write_and_close(peer, &shared.late());
    }
    for peer in over {
        sockets.shut(peer, Shutdown::Both);
    }
    sockets.reserve_descriptors();
    shared.peers.forget(now, |peer| sockets.has(peer));
    stuck
}

/// Shuts every connection with nothing in flight, for reading: what was said before is still heard.
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

/// Shuts every connection.
pub(super) fn shutdown_all(shared: &Shared) {
    let Some(mut sockets) = shared.sockets() else { return };
    sockets.scan(Instant::now());
    let all: Vec<SocketAddr> = sockets.connections().map(|(peer, _)| peer).collect();
    for peer in all {
        sockets.shut(peer, Shutdown::Both);
    }
}

/// Ends bodies whose deadline is over: their reader then finds the end.
pub(super) fn timeout_bodies(shared: &Shared, now: Instant) {
    for peer in shared.bodies.overdue(now) {
        shared.close_connection(Some(peer), Shutdown::Read);
    }
}

/// When half of the workers are held by clients that do not read, those clients are cut off, and any that
/// takes very long. A client holds as many as it has requests in flight: the later ones wait for their
/// turn. Whether it came to that: then the next ones are given less time, `overloaded`.
pub(super) fn end_stalled_answers(shared: &Shared, now: Instant, overloaded: bool) -> bool {
    let timeout = shared.settings.write_patience;
    let timeout =
        timeout.checked_div(if overloaded { OVERLOAD_FACTOR } else { 1 }).unwrap_or(timeout);
    let waits = |since: Instant| now.saturating_duration_since(since) > timeout;
    let stalled =
        shared.posts.iter().filter_map(|post| post.get().filter(|(_, since)| waits(*since)));
    let mut stalled: Vec<_> = stalled.collect();
    stalled.sort_unstable();
    stalled.dedup_by_key(|(peer, _)| *peer);
    let held = stalled.iter().fold(0_usize, |held, (peer, _)| {
        held.saturating_add(shared.peers.get(*peer).map_or(1, |peer| peer.in_flight.max(1)))
    });
    let strained = held.saturating_mul(2) >= shared.settings.workers;
    let most = shared.settings.write_deadline;
    for (peer, since) in stalled {
        if strained || now.saturating_duration_since(since) > most {
            shared.close_connection(Some(peer), Shutdown::Both);
        }
    }
    strained
}
