//! From rows to what they stand for: the column lists, and the one reader of each.

use crate::command::{KeyRecord, Recorded};
use crate::{
    Account, ChargeRow, ChargeStatus, Coupon, Customer, Discount, EntryKind, EventKind, EventRow,
    Key, LedgerEntry, Money, Order, OrderLine, OrderStatus, OwnedCoupon, OwnedCouponStatus,
    Product, ProductStatus, Role, StockMovement, Timestamp,
};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Result, Row};

pub(super) const ACCOUNT: &str =
    "id, name, login, role, created_at, balance, last_entry, last_order";
pub(super) const PRODUCT: &str = "id, name, price, stock, status";
pub(super) const MOVEMENT: &str = "id, product_id, delta, reason, created_at";
pub(super) const COUPON: &str = "id, name, amount, percent, max_amount, min_order_amount, quantity, issued, \
                                 valid_from, valid_until";
pub(super) const OWNED_COUPON: &str = "id, coupon_id, customer_id, rank, order_id, claimed_at";
pub(super) const ORDER: &str = "id, customer_id, reference, status, subtotal, discount, total, \
                                owned_coupon_id, created_at, expires_at, paid_at, cancelled_at, previous";
pub(super) const LINE: &str = "product_id, name, unit_price, quantity, id";
pub(super) const CHARGE: &str = "id, customer_id, amount, status, created_at";
pub(super) const LEDGER: &str = "id, customer_id, kind, amount, balance_after, order_id, charge_id, note, \
                                 created_at, previous";
pub(super) const EVENT: &str = "id, kind, order_id, trace, created_at";

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
    crate::CustomerId, Self::new, Self::get;
    crate::ProductId, Self::new, Self::get;
    crate::CouponId, Self::new, Self::get;
    crate::OwnedCouponId, Self::new, Self::get;
    crate::OrderId, Self::new, Self::get;
    crate::ChargeId, Self::new, Self::get;
    crate::LedgerEntryId, Self::new, Self::get;
    crate::StockMovementId, Self::new, Self::get;
    crate::EventId, Self::new, Self::get;
}

macro_rules! words {
    ($($type:ty { $($variant:ident = $word:literal,)+ })+) => {$(
        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                match value.as_str()? {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(FromSqlError::InvalidType),
                }
            }
        }

        impl ToSql for $type {
            fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(match self {
                    $(Self::$variant => $word,)+
                }))
            }
        }
    )+};
}

words! {
    Role { Customer = "customer", Admin = "admin", }
    ProductStatus { Active = "active", Archived = "archived", }
    OrderStatus { Pending = "pending", Paid = "paid", Cancelled = "cancelled", Expired = "expired", }
    ChargeStatus { Succeeded = "succeeded", }
    EntryKind { Charge = "charge", Debit = "debit", Payment = "payment", Refund = "refund", }
    EventKind { OrderPaid = "order.paid", OrderCancelled = "order.cancelled", }
}

pub(super) fn account(row: &Row<'_>) -> Result<Account> {
    Ok(Account {
        customer: customer(row)?,
        balance: row.get(5)?,
        last_entry: row.get(6)?,
        last_order: row.get(7)?,
    })
}

/// The columns of [`ACCOUNT`] that say who somebody is.
pub(super) fn customer(row: &Row<'_>) -> Result<Customer> {
    Ok(Customer {
        id: row.get(0)?,
        name: row.get(1)?,
        login: row.get(2)?,
        role: row.get(3)?,
        created_at: row.get(4)?,
    })
}

pub(super) fn product(row: &Row<'_>) -> Result<Product> {
    Ok(Product {
        id: row.get(0)?,
        name: row.get(1)?,
        price: row.get(2)?,
        stock: row.get(3)?,
        status: row.get(4)?,
    })
}

pub(super) fn movement(row: &Row<'_>) -> Result<StockMovement> {
    Ok(StockMovement {
        id: row.get(0)?,
        product_id: row.get(1)?,
        delta: row.get(2)?,
        reason: row.get(3)?,
        created_at: row.get(4)?,
    })
}

pub(super) fn coupon(row: &Row<'_>) -> Result<Coupon> {
    let discount = match row.get(2)? {
        Some(amount) => Discount::Fixed { amount },
        None => Discount::Percent { percent: row.get(3)?, max_amount: row.get(4)? },
    };
    Ok(Coupon {
        id: row.get(0)?,
        name: row.get(1)?,
        discount,
        min_order_amount: row.get(5)?,
        quantity: row.get(6)?,
        issued: row.get(7)?,
        valid_from: row.get(8)?,
        valid_until: row.get(9)?,
    })
}

/// A claimed coupon; whether its campaign is over is for who asks to tell.
pub(super) fn owned_coupon(row: &Row<'_>) -> Result<OwnedCoupon> {
    let order_id: Option<crate::OrderId> = row.get(4)?;
    let status = order_id.map_or(OwnedCouponStatus::Held, |_| OwnedCouponStatus::Used);
    Ok(OwnedCoupon {
        id: row.get(0)?,
        coupon_id: row.get(1)?,
        customer_id: row.get(2)?,
        rank: row.get(3)?,
        status,
        order_id,
        claimed_at: row.get(5)?,
    })
}

/// An order without its lines.
pub(super) fn order(row: &Row<'_>) -> Result<Order> {
    Ok(Order {
        id: row.get(0)?,
        customer_id: row.get(1)?,
        reference: row.get(2)?,
        status: row.get(3)?,
        lines: Vec::new(),
        subtotal: row.get(4)?,
        discount: row.get(5)?,
        total: row.get(6)?,
        owned_coupon_id: row.get(7)?,
        created_at: row.get(8)?,
        expires_at: row.get(9)?,
        paid_at: row.get(10)?,
        cancelled_at: row.get(11)?,
        previous: row.get(12)?,
    })
}

pub(super) fn line(row: &Row<'_>) -> Result<OrderLine> {
    let (unit_price, quantity): (Money, i64) = (row.get(2)?, row.get(3)?);
    Ok(OrderLine {
        product_id: row.get(0)?,
        name: row.get(1)?,
        unit_price,
        quantity,
        amount: unit_price.checked_mul(quantity).unwrap_or(Money::from_minor(i64::MAX)),
    })
}

pub(super) fn charge(row: &Row<'_>) -> Result<ChargeRow> {
    Ok(ChargeRow {
        id: row.get(0)?,
        customer_id: row.get(1)?,
        amount: row.get(2)?,
        status: row.get(3)?,
        created_at: row.get(4)?,
    })
}

pub(super) fn ledger_entry(row: &Row<'_>) -> Result<LedgerEntry> {
    Ok(LedgerEntry {
        id: row.get(0)?,
        customer_id: row.get(1)?,
        kind: row.get(2)?,
        amount: row.get(3)?,
        balance_after: row.get(4)?,
        order_id: row.get(5)?,
        charge_id: row.get(6)?,
        note: row.get(7)?,
        created_at: row.get(8)?,
        previous: row.get(9)?,
    })
}

pub(super) fn event(row: &Row<'_>) -> Result<EventRow> {
    Ok(EventRow {
        id: row.get(0)?,
        kind: row.get(1)?,
        order_id: row.get(2)?,
        trace: row.get(3)?,
        created_at: row.get(4)?,
    })
}

impl FromSql for Key {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::new(value.as_str()?).ok_or(FromSqlError::InvalidType)
    }
}

impl FromSql for Recorded {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map_err(FromSqlError::other)
    }
}

/// The columns `fingerprint, answer, created_at`, which begin at `first`.
pub(super) fn key_record(row: &Row<'_>, first: usize) -> Result<KeyRecord> {
    Ok(KeyRecord {
        fingerprint: row.get(first)?,
        answer: row.get(first.saturating_add(1))?,
        created_at: row.get(first.saturating_add(2))?,
    })
}
