//! The state of a worker that the supervisor reads.

use commerce_core::sync::Mutex;
use std::net::SocketAddr;
use std::time::Instant;

/// The peer that a worker is sending to, and the start of sending. The supervisor finds stalled clients by it.
#[derive(Debug, Default)]
pub(super) struct WorkerSlot(Mutex<Option<(SocketAddr, Instant)>>);

impl WorkerSlot {
    pub(super) fn set(&self, peer: Option<SocketAddr>) {
        *self.0.lock() = peer.map(|peer| (peer, Instant::now()));
    }

    pub(super) fn get(&self) -> Option<(SocketAddr, Instant)> {
        *self.0.lock()
    }
}
