//! Cancellations of parts of orders: numbered without a gap, never more than the line, and the exact shares of its price.

use super::Check;
use super::problems::{Problems, or_none};
use crate::id::{CouponId, OwnedCouponId};
use crate::model::coupon::BelowMinimum;
use crate::model::order::{LineCancellation, Order, Remainder, share_of_units};
use crate::money::Money;
use crate::store::Record;
use std::collections::BTreeSet;

const CHECK: &str = "cancellations";

#[derive(Default)]
pub(super) struct Cancellations {
    /// Campaigns that keep the discount of the rest back when an order falls below their minimum.
    recalculating: BTreeSet<CouponId>,
    /// The claimed coupons of these campaigns.
    exempt: BTreeSet<OwnedCouponId>,
}

impl Check for Cancellations {
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Coupon(coupon) if coupon.below_minimum == BelowMinimum::Recalculate => {
                self.recalculating.insert(coupon.id);
            }
            Record::OwnedCoupon(owned) if self.recalculating.contains(&owned.coupon_id) => {
                self.exempt.insert(owned.id);
            }
            Record::Order(order) if !order.cancellations.is_empty() => {
                let is_exact = order.owned_coupon_id.is_none_or(|id| !self.exempt.contains(&id));
                let mut report =
                    |detail| problems.add(CHECK, format!("order {}", order.id), detail);
                check_order(order, &mut report);
                for left in order.remainders() {
                    check_line(order, &left, is_exact, &mut report);
                }
            }
            _ => {}
        }
    }
}

fn check_order(order: &Order, report: &mut dyn FnMut(String)) {
    let mut event = None;
    for (row, number) in order.cancellations.iter().zip(1..) {
        if row.number != number {
            report(format!("has cancellation {} in place of {number}", row.number));
        }
        if row.customer_id != order.customer_id {
            report(format!("cancellation {number} is of customer {}", row.customer_id));
        }
        if !order.lines.iter().any(|line| line.product_id == row.product_id) {
            report(format!("cancellation {number} is of product {}, in no line", row.product_id));
        }
        if row.event_id.is_some() && order.paid_at.is_none() {
            report(format!("cancellation {number} has an event, and the order was never paid"));
        }
        if row.event_id < event {
            let (id, before) = (or_none(row.event_id), or_none(event));
            report(format!("cancellation {number} has event {id}, after event {before}"));
        }
        event = row.event_id;
    }
    if order.is_live() && order.remainders().iter().all(|left| left.units == 0) {
        report(format!("is {} and has no units left", order.status));
    }
}

fn check_line(order: &Order, left: &Remainder<'_>, is_exact: bool, report: &mut dyn FnMut(String)) {
    let (product, quantity) = (left.line.product_id, left.line.quantity);
    let (mut units, mut amount) = (0_i64, Money::ZERO);
    for row in order.cancellations.iter().filter(|row| row.product_id == product) {
        let LineCancellation { number, line_units, line_amount, .. } = *row;
        units = units.saturating_add(row.units);
        amount = Money::sum([amount, row.amount].into_iter());
        if (line_units, line_amount) != (units, amount) {
            report(format!(
                "cancellation {number} has the sums {line_units} and {line_amount} of product {product}, and the rows \
                 add up to {units} and {amount}"
            ));
        }
        if (row.quantity, row.net) != (quantity, left.line_net) {
            report(format!(
                "cancellation {number} has {} units for {} of product {product}, and the line {quantity} for {}",
                row.quantity, row.net, left.line_net
            ));
        }
        if row.units < 0 || row.amount < Money::ZERO {
            report(format!("cancellation {number} is of {} units for {}", row.units, row.amount));
        }
    }
    if units > quantity {
        report(format!("has {units} of {quantity} units of product {product} cancelled"));
    }
    let share = share_of_units(left.line_net, quantity, units);
    if amount > share || (is_exact && amount != share) {
        report(format!(
            "has {amount} taken off for {units} of {quantity} units of product {product}, whose share is {share}"
        ));
    }
}
