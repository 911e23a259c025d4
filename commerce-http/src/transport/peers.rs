//! Requests in flight per peer. Every request locks this table twice, so it is sharded to avoid contention.

use commerce_core::sync::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SHARDS: usize = 16;
/// A connection may be newer than the list of connections, so younger entries are kept.
const MIN_AGE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) in_flight: usize,
    /// The connection is being closed: further requests are not served.
    pub(super) closing: bool,
    /// The time of the last request or response.
    pub(super) last_active: Instant,
}

#[derive(Debug)]
pub(super) struct Peers {
    shards: Vec<Mutex<HashMap<SocketAddr, Peer>>>,
    limit: usize,
    in_flight: AtomicUsize,
}

/// The decision on a request.
pub(super) enum Admission<'a> {
    Accepted(InFlightGuard<'a>),
    /// Too many requests are in flight: the connection is to be closed.
    OverLimit,
    /// The connection is already being closed.
    Closing,
}

impl Peers {
    /// Creates a table with a limit on requests in flight per peer.
    pub(super) fn new(limit: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, limit, in_flight: AtomicUsize::new(0) }
    }

    /// Admits a request. Peers of a unix socket are indistinguishable, so all are accepted.
    pub(super) fn enter(&self, peer: Option<SocketAddr>) -> Admission<'_> {
        if let Some(address) = peer {
            let mut shard = self.shard(address);
            let entry = shard.entry(address).or_insert_with(Peer::new);
            if entry.closing {
                return Admission::Closing;
            }
            // A client within the limit may appear to exceed it by one: it reads a response before the response is
            // counted.
            if entry.in_flight > self.limit {
                entry.closing = true;
                return Admission::OverLimit;
            }
            entry.in_flight = entry.in_flight.saturating_add(1);
            entry.last_active = Instant::now();
        }
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Admission::Accepted(InFlightGuard { peers: self, peer })
    }

    /// The guard of a request that another thread admitted.
    pub(super) fn resume(&self, peer: Option<SocketAddr>) -> InFlightGuard<'_> {
        InFlightGuard { peers: self, peer }
    }

    /// Stops serving a peer.
    pub(super) fn close(&self, address: SocketAddr) {
        self.shard(address).entry(address).or_insert_with(Peer::new).closing = true;
    }

    /// Returns true if a peer is no longer served.
    pub(super) fn is_closing(&self, address: SocketAddr) -> bool {
        self.get(address).is_some_and(|peer| peer.closing)
    }

    pub(super) fn get(&self, address: SocketAddr) -> Option<Peer> {
        self.shard(address).get(&address).copied()
    }

    /// The number of requests in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Removes peers without a connection.
    pub(super) fn forget(&self, now: Instant, is_connected: impl Fn(SocketAddr) -> bool) {
        for shard in &self.shards {
            shard.lock().retain(|address, peer| {
                let is_young = now.saturating_duration_since(peer.last_active) < MIN_AGE;
                peer.in_flight > 0 || is_young || is_connected(*address)
            });
        }
    }

    fn leave(&self, peer: Option<SocketAddr>) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        let Some(address) = peer else { return };
        if let Some(peer) = self.shard(address).get_mut(&address) {
            peer.in_flight = peer.in_flight.saturating_sub(1);
            peer.last_active = Instant::now();
        }
    }

    fn shard(&self, address: SocketAddr) -> MutexGuard<'_, HashMap<SocketAddr, Peer>> {
        let number = usize::from(address.port()) % SHARDS;
        self.shards[number].lock()
    }
}

impl Peer {
    fn new() -> Self {
        Self { in_flight: 0, closing: false, last_active: Instant::now() }
    }
}

/// Counts one request as in flight until it is dropped.
pub(super) struct InFlightGuard<'a> {
    peers: &'a Peers,
    pub(super) peer: Option<SocketAddr>,
}

impl InFlightGuard<'_> {
    /// Keeps the request counted, for the thread that continues with [`Peers::resume`].
    pub(super) fn hand_over(self) -> Option<SocketAddr> {
        let peer = self.peer;
        std::mem::forget(self);
        peer
    }
}

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.peers.leave(self.peer);
    }
}
