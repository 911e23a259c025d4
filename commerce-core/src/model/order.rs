//! Orders: what was bought, at the names and prices of that moment, and what became of it.

use crate::clock::Timestamp;
use crate::id::{CustomerId, OrderId, OwnedCouponId, ProductId};
use crate::money::Money;
use serde::{Deserialize, Serialize};

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// It holds stock and coupon, and waits to be paid.
    Pending,
    /// It is paid.
    Paid,
    /// It was cancelled; what it took was given back.
    Cancelled,
    /// It was not paid in time; what it held was given back.
    Expired,
}

/// One product of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderLine {
    /// The product.
    pub product_id: ProductId,
    /// Its name when it was ordered.
    pub name: String,
    /// What one unit cost when it was ordered.
    pub unit_price: Money,
    /// Units ordered.
    pub quantity: i64,
    /// Price times quantity.
    pub amount: Money,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// The order's id.
    pub id: OrderId,
    /// Who ordered.
    pub customer_id: CustomerId,
    /// What another system calls it.
    pub reference: Option<String>,
    /// Where it stands.
    pub status: OrderStatus,
    /// What was ordered, each product once.
    pub lines: Vec<OrderLine>,
    /// The sum of the lines.
    pub subtotal: Money,
    /// What the coupon took off.
    pub discount: Money,
    /// What is paid: subtotal minus discount.
    pub total: Money,
    /// The coupon that was used.
    pub owned_coupon_id: Option<OwnedCouponId>,
    /// When it was placed.
    pub created_at: Timestamp,
    /// Until when it had to be paid; `None` when it was paid at once.
    pub expires_at: Option<Timestamp>,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// When it was cancelled.
    pub cancelled_at: Option<Timestamp>,
    /// The customer's order before this one.
    #[serde(skip)]
    pub previous: Option<OrderId>,
}

impl Order {
    /// The order as it was when it had come to that status. An order never changes in any other
    /// way, so a repeated call, or an event, is told exactly what the first one was.
    #[must_use]
    pub fn as_of(&self, status: OrderStatus) -> Self {
        let (paid_at, cancelled_at) = match status {
            OrderStatus::Pending => (None, None),
            OrderStatus::Paid => (self.paid_at, None),
            OrderStatus::Cancelled | OrderStatus::Expired => (self.paid_at, self.cancelled_at),
        };
        Self { status, paid_at, cancelled_at, ..self.clone() }
    }

    /// The order as it stands at `now`: one that was not paid in time is expired, swept or not.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        if self.is_due_at(now) {
            self.status = OrderStatus::Expired;
        }
        self
    }

    /// Whether it is a pending order whose time to be paid is over at `now`.
    #[must_use]
    pub fn is_due_at(&self, now: Timestamp) -> bool {
        self.status == OrderStatus::Pending && self.expires_at.is_some_and(|at| now >= at)
    }

    /// Whether it holds or has used its stock and coupon.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.status, OrderStatus::Pending | OrderStatus::Paid)
    }
}
