//! Coupons: campaigns with a limited quantity, and the coupons that customers claimed from them.

use crate::clock::Timestamp;
use crate::id::{CouponId, CustomerId, OrderId, OwnedCouponId};
use crate::model::order::Order;
use crate::model::words::words;
use crate::money::Money;
use serde::{Deserialize, Serialize};

/// The discount of a coupon, applied to a whole order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Discount {
    /// A fixed amount.
    Fixed {
        /// The amount taken off.
        amount: Money,
    },
    /// A percentage of the order, rounded down to the minor unit.
    Percent {
        /// The percentage, 1 to 100.
        percent: i64,
        /// An upper limit of the discount.
        max_amount: Option<Money>,
    },
}

impl Discount {
    /// Returns the amount taken off an order of `subtotal`; never more than the subtotal.
    ///
    /// ```
    /// use commerce_core::{Discount, Money};
    /// let tenth = Discount::Percent { percent: 10, max_amount: Some(Money::from_minor(50)) };
    /// assert_eq!(tenth.off(Money::from_minor(99)), Money::from_minor(9));
    /// assert_eq!(tenth.off(Money::from_minor(9_900)), Money::from_minor(50));
    /// ```
    #[must_use]
    pub fn off(self, subtotal: Money) -> Money {
        match self {
            Self::Fixed { amount } => amount.min(subtotal),
            Self::Percent { percent, max_amount } => {
                let part = subtotal.percent(percent);
                max_amount.map_or(part, |cap| part.min(cap)).min(subtotal)
            }
        }
    }
}

/// The discount of an order that falls below the minimum of its campaign when a part is cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BelowMinimum {
    /// The units that are left keep their shares of the discount.
    #[default]
    Keep,
    /// The units that are left cost their full price: their shares of the discount are kept back from the refund.
    Recalculate,
}

/// A campaign: a discount, a limited quantity, and a validity window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coupon {
    /// The campaign's id.
    pub id: CouponId,
    /// Its name.
    pub name: String,
    /// The discount.
    pub discount: Discount,
    /// The minimum subtotal it can be used on.
    pub min_order_amount: Option<Money>,
    /// The discount of an order that falls below the minimum.
    #[serde(default)]
    pub below_minimum: BelowMinimum,
    /// The number of coupons the campaign gives out.
    pub quantity: i64,
    /// The number of coupons claimed so far.
    pub issued: i64,
    /// Start of the window in which it can be claimed and used (inclusive).
    pub valid_from: Timestamp,
    /// End of the window (exclusive); `None` for no end.
    pub valid_until: Option<Timestamp>,
    /// The instant at which the campaign was stopped: from then on no coupon is claimed, and claimed ones stay usable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Timestamp>,
    /// The use of its coupons.
    #[serde(skip)]
    pub usage: CouponUsage,
}

/// The use of a campaign's coupons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CouponUsage {
    /// Coupons that a pending or paid order uses.
    pub used: i64,
    /// Times that an order which was cancelled or expired gave its coupon back.
    pub given_back: i64,
    /// Discounts of the paid orders that use them, without cancelled units.
    pub discounts: Money,
    /// The amount paid for these orders, without cancelled units.
    pub net: Money,
}

impl CouponUsage {
    /// Counts an order that uses or has used a coupon.
    pub(crate) fn add(&mut self, order: &Order) {
        self.count(order, 1);
    }

    /// Replaces an order by the same one with another status; `None` for an order that is new.
    pub(crate) fn replace(&mut self, before: Option<&Order>, after: &Order) {
        if let Some(before) = before {
            self.count(before, -1);
        }
        self.count(after, 1);
    }

    fn count(&mut self, order: &Order, sign: i64) {
        let add = |sum: &mut i64, more: i64| *sum = sum.saturating_add(more.saturating_mul(sign));
        let add_money = |sum: &mut Money, more: Money| {
            *sum = Money::from_minor(sum.minor().saturating_add(more.minor().saturating_mul(sign)));
        };
        add(if order.is_live() { &mut self.used } else { &mut self.given_back }, 1);
        if order.status.counts_as_sold() {
            for left in order.remainders() {
                let net = left.net.minor();
                let discount = left.gross().minor().saturating_sub(net);
                add_money(&mut self.discounts, Money::from_minor(discount));
                add_money(&mut self.net, left.net);
            }
        }
    }
}

impl Coupon {
    /// Returns the end of the claims (exclusive): that of the window, or the instant at which the campaign was stopped.
    #[must_use]
    pub fn claims_until(&self) -> Option<Timestamp> {
        self.valid_until.into_iter().chain(self.stopped_at).min()
    }

    /// Returns true if the campaign is over at `now`.
    #[must_use]
    pub fn is_over_at(&self, now: Timestamp) -> bool {
        self.valid_until.is_some_and(|until| now >= until)
    }
}

/// The status of an owned coupon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnedCouponStatus {
    /// It can be used.
    Held,
    /// An order holds or has used it.
    Used,
    /// Its campaign is over.
    Expired,
}

words! {
    BelowMinimum {
        Keep = "keep",
        Recalculate = "recalculate",
    }
    OwnedCouponStatus {
        Held = "held",
        Used = "used",
        Expired = "expired",
    }
}

/// One coupon claimed by one customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedCoupon {
    /// Its id.
    pub id: OwnedCouponId,
    /// The campaign.
    pub coupon_id: CouponId,
    /// The owner.
    pub customer_id: CustomerId,
    /// The claim's position in its campaign: 1 for the first claim, without gaps.
    pub rank: i64,
    /// The status, as of the instant it was read at.
    pub status: OwnedCouponStatus,
    /// The order that holds or has used it.
    pub order_id: Option<OrderId>,
    /// The instant it was claimed.
    pub claimed_at: Timestamp,
}

impl OwnedCoupon {
    /// Assigns the coupon to an order, or releases it with `None`.
    pub(crate) fn assign_order(&mut self, order: Option<OrderId>) {
        self.order_id = order;
        self.status = order.map_or(OwnedCouponStatus::Held, |_| OwnedCouponStatus::Used);
    }

    /// Returns the coupon with its status at `now`. Stores keep only the order that uses it.
    #[must_use]
    pub fn at(mut self, now: Timestamp, coupon: &Coupon) -> Self {
        self.status = match self.order_id {
            Some(_) => OwnedCouponStatus::Used,
            None if coupon.is_over_at(now) => OwnedCouponStatus::Expired,
            None => OwnedCouponStatus::Held,
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn percent(percent: i64, cap: Option<i64>) -> Discount {
        Discount::Percent { percent, max_amount: cap.map(Money::from_minor) }
    }

    #[rstest]
    #[case::fixed(Discount::Fixed { amount: Money::from_minor(300) }, 1_000, 300)]
    #[case::never_more_than_the_order(Discount::Fixed { amount: Money::from_minor(300) }, 200, 200)]
    #[case::rounds_down(percent(33, None), 101, 33)]
    #[case::capped(percent(50, Some(100)), 1_000, 100)]
    #[case::cap_not_reached(percent(5, Some(100)), 1_000, 50)]
    #[case::all_of_it(percent(100, None), 777, 777)]
    fn discount_is_capped_and_rounds_down(
        #[case] discount: Discount,
        #[case] subtotal: i64,
        #[case] off: i64,
    ) {
        assert_eq!(discount.off(Money::from_minor(subtotal)), Money::from_minor(off));
    }
}
