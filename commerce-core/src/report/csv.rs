//! Reports as comma-separated values (RFC 4180), for spreadsheets: amounts in minor units, as everywhere.

use super::balances::BalanceReport;
use super::coupons::CouponReport;
use super::products::ProductReport;
use super::sales::SalesReport;
use super::stock::StockReport;
use crate::clock::Timestamp;
use crate::money::Money;

/// A report that can be written as comma-separated values: a header, and a line for each of its rows.
pub trait ToCsv {
    /// Returns the report as comma-separated values. A spreadsheet would run a cell that begins with one of `= + - @` as
    /// a formula: such texts begin with an apostrophe instead.
    fn to_csv(&self) -> String;
}

/// A cell; nothing if absent.
enum Cell<'a> {
    Number(i64),
    Text(&'a str),
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

/// Writes a header and rows, as a function of each row.
fn table<'a, T, const N: usize>(
    header: [&str; N],
    rows: &'a [T],
    cells: impl Fn(&'a T) -> [Cell<'a>; N],
) -> String {
    let mut text = header.join(",");
    text.push_str("\r\n");
    for row in rows {
        let cells = cells(row).map(|cell| match cell {
            Cell::Number(number) => number.to_string(),
            Cell::Text(text) => quoted(text),
            Cell::Absent => String::new(),
        });
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

/// Returns a text as a cell that no spreadsheet runs.
fn quoted(text: &str) -> String {
    let defused = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if text.contains(['"', ',', '\r', '\n']) {
        format!("\"{defused}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{defused}{text}")
    }
}

impl ToCsv for SalesReport {
    fn to_csv(&self) -> String {
        let header = [
            "from",
            "to",
            "orders",
            "units",
            "gross",
            "discounts",
            "net",
            "cancelled_orders",
            "cancelled_units",
            "refunds",
            "first_orders",
            "average_order",
        ];
        let edges: Vec<(String, String)> =
            self.buckets.iter().map(|bucket| (text(bucket.from), text(bucket.to))).collect();
        let rows: Vec<_> = edges.iter().zip(&self.buckets).collect();
        table(header, &rows, |((from, to), bucket)| {
            let figures = bucket.figures;
            [
                from.as_str().into(),
                to.as_str().into(),
                figures.orders.into(),
                figures.units.into(),
                figures.gross.into(),
                figures.discounts.into(),
                figures.net.into(),
                figures.cancelled_orders.into(),
                figures.cancelled_units.into(),
                figures.refunds.into(),
                figures.first_orders.into(),
                figures.average_order.into(),
            ]
        })
    }
}

impl ToCsv for ProductReport {
    fn to_csv(&self) -> String {
        let header = [
            "rank",
            "rank_before",
            "product_id",
            "name",
            "units",
            "units_before",
            "net",
            "share_basis_points",
            "stock",
        ];
        table(header, &self.items, |item| {
            [
                item.rank.into(),
                item.rank_before.into(),
                item.product_id.get().into(),
                item.name.as_str().into(),
                item.units.into(),
                item.units_before.into(),
                item.net.into(),
                item.share_basis_points.into(),
                item.stock.into(),
            ]
        })
    }
}

impl ToCsv for StockReport {
    fn to_csv(&self) -> String {
        let header = [
            "product_id",
            "name",
            "sold",
            "received",
            "stock",
            "sell_through_basis_points",
            "days_left",
        ];
        table(header, &self.items, |item| {
            [
                item.product_id.get().into(),
                item.name.as_str().into(),
                item.sold.into(),
                item.received.into(),
                item.stock.into(),
                item.sell_through_basis_points.into(),
                item.days_left.into(),
            ]
        })
    }
}

impl ToCsv for CouponReport {
    fn to_csv(&self) -> String {
        let header =
            ["coupon_id", "name", "quantity", "issued", "used", "given_back", "discounts", "net"];
        table(header, &self.items, |item| {
            [
                item.coupon_id.get().into(),
                item.name.as_str().into(),
                item.quantity.into(),
                item.issued.into(),
                item.used.into(),
                item.given_back.into(),
                item.discounts.into(),
                item.net.into(),
            ]
        })
    }
}

impl ToCsv for BalanceReport {
    fn to_csv(&self) -> String {
        let header = ["at", "charged", "debited", "spent", "refunded", "outstanding", "customers"];
        let at = text(self.at);
        table(header, &[self], |report| {
            [
                Cell::Text(&at),
                report.charged.into(),
                report.debited.into(),
                report.spent.into(),
                report.refunded.into(),
                report.outstanding.into(),
                report.customers.into(),
            ]
        })
    }
}

fn text(at: Timestamp) -> String {
    at.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain("Tea", "Tea")]
    #[case::comma("Tea, green", "\"Tea, green\"")]
    #[case::quote("12\" plate", "\"12\"\" plate\"")]
    #[case::lines("a\nb", "\"a\nb\"")]
    #[case::formula("=1+1", "'=1+1")]
    #[case::formula_with_comma("@SUM(A1,A2)", "\"'@SUM(A1,A2)\"")]
    #[case::minus("-5 %", "'-5 %")]
    fn text_is_quoted_and_no_formula(#[case] text: &str, #[case] cell: &str) {
        assert_eq!(quoted(text), cell);
    }

    #[test]
    fn rows_follow_the_header() {
        let csv = table(["name", "stock", "days"], &[("Tea", 3)], |(name, stock)| {
            [(*name).into(), i64::from(*stock).into(), Cell::Absent]
        });
        assert_eq!(csv, "name,stock,days\r\nTea,3,\r\n");
    }
}
