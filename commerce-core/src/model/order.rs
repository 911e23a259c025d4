//! Orders: lines with the names and prices at the time of the order, and the order's status.

use crate::clock::Timestamp;
use crate::id::{CustomerId, OrderId, OwnedCouponId, ProductId};
use crate::money::Money;
use serde::{Deserialize, Serialize};

/// The status of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Unpaid: stock and coupon are held until it is paid, cancelled or expires.
    Pending,
    /// Paid.
    Paid,
    /// Cancelled: stock, coupon and money were given back.
    Cancelled,
    /// Not paid in time: stock and coupon were given back.
    Expired,
}

impl OrderStatus {
    /// Returns true if the units of an order with this status count as sold (best sellers).
    #[must_use]
    pub const fn counts_as_sold(self) -> bool {
        match self {
            Self::Paid => true,
            Self::Pending | Self::Cancelled | Self::Expired => false,
        }
    }
}

/// One product of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderLine {
    /// The product.
    pub product_id: ProductId,
    /// The product's name at the time of the order.
    pub name: String,
    /// The price of one unit at the time of the order.
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
    /// The customer.
    pub customer_id: CustomerId,
    /// The order number of another system.
    pub reference: Option<String>,
    /// The status.
    pub status: OrderStatus,
    /// The lines, one per product.
    pub lines: Vec<OrderLine>,
    /// The sum of the lines.
    pub subtotal: Money,
    /// The coupon's discount.
    pub discount: Money,
    /// The amount to pay: subtotal minus discount.
    pub total: Money,
    /// The coupon that was used.
    pub owned_coupon_id: Option<OwnedCouponId>,
    /// The instant it was placed.
    pub created_at: Timestamp,
    /// End of the hold: the order must be paid before; `None` if it was paid at once.
    pub expires_at: Option<Timestamp>,
    /// The instant it was paid.
    pub paid_at: Option<Timestamp>,
    /// The instant it was cancelled.
    pub cancelled_at: Option<Timestamp>,
    /// The customer's order before this one.
    #[serde(skip)]
    pub previous: Option<OrderId>,
}

impl Order {
    /// Returns the order as it was when it reached `status`. An order changes only by its status, so a replayed
    /// call or an event shows exactly the original order.
    #[must_use]
    pub fn as_of(&self, status: OrderStatus) -> Self {
        let (paid_at, cancelled_at) = match status {
            OrderStatus::Pending => (None, None),
            OrderStatus::Paid => (self.paid_at, None),
            OrderStatus::Cancelled | OrderStatus::Expired => (self.paid_at, self.cancelled_at),
        };
        Self { status, paid_at, cancelled_at, ..self.clone() }
    }

    /// Returns the order as of `now`: an overdue order is expired, whether or not the sweep has released it.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        if self.is_due_at(now) {
            self.status = OrderStatus::Expired;
        }
        self
    }

    /// Returns true if the order is pending and its hold has ended at `now`.
    #[must_use]
    pub fn is_due_at(&self, now: Timestamp) -> bool {
        self.status == OrderStatus::Pending && self.expires_at.is_some_and(|at| now >= at)
    }

    /// Returns true if the order holds or has used its stock and coupon.
    #[must_use]
    pub fn is_live(&self) -> bool {
        match self.status {
            OrderStatus::Pending | OrderStatus::Paid => true,
            OrderStatus::Cancelled | OrderStatus::Expired => false,
        }
    }
}
