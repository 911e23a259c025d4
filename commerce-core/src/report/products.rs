//! The product report: products ranked by units, by money, or by their growth.

use super::sealed::Build;
use super::window::check_days;
use super::{Facts, Source, basis_points};
use crate::clock::Timestamp;
use crate::error::{Error, Refusal};
use crate::id::ProductId;
use crate::limits::MAX_PAGE;
use crate::model::product::ProductStatus;
use crate::model::sale::Sold;
use crate::money::Money;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

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
    /// What was paid for them: each line's amount less its share of the discount.
    pub net: Money,
    /// The part of all products' money for a ranking by money, or else of their units, in hundredths of a percent.
    pub share_basis_points: i64,
    /// Units in stock now.
    pub stock: i64,
    /// The product's current status.
    pub status: ProductStatus,
}

type Products = BTreeMap<ProductId, Sold>;

impl Build for ProductReportRequest {
    type Report = ProductReport;

    fn build(&self, source: Source<'_>, facts: &dyn Facts) -> Result<ProductReport, Error> {
        check_days(self.days)?;
        if !(1..=MAX_PAGE).contains(&self.limit) {
            let detail = format!("limit is {} and must be from 1 to {MAX_PAGE}", self.limit);
            return Err(Refusal::invalid("/limit", detail).into());
        }
        let to = self.at.unwrap_or(source.now);
        let back = |at: Timestamp| at.plus_seconds(self.days.saturating_mul(-24 * 60 * 60));
        let from = back(to);
        let now = facts.products(from, to)?;
        let before = facts.products(back(from), from)?;
        let ranks_before: HashMap<ProductId, usize> =
            self.ranking(&before, None).into_iter().zip(1..).collect();
        let mut all = Sold::default();
        for sold in now.values() {
            all.add(*sold);
        }

        let mut items = Vec::new();
        for (product_id, rank) in self.ranking(&now, Some(&before)).into_iter().zip(1..) {
            if rank > self.limit {
                break;
            }
            let Some(product) = source.snapshot.product(product_id)? else { continue };
            let sold = now.get(&product_id).copied().unwrap_or_default();
            let share_basis_points = match self.by {
                RankBy::Net => basis_points(sold.net.minor(), all.net.minor()),
                RankBy::Units | RankBy::Rising => basis_points(sold.units, all.units),
            };
            items.push(RankedProduct {
                rank,
                rank_before: ranks_before.get(&product_id).copied(),
                product_id,
                units: sold.units,
                units_before: before.get(&product_id).map_or(0, |sold| sold.units),
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

impl ProductReportRequest {
    /// Returns the products in order. Without a window before, a ranking of growth is one of units.
    fn ranking(&self, products: &Products, before: Option<&Products>) -> Vec<ProductId> {
        let score = |product: &ProductId, sold: &Sold| match (self.by, before) {
            (RankBy::Net, _) => sold.net.minor(),
            (RankBy::Rising, Some(before)) => {
                let before = before.get(product).map_or(0, |sold| sold.units);
                sold.units.saturating_sub(before)
            }
            (RankBy::Units | RankBy::Rising, _) => sold.units,
        };
        // A product that was given away for nothing has sold, too.
        let least = i64::from(self.by != RankBy::Net);
        let mut ranking: Vec<_> = products
            .iter()
            .filter(|(_, sold)| sold.units > 0)
            .map(|(product, sold)| (Reverse(score(product, sold)), *product))
            .filter(|(Reverse(score), _)| *score >= least)
            .collect();
        ranking.sort_unstable();
        ranking.into_iter().map(|(_, product)| product).collect()
    }
}
