//! Parsers of argument values, and the error messages of invalid ones.

use crate::error::CliError;
use crate::unique;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use commerce_core::limits::DEFAULT_PAGE;
use commerce_core::{
    Currency, Key, Money, PageRequest, Patch, Period, ProductId, Role, Timestamp, Zone,
};
use std::fmt;
use std::num::{IntErrorKind, NonZeroU32, ParseIntError};

// The `--key` option: the idempotency key of a command.
#[derive(clap::Args, Debug)]
pub(crate) struct KeyArg {
    /// Idempotency key, which makes the command safe to repeat: a repetition with the same key returns
    /// the first answer and changes nothing (default: a generated key).
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<Key>,
}

impl KeyArg {
    /// The key that was given, or a generated unique one.
    pub(crate) fn or_generate(&self) -> Result<Key, CliError> {
        if let Some(key) = &self.key {
            return Ok(key.clone());
        }
        let key = Key::new(&unique::time_ordered()?.to_string());
        key.ok_or_else(|| CliError::storage("cannot generate a key"))
    }

    /// Returns true if the caller chose the key.
    pub(crate) fn is_given(&self) -> bool {
        self.key.is_some()
    }
}

// The `--limit` and `--cursor` options: keyset pagination of a list.
#[derive(clap::Args, Debug)]
pub(crate) struct PageArgs {
    /// Maximum number of items, 1 to 100.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PAGE)]
    #[arg(value_parser = count, allow_negative_numbers = true)]
    limit: usize,
    /// Cursor printed with the previous page.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl PageArgs {
    pub(crate) fn request(&self) -> PageRequest {
        PageRequest { limit: self.limit, cursor: self.cursor.clone() }
    }
}

/// The `--role` option of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RoleArg {
    /// Acts for themselves.
    Customer,
    /// Reads everything.
    Reader,
    /// Also acts for customers, and adjusts stock.
    Clerk,
    /// Also changes prices, campaigns, roles and tokens.
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Customer => Self::Customer,
            RoleArg::Reader => Self::Reader,
            RoleArg::Clerk => Self::Clerk,
            RoleArg::Admin => Self::Admin,
        }
    }
}

/// The `--role` option of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum StaffRole {
    /// Reads everything.
    Reader,
    /// Also acts for customers, and adjusts stock.
    Clerk,
    /// Also changes prices, campaigns, roles and tokens.
    Admin,
}

impl From<StaffRole> for Role {
    fn from(role: StaffRole) -> Self {
        match role {
            StaffRole::Reader => Self::Reader,
            StaffRole::Clerk => Self::Clerk,
            StaffRole::Admin => Self::Admin,
        }
    }
}

/// The greatest number of shards that Citus accepts.
const MAX_SHARDS: u32 = 64_000;

/// Parses a number of shards.
pub(crate) fn shards(text: &str) -> Result<NonZeroU32, String> {
    let shards = text.parse().ok().filter(|shards: &NonZeroU32| shards.get() <= MAX_SHARDS);
    shards.ok_or_else(|| format!("the number of shards is 1 to {MAX_SHARDS}"))
}

/// An item of an order: product and quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) product: ProductId,
    pub(crate) quantity: i64,
}

/// Parses `PRODUCT[:QTY]`.
pub(crate) fn item(text: &str) -> Result<Item, String> {
    let (product, quantity) = match text.split_once(':') {
        Some((product, quantity)) => (product, integer(quantity)?),
        None => (text, 1),
    };
    Ok(Item { product: id(product)?, quantity })
}

/// An end of a window.
#[derive(Clone, Debug)]
pub(crate) enum Edge {
    At(Timestamp),
    /// A day of the zone, `2026-01-31`.
    Day(String),
}

/// Refuses a window that ends before it begins, with its ends as they were given.
pub(crate) fn check_window(
    from: Option<&Edge>,
    to: Option<&Edge>,
    zone: Zone,
) -> Result<(), CliError> {
    match (from, to) {
        (Some(from), Some(to)) if from.before(zone) >= to.last_second(zone) => {
            Err(CliError::usage(format!(
                "--from is {from} and must be before the end of --to, which is {to}"
            )))
        }
        _ => Ok(()),
    }
}

/// Parses an end of a window.
pub(crate) fn edge(text: &str) -> Result<Edge, String> {
    if Zone::UTC.parse_day(text).is_some() {
        return Ok(Edge::Day(text.to_owned()));
    }
    let expected = "expected a time like 2026-01-31T12:00:00Z, or a day like 2026-01-31";
    text.parse().map(Edge::At).map_err(|_| expected.to_owned())
}

impl Edge {
    /// The first instant of a window that begins here: a day counts from its start.
    pub(crate) fn start(&self, zone: Zone) -> Timestamp {
        match self {
            Self::At(at) => *at,
            Self::Day(day) => zone.parse_day(day).unwrap_or_default(),
        }
    }

    /// The instant right before a window that begins here: a time does not count itself.
    pub(crate) fn before(&self, zone: Zone) -> Timestamp {
        match self {
            Self::At(at) => *at,
            Self::Day(day) => zone.parse_day(day).unwrap_or_default().plus_seconds(-1),
        }
    }

    /// The last second of a window that ends here.
    pub(crate) fn last_second(&self, zone: Zone) -> Timestamp {
        match self {
            Self::At(at) => *at,
            Self::Day(day) => {
                let start = zone.parse_day(day).unwrap_or_default();
                zone.next_period(start, Period::Day).plus_seconds(-1)
            }
        }
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => at.fmt(f),
            Self::Day(day) => day.fmt(f),
        }
    }
}

/// Parses an integer. The error is `expected` for text that is not an integer, and the range for one
/// that is too large or too small.
pub(crate) fn integer_or(text: &str, expected: &str) -> Result<i64, String> {
    text.parse().map_err(|error: ParseIntError| {
        if matches!(error.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow) {
            return format!("must be from {} to {}", i64::MIN, i64::MAX);
        }
        expected.to_owned()
    })
}

/// Parses an id.
pub(crate) fn id<T: From<i64>>(text: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|number: &i64| *number > 0);
    number.map(T::from).ok_or_else(|| "expected an id: an integer of 1 or more".to_owned())
}

/// Parses an amount of money.
pub(crate) fn amount(text: &str) -> Result<Money, String> {
    let expected = "expected an integer in minor units: 1250 is 12.50 USD";
    integer_or(text, expected).map(Money::from_minor)
}

/// Parses an integer.
pub(crate) fn integer(text: &str) -> Result<i64, String> {
    integer_or(text, "expected an integer")
}

/// Parses a count.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    let expected = "expected an integer of 0 or more";
    usize::try_from(integer_or(text, expected)?).map_err(|_| expected.to_owned())
}

/// Parses a currency code in upper or lower case.
pub(crate) fn currency(text: &str) -> Result<Currency, String> {
    let expected = "expected an ISO 4217 code, like KRW, USD or EUR";
    Currency::from_code(&text.to_ascii_uppercase()).ok_or_else(|| expected.to_owned())
}

/// Returns the parser of an enum by its words.
pub(crate) fn words<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    word_of: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.iter().map(|value| word_of(*value))).try_map(move |word| {
        all.iter()
            .copied()
            .find(|value| word_of(*value) == word)
            .ok_or("expected one of these words")
    })
}

/// Parses a value that may be removed: `none`, or what `value` accepts.
pub(crate) fn patch<T>(
    text: &str,
    value: impl Fn(&str) -> Result<T, String>,
) -> Result<Patch<T>, String> {
    if text == "none" { Ok(Patch::Remove) } else { value(text).map(Patch::Set) }
}

/// Parses a number that may be removed.
pub(crate) fn integer_patch(text: &str) -> Result<Patch<i64>, String> {
    patch(text, |text| integer_or(text, "expected an integer or none"))
}

/// Parses an end of a window that may be removed.
pub(crate) fn edge_patch(text: &str) -> Result<Patch<Edge>, String> {
    patch(text, |text| edge(text).map_err(|error| format!("{error}, or none")))
}

/// Parses an idempotency key.
pub(crate) fn key(text: &str) -> Result<Key, String> {
    let expected = format!("expected 1 to {} visible ASCII characters", Key::MAX_LENGTH);
    Key::new(text).ok_or(expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("3", Some((3, 1)))]
    #[case("3:2", Some((3, 2)))]
    #[case("3:-2", Some((3, -2)))] // left to the business rule, whose error names the allowed range
    #[case("3:0", Some((3, 0)))]
    #[case("0", None)]
    #[case("-3:1", None)]
    #[case("3:", None)]
    #[case(":2", None)]
    #[case("3:2:1", None)]
    #[case("tea", None)]
    #[case("9223372036854775808", None)]
    #[case("", None)]
    fn item_parses_product_and_quantity(#[case] text: &str, #[case] read: Option<(i64, i64)>) {
        let read = read.map(|(id, quantity)| Item { product: ProductId::new(id), quantity });
        assert_eq!(item(text).ok(), read);
    }

    #[rstest]
    #[case("1250", true)]
    #[case("-5", true)] // left to the business rule, whose error names the allowed range
    #[case("12.50", false)]
    #[case("1e3", false)]
    #[case("", false)]
    fn amount_parses_integers_only(#[case] text: &str, #[case] ok: bool) {
        assert_eq!(amount(text).is_ok(), ok);
    }

    #[test]
    fn integer_overflow_reports_the_range() {
        let beyond = "99999999999999999999";
        let below = format!("-{beyond}");
        for text in [beyond, &below] {
            let range = "must be from -9223372036854775808 to 9223372036854775807".to_owned();
            assert_eq!(integer(text), Err(range.clone()));
            assert_eq!(amount(text), Err(range.clone()));
            assert!(id::<ProductId>(text).unwrap_err().contains("an integer of 1 or more"));
            assert_eq!(count(text), Err(range.clone()));
            assert_eq!(item(&format!("3:{text}")), Err(range));
        }
        assert!(integer("many").unwrap_err().contains("integer"));
    }

    #[test]
    fn day_is_of_the_zone_and_an_edge_is_its_start_or_its_end() {
        let seoul: Zone = "Asia/Seoul".parse().unwrap();
        let day = edge("2026-11-01").unwrap();
        assert_eq!(day.start(seoul).to_string(), "2026-10-31T15:00:00Z");
        assert_eq!(day.before(seoul).to_string(), "2026-10-31T14:59:59Z");
        assert_eq!(day.last_second(seoul).to_string(), "2026-11-01T14:59:59Z");
        let at = edge("2026-11-01T09:00:00+09:00").unwrap();
        for instant in [at.start(seoul), at.before(seoul), at.last_second(seoul)] {
            assert_eq!(instant.to_string(), "2026-11-01T00:00:00Z");
        }
        assert!(edge_patch("soon").unwrap_err().contains("a day like 2026-01-31, or none"));
    }

    #[test]
    fn generated_keys_are_unique() {
        let absent = KeyArg { key: None };
        assert_ne!(absent.or_generate().unwrap(), absent.or_generate().unwrap());
    }
}
