//! What is in flight for whom. Every request passes here twice, so the table is split to spare waiting.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const PARTS: usize = 16;
/// A connection may be newer than the list of connections: it is not forgotten before.
const YOUNG: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) in_flight: usize,
    /// Its connection is being closed: nothing that still comes from it is served.
    pub(super) closing: bool,
    /// When it last asked or was answered.
    pub(super) last: Instant,
}

#[derive(Debug)]
pub(super) struct Peers {
    parts: Vec<Mutex<HashMap<SocketAddr, Peer>>>,
    most: usize,
    all: AtomicUsize,
}

/// Whether a request is let in.
pub(super) enum Admission<'a> {
    Accepted(InFlightGuard<'a>),
    /// Too much is in flight: this is the request at which its connection is cut.
    OverLimit,
    /// The connection is being closed already.
    Closing,
}

impl Peers {
    /// With at most so many requests in flight for one.
    pub(super) fn new(most: usize) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        Self { parts, most, all: AtomicUsize::new(0) }
    }

    /// A request has come. Through a unix socket nobody is told apart, and all are let in.
    pub(super) fn enter(&self, peer: Option<SocketAddr>) -> Admission<'_> {
        if let Some(address) = peer {
            let mut part = self.part(address);
            let entry = part.entry(address).or_insert_with(Peer::new);
            if entry.closing {
                return Admission::Closing;
            }
            // One more than that may be seen of a client that keeps to it: an answer is read before it is
            // counted as given.
            if entry.in_flight > self.most {
                entry.closing = true;
                return Admission::OverLimit;
            }
            entry.in_flight = entry.in_flight.saturating_add(1);
            entry.last = Instant::now();
        }
        self.all.fetch_add(1, Ordering::AcqRel);
        Admission::Accepted(InFlightGuard { peers: self, peer })
    }

    /// The pass of a request that went in before, on another thread.
    pub(super) fn resume(&self, peer: Option<SocketAddr>) -> InFlightGuard<'_> {
        InFlightGuard { peers: self, peer }
    }

    /// From now on nothing that comes from it is served.
    pub(super) fn close(&self, address: SocketAddr) {
        self.part(address).entry(address).or_insert_with(Peer::new).closing = true;
    }

    /// Whether nothing that comes from it is served any more.
    pub(super) fn is_closing(&self, address: SocketAddr) -> bool {
        self.get(address).is_some_and(|peer| peer.closing)
    }

    pub(super) fn get(&self, address: SocketAddr) -> Option<Peer> {
        self.part(address).get(&address).copied()
    }

    /// How many requests are in flight, for all.
    pub(super) fn in_flight(&self) -> usize {
        self.all.load(Ordering::Acquire)
    }

    /// Forgets those whose connections are gone.
    pub(super) fn forget(&self, now: Instant, there: impl Fn(SocketAddr) -> bool) {
        for part in &self.parts {
            lock(part).retain(|address, peer| {
                let young = now.saturating_duration_since(peer.last) < YOUNG;
                peer.in_flight > 0 || young || there(*address)
            });
        }
    }

    fn leave(&self, peer: Option<SocketAddr>) {
        self.all.fetch_sub(1, Ordering::AcqRel);
        let Some(address) = peer else { return };
        if let Some(peer) = self.part(address).get_mut(&address) {
            peer.in_flight = peer.in_flight.saturating_sub(1);
            peer.last = Instant::now();
        }
    }

    fn part(&self, address: SocketAddr) -> MutexGuard<'_, HashMap<SocketAddr, Peer>> {
        let number = usize::from(address.port()) % PARTS;
        lock(&self.parts[number])
    }
}

impl Peer {
    fn new() -> Self {
        Self { in_flight: 0, closing: false, last: Instant::now() }
    }
}

/// Counts one request as in flight until it is dropped.
pub(super) struct InFlightGuard<'a> {
    peers: &'a Peers,
    pub(super) peer: Option<SocketAddr>,
}

impl InFlightGuard<'_> {
    /// Keeps the request counted, for a thread that goes on with it by [`Peers::resume`].
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
