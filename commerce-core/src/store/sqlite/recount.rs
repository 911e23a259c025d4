//! The migration that counts the sales of older orders.

use super::{sales, scan};
use crate::error::StoreError;
use crate::model::order::Order;
use crate::model::sale::Sale;
use crate::store::{Record, Table};
use rusqlite::{Connection, params};
use std::ops::ControlFlow;

/// The number of orders that a migration counts at once.
const RECOUNT_ORDERS: usize = 1_000;

/// Counts the sales of all orders in an empty roll-up. Its watermarks stay, so that old sales count at every level.
pub(super) fn recount(db: &Connection) -> Result<(), StoreError> {
    let mut waiting = Vec::new();
    let mut result = Ok(());
    scan::scan(db, Table::Orders, &mut |record| {
        if let Record::Order(order) = record
            && order.paid_at.is_some()
        {
            waiting.push(order);
            if waiting.len() >= RECOUNT_ORDERS {
                result = count_orders(db, &mut waiting);
            }
        }
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result?;
    count_orders(db, &mut waiting)
}

fn count_orders(db: &Connection, orders: &mut Vec<Order>) -> Result<(), StoreError> {
    let mut select =
        db.prepare_cached("SELECT 1 FROM customers WHERE id = ?1 AND first_order = ?2")?;
    let mut counted = Vec::new();
    for order in orders.drain(..) {
        let is_first = select.exists(params![order.customer_id, order.id])?;
        counted.extend(Sale::all_of(&order, is_first));
    }
    sales::apply(db, &counted)
}
