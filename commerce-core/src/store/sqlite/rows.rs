//! What SQLite's driver needs to know of the values in rows; the rows themselves are read by
//! `store::columns`.

use crate::clock::Timestamp;
use crate::model::auth::Credentials;
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::delivery::{DeliveryRow, DeliveryStatus};
use crate::model::event::{Epoch, EventKind, EventRow};
use crate::model::idempotency::IdempotencyRecord;
use crate::model::order::{Order, OrderLine, OrderStatus};
use crate::model::product::{Product, ProductStatus, StockMovement};
use crate::model::wallet::{
    Account, ChargeRow, ChargeStatus, Customer, EntryKind, LedgerEntry, Role,
};
use crate::money::Money;
use crate::store::columns::DbText;
pub(super) use crate::store::columns::{
    self as shared, ACCOUNT, CHARGE, COUPON, CREDENTIALS, DELIVERY, EVENT, LEDGER, MOVEMENT, ORDER,
    OWNED_COUPON, PRODUCT, RowReader, get, paid_and_refunded, session,
};
use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef};
use rusqlite::{Error, Result, Row};

pub(super) const LINE: &str = "product_id, name, unit_price, quantity, id";

impl RowReader for Row<'_> {
    type Error = Error;

    fn integer(&self, column: usize) -> Result<Option<i64>> {
        self.get(column)
    }

    fn text(&self, column: usize) -> Result<Option<&str>> {
        Ok(self.get_ref(column)?.as_str_or_null()?)
    }

    fn wrong(&self, column: usize, why: String) -> Error {
        Error::FromSqlConversionFailure(column, Type::Text, why.into())
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
    crate::id::OrderId, Self::new, Self::get;
    crate::id::ChargeId, Self::new, Self::get;
    crate::id::LedgerEntryId, Self::new, Self::get;
    crate::id::StockMovementId, Self::new, Self::get;
    crate::id::EventId, Self::new, Self::get;
}

macro_rules! words {
    ($($type:ty)+) => {$(
        impl ToSql for $type {
            fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.word()))
            }
        }
    )+};
}

words! { Role ProductStatus OrderStatus ChargeStatus EntryKind EventKind DeliveryStatus }

/// The shared readers for rows of this driver, of whatever statement.
macro_rules! readers {
    ($($reader:ident -> $type:ty;)+) => {$(
        pub(super) fn $reader(row: &Row<'_>) -> Result<$type> {
            shared::$reader(row)
        }
    )+};
}

readers! {
    account -> Account;
    customer -> Customer;
    product -> Product;
    movement -> StockMovement;
    coupon -> Coupon;
    owned_coupon -> OwnedCoupon;
    order -> Order;
    line -> OrderLine;
    charge -> ChargeRow;
    ledger_entry -> LedgerEntry;
    event -> EventRow;
    delivery -> DeliveryRow;
    epoch -> Epoch;
    credentials -> Credentials;
}

pub(super) fn key_record(row: &Row<'_>, first: usize) -> Result<IdempotencyRecord> {
    shared::key_record(row, first)
}
