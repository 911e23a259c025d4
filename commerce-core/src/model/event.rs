//! Events: what the outside is told, written in the commit of the change itself.

use crate::clock::Timestamp;
use crate::entropy;
use crate::error::StoreError;
use crate::id::{EventId, OrderId};
use crate::model::order::{Order, OrderStatus};
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

/// A part of the numbers of events, with the random name that their public ids begin with.
///
/// A store that is restored or copied continues to count where its source stood. The name keeps the new
/// events apart from those that the source, or the lost part of the store, has sent under the same numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The first event of the epoch; it ends where the next one begins.
    pub first_event: EventId,
    /// The name; empty for events that were written before there were epochs.
    pub name: String,
}

impl Epoch {
    /// Begins an epoch, with a random name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the system has no random numbers.
    pub fn begin(first_event: EventId) -> Result<Self, StoreError> {
        Ok(Self { first_event, name: entropy::hex::<8>()? })
    }

    /// The public id of an event, given all epochs in their order.
    pub(crate) fn public_id(epochs: &[Self], event: EventId) -> String {
        let epoch = epochs.iter().rev().find(|epoch| epoch.first_event <= event);
        match epoch.map(|epoch| epoch.name.as_str()) {
            None | Some("") => event.to_string(),
            Some(name) => format!("{name}-{event}"),
        }
    }
}

/// An event with the order as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its number: in the order of commits, without gaps.
    pub id: EventId,
    /// Its id outside, the same on every delivery and never given out twice, not even by a store that was
    /// restored from a backup.
    pub public_id: String,
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
    /// The event in full, given its order as it is now and the epochs of the store.
    #[must_use]
    pub fn with(self, order: &Order, epochs: &[Epoch]) -> Event {
        let data = order.as_of(match self.kind {
            EventKind::OrderPaid => OrderStatus::Paid,
            EventKind::OrderCancelled => OrderStatus::Cancelled,
        });
        let Self { id, kind, order_id, trace, created_at } = self;
        let public_id = Epoch::public_id(epochs, id);
        Event { id, public_id, kind, order_id, trace, created_at, data }
    }
}
