//! Rows of this driver, read by `store::rows`.

use commerce_core::store::columns::{RowReader, get, line};
pub(crate) use commerce_core::store::columns::{
    account, charge, coupon, credentials, customer, delivery, epoch, event, ledger_entry, movement,
    order, owned_coupon, product,
};
use commerce_core::{OrderId, OrderLine, StoreError};
use tokio_postgres::types::FromSql;

/// A row of the driver. A type of this crate, so that it can implement [`RowReader`].
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

/// The columns of a line, and the order it is of.
pub(crate) const LINE: &str = "product_id, name, unit_price, quantity, order_id";

/// Whether a column can hold that text: the server answers one with a NUL in it with an error, also where it
/// is only looked for.
pub(crate) fn may_be_kept(text: &str) -> bool {
    !text.contains('\0')
}

impl RowReader for Row {
    type Error = StoreError;

    fn integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        self.try_get(column).map_err(|error| self.wrong(column, error.to_string()))
    }

    fn text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        self.try_get(column).map_err(|error| self.wrong(column, error.to_string()))
    }

    fn wrong(&self, _column: usize, why: String) -> StoreError {
        StoreError::Corrupt(why)
    }
}

/// What reads the lines of some orders, each order's in its order.
pub(crate) fn select_lines() -> String {
    format!(
        "SELECT {LINE} FROM order_lines WHERE order_id = ANY($1::bigint[]) ORDER BY order_id, position"
    )
}

/// Shows each line with its order.
pub(crate) fn lines(
    rows: &[Row],
    mut take: impl FnMut(OrderId, OrderLine),
) -> Result<(), StoreError> {
    for row in rows {
        take(get(row, 4)?, line(row)?);
    }
    Ok(())
}
