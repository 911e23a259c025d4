//! The values people write on the command line, and what is told when one makes no sense.

use crate::error::CliError;
use crate::unique;
use commerce_core::limits::DEFAULT_PAGE;
use commerce_core::{Currency, Key, Money, PageRequest, ProductId};
use std::num::{IntErrorKind, ParseIntError};

/// The key that makes a command safe to repeat.
#[derive(clap::Args, Debug)]
pub(crate) struct KeyArg {
    /// Makes the command safe to repeat: run again with the same key, it gives the answer of the
    /// first time and changes nothing. Made up when absent.
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<Key>,
}

impl KeyArg {
    /// The key that was given, or one that nobody has used.
    pub(crate) fn or_generate(&self) -> Result<Key, CliError> {
        if let Some(key) = &self.key {
            return Ok(key.clone());
        }
        let key = Key::new(&unique::in_order()?.to_string());
        key.ok_or_else(|| CliError::storage("cannot make up a key"))
    }

    /// Whether the caller chose the key.
    pub(crate) fn is_given(&self) -> bool {
        self.key.is_some()
    }
}

/// Which part of a list is wanted.
#[derive(clap::Args, Debug)]
pub(crate) struct PageArgs {
    /// How many items to show, 1 to 100.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PAGE)]
    #[arg(value_parser = count, allow_negative_numbers = true)]
    limit: usize,
    /// Where to go on: the cursor that the page before named.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl PageArgs {
    pub(crate) fn request(&self) -> PageRequest {
        PageRequest { limit: self.limit, cursor: self.cursor.clone() }
    }
}

/// A product and how many of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) product: ProductId,
    pub(crate) quantity: i64,
}

/// Reads `PRODUCT[:QTY]`.
pub(crate) fn item(text: &str) -> Result<Item, String> {
    let (product, quantity) = match text.split_once(':') {
        Some((product, quantity)) => (product, integer(quantity)?),
        None => (text, 1),
    };
    Ok(Item { product: id(product)?, quantity })
}

/// Reads a whole number. A text that is none is refused with `form`, one that does not fit with the range.
pub(crate) fn whole(text: &str, form: &str) -> Result<i64, String> {
    text.parse().map_err(|error: ParseIntError| {
        if matches!(error.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow) {
            return format!("must be from {} to {}", i64::MIN, i64::MAX);
        }
        form.to_owned()
    })
}

/// Reads an id.
pub(crate) fn id<T: From<i64>>(text: &str) -> Result<T, String> {
    let form = "an id is a whole number, 1 or more";
    let number = whole(text, form)?;
    if number > 0 { Ok(T::from(number)) } else { Err(form.to_owned()) }
}

/// Reads an amount of money.
pub(crate) fn amount(text: &str) -> Result<Money, String> {
    let form = "an amount is a whole number of minor units: 1250 is 12.50 USD";
    whole(text, form).map(Money::from_minor)
}

/// Reads a whole number.
pub(crate) fn integer(text: &str) -> Result<i64, String> {
    whole(text, "a whole number is wanted")
}

/// Reads how many are wanted.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    let form = "a whole number, not below 0, is wanted";
    usize::try_from(whole(text, form)?).map_err(|_| form.to_owned())
}

/// Reads a currency, in capitals or not.
pub(crate) fn currency(text: &str) -> Result<Currency, String> {
    let sentence = "a currency is written as its ISO 4217 code, like KRW, USD or EUR";
    Currency::from_code(&text.to_ascii_uppercase()).ok_or_else(|| sentence.to_owned())
}

fn key(text: &str) -> Result<Key, String> {
    let sentence = format!("a key has 1 to {} visible ASCII characters", Key::MAX_LENGTH);
    Key::new(text).ok_or(sentence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("3", Some((3, 1)))]
    #[case("3:2", Some((3, 2)))]
    #[case("3:-2", Some((3, -2)))] // the rule names the quantities that are allowed
    #[case("3:0", Some((3, 0)))]
    #[case("0", None)]
    #[case("-3:1", None)]
    #[case("3:", None)]
    #[case(":2", None)]
    #[case("3:2:1", None)]
    #[case("tea", None)]
    #[case("9223372036854775808", None)]
    #[case("", None)]
    fn items(#[case] text: &str, #[case] read: Option<(i64, i64)>) {
        let read = read.map(|(id, quantity)| Item { product: ProductId::new(id), quantity });
        assert_eq!(item(text).ok(), read);
    }

    #[rstest]
    #[case("1250", true)]
    #[case("-5", true)] // the rule names the amounts that are allowed
    #[case("12.50", false)]
    #[case("1e3", false)]
    #[case("", false)]
    fn amounts(#[case] text: &str, #[case] ok: bool) {
        assert_eq!(amount(text).is_ok(), ok);
    }

    #[test]
    fn a_number_that_does_not_fit_is_not_called_no_number() {
        let beyond = "99999999999999999999";
        let below = format!("-{beyond}");
        for text in [beyond, &below] {
            let range = "must be from -9223372036854775808 to 9223372036854775807".to_owned();
            assert_eq!(integer(text), Err(range.clone()));
            assert_eq!(amount(text), Err(range.clone()));
            assert_eq!(id::<ProductId>(text), Err(range.clone()));
            assert_eq!(count(text), Err(range.clone()));
            assert_eq!(item(&format!("3:{text}")), Err(range));
        }
        assert!(integer("many").unwrap_err().contains("whole number"));
    }

    #[test]
    fn a_made_up_key_is_new_every_time() {
        let absent = KeyArg { key: None };
        assert_ne!(absent.or_generate().unwrap(), absent.or_generate().unwrap());
    }
}
