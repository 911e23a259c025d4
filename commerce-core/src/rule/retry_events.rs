//! Retries parked events (dead letters).

use super::Rule;
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::{EventId, OrderId};
use crate::limits::MAX_LEASED_EVENTS;
use crate::model::delivery::{DeliveryRow, DeliveryStatus};
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;
use std::collections::BTreeSet;

/// Makes parked events due again, with their attempts reset. The other parked events of the same order are retried
/// with them, because they would otherwise be delivered out of order or not at all. Returns the number of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetryEvents {
    /// The events; those that are not parked are ignored. `None`: the first [`MAX_LEASED_EVENTS`] parked events.
    pub events: Option<Vec<EventId>>,
}

impl RetryEvents {
    /// Returns the orders of the events that are loaded.
    fn orders(&self, state: &State) -> BTreeSet<OrderId> {
        if let Some(events) = &self.events {
            let known = events.iter().filter_map(|id| state.known_events.get(*id));
            return known.map(|event| event.order_id).collect();
        }
        let parked = state.deliveries.parked().iter().filter_map(|id| state.deliveries.get(*id));
        parked.map(|row| row.order_id).collect()
    }
}

impl Rule for RetryEvents {
    fn needs(&self, state: &State, needs: &mut Needs) {
        match &self.events {
            Some(events) if events.iter().any(|id| !state.known_events.is_loaded(*id)) => {
                for id in events {
                    needs.event(state, *id);
                }
            }
            None if !state.deliveries.is_parked_loaded() => needs.parked = Some(MAX_LEASED_EVENTS),
            _ => self.orders(state).into_iter().for_each(|id| needs.deliveries(state, id)),
        }
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let mut count = 0_u64;
        for order in self.orders(state) {
            let rows: Vec<_> = state.deliveries.of_order(order).cloned().collect();
            let mut due_at = context.now;
            for row in rows {
                if row.status == DeliveryStatus::Parked {
                    let released = usize::from(due_at < Timestamp::MAX);
                    state.deliveries.count_released(released);
                    let (status, error) = (DeliveryStatus::Waiting, None);
                    let waiting = DeliveryRow { status, attempts: 0, due_at, error, ..row };
                    state.deliveries.update(waiting, context.now);
                    count = count.saturating_add(1);
                }
                due_at = Timestamp::MAX;
            }
        }
        Ok(Output::Count(count))
    }

    fn weight(&self) -> usize {
        self.events.as_ref().map_or(MAX_LEASED_EVENTS, Vec::len).saturating_add(16)
    }
}
