//! What relay commands work on: the deliveries that were loaded, the events nobody has taken up yet, and
//! what has changed since.
//!
//! Deliveries are known by order, all of an order or none: what may be sent depends on what else of the
//! same order is on its way.

use crate::clock::Timestamp;
use crate::id::{EventId, OrderId};
use crate::model::delivery::DeliveryRow;
use crate::model::event::{Epoch, EventRow};
use crate::state::misread::Misread;
use std::collections::{BTreeMap, BTreeSet};

/// Which events are wanted to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueEventsQuery {
    /// Those that are due at this instant, the longest due first, and those nobody has taken up yet.
    pub now: Timestamp,
    /// The most of either.
    pub limit: usize,
}

/// Deliveries as they were loaded and changed.
#[derive(Debug, Default)]
pub struct Deliveries {
    rows: BTreeMap<EventId, Slot>,
    /// The events with a row, of every order that was looked for.
    orders: BTreeMap<OrderId, BTreeSet<EventId>>,
    /// Events that are due, once they were looked for.
    due: Option<Vec<EventId>>,
    /// Events from `next` on, as many as were wanted.
    fresh: Option<Vec<EventRow>>,
    /// Parked events, once they were looked for.
    parked: Option<Vec<EventId>>,
    next: Option<EventId>,
    epochs: Vec<Epoch>,
    has_moved: bool,
    replayed: Option<EventId>,
    released: usize,
    misread: Misread,
}

#[derive(Debug)]
struct Slot {
    /// `None` once it was removed.
    row: Option<DeliveryRow>,
    has_changed: bool,
}

/// What stores take from here and put into it.
impl Deliveries {
    /// Takes in the first event that nobody has taken up yet.
    pub fn provide_next(&mut self, next: EventId) {
        self.next.get_or_insert(next);
    }

    /// Takes in what is due, in the order of [`DueEventsQuery`].
    pub fn provide_due(&mut self, due: Vec<DeliveryRow>) {
        self.due.get_or_insert_with(|| due.iter().map(|row| row.event_id).collect());
        self.provide(due);
    }

    /// Takes in the first events that nobody has taken up yet.
    pub fn provide_fresh(&mut self, fresh: Vec<EventRow>) {
        self.fresh.get_or_insert(fresh);
    }

    /// Takes in the epochs of events, by their first event.
    pub fn provide_epochs(&mut self, epochs: Vec<Epoch>) {
        self.epochs = epochs;
    }

    /// Takes in parked deliveries by id.
    pub fn provide_parked(&mut self, parked: Vec<DeliveryRow>) {
        self.parked.get_or_insert_with(|| parked.iter().map(|row| row.event_id).collect());
        self.provide(parked);
    }

    /// Takes in all deliveries of an order.
    pub fn provide_order(&mut self, order: OrderId, rows: Vec<DeliveryRow>) {
        self.orders.entry(order).or_insert_with(|| rows.iter().map(|row| row.event_id).collect());
        self.provide(rows);
    }

    fn provide(&mut self, rows: Vec<DeliveryRow>) {
        for row in rows {
            self.rows.entry(row.event_id).or_insert(Slot { row: Some(row), has_changed: false });
        }
    }

    /// From which event on all deliveries are to be forgotten, before anything else is saved.
    #[must_use]
    pub fn delete_from(&self) -> Option<EventId> {
        self.replayed
    }

    /// The first event that nobody has taken up, when that has changed.
    #[must_use]
    pub fn new_cursor(&self) -> Option<EventId> {
        self.next.filter(|_| self.has_moved)
    }

    /// Deliveries to be kept as they are now, whether the store has a row of them or not, by event.
    #[must_use]
    pub fn upserts(&self) -> Vec<&DeliveryRow> {
        self.changed().filter_map(|(_, slot)| slot.row.as_ref()).collect()
    }

    /// Events whose deliveries are over; there may be no rows of them.
    #[must_use]
    pub fn deletes(&self) -> Vec<EventId> {
        self.changed().filter(|(_, slot)| slot.row.is_none()).map(|(id, _)| *id).collect()
    }

    fn changed(&self) -> impl Iterator<Item = (&EventId, &Slot)> {
        self.rows.iter().filter(|(_, slot)| slot.has_changed)
    }
}

/// What rules and the engine ask of it.
impl Deliveries {
    pub(crate) fn has_changed(&self) -> bool {
        self.has_moved || self.replayed.is_some() || self.changed().next().is_some()
    }

    pub(super) fn misread(&self) -> &Misread {
        &self.misread
    }

    /// How many events have become due by what was changed.
    pub(crate) fn released(&self) -> usize {
        self.released
    }

    pub(crate) fn count_released(&mut self, events: usize) {
        self.released = self.released.saturating_add(events);
    }

    pub(crate) fn is_next_loaded(&self) -> bool {
        self.next.is_some()
    }

    pub(crate) fn is_wanted_loaded(&self) -> bool {
        self.due.is_some() && self.fresh.is_some()
    }

    pub(crate) fn is_parked_loaded(&self) -> bool {
        self.parked.is_some()
    }

    pub(crate) fn is_order_loaded(&self, order: OrderId) -> bool {
        self.orders.contains_key(&order)
    }

    /// Events that were due when they were looked for.
    pub(crate) fn due(&self) -> &[EventId] {
        self.misread.check(self.due.as_deref()).unwrap_or_default()
    }

    /// Events that nobody had taken up when they were looked for.
    pub(crate) fn fresh(&self) -> &[EventRow] {
        self.misread.check(self.fresh.as_deref()).unwrap_or_default()
    }

    /// Events that were parked when they were looked for.
    pub(crate) fn parked(&self) -> &[EventId] {
        self.misread.check(self.parked.as_deref()).unwrap_or_default()
    }

    pub(crate) fn next(&self) -> EventId {
        self.misread.check(self.next).unwrap_or(EventId::new(1))
    }

    pub(crate) fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    pub(crate) fn move_to(&mut self, next: EventId) {
        self.next = Some(next);
        self.has_moved = true;
    }

    pub(crate) fn get(&self, event: EventId) -> Option<&DeliveryRow> {
        self.rows.get(&event).and_then(|slot| slot.row.as_ref())
    }

    /// The deliveries of an order, the earliest event first.
    pub(crate) fn of_order(&self, order: OrderId) -> impl Iterator<Item = &DeliveryRow> {
        let events = self.misread.check(self.orders.get(&order));
        events.into_iter().flatten().filter_map(|id| self.get(*id))
    }

    /// Keeps the row, in place of the one there was.
    pub(crate) fn keep(&mut self, row: DeliveryRow) {
        self.orders.entry(row.order_id).or_default().insert(row.event_id);
        self.rows.insert(row.event_id, Slot { row: Some(row), has_changed: true });
    }

    /// Keeps the row as one that is written now.
    pub(crate) fn update(&mut self, row: DeliveryRow, now: Timestamp) {
        self.keep(DeliveryRow { updated_at: now, ..row });
    }

    pub(crate) fn remove(&mut self, event: EventId) {
        if let Some(slot) = self.rows.get_mut(&event) {
            *slot = Slot { row: None, has_changed: true };
        }
    }

    /// Forgets all deliveries from an event on, those that were not loaded among them.
    pub(crate) fn forget_from(&mut self, first: EventId) {
        for slot in self.rows.range_mut(first..).map(|(_, slot)| slot) {
            *slot = Slot { row: None, has_changed: true };
        }
        self.replayed = Some(self.replayed.map_or(first, |before| before.min(first)));
    }
}
