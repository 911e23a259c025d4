//! Orders: lines with the names and prices at the time of the order, and the order's status.

use crate::clock::Timestamp;
use crate::id::{CustomerId, OrderId, OwnedCouponId, ProductId};
use crate::model::words::words;
use crate::money::Money;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

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

words! {
    OrderStatus {
        Pending = "pending",
        Paid = "paid",
        Cancelled = "cancelled",
        Expired = "expired",
    }
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
    /// The price of one unit without a sale, at the time of the order.
    pub regular_price: Money,
    /// Units ordered.
    pub quantity: i64,
    /// Price times quantity.
    pub amount: Money,
}

impl OrderLine {
    /// Returns the regular price if a sale reduced it.
    #[must_use]
    pub fn reduced_from(&self) -> Option<Money> {
        Some(self.regular_price).filter(|price| *price != self.unit_price)
    }
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// The order's id.
    pub id: OrderId,
    /// The customer.
    pub customer_id: CustomerId,
    /// The caller's own order number.
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

    /// Returns the instant it was paid, whether or not it was cancelled since.
    #[must_use]
    pub fn sold_at(&self) -> Option<Timestamp> {
        match self.status {
            OrderStatus::Paid | OrderStatus::Cancelled => self.paid_at,
            OrderStatus::Pending | OrderStatus::Expired => None,
        }
    }

    /// Returns the instant at which it gave its stock back: it was cancelled, or its hold ended.
    #[must_use]
    pub fn released_at(&self) -> Option<Timestamp> {
        if self.is_live() { None } else { self.cancelled_at.or(self.expires_at) }
    }

    /// Returns the number of units of all lines.
    #[must_use]
    pub fn units(&self) -> i64 {
        self.lines.iter().fold(0, |sum, line| sum.saturating_add(line.quantity))
    }

    /// Returns what was paid for each line: its amount less its share of the discount. The shares are in proportion to
    /// the amounts, rounded down; the minor units that are left go one each to the lines with the largest remainders,
    /// the first ones among equals (largest remainder method). They add up to the discount.
    #[must_use]
    pub fn line_nets(&self) -> Vec<Money> {
        if self.discount == Money::ZERO {
            return self.lines.iter().map(|line| line.amount).collect();
        }
        let amounts = || self.lines.iter().map(|line| i128::from(line.amount.minor()));
        let whole = amounts().sum::<i128>().max(1);
        let mut rest = i128::from(self.discount.minor());
        let mut remainders = Vec::with_capacity(self.lines.len());
        let mut nets = Vec::with_capacity(self.lines.len());
        for (position, amount) in amounts().enumerate() {
            let exact = amount.saturating_mul(i128::from(self.discount.minor()));
            let (share, remainder) = (exact.div_euclid(whole), exact.rem_euclid(whole));
            rest = rest.saturating_sub(share);
            remainders.push((Reverse(remainder), position));
            nets.push(amount.saturating_sub(share));
        }
        remainders.sort_unstable();
        for (_, position) in remainders.into_iter().take(usize::try_from(rest).unwrap_or(0)) {
            if let Some(net) = nets.get_mut(position) {
                *net = net.saturating_sub(1);
            }
        }
        let money = |net: i128| Money::from_minor(i64::try_from(net).unwrap_or(i64::MAX));
        nets.into_iter().map(money).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn order(amounts: &[i64], discount: i64) -> Order {
        let line = |amount: &i64| OrderLine {
            product_id: ProductId::new(1),
            name: String::new(),
            unit_price: Money::from_minor(*amount),
            regular_price: Money::from_minor(*amount),
            quantity: 1,
            amount: Money::from_minor(*amount),
        };
        let subtotal: i64 = amounts.iter().sum();
        Order {
            id: OrderId::new(1),
            customer_id: CustomerId::new(1),
            reference: None,
            status: OrderStatus::Paid,
            lines: amounts.iter().map(line).collect(),
            subtotal: Money::from_minor(subtotal),
            discount: Money::from_minor(discount),
            total: Money::from_minor(subtotal - discount),
            owned_coupon_id: None,
            created_at: Timestamp::MIN,
            expires_at: None,
            paid_at: None,
            cancelled_at: None,
            previous: None,
        }
    }

    fn nets(amounts: &[i64], discount: i64) -> Vec<i64> {
        order(amounts, discount).line_nets().into_iter().map(Money::minor).collect()
    }

    #[rstest]
    #[case::none(&[300, 200], 0, &[300, 200])]
    #[case::proportional(&[300, 200], 50, &[270, 180])]
    #[case::largest_remainder(&[100, 100, 101], 100, &[67, 67, 67])]
    #[case::ties_by_position(&[100, 100, 100], 100, &[66, 67, 67])]
    #[case::all_of_it(&[7, 11, 13], 31, &[0, 0, 0])]
    #[case::one_unit(&[1, 1, 1], 1, &[0, 1, 1])]
    fn discount_is_shared_by_the_largest_remainders(
        #[case] amounts: &[i64],
        #[case] discount: i64,
        #[case] expected: &[i64],
    ) {
        assert_eq!(nets(amounts, discount), expected);
    }

    proptest! {
        #[test]
        fn shares_add_up_and_are_within_a_unit_of_their_proportion(
            amounts in prop::collection::vec(1_i64..9_000_000_000_000, 1..20),
            part in 0_i64..=1_000_000,
        ) {
            let subtotal: i64 = amounts.iter().sum();
            let discount = i64::try_from(i128::from(subtotal) * i128::from(part) / 1_000_000).unwrap();
            let nets = nets(&amounts, discount);
            prop_assert_eq!(nets.iter().sum::<i64>(), subtotal - discount);
            for (amount, net) in amounts.iter().zip(nets) {
                prop_assert!((0..=*amount).contains(&net));
                let exact = i128::from(*amount) * i128::from(discount);
                let difference = i128::from(amount - net) * i128::from(subtotal) - exact;
                prop_assert!(difference.abs() < i128::from(subtotal), "more than a unit off");
            }
        }
    }
}
