//! Saving what a batch has changed: each kind as a set, those that others refer to first.

use crate::connection::Query;
use crate::{auth, deliveries};
use commerce_core::store::columns::DbText;
use commerce_core::store::{Account, Change, ChargeRow, ChargeSource, State, digest};
use commerce_core::{Coupon, Discount, Epoch, Money, Product, StoreError};

/// A column of new values, one for each row.
macro_rules! column {
    ($rows:expr, $row:pat => $value:expr) => {
        $rows.iter().map(|$row| $value).collect::<Vec<_>>()
    };
}

mod orders;

/// The statements that save a state; nothing is said yet.
pub(crate) fn apply(state: &State) -> Result<Vec<Query<'static>>, StoreError> {
    let mut steps = Vec::new();
    accounts(state, &mut steps);
    products(state, &mut steps);
    stock_movements(state, &mut steps);
    coupons(state, &mut steps);
    orders::save(state, &mut steps);
    charges(state, &mut steps);
    ledger(state, &mut steps);
    events(state, &mut steps);
    steps.extend((!state.epochs.is_empty()).then(|| put_epochs(&state.epochs)));
    deliveries::apply(&state.deliveries, &mut steps);
    carts(state, &mut steps);
    keys(state, &mut steps)?;
    auth::apply(state, &mut steps);
    Ok(steps)
}

/// New rows and changed ones; nothing of a kind that has none.
fn split<'a, V>(changed: Vec<(&'a V, Change)>) -> (Vec<&'a V>, Vec<&'a V>) {
    let (new, old): (Vec<_>, Vec<_>) =
        changed.into_iter().partition(|(_, change)| *change == Change::Inserted);
    let bare = |rows: Vec<(&'a V, Change)>| rows.into_iter().map(|(row, _)| row).collect();
    (bare(new), bare(old))
}

/// Saves epochs, in target of those that begin with the same events.
pub(crate) fn put_epochs(epochs: &[Epoch]) -> Query<'static> {
    let sql = "INSERT INTO epochs (first_event, name)
               SELECT * FROM unnest($1::bigint[], $2::text[])
               ON CONFLICT (first_event) DO UPDATE SET name = excluded.name";
    Query::new(sql)
        .with(column!(epochs, epoch => epoch.first_event.get()))
        .with(column!(epochs, epoch => epoch.name.clone()))
        .changing(epochs.len())
}

fn accounts(state: &State, steps: &mut Vec<Query<'static>>) {
    let (new, old): (Vec<&Account>, Vec<&Account>) = split(state.accounts.changed());
    let money = |step: Query<'static>, rows: &[&Account]| {
        step.with(column!(rows, row => row.balance.minor()))
            .with(column!(rows, row => row.last_entry.map(commerce_core::LedgerEntryId::get)))
            .with(column!(rows, row => row.last_order.map(commerce_core::OrderId::get)))
            .changing(rows.len())
    };
    if !new.is_empty() {
        let sql = "INSERT INTO customers
                   (id, name, role, created_at, balance, last_entry, last_order)
                   SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[],
                                        $5::bigint[], $6::bigint[], $7::bigint[])";
        let step = Query::new(sql)
            .with(column!(new, row => row.customer.id.get()))
            .with(column!(new, row => row.customer.name.clone()))
            .with(column!(new, row => row.customer.role.word()))
            .with(column!(new, row => row.customer.created_at.unix()));
        steps.push(money(step, &new));
    }
    if !old.is_empty() {
        let sql = "UPDATE customers SET balance = new.balance, last_entry = new.last_entry,
                                        last_order = new.last_order
                   FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
                        AS new (id, balance, last_entry, last_order)
                   WHERE customers.id = new.id AND customers.id = ANY($1)";
        let step = Query::new(sql).with(column!(old, row => row.customer.id.get()));
        steps.push(money(step, &old));
    }
}

fn products(state: &State, steps: &mut Vec<Query<'static>>) {
    let (new, old): (Vec<&Product>, Vec<&Product>) = split(state.products.changed());
    let values = "unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::text[])";
    let with = |sql: String, rows: &[&Product]| {
        Query::new(sql)
            .with(column!(rows, row => row.id.get()))
            .with(column!(rows, row => row.name.clone()))
            .with(column!(rows, row => row.price.minor()))
            .with(column!(rows, row => row.stock))
            .with(column!(rows, row => row.status.word()))
            .changing(rows.len())
    };
    if !new.is_empty() {
        let sql = "INSERT INTO products (id, name, price, stock, status) SELECT * FROM";
        steps.push(with(format!("{sql} {values}"), &new));
    }
    if !old.is_empty() {
        let sql = format!(
            "UPDATE products SET name = new.name, price = new.price, stock = new.stock,
                                 status = new.status
             FROM {values} AS new (id, name, price, stock, status)
             WHERE products.id = new.id AND products.id = ANY($1)"
        );
        steps.push(with(sql, &old));
    }
}

fn stock_movements(state: &State, steps: &mut Vec<Query<'static>>) {
    let rows = &state.stock_movements;
    if rows.is_empty() {
        return;
    }
    let sql = "INSERT INTO stock_movements (id, product_id, delta, reason, created_at)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[],
                                    $5::bigint[])";
    steps.push(
        Query::new(sql)
            .with(column!(rows, row => row.id.get()))
            .with(column!(rows, row => row.product_id.get()))
            .with(column!(rows, row => row.delta))
            .with(column!(rows, row => row.reason.clone()))
            .with(column!(rows, row => row.created_at.unix())),
    );
}

fn coupons(state: &State, steps: &mut Vec<Query<'static>>) {
    let (new, old): (Vec<&Coupon>, Vec<&Coupon>) = split(state.coupons.changed());
    steps.extend(new.into_iter().map(insert_coupon));
    if !old.is_empty() {
        let sql = "UPDATE coupons SET issued = new.issued
                   FROM unnest($1::bigint[], $2::bigint[]) AS new (id, issued)
                   WHERE coupons.id = new.id AND coupons.id = ANY($1)";
        steps.push(
            Query::new(sql)
                .with(column!(old, row => row.id.get()))
                .with(column!(old, row => row.issued))
                .changing(old.len()),
        );
    }
}

fn insert_coupon(coupon: &Coupon) -> Query<'static> {
    let (amount, percent, max_amount) = match coupon.discount {
        Discount::Fixed { amount } => (Some(amount), None, None),
        Discount::Percent { percent, max_amount } => (None, Some(percent), max_amount),
    };
    let sql = "INSERT INTO coupons (id, name, amount, percent, max_amount, min_order_amount,
                                    quantity, issued, valid_from, valid_until)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    Query::new(sql)
        .with(coupon.id.get())
        .with(coupon.name.clone())
        .with(amount.map(Money::minor))
        .with(percent)
        .with(max_amount.map(Money::minor))
        .with(coupon.min_order_amount.map(Money::minor))
        .with(coupon.quantity)
        .with(coupon.issued)
        .with(coupon.valid_from.unix())
        .with(coupon.valid_until.map(commerce_core::Timestamp::unix))
}

fn charges(state: &State, steps: &mut Vec<Query<'static>>) {
    let (new, old): (Vec<&ChargeRow>, Vec<&ChargeRow>) = split(state.charges.changed());
    if !new.is_empty() {
        steps.push(insert_charges(state, &new));
    }
    if !old.is_empty() {
        let sql = "UPDATE charges SET status = new.status, failure = new.failure,
                                      settled_at = new.settled_at, balance_after = new.balance_after
                   FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[],
                               $6::bigint[])
                        AS new (id, customer_id, status, failure, settled_at, balance_after)
                   WHERE charges.id = new.id AND charges.customer_id = new.customer_id
                         AND charges.id = ANY($1)";
        steps.push(
            Query::new(sql)
                .with(column!(old, row => row.id.get()))
                .with(column!(old, row => row.customer_id.get()))
                .with(column!(old, row => row.status.word()))
                .with(column!(old, row => row.failure.clone()))
                .with(column!(old, row => row.settled_at.map(commerce_core::Timestamp::unix)))
                .with(column!(old, row => row.balance_after.map(Money::minor)))
                .changing(old.len()),
        );
    }
}

fn insert_charges(state: &State, rows: &[&ChargeRow]) -> Query<'static> {
    let sql =
        "INSERT INTO charges (id, customer_id, amount, status, created_at, gateway, reference,
                                    payment_method, failure, settled_at, balance_after, digest)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[],
                                    $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],
                                    $10::bigint[], $11::bigint[], $12::bigint[])";
    let source = |row: &ChargeRow, take: fn(&ChargeSource) -> Option<String>| {
        row.source.as_ref().and_then(take)
    };
    Query::new(sql)
        .with(column!(rows, row => row.id.get()))
        .with(column!(rows, row => row.customer_id.get()))
        .with(column!(rows, row => row.amount.minor()))
        .with(column!(rows, row => row.status.word()))
        .with(column!(rows, row => row.created_at.unix()))
        .with(column!(rows, row => source(row, |source| Some(source.gateway.clone()))))
        .with(column!(rows, row => source(row, |source| Some(source.reference.clone()))))
        .with(column!(rows, row => source(row, |source| source.payment_method.clone())))
        .with(column!(rows, row => row.failure.clone()))
        .with(column!(rows, row => row.settled_at.map(commerce_core::Timestamp::unix)))
        .with(column!(rows, row => row.balance_after.map(Money::minor)))
        .with(column!(rows, row => digest(state, *row)))
}

fn ledger(state: &State, steps: &mut Vec<Query<'static>>) {
    let rows = &state.ledger;
    if rows.is_empty() {
        return;
    }
    let sql =
        "INSERT INTO ledger (id, customer_id, kind, amount, balance_after, order_id, charge_id,
                                   note, created_at, previous, digest)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[],
                                    $5::bigint[], $6::bigint[], $7::bigint[], $8::text[],
                                    $9::bigint[], $10::bigint[], $11::bigint[])";
    steps.push(
        Query::new(sql)
            .with(column!(rows, row => row.id.get()))
            .with(column!(rows, row => row.customer_id.get()))
            .with(column!(rows, row => row.kind.word()))
            .with(column!(rows, row => row.amount.minor()))
            .with(column!(rows, row => row.balance_after.minor()))
            .with(column!(rows, row => row.order_id.map(commerce_core::OrderId::get)))
            .with(column!(rows, row => row.charge_id.map(commerce_core::ChargeId::get)))
            .with(column!(rows, row => row.note.clone()))
            .with(column!(rows, row => row.created_at.unix()))
            .with(column!(rows, row => row.previous.map(commerce_core::LedgerEntryId::get)))
            .with(column!(rows, row => digest(state, row))),
    );
}

/// An event comes from an order that is in hand, which knows its customer; where orders are not, as in a
/// copy, the order's row is asked.
fn events(state: &State, steps: &mut Vec<Query<'static>>) {
    let rows = &state.events;
    if rows.is_empty() {
        return;
    }
    let in_hand = rows.iter().all(|row| state.orders.is_loaded(row.order_id));
    let customer = |order| state.orders.get(order).map(|order| order.customer_id.get());
    let customers: Option<Vec<i64>> =
        if in_hand { rows.iter().map(|row| customer(row.order_id)).collect() } else { None };
    let values = "unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bigint[]";
    let named = "AS new (id, kind, order_id, trace, created_at";
    let from = if customers.is_some() {
        format!("new.customer_id FROM {values}, $6::bigint[]) {named}, customer_id)")
    } else {
        format!(
            "orders.customer_id FROM {values}) {named}) JOIN orders ON orders.id = order_id
             WHERE orders.id = ANY($3)"
        )
    };
    let step = Query::new(format!(
        "INSERT INTO events (id, kind, order_id, trace, created_at, customer_id)
         SELECT new.id, new.kind, new.order_id, new.trace, new.created_at, {from}"
    ));
    let step = step
        .with(column!(rows, row => row.id.get()))
        .with(column!(rows, row => row.kind.word()))
        .with(column!(rows, row => row.order_id.get()))
        .with(column!(rows, row => row.trace.clone()))
        .with(column!(rows, row => row.created_at.unix()))
        .changing(rows.len());
    steps.push(match customers {
        Some(customers) => step.with(customers),
        None => step,
    });
}

fn carts(state: &State, steps: &mut Vec<Query<'static>>) {
    let changed = state.carts.changed();
    if changed.is_empty() {
        return;
    }
    let customers = column!(changed, ((customer, _), _) => customer.get());
    let sql = "DELETE FROM cart_lines WHERE customer_id = ANY($1::bigint[])";
    steps.push(Query::new(sql).with(customers));
    let lines: Vec<_> = changed
        .iter()
        .flat_map(|((customer, lines), _)| lines.iter().map(move |line| (customer, line)))
        .collect();
    if lines.is_empty() {
        return;
    }
    let sql = "INSERT INTO cart_lines (customer_id, product_id, quantity)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])";
    steps.push(
        Query::new(sql)
            .with(column!(lines, (customer, _) => customer.get()))
            .with(column!(lines, (_, (product, _)) => product.get()))
            .with(column!(lines, (_, (_, quantity)) => **quantity)),
    );
}

fn keys(state: &State, steps: &mut Vec<Query<'static>>) -> Result<(), StoreError> {
    let rows = state.new_keys();
    if rows.is_empty() {
        return Ok(());
    }
    let answers = rows.iter().map(|(.., record)| serde_json::to_string(&record.answer));
    let answers: Result<Vec<String>, _> = answers.collect();
    let sql = "INSERT INTO idempotency_keys (key, owner, fingerprint, answer, created_at, digest)
               SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[],
                                    $5::bigint[], $6::bigint[])";
    steps.push(
        Query::new(sql)
            .with(column!(rows, (key, ..) => key.as_str().to_owned()))
            .with(column!(rows, (_, owner, _) => owner.get()))
            .with(column!(rows, (.., record) => record.fingerprint))
            .with(answers.map_err(|error| StoreError::Corrupt(error.to_string()))?)
            .with(column!(rows, (.., record) => record.created_at.unix()))
            .with(column!(rows, (.., record) => record.digest)),
    );
    Ok(())
}
