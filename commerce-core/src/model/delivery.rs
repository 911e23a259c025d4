//! Deliveries: how far the telling of each event has come. An event that has arrived has no row, so that a
//! healthy store keeps as many rows as are on their way this moment.

use crate::clock::Timestamp;
use crate::id::{EventId, OrderId};
use crate::limits::MAX_CLOCK_DIFFERENCE;
use crate::model::event::Event;
use serde::Serialize;

/// How far the delivery of an event has come, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Which event.
    pub event_id: EventId,
    /// The order it is about: events of one order arrive one after another.
    pub order_id: OrderId,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// How many tries have failed.
    pub attempts: i64,
    /// Sending: when the lease of who sends it ends. Waiting: when the next try may be made;
    /// [`Timestamp::MAX`] behind another event of its order. Parked: since when.
    pub due_at: Timestamp,
    /// Who is sending it.
    pub token: Option<i64>,
    /// What went wrong the last time.
    pub error: Option<String>,
    /// When this row was last written, by the clock of the writer.
    pub updated_at: Timestamp,
}

impl DeliveryRow {
    /// Whether it may be taken up at `now`. A row that was written later than `now` comes from a clock that has
    /// been set back since; its due time means nothing, and to wait for it could take years.
    #[must_use]
    pub fn is_due_at(&self, now: Timestamp) -> bool {
        let is_behind_another = self.due_at == Timestamp::MAX;
        let is_ahead = self.updated_at > now.plus_seconds(MAX_CLOCK_DIFFERENCE);
        self.status != DeliveryStatus::Parked
            && (self.due_at <= now || is_ahead && !is_behind_another)
    }

    /// As when nobody is sending it any more.
    #[must_use]
    pub(crate) fn given_up(mut self) -> Self {
        if self.status == DeliveryStatus::Sending {
            self.status = DeliveryStatus::Waiting;
            self.token = None;
        }
        self
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// Somebody is sending it, or has died doing so.
    Sending,
    /// It waits for its next try, or for an earlier event of its order.
    Waiting,
    /// It will not be tried again unless somebody says so.
    Parked,
}

/// An event, and how far its delivery has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrackedEvent {
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// How far it has come.
    pub delivery: DeliveryState,
}

/// How far the delivery of an event has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are named after what they hold; the variant says the rest")]
pub enum DeliveryState {
    /// It has arrived.
    Delivered,
    /// It is to be sent: at once, from an instant on, or after another event of its order.
    Waiting { attempts: i64, due_at: Option<Timestamp>, error: Option<String> },
    /// It is being sent, by who has to be done with it by then.
    Sending { attempts: i64, until: Timestamp },
    /// It has been given up until somebody says otherwise.
    Parked { attempts: i64, since: Timestamp, error: Option<String> },
}

impl DeliveryState {
    /// What is known of an event, given its row if it has one; `next` is the first event that nobody has
    /// taken up yet.
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

/// What waits to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// How many events have not arrived; parked ones are not counted.
    pub waiting: u64,
    /// How many of those have been tried and failed.
    pub failed: u64,
    /// When the oldest event that has not arrived was written, be it waiting or parked.
    pub oldest: Option<Timestamp>,
    /// How many events are parked.
    pub parked: u64,
}
