//! The facts that were counted in the commits themselves.

use super::balances::Sums;
use super::{Facts, Products, visit};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::model::coupon::{Coupon, CouponUsage};
use crate::model::product::Product;
use crate::model::sale::Figures;
use crate::store::{Record, Snapshot, Table};

pub(super) struct Counted<'a>(pub(super) &'a dyn Snapshot);

impl Facts for Counted<'_> {
    fn totals(&self, edges: &[Timestamp]) -> Result<Vec<Figures>, StoreError> {
        self.0.sales_totals(edges)
    }

    fn products(&self, after: Timestamp, until: Timestamp) -> Result<Products, StoreError> {
        let mut products = self.0.product_sales(after, until)?;
        products.sort_unstable_by_key(|(product, _)| *product);
        Ok(products)
    }

    fn stock(&self, product: &Product) -> Result<i64, StoreError> {
        Ok(product.stock)
    }

    fn issued(&self, coupon: &Coupon) -> Result<i64, StoreError> {
        Ok(coupon.issued)
    }

    fn coupon_usage(&self, coupon: &Coupon) -> Result<CouponUsage, StoreError> {
        Ok(coupon.usage)
    }

    fn balances(&self, at: Timestamp) -> Result<Sums, StoreError> {
        let mut sums = Sums::default();
        visit(self.0, Table::Ledger, |record| {
            if let Record::LedgerEntry(entry) = record
                && entry.created_at <= at
            {
                sums.add(entry.customer_id, entry.kind, entry.amount);
            }
        })?;
        Ok(sums)
    }
}
