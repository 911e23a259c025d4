//! Reports as comma-separated values, for spreadsheets.

use super::balances::BalanceReport;
use super::coupons::CouponReport;
use super::products::ProductReport;
use super::sales::SalesReport;
use super::stock::StockReport;
use crate::csv::{Cell, Formulas, end_record, push_cell, push_header};

/// A report that can be written as comma-separated values: a header, and a line for each of its rows.
pub trait ToCsv {
    /// Returns the report as comma-separated values. A spreadsheet would run a cell that begins with one of `= + - @` as
    /// a formula: such texts begin with an apostrophe instead.
    fn to_csv(&self) -> String;
}

/// Writes a header and rows, as a function of each row.
fn table<'a, T, const N: usize>(
    header: [&str; N],
    rows: &'a [T],
    cells: impl Fn(&'a T) -> [Cell<'a>; N],
) -> String {
    let mut text = String::new();
    push_header(&mut text, &header);
    for row in rows {
        for (index, cell) in cells(row).into_iter().enumerate() {
            push_cell(&mut text, index == 0, cell, Formulas::Defused);
        }
        end_record(&mut text);
    }
    text
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
        table(header, &self.buckets, |bucket| {
            let figures = bucket.figures;
            [
                bucket.from.into(),
                bucket.to.into(),
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
            "low_stock_threshold",
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
                item.low_stock_threshold.into(),
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
        table(header, &[self], |report| {
            [
                report.at.into(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_the_header() {
        let csv = table(["name", "stock", "days"], &[("Tea", 3)], |(name, stock)| {
            [(*name).into(), i64::from(*stock).into(), Cell::Absent]
        });
        assert_eq!(csv, "name,stock,days\r\nTea,3,\r\n");
    }
}
