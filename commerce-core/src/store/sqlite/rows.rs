//! Rows and values of SQLite's driver, and the key of order lines.

use crate::clock::Timestamp;
use crate::id::OrderId;
use crate::limits::MAX_ORDER_LINES;
use crate::money::Money;
use crate::store::values::{RowReader, Value};
use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef};
use rusqlite::{Error, Result, Row};

/// The bits of the position of a line in its order, within the key of `order_lines`.
const LINE_BITS: u32 = 10;
const _: () = assert!(MAX_ORDER_LINES < 1 << LINE_BITS, "every line has a position");

/// Returns the key of the first line of an order. The lines of later orders have greater keys, so that lines
/// are only ever appended.
pub(super) fn first_line(order: OrderId) -> i64 {
    order.get() << LINE_BITS
}

impl RowReader for Row<'_> {
    type Error = Error;

    fn integer(&self, column: usize) -> Result<Option<i64>> {
        self.get(column)
    }

    fn text(&self, column: usize) -> Result<Option<&str>> {
        Ok(self.get_ref(column)?.as_str_or_null()?)
    }

    fn invalid(&self, column: usize, reason: String) -> Error {
        let found = self.get_ref(column).map_or(Type::Null, |value| value.data_type());
        Error::FromSqlConversionFailure(column, found, reason.into())
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        match self {
            Self::Integer(value) => value.to_sql(),
            Self::Text(value) => value.to_sql(),
        }
    }
}

macro_rules! integers {
    ($($type:ty, $from:expr, $to:expr;)+) => {$(
        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_i64().map($from)
            }
        }

        impl ToSql for $type {
            fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from($to(*self)))
            }
        }
    )+};
}

integers! {
    Money, Money::from_minor, Money::minor;
    Timestamp, Timestamp::from_unix, Timestamp::unix;
    crate::id::CustomerId, Self::new, Self::get;
    crate::id::ProductId, Self::new, Self::get;
    crate::id::CouponId, Self::new, Self::get;
    crate::id::OwnedCouponId, Self::new, Self::get;
    OrderId, Self::new, Self::get;
    crate::id::ChargeId, Self::new, Self::get;
    crate::id::LedgerEntryId, Self::new, Self::get;
    crate::id::StockMovementId, Self::new, Self::get;
    crate::id::EventId, Self::new, Self::get;
    crate::id::TokenId, Self::new, Self::get;
    crate::id::RefundId, Self::new, Self::get;
}
