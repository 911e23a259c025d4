//! Records of comma-separated values (RFC 4180), for spreadsheets and imports: amounts in minor units, instants in UTC.

use crate::clock::Timestamp;
use crate::money::Money;

/// The mark by which spreadsheets recognize UTF-8.
pub(crate) const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The end of a record.
const END: &str = "\r\n";

/// A cell; nothing if absent.
#[derive(Clone, Copy)]
pub(crate) enum Cell<'a> {
    Number(i64),
    Text(&'a str),
    Instant(Timestamp),
    Absent,
}

impl From<i64> for Cell<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Cell<'_> {
    fn from(number: usize) -> Self {
        i64::try_from(number).map_or(Self::Absent, Self::Number)
    }
}

impl From<Money> for Cell<'_> {
    fn from(amount: Money) -> Self {
        Self::Number(amount.minor())
    }
}

impl From<Timestamp> for Cell<'_> {
    fn from(at: Timestamp) -> Self {
        Self::Instant(at)
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

/// The treatment of texts that a spreadsheet would run as formulas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Formulas {
    /// They begin with an apostrophe.
    Defused,
    /// They are written as they are, for programs.
    Kept,
}

/// Appends a header.
pub(crate) fn push_header(text: &mut String, names: &[&str]) {
    text.push_str(&names.join(","));
    text.push_str(END);
}

/// Appends a cell, after a comma unless it is the first one of its record.
pub(crate) fn push_cell(text: &mut String, is_first: bool, cell: Cell<'_>, formulas: Formulas) {
    if !is_first {
        text.push(',');
    }
    match cell {
        Cell::Number(number) => text.push_str(&number.to_string()),
        Cell::Text(value) => push_text(text, value, formulas),
        Cell::Instant(at) => text.push_str(&at.to_string()),
        Cell::Absent => {}
    }
}

/// Ends a record.
pub(crate) fn end_record(text: &mut String) {
    text.push_str(END);
}

/// Appends a text as a cell.
fn push_text(text: &mut String, value: &str, formulas: Formulas) {
    let is_formula = value.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let defused = if is_formula && formulas == Formulas::Defused { "'" } else { "" };
    if value.contains(['"', ',', '\r', '\n']) {
        text.push('"');
        text.push_str(defused);
        text.push_str(&value.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(defused);
        text.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain("Tea", "Tea", "Tea")]
    #[case::comma("Tea, green", "\"Tea, green\"", "\"Tea, green\"")]
    #[case::quote("12\" plate", "\"12\"\" plate\"", "\"12\"\" plate\"")]
    #[case::lines("a\nb", "\"a\nb\"", "\"a\nb\"")]
    #[case::formula("=1+1", "'=1+1", "=1+1")]
    #[case::formula_with_comma("@SUM(A1,A2)", "\"'@SUM(A1,A2)\"", "\"@SUM(A1,A2)\"")]
    #[case::minus("-5 %", "'-5 %", "-5 %")]
    #[case::tab("\t=1", "'\t=1", "\t=1")]
    fn text_is_quoted_and_no_formula_unless_kept(
        #[case] text: &str,
        #[case] defused: &str,
        #[case] kept: &str,
    ) {
        for (formulas, expected) in [(Formulas::Defused, defused), (Formulas::Kept, kept)] {
            let mut cell = String::new();
            push_cell(&mut cell, true, text.into(), formulas);
            assert_eq!(cell, expected);
        }
    }
}
