//! Column values of SQL stores: every column is an integer, a text or NULL.

use crate::clock::Timestamp;
use crate::id::Key;
use crate::idempotency::{RefusedRequest, StoredResult};
use crate::model::audit_trail::{Action, ActorKind, SubjectKind};
use crate::model::coupon::BelowMinimum;
use crate::model::delivery::DeliveryStatus;
use crate::model::event::EventKind;
use crate::model::order::OrderStatus;
use crate::model::product::ProductStatus;
use crate::model::refund::{RefundKind, RefundStatus};
use crate::model::wallet::{ChargeStatus, CustomerStatus, EntryKind, Role};
use crate::money::Money;
use crate::zone::Zone;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// A signed 64-bit integer.
    Integer,
    /// A text.
    Text,
}

/// A value to be written to a column; `None` is NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A value of [`ColumnType::Integer`].
    Integer(Option<i64>),
    /// A value of [`ColumnType::Text`].
    Text(Option<&'a str>),
}

/// A row of a driver.
pub trait RowReader {
    /// The error of a column that cannot be read.
    type Error;

    /// Returns the integer in a column; `None` for NULL.
    ///
    /// # Errors
    ///
    /// The column holds another type.
    fn integer(&self, column: usize) -> Result<Option<i64>, Self::Error>;

    /// Returns the text in a column; `None` for NULL.
    ///
    /// # Errors
    ///
    /// The column holds another type.
    fn text(&self, column: usize) -> Result<Option<&str>, Self::Error>;

    /// Returns the error of a column with an invalid value.
    fn invalid(&self, column: usize, reason: String) -> Self::Error;
}

/// A type that is read from a column.
pub trait FromColumn: Sized {
    /// The type of the column.
    const TYPE: ColumnType;

    /// Reads a column; `None` for NULL.
    ///
    /// # Errors
    ///
    /// The column holds another type or an invalid value.
    fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error>;
}

/// Reads a column that must not be NULL, unless `T` is an [`Option`].
///
/// # Errors
///
/// The column is NULL, or holds another type or an invalid value.
pub fn get<T: FromColumn, R: RowReader>(row: &R, column: usize) -> Result<T, R::Error> {
    required(row, column, T::read(row, column)?)
}

/// Returns the value of a column that must not be NULL in this row.
pub(super) fn required<T, R: RowReader>(
    row: &R,
    column: usize,
    value: Option<T>,
) -> Result<T, R::Error> {
    value.ok_or_else(|| row.invalid(column, format!("column {column} of a row is NULL")))
}

impl<T: FromColumn> FromColumn for Option<T> {
    const TYPE: ColumnType = T::TYPE;

    fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error> {
        T::read(row, column).map(Some)
    }
}

impl FromColumn for String {
    const TYPE: ColumnType = ColumnType::Text;

    fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error> {
        Ok(row.text(column)?.map(str::to_owned))
    }
}

impl FromColumn for Key {
    const TYPE: ColumnType = ColumnType::Text;

    fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error> {
        let Some(text) = row.text(column)? else { return Ok(None) };
        let invalid = || row.invalid(column, format!("{text:?} is no valid idempotency key"));
        Self::new(text).map(Some).ok_or_else(invalid)
    }
}

impl FromColumn for Zone {
    const TYPE: ColumnType = ColumnType::Text;

    fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error> {
        let Some(text) = row.text(column)? else { return Ok(None) };
        text.parse::<Self>().map(Some).map_err(|error| row.invalid(column, error.to_string()))
    }
}

impl FromColumn for StoredResult {
    const TYPE: ColumnType = ColumnType::Text;

    fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error> {
        let Some(text) = row.text(column)? else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|error| row.invalid(column, error.to_string()))
    }
}

impl FromColumn for RefusedRequest {
    const TYPE: ColumnType = ColumnType::Text;

    fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error> {
        let Some(text) = row.text(column)? else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|error| row.invalid(column, error.to_string()))
    }
}

/// A type that is written to a column.
pub trait IntoValue<'a> {
    /// NULL in a column of this type.
    const NULL: Value<'a>;

    /// Converts it to a column value.
    fn into_value(self) -> Value<'a>;
}

impl<'a, T: IntoValue<'a>> IntoValue<'a> for Option<T> {
    const NULL: Value<'a> = T::NULL;

    fn into_value(self) -> Value<'a> {
        self.map_or(T::NULL, T::into_value)
    }
}

impl<'a> IntoValue<'a> for &'a str {
    const NULL: Value<'a> = Value::Text(None);

    fn into_value(self) -> Value<'a> {
        Value::Text(Some(self))
    }
}

macro_rules! integers {
    ($($type:ty, $from:expr, $to:expr;)+) => {$(
        impl FromColumn for $type {
            const TYPE: ColumnType = ColumnType::Integer;

            fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error> {
                Ok(row.integer(column)?.map($from))
            }
        }

        impl<'a> IntoValue<'a> for $type {
            const NULL: Value<'a> = Value::Integer(None);

            fn into_value(self) -> Value<'a> {
                Value::Integer(Some($to(self)))
            }
        }
    )+};
}

integers! {
    i64, std::convert::identity, std::convert::identity;
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
    crate::id::AuditEntryId, Self::new, Self::get;
    crate::id::TokenId, Self::new, Self::get;
    crate::id::RefundId, Self::new, Self::get;
}

/// Enums are kept as the words of `as_str`.
macro_rules! words {
    ($($type:ty)+) => {$(
        impl FromColumn for $type {
            const TYPE: ColumnType = ColumnType::Text;

            fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error> {
                let Some(word) = row.text(column)? else { return Ok(None) };
                let invalid = || row.invalid(column, format!("a row has the word {word:?}"));
                Self::from_word(word).map(Some).ok_or_else(invalid)
            }
        }

        impl<'a> IntoValue<'a> for $type {
            const NULL: Value<'a> = Value::Text(None);

            fn into_value(self) -> Value<'a> {
                Value::Text(Some(self.as_str()))
            }
        }
    )+};
}

words! {
    Role CustomerStatus BelowMinimum RefundKind RefundStatus ProductStatus ChargeStatus DeliveryStatus Action ActorKind
    SubjectKind
}

/// Enums that each order writes are kept as the numbers of `code`.
macro_rules! row_codes {
    ($($type:ty)+) => {$(
        impl FromColumn for $type {
            const TYPE: ColumnType = ColumnType::Integer;

            fn read<R: RowReader>(row: &R, column: usize) -> Result<Option<Self>, R::Error> {
                let Some(code) = row.integer(column)? else { return Ok(None) };
                let invalid = || row.invalid(column, format!("a row has the code {code}"));
                Self::from_code(code).map(Some).ok_or_else(invalid)
            }
        }

        impl<'a> IntoValue<'a> for $type {
            const NULL: Value<'a> = Value::Integer(None);

            fn into_value(self) -> Value<'a> {
                Value::Integer(Some(self.code()))
            }
        }
    )+};
}

row_codes! { OrderStatus EntryKind EventKind }
