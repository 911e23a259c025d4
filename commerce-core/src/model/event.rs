//! Events: what the outside is told, written in the commit of the change itself.

use crate::{EventId, Order, OrderId, OrderStatus, Timestamp};
use serde::Serialize;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum EventKind {
    /// An order was paid.
    #[serde(rename = "order.paid")]
    OrderPaid,
    /// A paid order was cancelled, and its money given back.
    #[serde(rename = "order.cancelled")]
    OrderCancelled,
}

/// One row of the outbox. What it says of the order follows from the order itself, which never
/// changes in any other way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Its number: in the order of commits, without gaps.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// To which order.
    pub order_id: OrderId,
    /// The trace of the request that caused it (W3C `traceparent`, or what the
    /// log calls the request).
    pub trace: Option<String>,
    /// When.
    pub created_at: Timestamp,
}

/// An event with the order as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its number: in the order of commits, without gaps.
    pub id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// To which order.
    pub order_id: OrderId,
    /// The trace of the request that caused it.
    pub trace: Option<String>,
    /// When.
    pub created_at: Timestamp,
    /// The order as it was right after the event.
    pub data: Order,
}

impl EventRow {
    /// The event in full, given its order as it is now.
    #[must_use]
    pub fn with(self, order: &Order) -> Event {
        let data = order.as_of(match self.kind {
            EventKind::OrderPaid => OrderStatus::Paid,
            EventKind::OrderCancelled => OrderStatus::Cancelled,
        });
        let Self { id, kind, order_id, trace, created_at } = self;
        Event { id, kind, order_id, trace, created_at, data }
    }
}
