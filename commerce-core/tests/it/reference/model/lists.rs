//! Lists of the back office.

use super::Model;
use commerce_core::{
    Charge, ChargeFilter, CouponId, Order, OrderFilter, OrderId, OrderStatus, OwnedCoupon,
    OwnedCouponStatus, ProductId, Timestamp,
};

/// A change of stock: its instant, units, reason and order.
pub(crate) type Change = (Timestamp, i64, String, Option<OrderId>);

impl Model {
    /// Predicts the orders of a filter, newest first.
    pub(crate) fn orders_of(&self, filter: &OrderFilter) -> Vec<Order> {
        let campaign = |order: &Order| {
            let owned = order.owned_coupon_id.map(|id| &self.owned_coupons[&id]);
            owned.map(|owned| owned.coupon_id)
        };
        let mut orders: Vec<Order> = self.orders.values().rev().cloned().collect();
        if let Some(customer) = filter.customer_id {
            orders.retain(|order| order.customer_id == customer);
        }
        if let Some(status) = filter.status {
            orders.retain(|order| order.status == status);
        }
        if let Some(from) = filter.from {
            orders.retain(|order| order.created_at > from);
        }
        if let Some(to) = filter.to {
            orders.retain(|order| order.created_at <= to);
        }
        if let Some(product) = filter.product_id {
            orders.retain(|order| order.lines.iter().any(|line| line.product_id == product));
        }
        if let Some(coupon) = filter.coupon_id {
            orders.retain(|order| campaign(order) == Some(coupon));
        }
        if let Some(reference) = &filter.reference {
            orders.retain(|order| order.reference.as_ref() == Some(reference));
        }
        orders
    }

    /// Predicts the charges of a filter, newest first.
    pub(crate) fn charges_of(&self, filter: ChargeFilter) -> Vec<Charge> {
        let mut rows: Vec<_> = self.charges.values().rev().collect();
        if let Some(customer) = filter.customer_id {
            rows.retain(|row| row.customer_id == customer);
        }
        if let Some(status) = filter.status {
            rows.retain(|row| row.status == status);
        }
        rows.into_iter().map(|row| self.charge_output(row)).collect()
    }

    /// Predicts the claims of a campaign at an instant, by rank.
    pub(crate) fn claims_of(&self, id: CouponId, now: Timestamp) -> Vec<OwnedCoupon> {
        let is_over = self.coupons[&id].valid_until.is_some_and(|until| until <= now);
        let claims = self.owned_coupons.values().filter(|owned| owned.coupon_id == id).cloned();
        let mut claims: Vec<OwnedCoupon> = claims
            .map(|mut owned| {
                if owned.order_id.is_none() && is_over {
                    owned.status = OwnedCouponStatus::Expired;
                }
                owned
            })
            .collect();
        claims.sort_by_key(|owned| owned.rank);
        claims
    }

    /// Predicts the changes of the stock of a product, sorted by their fields.
    pub(crate) fn changes_of(&self, product: ProductId) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        for movement in self.movements.iter().filter(|movement| movement.product_id == product) {
            changes.push((movement.created_at, movement.delta, movement.reason.clone(), None));
        }
        for order in self.orders.values() {
            for line in order.lines.iter().filter(|line| line.product_id == product) {
                let id = Some(order.id);
                changes.push((order.created_at, -line.quantity, "ordered".to_owned(), id));
                let end = match order.status {
                    OrderStatus::Cancelled => Some((order.cancelled_at, "order cancelled")),
                    OrderStatus::Expired => Some((order.expires_at, "order expired")),
                    OrderStatus::Pending | OrderStatus::Paid => None,
                };
                let rows = order.cancellations.iter().filter(|row| row.product_id == product);
                let back = rows.clone().filter(|row| row.is_restocked && row.units > 0);
                let why = "part of order cancelled";
                changes.extend(back.map(|row| (row.created_at, row.units, why.to_owned(), id)));
                let rest = line.quantity - rows.map(|row| row.units).sum::<i64>();
                let end = end.filter(|_| rest > 0);
                changes.extend(end.map(|(at, why)| (at.unwrap(), rest, why.to_owned(), id)));
            }
        }
        changes.sort();
        changes
    }

    /// Returns the products, customers and campaigns.
    pub(crate) fn ids(&self) -> (Vec<ProductId>, Vec<commerce_core::CustomerId>, Vec<CouponId>) {
        let products = self.products.keys().copied().collect();
        (products, self.accounts.keys().copied().collect(), self.coupons.keys().copied().collect())
    }
}
