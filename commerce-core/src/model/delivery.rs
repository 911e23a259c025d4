//! Deliveries: the state of each event's delivery (outbox pattern). A delivered event has no row, so a healthy
//! store has only as many rows as there are events in flight.

use crate::clock::Timestamp;
use crate::id::{EventId, OrderId};
use crate::limits::MAX_CLOCK_DIFFERENCE;
use crate::model::event::Event;
use crate::model::words::words;
use serde::Serialize;

/// The delivery state of an event, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The event.
    pub event_id: EventId,
    /// The event's order: events of one order are delivered in order.
    pub order_id: OrderId,
    /// The status.
    pub status: DeliveryStatus,
    /// The number of failed attempts.
    pub attempts: i64,
    /// Sending: the end of the lease. Waiting: the earliest instant of the next attempt, or [`Timestamp::MAX`]
    /// behind another event of its order. Parked: the instant it was parked.
    pub due_at: Timestamp,
    /// The fencing token of the worker that holds the lease.
    pub token: Option<i64>,
    /// The error of the last failed attempt.
    pub error: Option<String>,
    /// The instant this row was last written, by the clock of the writer.
    pub updated_at: Timestamp,
}

impl DeliveryRow {
    /// Returns true if the event can be leased at `now`. A row written later than `now` comes from a clock that
    /// was set back since; its due time is meaningless, and waiting for it could take years.
    #[must_use]
    pub fn is_due_at(&self, now: Timestamp) -> bool {
        let is_behind_another = self.due_at == Timestamp::MAX;
        let is_ahead = self.updated_at > now.plus_seconds(MAX_CLOCK_DIFFERENCE);
        self.status != DeliveryStatus::Parked
            && (self.due_at <= now || is_ahead && !is_behind_another)
    }

    /// Returns the row without its lease.
    #[must_use]
    pub(crate) fn without_lease(mut self) -> Self {
        if self.status == DeliveryStatus::Sending {
            self.status = DeliveryStatus::Waiting;
            self.token = None;
        }
        self
    }
}

/// The status of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// Leased: a worker is sending it, or crashed while sending.
    Sending,
    /// Waiting for the next attempt, or for an earlier event of its order.
    Waiting,
    /// Dead letter: not attempted again until it is retried explicitly.
    Parked,
}

words! {
    DeliveryStatus {
        Sending = "sending",
        Waiting = "waiting",
        Parked = "parked",
    }
}

/// An event and the state of its delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TrackedEvent {
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// The state of its delivery.
    pub delivery: DeliveryState,
}

/// The delivery state of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are named after what they hold; the variant says the rest")]
pub enum DeliveryState {
    /// Delivered.
    Delivered,
    /// Not sent yet: due at once, due at `due_at`, or behind another event of its order.
    Waiting { attempts: i64, due_at: Option<Timestamp>, error: Option<String> },
    /// Leased by a worker until that instant.
    Sending { attempts: i64, until: Timestamp },
    /// Dead letter: not attempted again until it is retried explicitly.
    Parked { attempts: i64, since: Timestamp, error: Option<String> },
}

impl DeliveryState {
    /// Derives the state of an event from its delivery row, if it has one; `next` is the first event that was
    /// never leased.
    pub(crate) fn of(event: EventId, row: Option<DeliveryRow>, next: EventId) -> Self {
        let Some(DeliveryRow { status, attempts, due_at, error, .. }) = row else {
            let fresh = Self::Waiting { attempts: 0, due_at: None, error: None };
            return if event < next { Self::Delivered } else { fresh };
        };
        match status {
            DeliveryStatus::Sending => Self::Sending { attempts, until: due_at },
            DeliveryStatus::Parked => Self::Parked { attempts, since: due_at, error },
            DeliveryStatus::Waiting => {
                let due_at = Some(due_at).filter(|due| *due < Timestamp::MAX);
                Self::Waiting { attempts, due_at, error }
            }
        }
    }
}

/// Counts of undelivered events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outbox {
    /// The number of undelivered events, parked ones excluded.
    pub waiting: u64,
    /// The number of those with at least one failed attempt.
    pub failed: u64,
    /// The creation time of the oldest undelivered event, waiting or parked.
    pub oldest: Option<Timestamp>,
    /// The number of parked events.
    pub parked: u64,
}

/// Leased events, to be delivered before the lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLease {
    /// The events, oldest first; at most one per order.
    pub events: Vec<LeasedEvent>,
    /// True if more events can be leased at once.
    pub more: bool,
    /// The number of events parked by the reported outcomes.
    pub parked: u64,
}

/// A leased event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedEvent {
    /// The full event.
    pub event: Event,
    /// The number of failed attempts so far.
    pub attempts: i64,
}
