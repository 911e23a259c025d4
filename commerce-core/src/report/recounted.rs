//! The facts counted again from the rows that they follow from: orders, lines, movements, claims, charges and ledger.

use super::balances::Sums;
use super::{Facts, Products, visit};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::{CouponId, CustomerId, OrderId, OwnedCouponId, ProductId};
use crate::model::coupon::{Coupon, CouponUsage};
use crate::model::order::Order;
use crate::model::product::Product;
use crate::model::refund::RefundStatus;
use crate::model::sale::{Figures, FirstOrder, Sale, Sold};
use crate::model::wallet::{ChargeStatus, EntryKind};
use crate::store::{Record, Snapshot, Table};
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};

pub(super) struct Recounted<'a> {
    snapshot: &'a dyn Snapshot,
    stock: OnceCell<HashMap<ProductId, i64>>,
    coupons: OnceCell<HashMap<CouponId, Campaign>>,
}

#[derive(Default)]
struct Campaign {
    issued: i64,
    usage: CouponUsage,
}

impl<'a> Recounted<'a> {
    pub(super) fn new(snapshot: &'a dyn Snapshot) -> Self {
        Self { snapshot, stock: OnceCell::new(), coupons: OnceCell::new() }
    }

    fn orders(&self, mut each: impl FnMut(Order)) -> Result<(), StoreError> {
        visit(self.snapshot, Table::Orders, |record| {
            if let Record::Order(order) = record {
                each(order);
            }
        })
    }

    /// The first order of each customer.
    fn first_orders(&self) -> Result<HashSet<OrderId>, StoreError> {
        let mut first: HashMap<CustomerId, FirstOrder> = HashMap::new();
        self.orders(|order| {
            if let Some(paid) = FirstOrder::of(&order) {
                let kept = first.entry(order.customer_id).or_insert(paid);
                if paid.is_before(kept) {
                    *kept = paid;
                }
            }
        })?;
        Ok(first.into_values().map(|first| first.order_id).collect())
    }

    fn count_stock(&self) -> Result<HashMap<ProductId, i64>, StoreError> {
        let mut stock: HashMap<ProductId, i64> = HashMap::new();
        let mut add = |product, units| {
            let sum = stock.entry(product).or_default();
            *sum = sum.saturating_add(units);
        };
        visit(self.snapshot, Table::StockMovements, |record| {
            if let Record::StockMovement(row) = record {
                add(row.product_id, row.delta);
            }
        })?;
        self.orders(|order| {
            if order.is_live() {
                for line in &order.lines {
                    add(line.product_id, line.quantity.saturating_neg());
                }
            }
        })?;
        Ok(stock)
    }

    fn count_coupons(&self) -> Result<HashMap<CouponId, Campaign>, StoreError> {
        let mut campaigns: HashMap<CouponId, Campaign> = HashMap::new();
        let mut campaign_of: HashMap<OwnedCouponId, CouponId> = HashMap::new();
        visit(self.snapshot, Table::OwnedCoupons, |record| {
            if let Record::OwnedCoupon(owned) = record {
                campaign_of.insert(owned.id, owned.coupon_id);
                let campaign = campaigns.entry(owned.coupon_id).or_default();
                campaign.issued = campaign.issued.saturating_add(1);
            }
        })?;
        self.orders(|order| {
            let coupon = order.owned_coupon_id.and_then(|owned| campaign_of.get(&owned));
            if let Some(coupon) = coupon {
                campaigns.entry(*coupon).or_default().usage.add(&order);
            }
        })?;
        Ok(campaigns)
    }

    fn campaign(&self, coupon: &Coupon) -> Result<Option<&Campaign>, StoreError> {
        once(&self.coupons, || self.count_coupons()).map(|all| all.get(&coupon.id))
    }
}

/// Returns the value of a cell, which is counted at its first use.
fn once<T>(
    cell: &OnceCell<T>,
    count: impl FnOnce() -> Result<T, StoreError>,
) -> Result<&T, StoreError> {
    if let Some(counted) = cell.get() {
        return Ok(counted);
    }
    let counted = count()?;
    Ok(cell.get_or_init(|| counted))
}

/// Returns true if an instant is in `(after, until]`.
fn is_within(at: Timestamp, after: Timestamp, until: Timestamp) -> bool {
    after < at && at <= until
}

impl Facts for Recounted<'_> {
    fn totals(&self, edges: &[Timestamp]) -> Result<Vec<Figures>, StoreError> {
        let first = self.first_orders()?;
        let mut totals = vec![Figures::default(); edges.len().saturating_sub(1)];
        self.orders(|order| {
            for sale in Sale::all_of(&order, first.contains(&order.id)) {
                let next = edges.partition_point(|edge| *edge < sale.at);
                let bucket = next.checked_sub(1).and_then(|index| totals.get_mut(index));
                if let Some(bucket) = bucket {
                    bucket.add_all(&sale.figures);
                }
            }
        })?;
        Ok(totals)
    }

    fn products(&self, after: Timestamp, until: Timestamp) -> Result<Products, StoreError> {
        let mut products: BTreeMap<ProductId, Sold> = BTreeMap::new();
        self.orders(|order| {
            let paid_at = order.paid_at.filter(|_| order.status.counts_as_sold());
            if paid_at.is_some_and(|at| is_within(at, after, until)) {
                for (line, net) in order.lines.iter().zip(order.line_nets()) {
                    let sold = Sold { units: line.quantity, net };
                    products.entry(line.product_id).or_default().add(sold);
                }
            }
        })?;
        Ok(products.into_iter().collect())
    }

    fn stock(&self, product: &Product) -> Result<i64, StoreError> {
        let stock = once(&self.stock, || self.count_stock())?;
        Ok(stock.get(&product.id).copied().unwrap_or(0))
    }

    fn issued(&self, coupon: &Coupon) -> Result<i64, StoreError> {
        Ok(self.campaign(coupon)?.map_or(0, |campaign| campaign.issued))
    }

    fn coupon_usage(&self, coupon: &Coupon) -> Result<CouponUsage, StoreError> {
        Ok(self.campaign(coupon)?.map(|campaign| campaign.usage).unwrap_or_default())
    }

    fn balances(&self, at: Timestamp) -> Result<Sums, StoreError> {
        let mut sums = Sums::default();
        self.orders(|order| {
            if order.paid_at.is_some_and(|paid_at| paid_at <= at) {
                sums.add(order.customer_id, EntryKind::Payment, order.total.negated());
            }
            let is_refunded = order
                .paid_at
                .and(order.cancelled_at)
                .is_some_and(|cancelled_at| cancelled_at <= at);
            if is_refunded {
                sums.add(order.customer_id, EntryKind::Refund, order.total);
            }
        })?;
        visit(self.snapshot, Table::Charges, |record| {
            if let Record::Charge(row) = record
                && row.status == ChargeStatus::Succeeded
                && row.settled_at.unwrap_or(row.created_at) <= at
            {
                sums.add(row.customer_id, EntryKind::Charge, row.amount);
            }
        })?;
        visit(self.snapshot, Table::Refunds, |record| {
            let Record::Refund(row) = record else { return };
            let kind = row.kind.entry_kind();
            if row.created_at <= at {
                sums.add(row.customer_id, kind, row.amount.negated());
            }
            let has_failed = row.status == RefundStatus::Failed;
            if has_failed && row.settled_at.is_some_and(|settled_at| settled_at <= at) {
                sums.add(row.customer_id, kind, row.amount);
            }
        })?;
        // Debits and debts have no rows but their entries.
        visit(self.snapshot, Table::Ledger, |record| {
            if let Record::LedgerEntry(entry) = record
                && matches!(entry.kind, EntryKind::Debit | EntryKind::Debt)
                && entry.created_at <= at
            {
                sums.add(entry.customer_id, entry.kind, entry.amount);
            }
        })?;
        Ok(sums)
    }
}
