//! What a place that events are delivered to has to do, so that an embedding program may bring its own.

use crate::model::event::Event;
use std::time::Duration;

/// A place that events are told to. Called from several threads at once, outside of any transaction; how
/// long it takes delays no order.
pub trait Destination: Send + Sync {
    /// The most events that one delivery takes, 1 or more.
    fn max_batch_size(&self) -> usize;

    /// How many deliveries may be under way at once, 1 or more. Events of one order arrive in their order in
    /// any case: one that follows soon comes in a later delivery. With 1, and one relay, so do all others, as
    /// long as none fails.
    fn max_concurrency(&self) -> usize;

    /// Delivers these events: all, in that order, or as if none. The same event may come again after a
    /// crash, with the same id and content. It must return within
    /// [`MAX_DELIVERY`](crate::limits::MAX_DELIVERY), or another relay may take the events for given up.
    fn deliver(&self, events: &[Event]) -> DeliveryResult;

    /// Something that the operator should know although no delivery has failed of it. It is asked for after each
    /// delivery, and returned once.
    fn warning(&self) -> Option<String> {
        None
    }
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryResult {
    /// All events have arrived.
    Done,
    /// It may work later; not before so long, when the destination says so.
    Failed {
        /// What went wrong, for the operator.
        error: String,
        /// How long the destination asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// It wants no events any more: the relay ends, and these events wait for the next.
    Gone {
        /// What it said, for the operator.
        error: String,
    },
}
