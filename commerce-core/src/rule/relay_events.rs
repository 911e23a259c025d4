//! Leases events to a relay for delivery, and records the outcomes of its earlier leases.
//!
//! Delivery happens elsewhere: a relay leases events in one commit, sends them with no transaction open, and
//! reports the outcomes together with its next request. The lease is exclusive until it expires; then another
//! worker can lease the events, and an outcome reported after that is ignored, because the row's token no
//! longer matches (fencing token).
//!
//! Events of one order are delivered in order. Only the first undelivered event of an order is ever due; those
//! behind it wait without a due time, and are parked when it is. So an event that cannot be delivered blocks
//! its own order and no other.

use super::Rule;
use super::validate::sanitized;
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::{EventId, OrderId};
use crate::limits::{
    DELIVERY_LEASE, MAX_LEASED_EVENTS, MAX_RETRY_AFTER, MAX_RETRY_JITTER, RETRY_DELAYS,
};
use crate::model::delivery::{DeliveryRow, DeliveryStatus, EventLease, LeasedEvent};
use crate::model::event::{Event, EventRow};
use crate::rule::context::{Context, Output};
use crate::state::{Deliveries, DueEventsQuery, Needs, State};
use serde::Serialize;

/// Leases events for delivery, after recording the outcomes of earlier leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RelayEvents {
    /// The fencing token: the random id of the worker that holds the lease, kept for the worker's lifetime.
    pub token: i64,
    /// The outcomes of events the worker leased before.
    pub outcomes: Vec<DeliveryOutcome>,
    /// The maximum number of events to lease, capped at [`MAX_LEASED_EVENTS`]; 0 only records outcomes.
    pub max_events: usize,
    /// True to lease new events before retries. A relay sets this while its destination appears to be down:
    /// otherwise many events that always fail could keep out the one event that would show that the destination
    /// works again.
    pub fresh_first: bool,
    /// Jitter added to the exponential back-off, per mille of the delay, up to [`MAX_RETRY_JITTER`]. It is random,
    /// so that events that failed together are not retried together (thundering herd).
    pub jitter: i64,
}

/// The outcome of a leased event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeliveryOutcome {
    /// The event.
    pub event_id: EventId,
    /// The event's order.
    pub order_id: OrderId,
    /// The result of the attempt.
    pub result: AttemptResult,
}

/// The result of an attempt to deliver an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "fields are named after what they hold; the variant says the rest")]
pub enum AttemptResult {
    /// Delivered.
    Delivered,
    /// Failed; the next attempt is made after the back-off, and not before `retry_after` seconds.
    Failed { error: String, retry_after: Option<i64> },
    /// Not attempted: the lease is given up.
    Released,
}

impl Rule for RelayEvents {
    fn needs(&self, state: &State, needs: &mut Needs) {
        for outcome in &self.outcomes {
            needs.deliveries(state, outcome.order_id);
        }
        if self.max_events == 0 {
            return;
        }
        if !state.deliveries.is_due_loaded() {
            // One more than the sum of all requests shows whether there are more events.
            let wanted =
                needs.due_events.get_or_insert(DueEventsQuery { now: Timestamp::MIN, limit: 1 });
            wanted.limit = wanted.limit.saturating_add(self.max_events.min(MAX_LEASED_EVENTS));
            return;
        }
        for id in state.deliveries.due() {
            if let Some(row) = state.deliveries.get(*id) {
                needs.event(state, *id);
                needs.order(state, row.order_id);
                needs.deliveries(state, row.order_id);
            }
        }
        for event in state.deliveries.fresh() {
            needs.order(state, event.order_id);
            needs.deliveries(state, event.order_id);
        }
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let released = state.deliveries.released();
        let parked =
            self.outcomes.iter().map(|outcome| self.record_outcome(state, outcome, context.now));
        let parked = parked.fold(0_u64, u64::saturating_add);
        let mut lease = EventLease { events: Vec::new(), more: false, parked };
        let max_events = self.max_events.min(MAX_LEASED_EVENTS);
        if max_events > 0 {
            if self.fresh_first {
                self.lease_fresh(state, max_events, context.now, &mut lease);
            }
            self.lease_due(state, max_events, context.now, &mut lease);
        }
        if max_events > 0 && !self.fresh_first {
            self.lease_fresh(state, max_events, context.now, &mut lease);
        }
        lease.events.sort_unstable_by_key(|leased| leased.event.id);
        lease.more |= state.deliveries.released() > released;
        Ok(Output::EventLease(lease))
    }

    fn weight(&self) -> usize {
        let wanted = self.max_events.min(MAX_LEASED_EVENTS).saturating_mul(16);
        self.outcomes.len().saturating_add(wanted).saturating_add(16)
    }
}

impl RelayEvents {
    /// Records an outcome and returns the number of events it parked.
    fn record_outcome(&self, state: &mut State, outcome: &DeliveryOutcome, now: Timestamp) -> u64 {
        let deliveries = &mut state.deliveries;
        let is_leased =
            |row: &&DeliveryRow| row.token == Some(self.token) && row.event_id == outcome.event_id;
        let Some(mut row) = deliveries.of_order(outcome.order_id).find(is_leased).cloned() else {
            return 0;
        };
        row.token = None;
        row.status = DeliveryStatus::Waiting;
        match &outcome.result {
            AttemptResult::Delivered => {
                deliveries.remove(row.event_id);
                release_first(deliveries, row.order_id, now);
            }
            AttemptResult::Released => {
                row.due_at = now;
                deliveries.count_released(1);
                deliveries.update(row, now);
            }
            AttemptResult::Failed { error, retry_after } => {
                row.error = Some(sanitized(error));
                if let Some(delay) = delay_after(row.attempts, self.jitter) {
                    let requested = retry_after.unwrap_or(0).min(MAX_RETRY_AFTER);
                    row.attempts = row.attempts.saturating_add(1);
                    row.due_at = now.plus_seconds(delay.max(requested));
                    deliveries.update(row, now);
                } else {
                    return park(deliveries, row, now);
                }
            }
        }
        0
    }

    fn leased_row(&self, event: &EventRow, now: Timestamp) -> DeliveryRow {
        DeliveryRow {
            event_id: event.id,
            order_id: event.order_id,
            status: DeliveryStatus::Sending,
            attempts: 0,
            due_at: now.plus_seconds(DELIVERY_LEASE),
            token: Some(self.token),
            error: None,
            updated_at: now,
        }
    }

    fn lease_due(
        &self,
        state: &mut State,
        max_events: usize,
        now: Timestamp,
        lease: &mut EventLease,
    ) {
        let due = state.deliveries.due().to_vec();
        for id in &due {
            let Some(mut row) = state.deliveries.get(*id).filter(|row| row.is_due_at(now)).cloned()
            else {
                continue;
            };
            if lease.events.len() >= max_events {
                lease.more |= max_events > 0;
                return;
            }
            let Some(event) =
                state.known_events.get(*id).and_then(|event| full_event(state, event))
            else {
                let error = Some("the event or its order is missing".to_owned());
                park(&mut state.deliveries, DeliveryRow { error, token: None, ..row }, now);
                continue;
            };
            lease.events.push(LeasedEvent { event, attempts: row.attempts });
            row.status = DeliveryStatus::Sending;
            row.due_at = now.plus_seconds(DELIVERY_LEASE);
            row.token = Some(self.token);
            state.deliveries.update(row, now);
        }
    }

    fn lease_fresh(
        &self,
        state: &mut State,
        max_events: usize,
        now: Timestamp,
        lease: &mut EventLease,
    ) {
        let fresh = state.deliveries.fresh().to_vec();
        for event in fresh {
            // Skips events leased earlier in this batch; after a replay none of these is next.
            if event.id < state.deliveries.next() || state.deliveries.delete_from().is_some() {
                continue;
            }
            if lease.events.len() >= max_events {
                lease.more |= max_events > 0;
                return;
            }
            state.deliveries.move_to(EventId::new(event.id.get().saturating_add(1)));
            let row = self.leased_row(&event, now);
            let earlier = state.deliveries.of_order(event.order_id).next().cloned();
            if let Some(earlier) = earlier {
                state.deliveries.update(queued_behind(row, &earlier, now), now);
                lease.more = true;
            } else if let Some(event) = full_event(state, &event) {
                lease.events.push(LeasedEvent { event, attempts: 0 });
                state.deliveries.update(row, now);
            } else {
                let error = Some(format!("its order {} is missing", event.order_id));
                park(&mut state.deliveries, DeliveryRow { error, token: None, ..row }, now);
            }
        }
    }
}

fn full_event(state: &State, event: &EventRow) -> Option<Event> {
    let order = state.orders.get(event.order_id)?;
    Some(event.clone().with(order, state.deliveries.epochs()))
}

/// Returns the row waiting behind an earlier one of its order, or parked if that one is.
fn queued_behind(row: DeliveryRow, earlier: &DeliveryRow, now: Timestamp) -> DeliveryRow {
    if earlier.status == DeliveryStatus::Parked {
        return parked_behind(row, earlier.event_id, now);
    }
    DeliveryRow { status: DeliveryStatus::Waiting, due_at: Timestamp::MAX, token: None, ..row }
}

fn parked_behind(mut row: DeliveryRow, earlier: EventId, now: Timestamp) -> DeliveryRow {
    row.status = DeliveryStatus::Parked;
    row.due_at = now;
    row.token = None;
    row.error = Some(format!("event {earlier} of the same order is parked"));
    row
}

/// Parks an event (dead letter) and those of its order that wait behind it; returns their number.
fn park(deliveries: &mut Deliveries, row: DeliveryRow, now: Timestamp) -> u64 {
    let (event, order) = (row.event_id, row.order_id);
    let attempts = row.attempts.saturating_add(1);
    let status = DeliveryStatus::Parked;
    deliveries.update(DeliveryRow { status, attempts, due_at: now, ..row }, now);
    let later: Vec<_> =
        deliveries.of_order(order).filter(|row| row.event_id > event).cloned().collect();
    let parked = u64::try_from(later.len()).unwrap_or(u64::MAX).saturating_add(1);
    for row in later {
        deliveries.update(parked_behind(row, event, now), now);
    }
    parked
}

/// Makes the first event of an order due, if it has waited behind others.
fn release_first(deliveries: &mut Deliveries, order: OrderId, now: Timestamp) {
    let first = deliveries.of_order(order).next();
    let is_queued =
        |row: &&DeliveryRow| row.status == DeliveryStatus::Waiting && row.due_at == Timestamp::MAX;
    if let Some(row) = first.filter(is_queued).cloned() {
        deliveries.count_released(1);
        deliveries.update(DeliveryRow { due_at: now, ..row }, now);
    }
}

/// Returns the back-off in seconds after a failure, given the number of earlier failures; `None` if no attempt
/// is left.
fn delay_after(failed: i64, jitter: i64) -> Option<i64> {
    let delay = *RETRY_DELAYS.get(usize::try_from(failed).ok()?)?;
    let jitter = jitter.clamp(0, MAX_RETRY_JITTER);
    let later = delay.saturating_mul(jitter).checked_div(1_000).unwrap_or(0);
    Some(delay.saturating_add(later))
}
