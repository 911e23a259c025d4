//! The references that every order has: of its lines, ledger entries and events to it, and to customers and products.
//!
//! They have no foreign keys, each of which costs the server a query for each row. The batch has loaded the rows that
//! its new rows refer to, and the writer lock keeps them: so the state tells. A copy loads nothing, and the server
//! compares whole tables, as it does for the audit.

use crate::connection::Connection;
use crate::error::Failure;
use crate::query::Query;
use commerce_core::StoreError;
use commerce_core::store::{Change, State};
use std::time::Duration;

/// A table, the table that it refers to, and the pairs of columns.
type Reference = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The references. On a cluster both sides are on the same machine, except for products.
const REFERENCES: [Reference; 6] = [
    ("orders", "customers", &[("customer_id", "id")]),
    ("order_lines", "orders", &[("order_id", "id"), ("customer_id", "customer_id")]),
    ("ledger", "customers", &[("customer_id", "id")]),
    ("ledger", "orders", &[("order_id", "id"), ("customer_id", "customer_id")]),
    ("events", "orders", &[("order_id", "id"), ("customer_id", "customer_id")]),
    ("order_lines", "products", &[("product_id", "id")]),
];

/// The number of references that a finding lists.
const LISTED: i64 = 10;

/// The timeout of comparing two tables: enough for any that a server holds, but bounded.
const TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Fails unless the batch has loaded or created every row that its new rows refer to.
pub(crate) fn check(state: &State) -> Result<(), StoreError> {
    let dangling = |from: String, to: String| {
        Err(StoreError::ConstraintViolation(format!("{from} refers to {to}, which does not exist")))
    };
    let has_customer = |id| state.accounts.is_loaded(id) && state.accounts.get(id).is_some();
    let has_product = |id| state.products.is_loaded(id) && state.products.get(id).is_some();
    let owner = |id| {
        let order = if state.orders.is_loaded(id) { state.orders.get(id) } else { None };
        order.map(|order| order.customer_id)
    };
    for (order, _) in
        state.orders.changed().iter().filter(|(_, change)| *change == Change::Inserted)
    {
        let from = || format!("order {}", order.id);
        if !has_customer(order.customer_id) {
            return dangling(from(), format!("customer {}", order.customer_id));
        }
        if let Some(line) = order.lines.iter().find(|line| !has_product(line.product_id)) {
            return dangling(from(), format!("product {}", line.product_id));
        }
    }
    for entry in &state.ledger {
        let from = || format!("ledger entry {}", entry.id);
        if !has_customer(entry.customer_id) {
            return dangling(from(), format!("customer {}", entry.customer_id));
        }
        if let Some(order) = entry.order_id.filter(|id| owner(*id) != Some(entry.customer_id)) {
            return dangling(from(), format!("order {order} of customer {}", entry.customer_id));
        }
    }
    match state.events.iter().find(|event| owner(event.order_id).is_none()) {
        Some(event) => dangling(format!("event {}", event.id), format!("order {}", event.order_id)),
        None => Ok(()),
    }
}

/// Returns a text about each kind of reference that dangles. A cluster compares only tables that have these rows on the same
/// machine; the audit looks for the products of lines itself.
pub(crate) fn find_dangling(
    connection: &mut Connection,
    is_distributed: bool,
) -> Result<Vec<String>, Failure> {
    // Whole tables are compared; by key it would be a search for each row.
    connection.run(
        "SET LOCAL statement_timeout = 0; SET LOCAL enable_seqscan = on; SET LOCAL enable_nestloop = off",
    )?;
    let mut found = Vec::new();
    let is_near = |to: &str| !is_distributed || to != "products";
    for (from, to, columns) in REFERENCES.iter().filter(|(_, to, _)| is_near(to)) {
        let query = Query::new(select_dangling(from, to, columns)).unprepared();
        let rows = connection.execute_with_timeout(TIMEOUT, &[query])?;
        let rows: Vec<&str> = rows.iter().flatten().filter_map(|row| row.try_get(0).ok()).collect();
        if !rows.is_empty() {
            let rows = rows.join(", ");
            found.push(format!("{from} refers to rows of {to} that do not exist: {rows}"));
        }
    }
    Ok(found)
}

/// Selects the columns of some references that dangle.
fn select_dangling(from: &str, to: &str, columns: &[(&str, &str)]) -> String {
    let keys = columns.iter().map(|(own, other)| format!("found.{other} = {from}.{own}"));
    let keys = keys.collect::<Vec<_>>().join(" AND ");
    let own: Vec<String> = columns.iter().map(|(own, _)| format!("{from}.{own}")).collect();
    let first = own.first().map_or("", String::as_str);
    let names: Vec<String> =
        columns.iter().map(|(own, _)| format!("'{own} ' || {from}.{own}")).collect();
    format!(
        "SELECT concat_ws(' ', {}) FROM {from} LEFT JOIN {to} AS found ON {keys}
         WHERE found.id IS NULL AND {first} IS NOT NULL LIMIT {LISTED}",
        names.join(", ")
    )
}
