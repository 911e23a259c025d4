//! Reads of the outbox.

use crate::error::Error;
use crate::id::EventId;
use crate::model::delivery::{DeliveryRow, DeliveryState, TrackedEvent};
use crate::model::event::{Event, EventRow};
use crate::query::{List, Page, PageRequest};
use crate::shop::Shop;
use crate::store::{DeliveryFilter, Snapshot};
use std::collections::BTreeMap;

/// Reads of events. Errors are those of all reads.
#[expect(clippy::missing_errors_doc, reason = "documented once, at the reads of a shop")]
impl Shop {
    /// The outbox, oldest event first.
    pub fn events(&self, page: &PageRequest) -> Result<Page<Event>, Error> {
        let snapshot = self.store.snapshot()?;
        let start = page.start(List::EVENTS, 1)?;
        let epochs = snapshot.epochs()?;
        let read = |from, count| {
            let mut rows = Vec::new();
            for event in snapshot.events(EventId::new(from), count)? {
                rows.extend(
                    snapshot.order(event.order_id)?.map(|order| event.with(&order, &epochs)),
                );
            }
            Ok(rows)
        };
        Page::read(page, List::EVENTS, start, read, |event: &Event| event.id.get())
    }

    /// The outbox, oldest event first, with the delivery state of each event.
    pub fn tracked_events(&self, page: &PageRequest) -> Result<Page<TrackedEvent>, Error> {
        let snapshot = self.store.snapshot()?;
        let start = page.start(List::EVENTS, 1)?;
        let read = |from, count| {
            let from = EventId::new(from);
            let events = snapshot.events(from, count)?;
            let deliveries = snapshot.deliveries(from, count, DeliveryFilter::All)?;
            tracked(&*snapshot, events, deliveries)
        };
        Page::read(page, List::EVENTS, start, read, |row| row.event.id.get())
    }

    /// Parked events (dead letters), oldest first.
    pub fn parked_events(&self, page: &PageRequest) -> Result<Page<TrackedEvent>, Error> {
        const LIST: List = List::of_shop("parked-events");
        let snapshot = self.store.snapshot()?;
        let start = page.start(LIST, 1)?;
        let read = |from, count| {
            let from = EventId::new(from);
            let deliveries = snapshot.deliveries(from, count, DeliveryFilter::Parked)?;
            let mut events = Vec::new();
            for delivery in &deliveries {
                events.extend(snapshot.events(delivery.event_id, 1)?);
            }
            tracked(&*snapshot, events, deliveries)
        };
        Page::read(page, LIST, start, read, |row| row.event.id.get())
    }
}

/// Returns events with their orders and delivery states.
fn tracked(
    snapshot: &dyn Snapshot,
    events: Vec<EventRow>,
    deliveries: Vec<DeliveryRow>,
) -> Result<Vec<TrackedEvent>, Error> {
    let (next, epochs) = (snapshot.next_event()?, snapshot.epochs()?);
    let mut deliveries: BTreeMap<_, _> =
        deliveries.into_iter().map(|row| (row.event_id, row)).collect();
    let mut rows = Vec::new();
    for event in events {
        let delivery = DeliveryState::of(event.id, deliveries.remove(&event.id), next);
        let order = snapshot.order(event.order_id)?;
        rows.extend(
            order.map(|order| TrackedEvent { event: event.with(&order, &epochs), delivery }),
        );
    }
    Ok(rows)
}
