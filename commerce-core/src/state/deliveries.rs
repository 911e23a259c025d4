//! The working set of relay commands: loaded deliveries, events that no relay has leased yet, and their changes.
//!
//! Deliveries are loaded per order, all or none: an event may be sent only if no earlier event of its order is
//! still undelivered.

use crate::clock::Timestamp;
use crate::id::{EventId, OrderId};
use crate::model::delivery::DeliveryRow;
use crate::model::event::{Epoch, EventRow};
use crate::state::misread::Misread;
use std::collections::{BTreeMap, BTreeSet};

/// A query for events to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueEventsQuery {
    /// Selects the events that are due at this instant, the longest due first, and the events never leased.
    pub now: Timestamp,
    /// The maximum number of events of each of the two kinds.
    pub limit: usize,
}

/// Loaded deliveries and their changes.
#[derive(Debug, Default)]
pub struct Deliveries {
    rows: BTreeMap<EventId, Slot>,
    /// The events with a row, for every order that was loaded.
    orders: BTreeMap<OrderId, BTreeSet<EventId>>,
    /// Due events; `None` until they are loaded.
    due: Option<Vec<EventId>>,
    /// Events that no relay has leased yet, up to the limit of the query; `None` until they are loaded.
    fresh: Option<Vec<EventRow>>,
    /// Parked events; `None` until they are loaded.
    parked: Option<Vec<EventId>>,
    /// The first event that no relay has leased yet; `None` until it is loaded.
    next: Option<EventId>,
    epochs: Vec<Epoch>,
    /// True if `next` has changed.
    has_moved: bool,
    /// The first event of a replay.
    replayed: Option<EventId>,
    /// The number of events that became due.
    released: usize,
    misread: Misread,
}

#[derive(Debug)]
struct Slot {
    /// `None` after its removal.
    row: Option<DeliveryRow>,
    has_changed: bool,
}

/// Access for stores.
impl Deliveries {
    /// Adds the first event that no relay has leased yet.
    pub fn provide_next(&mut self, next: EventId) {
        self.next.get_or_insert(next);
    }

    /// Adds the due deliveries, in the order of [`DueEventsQuery`].
    pub fn provide_due(&mut self, due: Vec<DeliveryRow>) {
        self.due.get_or_insert_with(|| due.iter().map(|row| row.event_id).collect());
        self.provide(due);
    }

    /// Adds the first events that no relay has leased yet.
    pub fn provide_fresh(&mut self, fresh: Vec<EventRow>) {
        self.fresh.get_or_insert(fresh);
    }

    /// Adds the epochs of events, by their first event.
    pub fn provide_epochs(&mut self, epochs: Vec<Epoch>) {
        self.epochs = epochs;
    }

    /// Adds parked deliveries by id.
    pub fn provide_parked(&mut self, parked: Vec<DeliveryRow>) {
        self.parked.get_or_insert_with(|| parked.iter().map(|row| row.event_id).collect());
        self.provide(parked);
    }

    /// Adds all deliveries of an order.
    pub fn provide_order(&mut self, order: OrderId, rows: Vec<DeliveryRow>) {
        self.orders.entry(order).or_insert_with(|| rows.iter().map(|row| row.event_id).collect());
        self.provide(rows);
    }

    fn provide(&mut self, rows: Vec<DeliveryRow>) {
        for row in rows {
            self.rows.entry(row.event_id).or_insert(Slot { row: Some(row), has_changed: false });
        }
    }

    /// The event from which on the store deletes all deliveries, before it saves anything else.
    #[must_use]
    pub fn delete_from(&self) -> Option<EventId> {
        self.replayed
    }

    /// The first event that no relay has leased yet, if it has changed.
    #[must_use]
    pub fn new_cursor(&self) -> Option<EventId> {
        self.next.filter(|_| self.has_moved)
    }

    /// Deliveries to insert or update, by event.
    #[must_use]
    pub fn upserts(&self) -> Vec<&DeliveryRow> {
        self.changed().filter_map(|(_, slot)| slot.row.as_ref()).collect()
    }

    /// Events whose deliveries to delete. The store may have no rows for some of them.
    #[must_use]
    pub fn deletes(&self) -> Vec<EventId> {
        self.changed().filter(|(_, slot)| slot.row.is_none()).map(|(id, _)| *id).collect()
    }

    fn changed(&self) -> impl Iterator<Item = (&EventId, &Slot)> {
        self.rows.iter().filter(|(_, slot)| slot.has_changed)
    }
}

/// Access for rules and the engine.
impl Deliveries {
    pub(crate) fn has_changed(&self) -> bool {
        self.has_moved || self.replayed.is_some() || self.changed().next().is_some()
    }

    pub(super) fn misread(&self) -> &Misread {
        &self.misread
    }

    /// The number of events that became due through the changes.
    pub(crate) fn released(&self) -> usize {
        self.released
    }

    pub(crate) fn count_released(&mut self, events: usize) {
        self.released = self.released.saturating_add(events);
    }

    pub(crate) fn is_next_loaded(&self) -> bool {
        self.next.is_some()
    }

    pub(crate) fn is_due_loaded(&self) -> bool {
        self.due.is_some() && self.fresh.is_some()
    }

    pub(crate) fn is_parked_loaded(&self) -> bool {
        self.parked.is_some()
    }

    pub(crate) fn is_order_loaded(&self, order: OrderId) -> bool {
        self.orders.contains_key(&order)
    }

    /// The events that were due when they were loaded.
    pub(crate) fn due(&self) -> &[EventId] {
        self.misread.check(self.due.as_deref()).unwrap_or_default()
    }

    /// The events that had never been leased when they were loaded.
    pub(crate) fn fresh(&self) -> &[EventRow] {
        self.misread.check(self.fresh.as_deref()).unwrap_or_default()
    }

    /// The events that were parked when they were loaded.
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

    /// Inserts or replaces a row.
    pub(crate) fn keep(&mut self, row: DeliveryRow) {
        self.orders.entry(row.order_id).or_default().insert(row.event_id);
        self.rows.insert(row.event_id, Slot { row: Some(row), has_changed: true });
    }

    /// Inserts or replaces a row, with its update time set to `now`.
    pub(crate) fn update(&mut self, row: DeliveryRow, now: Timestamp) {
        self.keep(DeliveryRow { updated_at: now, ..row });
    }

    pub(crate) fn remove(&mut self, event: EventId) {
        if let Some(slot) = self.rows.get_mut(&event) {
            *slot = Slot { row: None, has_changed: true };
        }
    }

    /// Deletes all deliveries from an event on, including those that are not loaded.
    pub(crate) fn forget_from(&mut self, first: EventId) {
        for slot in self.rows.range_mut(first..).map(|(_, slot)| slot) {
            *slot = Slot { row: None, has_changed: true };
        }
        self.replayed = Some(self.replayed.map_or(first, |before| before.min(first)));
    }
}
