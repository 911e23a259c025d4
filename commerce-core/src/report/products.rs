//! The product report: products ranked by units, by money, or by their growth.

use super::sealed::Build;
use super::window::check_days;
use super::{Facts, Products, Source, basis_points, sold};
use crate::clock::{DAY_SECONDS, Timestamp};
use crate::error::{Error, Refusal};
use crate::id::ProductId;
use crate::limits::MAX_PAGE;
use crate::model::product::ProductStatus;
use crate::model::sale::Sold;
use crate::money::Money;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// Requests a product report. Default: the ten products of the last seven days with the most units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProductReportRequest {
    /// The order of the ranking.
    pub by: RankBy,
    /// The length of the window in days of 24 hours, 1 to [`MAX_WINDOW_DAYS`](crate::limits::MAX_WINDOW_DAYS).
    pub days: i64,
    /// The number of ranks, 1 to [`MAX_PAGE`].
    pub limit: usize,
    /// The last second of the window. Default: now.
    pub at: Option<Timestamp>,
}

impl Default for ProductReportRequest {
    fn default() -> Self {
        Self { by: RankBy::Units, days: 7, limit: 10, at: None }
    }
}

/// The order of a ranking of products; ties by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankBy {
    /// Most units first.
    #[default]
    Units,
    /// Most money first, after discounts.
    Net,
    /// The greatest increase of units over the window before first; products without one are left out.
    Rising,
}

/// Products ranked in a window. Cancelled orders are taken out of it (standing basis).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProductReport {
    /// The instant right before the window.
    pub from: Timestamp,
    /// The last second of the window.
    pub to: Timestamp,
    /// The order of the ranking.
    pub by: RankBy,
    /// The units of all products.
    pub units: i64,
    /// The money of all products.
    pub net: Money,
    /// The ranking.
    pub items: Vec<RankedProduct>,
}

/// One rank of a product report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RankedProduct {
    /// The rank: 1 for the first.
    pub rank: usize,
    /// The rank in the window of the same length before: by money for a ranking by money, or else by units. `None` if
    /// the product did not sell then.
    pub rank_before: Option<usize>,
    /// The product.
    pub product_id: ProductId,
    /// The product's current name.
    pub name: String,
    /// Units sold.
    pub units: i64,
    /// Units sold in the window before.
    pub units_before: i64,
    /// The amount paid for them: each line's amount less its share of the discount.
    pub net: Money,
    /// The part of all products' money for a ranking by money, or else of their units, in hundredths of a percent.
    pub share_basis_points: i64,
    /// Units in stock now.
    pub stock: i64,
    /// The product's current status.
    pub status: ProductStatus,
}

impl Build for ProductReportRequest {
    type Report = ProductReport;

    fn build(&self, source: Source<'_>, facts: &dyn Facts) -> Result<ProductReport, Error> {
        check_days(self.days)?;
        if !(1..=MAX_PAGE).contains(&self.limit) {
            let detail = format!("limit is {} and must be from 1 to {MAX_PAGE}", self.limit);
            return Err(Refusal::invalid("/limit", detail).into());
        }
        let to = self.at.unwrap_or(source.now);
        let back = |at: Timestamp| at.plus_seconds(self.days.saturating_mul(-DAY_SECONDS));
        let from = back(to);
        let now = facts.products(from, to)?;
        let before = facts.products(back(from), from)?;
        let mut all = Sold::default();
        for (_, sold) in &now {
            all.add(*sold);
        }

        let mut items = Vec::new();
        for (product_id, rank) in self.ranking(&now, &before).into_iter().zip(1..) {
            let Some(product) = source.snapshot.product(product_id)? else { continue };
            let (sold, sold_before) = (sold(&now, product_id), sold(&before, product_id));
            let share_basis_points = match self.by {
                RankBy::Net => basis_points(sold.net.minor(), all.net.minor()),
                RankBy::Units | RankBy::Rising => basis_points(sold.units, all.units),
            };
            items.push(RankedProduct {
                rank,
                rank_before: self.rank(product_id, sold_before, &before),
                product_id,
                units: sold.units,
                units_before: sold_before.units,
                net: sold.net,
                share_basis_points,
                stock: facts.stock(&product)?,
                name: product.name,
                status: product.status,
            });
        }
        Ok(ProductReport { from, to, by: self.by, units: all.units, net: all.net, items })
    }
}

/// A position in a ranking: smaller ones come first.
type Position = (Reverse<i64>, ProductId);

impl ProductReportRequest {
    /// Returns the first products in order.
    fn ranking(&self, now: &Products, before: &Products) -> Vec<ProductId> {
        let mut ranking: Vec<Position> = now
            .iter()
            .filter_map(|(product, sold)| match self.by {
                RankBy::Units | RankBy::Net => self.position(*product, *sold),
                RankBy::Rising => {
                    let rise = sold.units.saturating_sub(super::sold(before, *product).units);
                    (rise > 0).then_some((Reverse(rise), *product))
                }
            })
            .collect();
        if self.limit < ranking.len() {
            ranking.select_nth_unstable(self.limit);
            ranking.truncate(self.limit);
        }
        ranking.sort_unstable();
        ranking.into_iter().map(|(_, product)| product).collect()
    }

    /// The rank of a product in a window: by money for a ranking by money, or else by units.
    fn rank(&self, product: ProductId, sold: Sold, products: &Products) -> Option<usize> {
        let own = self.position(product, sold)?;
        let better = products.iter().filter(|(product, sold)| {
            self.position(*product, *sold).is_some_and(|position| position < own)
        });
        Some(better.count().saturating_add(1))
    }

    /// The position of a product by units or money; `None` if it did not sell.
    fn position(&self, product: ProductId, sold: Sold) -> Option<Position> {
        let score = if self.by == RankBy::Net { sold.net.minor() } else { sold.units };
        (sold.units > 0).then_some((Reverse(score), product))
    }
}
