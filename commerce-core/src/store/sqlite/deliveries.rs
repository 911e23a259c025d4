//! Deliveries of events: what relays ask for, and what they have changed.

use super::read::{many, one, rows_wanted};
use super::rows::{self, DELIVERY, EVENT};
use crate::error::StoreError;
use crate::state::{Deliveries, DueEventsQuery, Needs};
use crate::store::DeliveryFilter;
use crate::store::deliveries::{EPOCHS, NEXT_EVENT, deliveries_from, due, no_store};
use rusqlite::{Connection, params};

pub(super) fn load(
    db: &Connection,
    needs: &Needs,
    deliveries: &mut Deliveries,
) -> Result<(), StoreError> {
    for order in &needs.deliveries {
        let sql = format!("SELECT {DELIVERY} FROM deliveries WHERE order_id = ?1");
        deliveries.provide_order(*order, many(db, &sql, [order], rows::delivery)?);
    }
    if let Some(limit) = needs.parked {
        let sql = deliveries_from(DeliveryFilter::Parked, "?1", "?2");
        let rows = many(db, &sql, params![0, rows_wanted(limit)], rows::delivery)?;
        deliveries.provide_parked(rows);
    }
    if let Some(DueEventsQuery { now, limit }) = needs.due_events {
        let sql = due("?1", "?2");
        deliveries.provide_due(many(db, &sql, params![now, rows_wanted(limit)], rows::delivery)?);
        let sql = format!(
            "SELECT {EVENT} FROM events WHERE id >= (SELECT next_event FROM store WHERE id = 1)
             ORDER BY id LIMIT ?1"
        );
        deliveries.provide_fresh(many(db, &sql, [rows_wanted(limit)], rows::event)?);
        deliveries.provide_epochs(many(db, EPOCHS, [], rows::epoch)?);
    }
    if needs.next_event || needs.due_events.is_some() {
        let next = one(db, NEXT_EVENT, [], |row| row.get(0))?;
        deliveries.provide_next(next.ok_or_else(no_store)?);
    }
    Ok(())
}

pub(super) fn apply(db: &Connection, deliveries: &Deliveries) -> Result<(), StoreError> {
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
    let mut keep = db.prepare_cached(
        "INSERT OR REPLACE INTO deliveries (event_id, order_id, status, attempts, due_at, token, error,
                                            updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for row in deliveries.upserts() {
        keep.execute(params![
            row.event_id,
            row.order_id,
            row.status,
            row.attempts,
            row.due_at,
            row.token,
            row.error,
            row.updated_at
        ])?;
    }
    Ok(())
}
