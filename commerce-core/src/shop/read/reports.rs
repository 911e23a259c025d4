//! Best sellers and reports.

use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::ProductId;
use crate::money::Money;
use crate::query::{BestSeller, BestSellers, BestSellersBy, BestSellersRequest};
use crate::report::{self, Proof, ReportRequest, Source};
use crate::shop::Shop;
use crate::store::Snapshot;
use std::cmp::Reverse;

/// Best sellers and reports. Errors are those of all reads.
#[expect(clippy::missing_errors_doc, reason = "documented once, at the reads of a shop")]
impl Shop {
    /// The products that sold most in the days before an instant, including that instant.
    pub fn best_sellers(&self, request: &BestSellersRequest) -> Result<BestSellers, Error> {
        let to = request.at.unwrap_or_else(|| self.now());
        let from = request.after(to)?;
        let snapshot = self.swept_snapshot()?;
        let mut items = Vec::new();
        for (product_id, units_sold, net) in best_sellers(&*snapshot, from, to, request)? {
            let Some(product) = snapshot.product(product_id)? else { continue };
            let product = product.at(self.now());
            items.push(BestSeller {
                rank: items.len().saturating_add(1),
                product_id,
                name: product.name,
                price: product.price,
                stock: product.stock,
                status: product.status,
                units_sold,
                net,
            });
        }
        Ok(BestSellers { from, to, items })
    }

    /// A report: [`SalesReportRequest`](crate::SalesReportRequest) and its siblings.
    ///
    /// ```
    /// use commerce_core::{Currency, MemoryStore, SalesReportRequest, Shop};
    /// let shop = Shop::open(MemoryStore::new(Currency::KRW));
    /// let report = shop.report(&SalesReportRequest::default())?;
    /// assert_eq!((report.totals.orders, report.buckets.len()), (0, 7));
    /// # Ok::<(), commerce_core::Error>(())
    /// ```
    pub fn report<R: ReportRequest>(&self, request: &R) -> Result<R::Report, Error> {
        let snapshot = self.swept_snapshot()?;
        report::report(request, Source { snapshot: &*snapshot, now: self.now() })
    }

    /// A report, counted again from orders, lines, movements and ledger on the same snapshot. It reads the whole store.
    pub fn prove<R: ReportRequest>(&self, request: &R) -> Result<Proof<R::Report>, Error> {
        let snapshot = self.swept_snapshot()?;
        report::prove(request, Source { snapshot: &*snapshot, now: self.now() })
    }
}

/// Returns the ranked products with their units, and with their money for a ranking by money. A ranking by units reads
/// no money.
fn best_sellers(
    snapshot: &dyn Snapshot,
    from: Timestamp,
    to: Timestamp,
    request: &BestSellersRequest,
) -> Result<Vec<(ProductId, i64, Option<Money>)>, Error> {
    match request.by {
        BestSellersBy::Units => {
            let ranking = snapshot.best_sellers(from, to, request.limit)?.into_iter();
            Ok(ranking.map(|(product, units)| (product, units, None)).collect())
        }
        BestSellersBy::Net => {
            let mut ranking = snapshot.product_sales(from, to)?;
            ranking.retain(|(_, sold)| sold.units > 0);
            ranking.sort_unstable_by_key(|(product, sold)| (Reverse(sold.net), *product));
            ranking.truncate(request.limit);
            Ok(ranking.into_iter().map(|(id, sold)| (id, sold.units, Some(sold.net))).collect())
        }
    }
}
