//! Taking up events to be delivered, and writing down what became of those taken up before.
//!
//! Deliveries are never made here: a relay takes events up in one commit, sends them with no transaction
//! open, and tells the outcome together with its next wish. What it takes up is its own for as long as its
//! lease lasts; after that whoever comes next may have it, and an outcome that comes too late is not heard.
//!
//! Events of one order go one after another. Only the first of an order that has not arrived is ever due;
//! those behind it wait without a due time, and are parked when it is. So one event that cannot be delivered
//! holds up its own order and no other.

use super::Rule;
use super::validate::sanitized;
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::{EventId, OrderId};
use crate::limits::{
    DELIVERY_LEASE, MAX_LEASED_EVENTS, MAX_RETRY_AFTER, MAX_RETRY_JITTER, RETRY_DELAYS,
};
use crate::model::delivery::{DeliveryRow, DeliveryStatus};
use crate::model::event::{Event, EventRow};
use crate::rule::context::{Context, Output};
use crate::state::{Deliveries, DueEventsQuery, Needs, State};
use serde::Serialize;

/// Takes up events to be delivered, after writing down what became of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RelayEvents {
    /// Tells whoever asks from all others; drawn at random, and theirs as long as they live.
    pub token: i64,
    /// What became of events that they took up before.
    pub outcomes: Vec<DeliveryOutcome>,
    /// How many events they want now; at most [`MAX_LEASED_EVENTS`] are given.
    pub max_events: usize,
    /// Whether new events go before retries. A relay asks for that while its destination seems to be down: of many
    /// events that fail for ever, none may then keep a good one from showing that the destination works.
    pub fresh_first: bool,
    /// How much later than in the table the next tries are to be made, per mille of the delay, up to
    /// [`MAX_RETRY_JITTER`]; drawn at random, so that what failed together does not come back together.
    pub jitter: i64,
}

/// What became of an event that was taken up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeliveryOutcome {
    /// Which event.
    pub event_id: EventId,
    /// Its order.
    pub order_id: OrderId,
    /// What became of it.
    pub result: AttemptResult,
}

/// How a try to deliver an event ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "fields are named after what they hold; the variant says the rest")]
pub enum AttemptResult {
    /// It has arrived.
    Delivered,
    /// It has not; a later try may do better, but not before so many seconds, if any are named.
    Failed { error: String, retry_after: Option<i64> },
    /// It was not tried.
    Released,
}

/// Events that were taken up, to be delivered before the lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLease {
    /// The events, the earliest first; no two of one order.
    pub events: Vec<LeasedEvent>,
    /// Whether it is worth asking again at once.
    pub more: bool,
    /// How many events the outcomes have parked.
    pub parked: u64,
}

/// An event that was taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedEvent {
    /// The event in full.
    pub event: Event,
    /// How many tries have failed so far.
    pub attempts: i64,
}

impl Rule for RelayEvents {
    fn needs(&self, state: &State, needs: &mut Needs) {
        for outcome in &self.outcomes {
            needs.deliveries(state, outcome.order_id);
        }
        if self.max_events == 0 {
            return;
        }
        if !state.deliveries.is_wanted_loaded() {
            // One more than all want together tells whether there is more.
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
    /// Writes an outcome down, and counts what was parked by it.
    fn record_outcome(&self, state: &mut State, outcome: &DeliveryOutcome, now: Timestamp) -> u64 {
        let deliveries = &mut state.deliveries;
        let mine =
            |row: &&DeliveryRow| row.token == Some(self.token) && row.event_id == outcome.event_id;
        let Some(mut row) = deliveries.of_order(outcome.order_id).find(mine).cloned() else {
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
                    let asked = retry_after.unwrap_or(0).min(MAX_RETRY_AFTER);
                    row.attempts = row.attempts.saturating_add(1);
                    row.due_at = now.plus_seconds(delay.max(asked));
                    deliveries.update(row, now);
                } else {
                    return park(deliveries, row, now);
                }
            }
        }
        0
    }

    fn row(&self, event: &EventRow, now: Timestamp) -> DeliveryRow {
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
            let Some(event) = state.known_events.get(*id).and_then(|event| in_full(state, event))
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
            // What others of this batch have taken up is passed by; after a replay none of these is next.
            if event.id < state.deliveries.next() || state.deliveries.delete_from().is_some() {
                continue;
            }
            if lease.events.len() >= max_events {
                lease.more |= max_events > 0;
                return;
            }
            state.deliveries.move_to(EventId::new(event.id.get().saturating_add(1)));
            let row = self.row(&event, now);
            let before = state.deliveries.of_order(event.order_id).next().cloned();
            if let Some(before) = before {
                state.deliveries.update(behind(row, &before, now), now);
                lease.more = true;
            } else if let Some(event) = in_full(state, &event) {
                lease.events.push(LeasedEvent { event, attempts: 0 });
                state.deliveries.update(row, now);
            } else {
                let error = Some(format!("its order {} is missing", event.order_id));
                park(&mut state.deliveries, DeliveryRow { error, token: None, ..row }, now);
            }
        }
    }
}

fn in_full(state: &State, event: &EventRow) -> Option<Event> {
    let order = state.orders.get(event.order_id)?;
    Some(event.clone().with(order, state.deliveries.epochs()))
}

/// A row that has to let another of its order go first.
fn behind(row: DeliveryRow, before: &DeliveryRow, now: Timestamp) -> DeliveryRow {
    if before.status == DeliveryStatus::Parked {
        return parked_behind(row, before.event_id, now);
    }
    DeliveryRow { status: DeliveryStatus::Waiting, due_at: Timestamp::MAX, token: None, ..row }
}

fn parked_behind(mut row: DeliveryRow, before: EventId, now: Timestamp) -> DeliveryRow {
    row.status = DeliveryStatus::Parked;
    row.due_at = now;
    row.token = None;
    row.error = Some(format!("event {before} of the same order is parked"));
    row
}

/// Gives an event up, and those of its order that wait behind it; counts them.
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

/// Lets the first event of an order go that has waited behind others.
fn release_first(deliveries: &mut Deliveries, order: OrderId, now: Timestamp) {
    let first = deliveries.of_order(order).next();
    let waits =
        |row: &&DeliveryRow| row.status == DeliveryStatus::Waiting && row.due_at == Timestamp::MAX;
    if let Some(row) = first.filter(waits).cloned() {
        deliveries.count_released(1);
        deliveries.update(DeliveryRow { due_at: now, ..row }, now);
    }
}

/// How many seconds after its failure an event is tried again, given how many tries had failed before.
/// `None` when there is no further try.
fn delay_after(failed: i64, jitter: i64) -> Option<i64> {
    let delay = *RETRY_DELAYS.get(usize::try_from(failed).ok()?)?;
    let jitter = jitter.clamp(0, MAX_RETRY_JITTER);
    let later = delay.saturating_mul(jitter).checked_div(1_000).unwrap_or(0);
    Some(delay.saturating_add(later))
}
