//! From rows to what they stand for, for every store that keeps rows: the column lists, and the one
//! reader of each. A driver shows its rows as [`RowReader`].

use crate::clock::Timestamp;
use crate::id::Key;
use crate::model::auth::{Credentials, PasswordHash, SessionRow, TokenHash};
use crate::model::coupon::{Coupon, Discount, OwnedCoupon, OwnedCouponStatus};
use crate::model::delivery::{DeliveryRow, DeliveryStatus};
use crate::model::event::{Epoch, EventKind, EventRow};
use crate::model::idempotency::{IdempotencyRecord, StoredResult};
use crate::model::order::{Order, OrderLine, OrderStatus};
use crate::model::product::{Product, ProductStatus, StockMovement};
use crate::model::wallet::{
    Account, ChargeRow, ChargeSource, ChargeStatus, Customer, EntryKind, LedgerEntry, Role,
};
use crate::money::Money;
use crate::state::NextIds;

pub const ACCOUNT: &str = "id, name, login, role, created_at, balance, last_entry, last_order";
pub const PRODUCT: &str = "id, name, price, stock, status";
pub const MOVEMENT: &str = "id, product_id, delta, reason, created_at";
pub const COUPON: &str = "id, name, amount, percent, max_amount, min_order_amount, quantity, issued, \
                                 valid_from, valid_until";
pub const OWNED_COUPON: &str = "id, coupon_id, customer_id, rank, order_id, claimed_at";
pub const ORDER: &str = "id, customer_id, reference, status, subtotal, discount, total, \
                                owned_coupon_id, created_at, expires_at, paid_at, cancelled_at, previous";
pub const CHARGE: &str = "id, customer_id, amount, status, created_at, gateway, reference, \
                                 payment_method, failure, settled_at, balance_after";
pub const LEDGER: &str = "id, customer_id, kind, amount, balance_after, order_id, charge_id, note, \
                                 created_at, previous";
pub const EVENT: &str = "id, kind, order_id, trace, created_at";
pub const DELIVERY: &str = "event_id, order_id, status, attempts, due_at, token, error, updated_at";

pub const KEY_RECORD: &str = "fingerprint, answer, created_at, digest";
pub const CREDENTIALS: &str = "id, login, password";

/// The tables whose rows are numbered, in the order of [`next_ids`].
pub const TABLES_WITH_IDS: [&str; 9] = [
    "customers",
    "products",
    "coupons",
    "owned_coupons",
    "orders",
    "charges",
    "ledger",
    "stock_movements",
    "events",
];

/// A row as its driver gives it: every column is a number, a text or nothing.
pub trait RowReader {
    /// How the driver says that a column is not what it should be.
    type Error;
    /// The number in a column.
    fn integer(&self, column: usize) -> Result<Option<i64>, Self::Error>;
    /// The text in a column.
    fn text(&self, column: usize) -> Result<Option<&str>, Self::Error>;
    /// Says that a column holds what it cannot.
    fn wrong(&self, column: usize, why: String) -> Self::Error;
}

/// What can stand in a column.
pub trait FromColumn: Sized {
    fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error>;
}

/// What stands in a column that must hold something.
pub fn get<T: FromColumn, R: RowReader>(row: &R, column: usize) -> Result<T, R::Error> {
    T::read(row, column)?
        .ok_or_else(|| row.wrong(column, format!("column {column} of a row is empty")))
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error> {
        T::read(row, column).map(Some)
    }
}

impl FromColumn for String {
    fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error> {
        Ok(row.text(column)?.map(str::to_owned))
    }
}

impl FromColumn for Key {
    fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error> {
        let Some(text) = row.text(column)? else { return Ok(None) };
        let wrong = || row.wrong(column, "a key is none that a caller may choose".to_owned());
        Self::new(text).map(Some).ok_or_else(wrong)
    }
}

impl FromColumn for StoredResult {
    fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error> {
        let Some(text) = row.text(column)? else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|error| row.wrong(column, error.to_string()))
    }
}

macro_rules! integers {
    ($($type:ty, $from:expr;)+) => {$(
        impl FromColumn for $type {
            fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error> {
                Ok(row.integer(column)?.map($from))
            }
        }
    )+};
}

integers! {
    i64, std::convert::identity;
    Money, Money::from_minor;
    Timestamp, Timestamp::from_unix;
    crate::id::CustomerId, Self::new;
    crate::id::ProductId, Self::new;
    crate::id::CouponId, Self::new;
    crate::id::OwnedCouponId, Self::new;
    crate::id::OrderId, Self::new;
    crate::id::ChargeId, Self::new;
    crate::id::LedgerEntryId, Self::new;
    crate::id::StockMovementId, Self::new;
    crate::id::EventId, Self::new;
}

/// One of a few, kept as a word.
pub trait DbText {
    /// The word.
    fn word(self) -> &'static str;
}

macro_rules! words {
    ($($type:ty,)+) => {$(
        impl DbText for $type {
            fn word(self) -> &'static str {
                self.as_str()
            }
        }

        impl FromColumn for $type {
            fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error> {
                let Some(word) = row.text(column)? else { return Ok(None) };
                let wrong = || row.wrong(column, format!("a row has the word {word:?}"));
                Self::from_word(word).map(Some).ok_or_else(wrong)
            }
        }
    )+};
}

words! { Role, ProductStatus, OrderStatus, ChargeStatus, EntryKind, DeliveryStatus, EventKind, }

pub fn account<R: RowReader>(row: &R) -> Result<Account, R::Error> {
    Ok(Account {
        customer: customer(row)?,
        balance: get(row, 5)?,
        last_entry: get(row, 6)?,
        last_order: get(row, 7)?,
    })
}

/// The columns of [`ACCOUNT`] that say who somebody is.
pub fn customer<R: RowReader>(row: &R) -> Result<Customer, R::Error> {
    Ok(Customer {
        id: get(row, 0)?,
        name: get(row, 1)?,
        login: get(row, 2)?,
        role: get(row, 3)?,
        created_at: get(row, 4)?,
    })
}

pub fn product<R: RowReader>(row: &R) -> Result<Product, R::Error> {
    Ok(Product {
        id: get(row, 0)?,
        name: get(row, 1)?,
        price: get(row, 2)?,
        stock: get(row, 3)?,
        status: get(row, 4)?,
    })
}

pub fn movement<R: RowReader>(row: &R) -> Result<StockMovement, R::Error> {
    Ok(StockMovement {
        id: get(row, 0)?,
        product_id: get(row, 1)?,
        delta: get(row, 2)?,
        reason: get(row, 3)?,
        created_at: get(row, 4)?,
    })
}

pub fn coupon<R: RowReader>(row: &R) -> Result<Coupon, R::Error> {
    let discount = match get(row, 2)? {
        Some(amount) => Discount::Fixed { amount },
        None => Discount::Percent { percent: get(row, 3)?, max_amount: get(row, 4)? },
    };
    Ok(Coupon {
        id: get(row, 0)?,
        name: get(row, 1)?,
        discount,
        min_order_amount: get(row, 5)?,
        quantity: get(row, 6)?,
        issued: get(row, 7)?,
        valid_from: get(row, 8)?,
        valid_until: get(row, 9)?,
    })
}

/// A claimed coupon; whether its campaign is over is for who asks to tell.
pub fn owned_coupon<R: RowReader>(row: &R) -> Result<OwnedCoupon, R::Error> {
    let order_id: Option<crate::id::OrderId> = get(row, 4)?;
    let status = order_id.map_or(OwnedCouponStatus::Held, |_| OwnedCouponStatus::Used);
    Ok(OwnedCoupon {
        id: get(row, 0)?,
        coupon_id: get(row, 1)?,
        customer_id: get(row, 2)?,
        rank: get(row, 3)?,
        status,
        order_id,
        claimed_at: get(row, 5)?,
    })
}

/// An order without its lines.
pub fn order<R: RowReader>(row: &R) -> Result<Order, R::Error> {
    Ok(Order {
        id: get(row, 0)?,
        customer_id: get(row, 1)?,
        reference: get(row, 2)?,
        status: get(row, 3)?,
        lines: Vec::new(),
        subtotal: get(row, 4)?,
        discount: get(row, 5)?,
        total: get(row, 6)?,
        owned_coupon_id: get(row, 7)?,
        created_at: get(row, 8)?,
        expires_at: get(row, 9)?,
        paid_at: get(row, 10)?,
        cancelled_at: get(row, 11)?,
        previous: get(row, 12)?,
    })
}

pub fn line<R: RowReader>(row: &R) -> Result<OrderLine, R::Error> {
    let (unit_price, quantity): (Money, i64) = (get(row, 2)?, get(row, 3)?);
    Ok(OrderLine {
        product_id: get(row, 0)?,
        name: get(row, 1)?,
        unit_price,
        quantity,
        amount: unit_price.checked_mul(quantity).unwrap_or(Money::from_minor(i64::MAX)),
    })
}

pub fn charge<R: RowReader>(row: &R) -> Result<ChargeRow, R::Error> {
    Ok(ChargeRow {
        id: get(row, 0)?,
        customer_id: get(row, 1)?,
        amount: get(row, 2)?,
        status: get(row, 3)?,
        created_at: get(row, 4)?,
        source: match get(row, 5)? {
            Some(gateway) => Some(ChargeSource {
                gateway,
                reference: get(row, 6)?,
                payment_method: get(row, 7)?,
            }),
            None => None,
        },
        failure: get(row, 8)?,
        settled_at: get(row, 9)?,
        balance_after: get(row, 10)?,
    })
}

pub fn ledger_entry<R: RowReader>(row: &R) -> Result<LedgerEntry, R::Error> {
    Ok(LedgerEntry {
        id: get(row, 0)?,
        customer_id: get(row, 1)?,
        kind: get(row, 2)?,
        amount: get(row, 3)?,
        balance_after: get(row, 4)?,
        order_id: get(row, 5)?,
        charge_id: get(row, 6)?,
        note: get(row, 7)?,
        created_at: get(row, 8)?,
        previous: get(row, 9)?,
    })
}

pub fn event<R: RowReader>(row: &R) -> Result<EventRow, R::Error> {
    Ok(EventRow {
        id: get(row, 0)?,
        kind: get(row, 1)?,
        order_id: get(row, 2)?,
        trace: get(row, 3)?,
        created_at: get(row, 4)?,
    })
}

pub fn epoch<R: RowReader>(row: &R) -> Result<Epoch, R::Error> {
    Ok(Epoch { first_event: get(row, 0)?, name: get(row, 1)? })
}

pub fn delivery<R: RowReader>(row: &R) -> Result<DeliveryRow, R::Error> {
    Ok(DeliveryRow {
        event_id: get(row, 0)?,
        order_id: get(row, 1)?,
        status: get(row, 2)?,
        attempts: get(row, 3)?,
        due_at: get(row, 4)?,
        token: get(row, 5)?,
        error: get(row, 6)?,
        updated_at: get(row, 7)?,
    })
}

/// The columns of [`KEY_RECORD`], which begin at `first`.
pub fn key_record<R: RowReader>(row: &R, first: usize) -> Result<IdempotencyRecord, R::Error> {
    Ok(IdempotencyRecord {
        fingerprint: get(row, first)?,
        answer: get(row, first.saturating_add(1))?,
        created_at: get(row, first.saturating_add(2))?,
        digest: get(row, first.saturating_add(3))?,
    })
}

pub fn credentials<R: RowReader>(row: &R) -> Result<Credentials, R::Error> {
    let password = PasswordHash::new(get::<String, R>(row, 2)?);
    Ok(Credentials { customer_id: get(row, 0)?, login: get(row, 1)?, password })
}

/// The ids after the greatest of each of [`TABLES_WITH_IDS`]. Nothing is ever deleted, and nobody else writes
/// meanwhile, so ids are in the order of commits and have no gaps.
pub fn next_ids<R: RowReader>(row: &R) -> Result<NextIds, R::Error> {
    let next =
        |column| get(row, column).map(|newest: Option<i64>| newest.unwrap_or(0).saturating_add(1));
    Ok(NextIds {
        customer: next(0)?,
        product: next(1)?,
        coupon: next(2)?,
        owned_coupon: next(3)?,
        order: next(4)?,
        charge: next(5)?,
        ledger_entry: next(6)?,
        stock_movement: next(7)?,
        event: next(8)?,
    })
}

/// The columns `customer_id, created_at, expires_at` of the session of a token.
pub fn session<R: RowReader>(row: &R, token: TokenHash) -> Result<SessionRow, R::Error> {
    let (customer_id, created_at, expires_at) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
    Ok(SessionRow { token, customer_id, created_at, expires_at })
}

/// What `paid` and `refunded` of an order's row hold: a second account of what its status says.
pub fn paid_and_refunded(order: &Order) -> (Money, Money) {
    let paid = order.paid_at.map_or(Money::ZERO, |_| order.total);
    let refunded = if order.status == OrderStatus::Cancelled { paid } else { Money::ZERO };
    (paid, refunded)
}

/// The orders whose `paid` and `refunded` do not follow from the rest of their rows.
pub const WRONG_PAYMENTS: &str = "
    SELECT id FROM orders
    WHERE paid <> CASE WHEN paid_at IS NULL THEN 0 ELSE total END
       OR refunded <> CASE WHEN status = 'cancelled' THEN paid ELSE 0 END";

/// The finding of [`WRONG_PAYMENTS`].
pub fn wrong_payment(order: i64) -> String {
    format!("order {order} has another amount paid or refunded than its status and total make")
}
