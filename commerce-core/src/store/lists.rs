//! SQL of lists that both SQL stores share: conditions of filters, with their parameters.

use super::values::Value;
use crate::clock::Timestamp;
use crate::id::{ChargeId, CustomerId, OrderId};
use crate::model::order::OrderStatus;
use crate::model::wallet::ChargeStatus;
use crate::query::filter::{ChargeFilter, OrderFilter};

/// The instant at which an order that is cancelled or expired gave its stock back.
pub const RELEASED_AT: &str = "coalesce(cancelled_at, expires_at)";

/// The condition of orders that gave their stock back, as in the definition of their index.
#[must_use]
pub fn is_released() -> String {
    format!("status IN ({}, {})", OrderStatus::Cancelled.code(), OrderStatus::Expired.code())
}

/// The condition of orders that hold or have used their stock ([`Order::is_live`](crate::model::order::Order::is_live)).
#[must_use]
pub fn is_live() -> String {
    format!("status IN ({}, {})", OrderStatus::Pending.code(), OrderStatus::Paid.code())
}

/// The condition of orders with a status.
#[must_use]
pub fn has_status(status: OrderStatus) -> String {
    format!("status = {}", status.code())
}

/// Selects the cancellations of parts that put units back to the stock.
pub const IS_RESTOCK: &str = "is_restocked = 1 AND units > 0";

/// A range of ids, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange<T> {
    /// The greatest id.
    pub newest: T,
    /// The smallest id.
    pub oldest: T,
}

/// The direction of a read along a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From older to newer rows.
    Forward,
    /// From newer to older rows.
    Back,
}

impl Direction {
    /// The comparison that holds for the start and the rows after it.
    #[must_use]
    pub const fn comparison(self) -> &'static str {
        match self {
            Self::Forward => ">=",
            Self::Back => "<=",
        }
    }

    /// The word of `ORDER BY`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Forward => "ASC",
            Self::Back => "DESC",
        }
    }
}

/// The rest of a `SELECT`, with its parameters.
#[derive(Debug)]
pub struct Conditions<'a> {
    /// The text from `WHERE` on.
    pub sql: String,
    /// The parameters.
    pub values: Vec<Value<'a>>,
    /// The rows in place of the table, if the planner must not choose among its indexes.
    pub rows: Option<String>,
    /// The character before the number of a parameter: `?` or `$`.
    mark: char,
}

impl<'a> Conditions<'a> {
    fn of_range(mark: char, newest: i64, oldest: i64) -> Self {
        let sql = format!("WHERE id <= {mark}1 AND id >= {mark}2");
        let values = vec![Value::Integer(Some(newest)), Value::Integer(Some(oldest))];
        Self { sql, values, rows: None, mark }
    }

    /// Adds a value, and returns its parameter.
    fn value(&mut self, value: Value<'a>) -> String {
        self.values.push(value);
        format!("{}{}", self.mark, self.values.len())
    }

    fn and(&mut self, condition: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
    }

    /// Adds the condition that a table has such a row. SQLite counts: it turns an `EXISTS` into a join, and may then read the
    /// whole other table first.
    fn and_exists(&mut self, rows: &str) {
        if self.mark == '?' {
            self.and(&format!("0 < (SELECT count(*) FROM {rows})"));
        } else {
            self.and(&format!("EXISTS (SELECT 1 FROM {rows})"));
        }
    }

    fn integer(&mut self, condition: &str, value: Option<i64>) {
        if value.is_some() {
            let parameter = self.value(Value::Integer(value));
            self.and(&format!("{condition} {parameter}"));
        }
    }

    fn newest_first(mut self, limit: i64) -> Self {
        let limit = self.value(Value::Integer(Some(limit)));
        let sql = format!("{} ORDER BY id DESC LIMIT {limit}", self.sql);
        Self { sql, ..self }
    }
}

/// Returns the conditions of the orders in a range that match a filter, newest first. `lines_of_order` is the condition of
/// the lines of an order in the range, whose ends are the first two parameters.
#[must_use]
pub fn orders<'a>(
    mark: char,
    range: IdRange<OrderId>,
    filter: &'a OrderFilter,
    lines_of_order: &str,
    limit: i64,
) -> Conditions<'a> {
    let OrderFilter { customer_id, status, from, to, product_id, reference, coupon_id } = filter;
    let mut rest = Conditions::of_range(mark, range.newest.get(), range.oldest.get());
    match status {
        // The plus sign keeps SQLite from the index of rare statuses, which has more rows than that of references.
        Some(status) if reference.is_some() && mark == '?' => {
            rest.and(&format!("+{}", has_status(*status)));
        }
        Some(status) => rest.and(&of_status(*status)),
        None => {}
    }
    rest.integer("customer_id =", customer_id.map(CustomerId::get));
    rest.integer("created_at >", from.map(Timestamp::unix));
    rest.integer("created_at <=", to.map(Timestamp::unix));
    if reference.is_some() {
        let parameter = rest.value(Value::Text(reference.as_deref()));
        rest.and(&format!("reference = {parameter}"));
        // PostgreSQL would read the whole table by its key to save the sort of a few orders.
        rest.rows = Some(format!("(SELECT * FROM orders WHERE reference = {parameter} OFFSET 0)"));
    }
    if let Some(id) = product_id {
        let product = rest.value(Value::Integer(Some(id.get())));
        rest.and_exists(&format!("order_lines WHERE {lines_of_order} AND product_id = {product}"));
    }
    if let Some(id) = coupon_id {
        let coupon = rest.value(Value::Integer(Some(id.get())));
        rest.and_exists(&format!(
            "owned_coupons WHERE owned_coupons.id = orders.owned_coupon_id
             AND owned_coupons.customer_id = orders.customer_id AND coupon_id = {coupon}"
        ));
    }
    rest.newest_first(limit)
}

/// Returns the conditions of the charges in a range that match a filter, newest first.
#[must_use]
pub fn charges(
    mark: char,
    range: IdRange<ChargeId>,
    filter: ChargeFilter,
    limit: i64,
) -> Conditions<'static> {
    let mut rest = Conditions::of_range(mark, range.newest.get(), range.oldest.get());
    if let Some(status) = filter.status {
        let rare =
            if status == ChargeStatus::Succeeded { "" } else { " AND status <> 'succeeded'" };
        rest.and(&format!("status = '{status}'{rare}"));
    }
    rest.integer("customer_id =", filter.customer_id.map(CustomerId::get));
    rest.newest_first(limit)
}

/// The condition of a status for lists. It contains the condition of the index of rare statuses, literally as in its
/// definition: so SQLite finds the index.
#[must_use]
pub fn of_status(status: OrderStatus) -> String {
    let has_status = has_status(status);
    if status == OrderStatus::Paid {
        return has_status;
    }
    format!("{has_status} AND status <> {}", OrderStatus::Paid.code())
}
