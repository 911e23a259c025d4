//! The stock report: products that are low on stock, then the others, by the days that their stock lasts.

use super::sealed::Build;
use super::window::check_days;
use super::{Facts, Source, basis_points, sold, visit};
use crate::clock::{DAY_SECONDS, Timestamp};
use crate::error::{Error, Refusal, StoreError};
use crate::id::ProductId;
use crate::limits::MAX_PAGE;
use crate::store::{Record, Snapshot, Table};
use serde::Serialize;
use std::collections::BTreeMap;

/// Requests a stock report. Default: a hundred products, those low on stock first, by the rate of the last 28 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockReportRequest {
    /// The length of the window in days of 24 hours, 1 to [`MAX_WINDOW_DAYS`](crate::limits::MAX_WINDOW_DAYS).
    pub days: i64,
    /// The number of products, 1 to [`MAX_PAGE`].
    pub limit: usize,
}

impl Default for StockReportRequest {
    fn default() -> Self {
        Self { days: 28, limit: MAX_PAGE }
    }
}

/// The stock of active products: those low on stock first, of each the first to run out first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StockReport {
    /// The instant right before the window.
    pub from: Timestamp,
    /// The last second of the window: now.
    pub to: Timestamp,
    /// The products.
    pub items: Vec<ProductStock>,
}

/// The stock of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProductStock {
    /// The product.
    pub product_id: ProductId,
    /// The product's current name.
    pub name: String,
    /// Units sold in the window, without those of cancelled orders.
    pub sold: i64,
    /// Units added to the stock by adjustments in the window.
    pub received: i64,
    /// Units in stock now.
    pub stock: i64,
    /// Units sold of those sold and in stock, in hundredths of a percent, rounded down.
    pub sell_through_basis_points: i64,
    /// Days of 24 hours that the stock lasts at the rate of the window, rounded down; `None` if none was sold.
    pub days_left: Option<i64>,
    /// The stock at and below which the product is low on stock; `None` if it has no threshold.
    pub low_stock_threshold: Option<i64>,
}

impl Build for StockReportRequest {
    type Report = StockReport;

    fn build(&self, source: Source<'_>, facts: &dyn Facts) -> Result<StockReport, Error> {
        check_days(self.days)?;
        if !(1..=MAX_PAGE).contains(&self.limit) {
            let detail = format!("limit is {} and must be from 1 to {MAX_PAGE}", self.limit);
            return Err(Refusal::invalid("/limit", detail).into());
        }
        let to = source.now;
        let from = to.plus_seconds(self.days.saturating_mul(-DAY_SECONDS));
        let sales = facts.products(from, to)?;
        let received = received(source.snapshot, from, to)?;
        let mut products = Vec::new();
        visit(source.snapshot, Table::Products, |record| {
            if let Record::Product(product) = record {
                products.push(product);
            }
        })?;
        let mut items = Vec::new();
        for product in products.into_iter().filter(crate::model::product::Product::is_active) {
            let stock = facts.stock(&product)?;
            let sold = sold(&sales, product.id).units;
            let days = stock.saturating_mul(self.days);
            items.push(ProductStock {
                product_id: product.id,
                name: product.name,
                sold,
                received: received.get(&product.id).copied().unwrap_or(0),
                stock,
                sell_through_basis_points: basis_points(sold, sold.saturating_add(stock)),
                days_left: (sold > 0).then(|| days.checked_div(sold).unwrap_or(0)),
                low_stock_threshold: product.low_stock_threshold,
            });
        }
        // Of both kinds, products that do not sell come last, those without stock before the others.
        items.sort_by_key(|item| {
            let is_low = item.low_stock_threshold.is_some_and(|threshold| item.stock <= threshold);
            (!is_low, item.days_left.unwrap_or(i64::MAX), item.stock, item.product_id)
        });
        items.truncate(self.limit);
        Ok(StockReport { from, to, items })
    }
}

/// Returns the units of each product that adjustments added to the stock in `(after, until]`.
fn received(
    snapshot: &dyn Snapshot,
    after: Timestamp,
    until: Timestamp,
) -> Result<BTreeMap<ProductId, i64>, StoreError> {
    let mut received = BTreeMap::new();
    visit(snapshot, Table::StockMovements, |record| {
        if let Record::StockMovement(row) = record
            && after < row.created_at
            && row.created_at <= until
            && row.delta > 0
        {
            let sum: &mut i64 = received.entry(row.product_id).or_default();
            *sum = sum.saturating_add(row.delta);
        }
    })?;
    Ok(received)
}
