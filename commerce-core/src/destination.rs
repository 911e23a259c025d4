//! The [`Destination`] trait: implement it to deliver events to a receiver of your own.

use crate::model::event::Event;
use std::time::Duration;

/// A receiver of events. Relays call it from several threads at once, outside of any transaction, so a slow
/// destination delays no order.
pub trait Destination: Send + Sync {
    /// The most events in one call of [`deliver`](Self::deliver), 1 or more.
    fn max_batch_size(&self) -> usize;

    /// The most calls of [`deliver`](Self::deliver) at once, 1 or more.
    ///
    /// Events of one order are delivered in order whatever the number: the second one comes in a later call. With
    /// 1, and one relay, all events are delivered in order, as long as none fails.
    fn max_concurrency(&self) -> usize;

    /// Delivers these events: all of them in this order, or none.
    ///
    /// Delivery is at least once: after a crash the same event may come again, with the same id and content. The
    /// call must return within [`MAX_DELIVERY`](crate::limits::MAX_DELIVERY), or another relay may find the lease
    /// expired and deliver the events again.
    fn deliver(&self, events: &[Event]) -> DeliveryResult;

    /// Returns, once, a warning for the operator that no failed delivery shows. The relay calls it after each
    /// delivery.
    fn warning(&self) -> Option<String> {
        None
    }
}

/// The result of [`Destination::deliver`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryResult {
    /// All events have arrived.
    Done,
    /// The delivery failed and is retried later.
    Failed {
        /// The cause, for the operator.
        error: String,
        /// The time during which the destination asks for no retry.
        retry_after: Option<Duration>,
    },
    /// The destination accepts no more events, as HTTP 410 does: the relay ends, and the events wait for the next
    /// relay.
    Gone {
        /// The response of the destination, for the operator.
        error: String,
    },
}
