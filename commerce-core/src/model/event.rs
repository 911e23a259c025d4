//! Events: messages for external systems, written in the same commit as the change (outbox pattern).

use crate::clock::Timestamp;
use crate::id::{EventId, OrderId};
use crate::model::order::{Order, OrderStatus};
use crate::model::words::{row_codes, words};
use serde::Serialize;

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum EventKind {
    /// An order was paid.
    #[serde(rename = "order.paid")]
    OrderPaid,
    /// A part of a paid order was cancelled, and its money given back.
    #[serde(rename = "order.partially_cancelled")]
    OrderPartiallyCancelled,
    /// A paid order was cancelled, and the rest of its money given back.
    #[serde(rename = "order.cancelled")]
    OrderCancelled,
}

words! {
    EventKind {
        OrderPaid = "order.paid",
        OrderPartiallyCancelled = "order.partially_cancelled",
        OrderCancelled = "order.cancelled",
    }
}

row_codes! {
    EventKind {
        OrderPaid = 0,
        OrderCancelled = 1,
        OrderPartiallyCancelled = 2,
    }
}

impl EventKind {
    /// The status of an order right after the event.
    const fn status(self) -> OrderStatus {
        match self {
            Self::OrderPaid | Self::OrderPartiallyCancelled => OrderStatus::Paid,
            Self::OrderCancelled => OrderStatus::Cancelled,
        }
    }
}

/// One row of the outbox. It has no copy of the order: the order as of the event is derived from the order's
/// row, which changes only by the changes that have events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The event's number: in commit order, without gaps.
    pub id: EventId,
    /// The kind.
    pub kind: EventKind,
    /// The order.
    pub order_id: OrderId,
    /// The trace of the request that caused it: a W3C `traceparent`, or the request id of the log.
    pub trace: Option<String>,
    /// The instant of the change.
    pub created_at: Timestamp,
}

/// A range of event numbers, with the random prefix of their public ids.
///
/// A restored or copied store continues to count at its source's last number. The prefix distinguishes the new
/// events from those that the source, or the lost part of the store, sent under the same numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The first event of the epoch; it ends where the next one begins.
    pub first_event: EventId,
    /// The prefix; empty for events written before epochs existed.
    pub name: String,
}

impl Epoch {
    /// Returns the public id of an event, given all epochs in order.
    pub(crate) fn public_id(epochs: &[Self], event: EventId) -> String {
        let epoch = epochs.iter().rev().find(|epoch| epoch.first_event <= event);
        match epoch.map(|epoch| epoch.name.as_str()) {
            None | Some("") => event.to_string(),
            Some(name) => format!("{name}-{event}"),
        }
    }
}

/// An event with the order as it was at that instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The event's number: in commit order, without gaps.
    pub id: EventId,
    /// The public id: the same on every delivery, and never used twice, not even by a store restored from a
    /// backup. Receivers deduplicate by it.
    pub public_id: String,
    /// The kind.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The order.
    pub order_id: OrderId,
    /// The trace of the request that caused it.
    pub trace: Option<String>,
    /// The instant of the change.
    pub created_at: Timestamp,
    /// The order right after the event.
    pub data: Order,
}

impl EventRow {
    /// Builds the full event from its order's current row and the epochs of the store.
    #[must_use]
    pub fn with(self, order: &Order, epochs: &[Epoch]) -> Event {
        // Cancellations of parts have events in their order; those from before the payment have none.
        let is_before = |of: &EventId| *of <= self.id;
        let cancellations = order.cancellations.iter();
        let known = cancellations.take_while(|row| row.event_id.as_ref().is_none_or(is_before));
        let data = order.as_of(self.kind.status(), known.count());
        let Self { id, kind, order_id, trace, created_at } = self;
        let public_id = Epoch::public_id(epochs, id);
        Event { id, public_id, kind, order_id, trace, created_at, data }
    }
}
