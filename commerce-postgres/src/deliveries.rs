//! Deliveries of events: loading what a relay needs, and saving its changes.

use crate::query::{Query, QueryBatch};
use crate::rows::{Row, limit, read};
use crate::statements::{select, upsert};
use commerce_core::store::columns::Entity;
use commerce_core::store::deliveries::{EPOCHS, NEXT_EVENT, deliveries_from, due, no_store};
use commerce_core::store::values::get;
use commerce_core::store::{DeliveryFilter, DeliveryRow, DueEventsQuery, EventRow, Needs, State};
use commerce_core::{EventId, StoreError};

pub(crate) fn load<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    if !needs.deliveries.is_empty() {
        let orders: Vec<i64> = needs.deliveries.iter().map(|id| id.get()).collect();
        let query = select::<DeliveryRow>("WHERE order_id = ANY($1::bigint[])");
        batch.add(query.with(orders), |rows, state| {
            let mut rows = all(&rows)?;
            for order in &needs.deliveries {
                let of_order = rows.extract_if(.., |row: &mut DeliveryRow| row.order_id == *order);
                state.deliveries.provide_order(*order, of_order.collect());
            }
            Ok(())
        });
    }
    if let Some(rows) = needs.parked {
        let query = Query::new(deliveries_from(DeliveryFilter::Parked, "$1", "$2"));
        batch.add(query.with(0_i64).with(limit(rows)), |rows, state| {
            state.deliveries.provide_parked(all(&rows)?);
            Ok(())
        });
    }
    if needs.next_event || needs.due_events.is_some() {
        batch.add(Query::new(NEXT_EVENT), |rows, state| {
            state.deliveries.provide_next(get(rows.first().ok_or_else(no_store)?, 0)?);
            Ok(())
        });
    }
    if let Some(DueEventsQuery { now, limit: rows }) = needs.due_events {
        let query = Query::new(due("$1", "$2")).with(now.unix()).with(limit(rows));
        batch.add(query, |rows, state| {
            state.deliveries.provide_due(all(&rows)?);
            Ok(())
        });
        let query = select::<EventRow>(
            "WHERE id >= (SELECT next_event FROM store WHERE id = 1) ORDER BY id LIMIT $1",
        );
        batch.add(query.with(limit(rows)), |rows, state| {
            state.deliveries.provide_fresh(all(&rows)?);
            Ok(())
        });
        batch.add(Query::new(EPOCHS), |rows, state| {
            state.deliveries.provide_epochs(all(&rows)?);
            Ok(())
        });
    }
}

fn all<T: Entity>(rows: &[Row]) -> Result<Vec<T>, StoreError> {
    rows.iter().map(read).collect()
}

pub(crate) fn apply(state: &State, queries: &mut Vec<Query<'static>>) {
    let deliveries = &state.deliveries;
    if let Some(first) = deliveries.delete_from() {
        queries.push(Query::new("DELETE FROM deliveries WHERE event_id >= $1").with(first.get()));
    }
    if let Some(next) = deliveries.new_cursor() {
        let sql = "UPDATE store SET next_event = $1 WHERE id = 1";
        queries.push(Query::new(sql).with(next.get()).changing(1));
    }
    let deleted: Vec<i64> = deliveries.deletes().into_iter().map(EventId::get).collect();
    if !deleted.is_empty() {
        let sql = "DELETE FROM deliveries WHERE event_id = ANY($1::bigint[])";
        queries.push(Query::new(sql).with(deleted));
    }
    let changed = deliveries.upserts();
    if !changed.is_empty() {
        queries.push(upsert(&changed, state));
    }
}
