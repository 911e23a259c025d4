//! Coupons: a campaign with a limited quantity, and the single coupons that customers claimed from it.

use crate::clock::Timestamp;
use crate::id::{CouponId, CustomerId, OrderId, OwnedCouponId};
use crate::money::Money;
use serde::{Deserialize, Serialize};

/// What a coupon takes off a whole order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Discount {
    /// An amount of money.
    Fixed {
        /// How much.
        amount: Money,
    },
    /// Hundredths of the order, rounded down to the minor unit.
    Percent {
        /// How many hundredths, 1 to 100.
        percent: i64,
        /// The most it takes off.
        max_amount: Option<Money>,
    },
}

impl Discount {
    /// What it takes off an order of that subtotal: never more than the order.
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
                max_amount.map_or(part, |most| part.min(most)).min(subtotal)
            }
        }
    }
}

/// A campaign: a discount, how often it is given out, and when it can be claimed and used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coupon {
    /// The campaign's id.
    pub id: CouponId,
    /// Its name.
    pub name: String,
    /// What it takes off.
    pub discount: Discount,
    /// The smallest subtotal it can be used on.
    pub min_order_amount: Option<Money>,
    /// How many are given out.
    pub quantity: i64,
    /// How many were claimed.
    pub issued: i64,
    /// From when it can be claimed and used.
    pub valid_from: Timestamp,
    /// From when it no longer can; `None` for never.
    pub valid_until: Option<Timestamp>,
}

impl Coupon {
    /// Whether the campaign is over at `now`.
    #[must_use]
    pub fn is_over_at(&self, now: Timestamp) -> bool {
        self.valid_until.is_some_and(|until| now >= until)
    }
}

/// Whether an owned coupon can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnedCouponStatus {
    /// It can.
    Held,
    /// An order holds or has used it.
    Used,
    /// Its campaign is over.
    Expired,
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
    /// 1 for the first who claimed one, and so on without a gap.
    pub rank: i64,
    /// Whether it can be used, as of when it was read.
    pub status: OwnedCouponStatus,
    /// The order that holds or has used it.
    pub order_id: Option<OrderId>,
    /// When it was claimed.
    pub claimed_at: Timestamp,
}

impl OwnedCoupon {
    /// Hands the coupon to an order, or takes it back from one.
    pub(crate) fn assign_order(&mut self, order: Option<OrderId>) {
        self.order_id = order;
        self.status = order.map_or(OwnedCouponStatus::Held, |_| OwnedCouponStatus::Used);
    }

    /// The same coupon with the status it has at `now`. Stores keep only who uses it.
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

    fn percent(percent: i64, most: Option<i64>) -> Discount {
        Discount::Percent { percent, max_amount: most.map(Money::from_minor) }
    }

    #[rstest]
    #[case::fixed(Discount::Fixed { amount: Money::from_minor(300) }, 1_000, 300)]
    #[case::never_more_than_the_order(Discount::Fixed { amount: Money::from_minor(300) }, 200, 200)]
    #[case::rounds_down(percent(33, None), 101, 33)]
    #[case::capped(percent(50, Some(100)), 1_000, 100)]
    #[case::cap_not_reached(percent(5, Some(100)), 1_000, 50)]
    #[case::all_of_it(percent(100, None), 777, 777)]
    fn discounts(#[case] discount: Discount, #[case] subtotal: i64, #[case] off: i64) {
        assert_eq!(discount.off(Money::from_minor(subtotal)), Money::from_minor(off));
    }
}
