//! Counts of the relays of a shop.

use crate::clock::Timestamp;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The numbers of events that relays have delivered, failed to deliver and parked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct RelayStats {
    /// Events that have arrived.
    pub delivered: u64,
    /// Failed attempts, counted per event.
    pub failed: u64,
    /// Events that were parked as dead letters, with the later events of their orders.
    pub parked: u64,
}

/// The counters behind [`RelayStats`].
#[derive(Debug, Default)]
pub(crate) struct RelayCounts {
    delivered: AtomicU64,
    failed: AtomicU64,
    parked: AtomicU64,
    /// The instant of the last delivery, or of the shop's opening if there was none; in seconds since 1970.
    last_delivery: AtomicI64,
}

impl RelayCounts {
    pub(crate) fn since(now: Timestamp) -> Self {
        Self { last_delivery: AtomicI64::new(now.unix()), ..Self::default() }
    }

    pub(crate) fn add_delivered(&self, count: u64, now: Timestamp) {
        self.delivered.fetch_add(count, Ordering::Relaxed);
        self.last_delivery.store(now.unix(), Ordering::Relaxed);
    }

    pub(crate) fn add_failed(&self, count: u64) {
        self.failed.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn add_parked(&self, count: u64) {
        self.parked.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> RelayStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RelayStats {
            delivered: read(&self.delivered),
            failed: read(&self.failed),
            parked: read(&self.parked),
        }
    }

    pub(crate) fn last_delivery(&self) -> Timestamp {
        Timestamp::from_unix(self.last_delivery.load(Ordering::Relaxed))
    }
}
