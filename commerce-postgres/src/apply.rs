//! Saves the changes of a batch: one statement a table and kind of change, referenced rows before the rows that
//! refer to them.

use crate::query::Query;
use crate::statements::{
    insert, insert_fixed, joined, names, unnest, update, update_edited, upsert, values, with_values,
};
use crate::{auth, deliveries};
use commerce_core::store::columns::{Entity, LINE, PURCHASE, TABLES_WITH_IDS};
use commerce_core::store::{Change, EventRow, State};
use commerce_core::{Money, Order, OrderStatus, OwnedCoupon, StoreError, Timestamp};
use std::sync::LazyLock;

/// Updates what is kept beside the writer lock: the greatest ids, and the time before which no pending order expires.
static UPDATE_STORE: LazyLock<String> = LazyLock::new(|| {
    let set = (1_usize..).zip(TABLES_WITH_IDS);
    let set = set.map(|(n, table)| format!("last_{table} = greatest(last_{table}, ${n}::bigint)"));
    format!(
        "UPDATE store SET {}, next_expiry = least(coalesce(${}::bigint, next_expiry), ${}::bigint)
         WHERE id = 1",
        set.collect::<Vec<_>>().join(", "),
        TABLES_WITH_IDS.len().saturating_add(1),
        TABLES_WITH_IDS.len().saturating_add(2)
    )
});

/// Inserts the lines of orders.
static INSERT_LINES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO order_lines (order_id, position, customer_id, {LINE})
         SELECT unnest($1::bigint[]), unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::bigint[]),
                unnest($5::text[]), unnest($6::bigint[]), unnest($7::bigint[]), unnest($8::bigint[])"
    )
});

/// Inserts events, each with the customer of its order.
static INSERT_EVENTS: LazyLock<String> = LazyLock::new(|| {
    let columns: Vec<_> = EventRow::COLUMNS.iter().collect();
    let number = columns.len().saturating_add(1);
    format!(
        "INSERT INTO events ({}, customer_id) SELECT {}, unnest(${number}::bigint[])",
        names(&columns),
        values(&columns)
    )
});

/// A parameter with one value a row.
macro_rules! column {
    ($rows:expr, $row:pat => $value:expr) => {
        $rows.iter().map(|$row| $value).collect::<Vec<_>>()
    };
}

/// Returns the statements that save the changes of a state. No pending order that was loaded or searched for expires
/// before `next_expiry`, if it is known.
pub(crate) fn apply(
    state: &State,
    next_expiry: Option<i64>,
) -> Result<Vec<Query<'static>>, StoreError> {
    let mut queries = Vec::new();
    save(&state.accounts.changed(), state, &mut queries);
    save(&state.products.changed(), state, &mut queries);
    insert_all(&state.stock_movements, state, &mut queries);
    save(&state.coupons.changed(), state, &mut queries);
    orders(state, &mut queries);
    purchases(state, &mut queries);
    insert_all(&state.cancellations, state, &mut queries);
    save(&state.charges.changed(), state, &mut queries);
    save(&state.refunds.changed(), state, &mut queries);
    insert_all(&state.ledger, state, &mut queries);
    events(state, &mut queries);
    save(&state.tokens.changed(), state, &mut queries);
    insert_all(&state.audit_trail, state, &mut queries);
    if !state.epochs.is_empty() {
        queries.push(upsert(&state.epochs.iter().collect::<Vec<_>>(), state));
    }
    deliveries::apply(state, &mut queries);
    carts(state, &mut queries);
    keys(state, &mut queries)?;
    queries.extend(update_store(&queries, state, next_expiry));
    auth::apply(state, &mut queries)?;
    if let Some(settings) = state.settings {
        let sql = "UPDATE store SET zone = $1 WHERE id = 1";
        queries.push(Query::new(sql).with(settings.zone.name()).changing(1));
    }
    Ok(queries)
}

/// Returns the update of what is kept beside the writer lock, if it changes.
fn update_store(
    queries: &[Query<'static>],
    state: &State,
    next_expiry: Option<i64>,
) -> Option<Query<'static>> {
    let newest: Vec<_> = queries.iter().filter_map(|query| query.newest).collect();
    let newest = TABLES_WITH_IDS
        .map(|table| newest.iter().filter(|(of, _)| *of == table).map(|(_, id)| *id).max());
    let changed = state.orders.changed();
    let new = changed.iter().filter(|(_, change)| *change == Change::Inserted);
    let pending = new.filter(|(order, _)| order.status == OrderStatus::Pending);
    let earliest = pending.filter_map(|(order, _)| order.expires_at.map(Timestamp::unix)).min();
    let update = Query::new(UPDATE_STORE.as_str());
    let update = newest.iter().fold(update, |update, id| update.with(*id));
    let update = update.with(next_expiry).with(earliest).writing("store").changing(1);
    (newest.iter().any(Option::is_some) || next_expiry.is_some()).then_some(update)
}

/// Separates new rows from changed ones.
fn split<'a, V>(changed: &[(&'a V, Change)]) -> (Vec<&'a V>, Vec<&'a V>) {
    let with = |is_new: bool| {
        let rows =
            changed.iter().filter(move |(_, change)| (*change == Change::Inserted) == is_new);
        rows.map(|(row, _)| *row).collect()
    };
    (with(true), with(false))
}

/// Inserts the new rows, and updates the others.
fn save<T: Entity>(changed: &[(&T, Change)], state: &State, queries: &mut Vec<Query<'static>>) {
    let of = |wanted| {
        let rows = changed.iter().filter(move |(_, change)| *change == wanted);
        rows.map(|(row, _)| *row).collect::<Vec<_>>()
    };
    let (new, updated, edited) = (of(Change::Inserted), of(Change::Updated), of(Change::Edited));
    queries.extend((!new.is_empty()).then(|| insert(&new, state)));
    queries.extend((!updated.is_empty()).then(|| update(&updated, state)));
    queries.extend((!edited.is_empty()).then(|| update_edited(&edited, state)));
}

fn insert_all<T: Entity>(rows: &[T], state: &State, queries: &mut Vec<Query<'static>>) {
    if !rows.is_empty() {
        queries.push(insert(&rows.iter().collect::<Vec<_>>(), state));
    }
}

/// Saves claimed coupons and orders, which refer to each other: new coupons are inserted without their order,
/// then orders are saved, then coupons get their order.
fn orders(state: &State, queries: &mut Vec<Query<'static>>) {
    let (claimed, mut assigned): (Vec<&OwnedCoupon>, Vec<&OwnedCoupon>) =
        split(&state.owned_coupons.changed());
    queries.extend((!claimed.is_empty()).then(|| insert_fixed(&claimed, state)));
    let changed = state.orders.changed();
    let (new, old): (Vec<&Order>, Vec<&Order>) = split(&changed);
    if !new.is_empty() {
        queries.push(insert(&new, state));
        queries.push(insert_lines(&new));
    }
    queries.extend((!old.is_empty()).then(|| update(&old, state)));
    assigned.extend(claimed.into_iter().filter(|owned| owned.order_id.is_some()));
    queries.extend((!assigned.is_empty()).then(|| update(&assigned, state)));
}

fn insert_lines(orders: &[&Order]) -> Query<'static> {
    let lines: Vec<_> = orders
        .iter()
        .flat_map(|order| (0_i64..).zip(&order.lines).map(|(index, line)| (*order, index, line)))
        .collect();
    Query::new(INSERT_LINES.as_str())
        .with(column!(lines, (order, ..) => order.id.get()))
        .with(column!(lines, (_, index, _) => *index))
        .with(column!(lines, (order, ..) => order.customer_id.get()))
        .with(column!(lines, (.., line) => line.product_id.get()))
        .with(column!(lines, (.., line) => line.name.clone()))
        .with(column!(lines, (.., line) => line.unit_price.minor()))
        .with(column!(lines, (.., line) => line.quantity))
        .with(column!(lines, (.., line) => line.reduced_from().map(Money::minor)))
        .writing("order_lines")
        .inserting(lines.len())
}

/// Saves events with the customer of their order, taken from the loaded order. A copy loads no orders, so there
/// the row of the order supplies the customer.
fn events(state: &State, queries: &mut Vec<Query<'static>>) {
    let rows: Vec<&EventRow> = state.events.iter().collect();
    if rows.is_empty() {
        return;
    }
    let are_loaded = rows.iter().all(|row| state.orders.is_loaded(row.order_id));
    let customer = |order| state.orders.get(order).map(|order| order.customer_id.get());
    let customers: Option<Vec<i64>> =
        if are_loaded { rows.iter().map(|row| customer(row.order_id)).collect() } else { None };
    let columns: Vec<_> = EventRow::COLUMNS.iter().collect();
    let query = if customers.is_some() {
        Query::new(INSERT_EVENTS.as_str())
    } else {
        let new = joined(&columns, ", ", |name| format!("new.{name}"));
        let (names, rows) = (names(&columns), unnest(&columns));
        Query::new(format!(
            "INSERT INTO events ({names}, customer_id) SELECT {new}, orders.customer_id
             FROM {rows} AS new ({names}) JOIN orders ON orders.id = order_id
             WHERE orders.id = ANY($3)"
        ))
    };
    let query = with_values(query, &columns, &rows, state);
    let newest = rows.iter().map(|row| row.id.get()).max();
    let query = Query { newest: newest.map(|id| (EventRow::TABLE, id)), ..query };
    queries.push(match customers {
        Some(customers) => query.with(customers).writing(EventRow::TABLE).inserting(rows.len()),
        None => query.changing(rows.len()),
    });
}

fn purchases(state: &State, queries: &mut Vec<Query<'static>>) {
    let (kept, gone) = state.purchases.changed();
    if !state.purchases.cleared().is_empty() {
        let products = column!(state.purchases.cleared(), product => product.get());
        let sql = "DELETE FROM purchases WHERE product_id = ANY($1::bigint[])";
        queries.push(Query::new(sql).with(products));
    }
    if !gone.is_empty() {
        let sql = "DELETE FROM purchases USING unnest($1::bigint[], $2::bigint[]) AS gone (product, customer)
                   WHERE product_id = product AND customer_id = customer AND customer_id = ANY($2)";
        let products = column!(gone, row => row.product_id.get());
        queries
            .push(Query::new(sql).with(products).with(column!(gone, row => row.customer_id.get())));
    }
    if !kept.is_empty() {
        let sql = format!(
            "INSERT INTO purchases ({PURCHASE}) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
             ON CONFLICT (product_id, customer_id) DO UPDATE SET units = excluded.units"
        );
        queries.push(
            Query::new(sql)
                .with(column!(kept, row => row.product_id.get()))
                .with(column!(kept, row => row.customer_id.get()))
                .with(column!(kept, row => row.units))
                .changing(kept.len()),
        );
    }
}

fn carts(state: &State, queries: &mut Vec<Query<'static>>) {
    let changed = state.carts.changed();
    if changed.is_empty() {
        return;
    }
    let customers = column!(changed, ((customer, _), _) => customer.get());
    let sql = "DELETE FROM cart_lines WHERE customer_id = ANY($1::bigint[])";
    queries.push(Query::new(sql).with(customers));
    let lines: Vec<_> = changed
        .iter()
        .flat_map(|((customer, lines), _)| lines.iter().map(move |line| (customer, line)))
        .collect();
    if lines.is_empty() {
        return;
    }
    let sql = "INSERT INTO cart_lines (customer_id, product_id, quantity)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])";
    queries.push(
        Query::new(sql)
            .with(column!(lines, (customer, _) => customer.get()))
            .with(column!(lines, (_, (product, _)) => product.get()))
            .with(column!(lines, (_, (_, quantity)) => **quantity)),
    );
}

fn keys(state: &State, queries: &mut Vec<Query<'static>>) -> Result<(), StoreError> {
    let rows = state.new_keys();
    if rows.is_empty() {
        return Ok(());
    }
    let answers = rows.iter().map(|(.., record)| serde_json::to_string(&record.answer));
    let answers: Result<Vec<String>, _> = answers.collect();
    let requests = rows
        .iter()
        .map(|(.., record)| record.request.as_ref().map(serde_json::to_string).transpose());
    let requests: Result<Vec<Option<String>>, _> = requests.collect();
    let unwritable = |error: serde_json::Error| StoreError::Corrupt(error.to_string());
    let sql =
        "INSERT INTO idempotency_keys (key, owner, fingerprint, answer, created_at, digest, request)
               SELECT unnest($1::text[]), unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::text[]),
                      unnest($5::bigint[]), unnest($6::bigint[]), unnest($7::text[])";
    queries.push(
        Query::new(sql)
            .with(column!(rows, (key, ..) => key.as_str().to_owned()))
            .with(column!(rows, (_, owner, _) => owner.get()))
            .with(column!(rows, (.., record) => record.fingerprint))
            .with(answers.map_err(unwritable)?)
            .with(column!(rows, (.., record) => record.created_at.unix()))
            .with(column!(rows, (.., record) => record.digest))
            .with(requests.map_err(unwritable)?)
            .writing("idempotency_keys")
            .inserting(rows.len()),
    );
    Ok(())
}
