//! Money as integer minor units of one currency, so that no amount is rounded by accident.

use iso_currency::Currency as Iso;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An amount in minor units (cents, won) of the store's one currency.
///
/// ```
/// use commerce_core::Money;
/// let price = Money::from_minor(1_250);
/// assert_eq!(price.checked_mul(3), Some(Money::from_minor(3_750)));
/// assert_eq!(Money::from_minor(i64::MAX).checked_add(price), None);
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Money(i64);

impl Money {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// Creates an amount of `units` minor units.
    #[must_use]
    pub const fn from_minor(units: i64) -> Self {
        Self(units)
    }

    /// Returns the sum, at most the greatest amount.
    #[must_use]
    pub fn sum(amounts: impl Iterator<Item = Self>) -> Self {
        Self(amounts.fold(0, |sum: i64, amount| sum.saturating_add(amount.0)))
    }

    /// Returns the amount in minor units.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.0
    }

    /// Returns the sum, or `None` on overflow.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Returns the difference, or `None` on overflow.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Returns the amount multiplied by `units`, or `None` on overflow.
    #[must_use]
    pub fn checked_mul(self, units: i64) -> Option<Self> {
        self.0.checked_mul(units).map(Self)
    }

    /// Returns the negated amount.
    #[must_use]
    pub fn negated(self) -> Self {
        Self(self.0.saturating_neg())
    }

    /// Returns `percent` percent of the amount, rounded down to the minor unit.
    ///
    /// ```
    /// use commerce_core::Money;
    /// assert_eq!(Money::from_minor(999).percent(10), Money::from_minor(99));
    /// ```
    #[must_use]
    pub fn percent(self, percent: i64) -> Self {
        let product = i128::from(self.0).saturating_mul(i128::from(percent));
        Self(i64::try_from(product.div_euclid(100)).unwrap_or(i64::MAX))
    }
}

/// Writes plain minor units; [`Currency::show`] formats an amount for a person.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An ISO 4217 currency. A store has exactly one, chosen when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Currency(Iso);

impl Currency {
    /// South Korean won, the default currency of a store.
    pub const KRW: Self = Self(Iso::KRW);

    /// Returns the currency with that three-letter code in upper case, if it exists.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Iso::from_code(code).map(Self)
    }

    /// Returns the three-letter code.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Returns the number of digits after the decimal point.
    #[must_use]
    pub fn digits(self) -> usize {
        self.0.exponent().map_or(0, usize::from)
    }

    /// Formats an amount for a person, with the currency code.
    ///
    /// ```
    /// use commerce_core::{Currency, Money};
    /// assert_eq!(Currency::KRW.show(Money::from_minor(1_234_567)), "1,234,567 KRW");
    /// let dollars = Currency::from_code("USD").unwrap();
    /// assert_eq!(dollars.show(Money::from_minor(-5)), "-0.05 USD");
    /// ```
    #[must_use]
    pub fn show(self, amount: Money) -> String {
        format!("{} {}", self.number(amount), self.code())
    }

    /// Formats as [`Currency::show`] without the code, for a column with the currency in its header.
    #[must_use]
    pub fn number(self, amount: Money) -> String {
        let digits = self.digits();
        let padded =
            format!("{:0>width$}", amount.0.unsigned_abs(), width = digits.saturating_add(1));
        let (whole, fraction) = padded.split_at(padded.len().saturating_sub(digits));
        let sign = if amount.0 < 0 { "-" } else { "" };
        let point = if digits == 0 { "" } else { "." };
        format!("{sign}{}{point}{fraction}", group_thousands(whole))
    }
}

/// A body with the currency of its amounts, as sent to clients: 4500 alone may be 45.00 USD or 4,500 KRW.
/// Rows and stored results leave the currency out, since a store has only one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InCurrency<T> {
    /// The body.
    #[serde(flatten)]
    pub body: T,
    /// The currency of every amount in it.
    pub currency: Currency,
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Self::from_code(&code).ok_or_else(|| serde::de::Error::custom("not an ISO 4217 code"))
    }
}

fn group_thousands(digits: &str) -> String {
    let first = digits.len().wrapping_rem(3);
    let mut grouped = String::from(&digits[..first]);
    for (index, digit) in digits[first..].chars().enumerate() {
        if index.wrapping_rem(3) == 0 && !grouped.is_empty() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("KRW", 0, "0 KRW")]
    #[case("KRW", 999, "999 KRW")]
    #[case("KRW", 1_000, "1,000 KRW")]
    #[case("USD", 5, "0.05 USD")]
    #[case("USD", 123_456, "1,234.56 USD")]
    #[case("USD", -123_456, "-1,234.56 USD")]
    #[case("KWD", 1_234_567, "1,234.567 KWD")]
    #[case("JPY", i64::MIN, "-9,223,372,036,854,775,808 JPY")]
    fn show_formats_by_the_digits_of_the_currency(
        #[case] code: &str,
        #[case] minor: i64,
        #[case] shown: &str,
    ) {
        let currency = Currency::from_code(code).unwrap();
        assert_eq!(currency.show(Money::from_minor(minor)), shown);
    }

    #[rstest]
    #[case(999, 10, 99)]
    #[case(1, 99, 0)]
    #[case(100, 100, 100)]
    #[case(i64::MAX, 100, i64::MAX)]
    fn percent_rounds_down(#[case] amount: i64, #[case] percent: i64, #[case] part: i64) {
        assert_eq!(Money::from_minor(amount).percent(percent), Money::from_minor(part));
    }
}
