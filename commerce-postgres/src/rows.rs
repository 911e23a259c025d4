//! Rows of the driver, and the lines of orders.

use commerce_core::store::columns::{Entity, LINE, LINE_COLUMNS, line};
use commerce_core::store::values::{RowReader, get};
use commerce_core::{OrderId, OrderLine, StoreError};
use tokio_postgres::types::FromSql;

/// A row of the driver, as a type of this crate that can implement [`RowReader`].
#[derive(Debug)]
pub(crate) struct Row(pub(crate) tokio_postgres::Row);

impl Row {
    pub(crate) fn try_get<'a, T: FromSql<'a>>(
        &'a self,
        column: usize,
    ) -> Result<T, tokio_postgres::Error> {
        self.0.try_get(column)
    }
}

impl RowReader for Row {
    type Error = StoreError;

    fn integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        self.try_get(column).map_err(|error| self.invalid(column, error.to_string()))
    }

    fn text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        self.try_get(column).map_err(|error| self.invalid(column, error.to_string()))
    }

    fn invalid(&self, _column: usize, reason: String) -> StoreError {
        StoreError::Corrupt(reason)
    }
}

/// Reads a row of [`Entity::SELECT`].
pub(crate) fn read<T: Entity>(row: &Row) -> Result<T, StoreError> {
    T::read(row)
}

/// Converts a number of rows to a parameter of `LIMIT`.
pub(crate) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// Returns true if a column can hold the text: the server fails on NUL, even in a condition.
pub(crate) fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}

/// Selects the lines of orders, in the order of their positions.
pub(crate) fn select_lines() -> String {
    format!(
        "SELECT {LINE}, order_id FROM order_lines WHERE order_id = ANY($1::bigint[])
         ORDER BY order_id, position"
    )
}

/// The cancellations of orders, in the order of their numbers.
pub(crate) const OF_ORDERS: &str = "WHERE order_id = ANY($1::bigint[]) ORDER BY order_id, number";

/// Reads the lines of orders, each with the id of its order.
pub(crate) fn lines(
    rows: &[Row],
    mut visit: impl FnMut(OrderId, OrderLine),
) -> Result<(), StoreError> {
    for row in rows {
        visit(get(row, LINE_COLUMNS)?, line(row)?);
    }
    Ok(())
}
