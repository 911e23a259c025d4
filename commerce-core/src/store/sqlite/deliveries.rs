//! Deliveries of events: loading what a relay needs, and saving its changes.

use super::query::{limit, many, one, read, select, upsert};
use crate::error::StoreError;
use crate::model::delivery::DeliveryRow;
use crate::model::event::EventRow;
use crate::state::{Deliveries, DueEventsQuery, Needs, State};
use crate::store::DeliveryFilter;
use crate::store::deliveries::{EPOCHS, NEXT_EVENT, deliveries_from, due, no_store};
use rusqlite::{Connection, params};

pub(super) fn load(
    db: &Connection,
    needs: &Needs,
    deliveries: &mut Deliveries,
) -> Result<(), StoreError> {
    for order in &needs.deliveries {
        let sql = select::<DeliveryRow>("WHERE order_id = ?1");
        deliveries.provide_order(*order, many(db, &sql, [order], read)?);
    }
    if let Some(rows) = needs.parked {
        let sql = deliveries_from(DeliveryFilter::Parked, "?1", "?2");
        deliveries.provide_parked(many(db, &sql, params![0, limit(rows)], read)?);
    }
    if let Some(DueEventsQuery { now, limit: rows }) = needs.due_events {
        let sql = due("?1", "?2");
        deliveries.provide_due(many(db, &sql, params![now, limit(rows)], read)?);
        let sql = select::<EventRow>(
            "WHERE id >= (SELECT next_event FROM store WHERE id = 1) ORDER BY id LIMIT ?1",
        );
        deliveries.provide_fresh(many(db, &sql, [limit(rows)], read)?);
        deliveries.provide_epochs(many(db, EPOCHS, [], read)?);
    }
    if needs.next_event || needs.due_events.is_some() {
        let next = one(db, NEXT_EVENT, [], |row| row.get(0))?;
        deliveries.provide_next(next.ok_or_else(no_store)?);
    }
    Ok(())
}

pub(super) fn apply(db: &Connection, state: &State) -> Result<(), StoreError> {
    let deliveries = &state.deliveries;
    if !deliveries.has_changed() {
        return Ok(());
    }
    if let Some(first) = deliveries.delete_from() {
        db.prepare_cached("DELETE FROM deliveries WHERE event_id >= ?1")?.execute([first])?;
    }
    if let Some(next) = deliveries.new_cursor() {
        db.prepare_cached("UPDATE store SET next_event = ?1 WHERE id = 1")?.execute([next])?;
    }
    let mut delete = db.prepare_cached("DELETE FROM deliveries WHERE event_id = ?1")?;
    for event in deliveries.deletes() {
        delete.execute([event])?;
    }
    upsert(db, state, deliveries.upserts())
}
