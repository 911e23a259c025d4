//! Deliveries of events: what relays execute for, and what they have changed, each as a set.

use crate::connection::Query;
use crate::load::QueryBatch;
use crate::rows;
use crate::rows::Row;
use commerce_core::store::columns::{DELIVERY, DbText, EVENT, get};
use commerce_core::store::deliveries::{EPOCHS, NEXT_EVENT, deliveries_from, due, no_store};
use commerce_core::store::{
    Deliveries, DeliveryFilter, DeliveryRow, DueEventsQuery, EventRow, Needs,
};
use commerce_core::{EventId, StoreError};

pub(crate) fn load<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    if !needs.deliveries.is_empty() {
        let orders: Vec<i64> = needs.deliveries.iter().map(|id| id.get()).collect();
        let sql = format!("SELECT {DELIVERY} FROM deliveries WHERE order_id = ANY($1::bigint[])");
        batch.add(Query::new(sql).with(orders), |rows, state| {
            let mut rows = all(&rows, rows::delivery)?;
            for order in &needs.deliveries {
                let theirs = rows.extract_if(.., |row: &mut DeliveryRow| row.order_id == *order);
                state.deliveries.provide_order(*order, theirs.collect());
            }
            Ok(())
        });
    }
    if let Some(limit) = needs.parked {
        let step = Query::new(deliveries_from(DeliveryFilter::Parked, "$1", "$2"));
        batch.add(step.with(0_i64).with(wanted(limit)), |rows, state| {
            state.deliveries.provide_parked(all(&rows, rows::delivery)?);
            Ok(())
        });
    }
    if needs.next_event || needs.due_events.is_some() {
        batch.add(Query::new(NEXT_EVENT), |rows, state| {
            state.deliveries.provide_next(get(rows.first().ok_or_else(no_store)?, 0)?);
            Ok(())
        });
    }
    if let Some(DueEventsQuery { now, limit }) = needs.due_events {
        let step = Query::new(due("$1", "$2")).with(now.unix()).with(wanted(limit));
        batch.add(step, |rows, state| {
            state.deliveries.provide_due(all(&rows, rows::delivery)?);
            Ok(())
        });
        let sql = format!(
            "SELECT {EVENT} FROM events WHERE id >= (SELECT next_event FROM store WHERE id = 1)
             ORDER BY id LIMIT $1"
        );
        batch.add(Query::new(sql).with(wanted(limit)), |rows, state| {
            let fresh: Vec<EventRow> = all(&rows, rows::event)?;
            state.deliveries.provide_fresh(fresh);
            Ok(())
        });
        batch.add(Query::new(EPOCHS), |rows, state| {
            state.deliveries.provide_epochs(all(&rows, rows::epoch)?);
            Ok(())
        });
    }
}

fn all<T>(rows: &[Row], read: fn(&Row) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
    rows.iter().map(read).collect()
}

fn wanted(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(crate) fn apply(deliveries: &Deliveries, steps: &mut Vec<Query<'static>>) {
    if let Some(first) = deliveries.delete_from() {
        steps.push(Query::new("DELETE FROM deliveries WHERE event_id >= $1").with(first.get()));
    }
    if let Some(next) = deliveries.new_cursor() {
        let sql = "UPDATE store SET next_event = $1 WHERE id = 1";
        steps.push(Query::new(sql).with(next.get()).changing(1));
    }
    let removed: Vec<i64> = deliveries.deletes().into_iter().map(EventId::get).collect();
    if !removed.is_empty() {
        let sql = "DELETE FROM deliveries WHERE event_id = ANY($1::bigint[])";
        steps.push(Query::new(sql).with(removed));
    }
    let kept = deliveries.upserts();
    if kept.is_empty() {
        return;
    }
    let sql = "INSERT INTO deliveries (event_id, order_id, status, attempts, due_at, token, error,
                                       updated_at)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[],
                                    $5::bigint[], $6::bigint[], $7::text[], $8::bigint[])
               ON CONFLICT (event_id) DO UPDATE SET status = excluded.status,
                   attempts = excluded.attempts, due_at = excluded.due_at,
                   token = excluded.token, error = excluded.error,
                   updated_at = excluded.updated_at";
    steps.push(
        Query::new(sql)
            .with(kept.iter().map(|row| row.event_id.get()).collect::<Vec<_>>())
            .with(kept.iter().map(|row| row.order_id.get()).collect::<Vec<_>>())
            .with(kept.iter().map(|row| row.status.word()).collect::<Vec<_>>())
            .with(kept.iter().map(|row| row.attempts).collect::<Vec<_>>())
            .with(kept.iter().map(|row| row.due_at.unix()).collect::<Vec<_>>())
            .with(kept.iter().map(|row| row.token).collect::<Vec<_>>())
            .with(kept.iter().map(|row| row.error.clone()).collect::<Vec<_>>())
            .with(kept.iter().map(|row| row.updated_at.unix()).collect::<Vec<_>>())
            .changing(kept.len()),
    );
}
