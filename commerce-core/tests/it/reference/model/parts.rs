//! Cancellations of orders and of parts of them: the units and the money that are left of each line.

use super::reports::line_nets;
use super::{Decision, MAX_LINES, MAX_STOCK, Model, invalid};
use commerce_core::{
    BelowMinimum, CancelOrder, EntryKind, EventKind, LineCancellation, Money, Order, OrderStatus,
    ProductId, Refusal, Shortage, Timestamp,
};
use std::collections::BTreeMap;

/// The rest of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) product: ProductId,
    /// The units of the line, and the price of all of them less their share of the discount.
    whole: (i64, i64),
    unit_price: i64,
    pub(super) units: i64,
    pub(super) money: i64,
}

impl Left {
    pub(super) fn gross(&self) -> i64 {
        self.unit_price * self.units
    }

    pub(super) fn discount(&self) -> i64 {
        self.gross() - self.money
    }

    /// The exact price of the last `units` units: the first ones of the line cost a minor unit more each until the
    /// remainder of an even split is spent.
    fn price_of_last(&self, units: i64) -> i64 {
        let (quantity, net) = self.whole;
        let (even, dearer) = (net / quantity, net % quantity);
        even * units + (dearer - (quantity - units)).max(0)
    }
}

fn left_after(order: &Order, counts: impl Fn(&LineCancellation) -> bool) -> Vec<Left> {
    let lines = order.lines.iter().zip(line_nets(order));
    let left = |(line, net): (&commerce_core::OrderLine, i64)| {
        let rows = order.cancellations.iter().filter(|row| row.product_id == line.product_id);
        let (units, money) = rows
            .filter(|row| counts(row))
            .fold((0, 0), |(units, money), row| (units + row.units, money + row.amount.minor()));
        Left {
            product: line.product_id,
            whole: (line.quantity, net),
            unit_price: line.unit_price.minor(),
            units: line.quantity - units,
            money: net - money,
        }
    };
    lines.map(left).collect()
}

/// The rest of the lines of an order after all cancellations of parts.
pub(super) fn left(order: &Order) -> Vec<Left> {
    left_after(order, |_| true)
}

/// The rest of the lines when the order was paid.
pub(super) fn paid_for(order: &Order) -> Vec<Left> {
    left_after(order, |row| row.event_id.is_none())
}

/// The money that an order costs, or did when it was paid.
pub(super) fn price(order: &Order) -> i64 {
    paid_for(order).iter().map(|left| left.money).sum()
}

/// The refunds of an order by parts: the instant, the units and the money of each event.
pub(super) fn refunds(order: &Order) -> Vec<(Timestamp, i64, i64)> {
    let mut refunds = BTreeMap::new();
    for row in &order.cancellations {
        let Some(event) = row.event_id else { continue };
        let (_, units, money) = refunds.entry(event).or_insert((row.created_at, 0, 0));
        *units += row.units;
        *money += row.amount.minor();
    }
    refunds.into_values().collect()
}

impl Model {
    pub(super) fn cancel_order(&mut self, request: &CancelOrder, now: Timestamp) -> Decision {
        let CancelOrder { order_id, keep_stock, ref items } = *request;
        if let Some(items) = items {
            let mut wrong = Vec::new();
            if items.is_empty() || items.len() > MAX_LINES {
                wrong.push("/items".to_owned());
            }
            for (index, (_, units)) in items.iter().enumerate() {
                if !(1..=MAX_STOCK).contains(units) {
                    wrong.push(format!("/items/{index}/quantity"));
                }
            }
            if !wrong.is_empty() {
                return Err(invalid(wrong));
            }
        }
        let order = self.orders.get(&order_id).ok_or(Refusal::OrderNotFound { order_id })?;
        let order_status = order.status;
        if !matches!(order_status, OrderStatus::Pending | OrderStatus::Paid) {
            return Err(Refusal::OrderNotCancellable { order_id, order_status });
        }
        let before = left(order);
        let taken = match items {
            None => before.iter().map(|left| left.units).collect(),
            Some(items) => {
                let mut wanted = BTreeMap::<ProductId, i64>::new();
                for (product, units) in items {
                    *wanted.entry(*product).or_default() += units;
                }
                let of = |product| before.iter().find(|left| left.product == product);
                let mut shortages = Vec::new();
                for (&product_id, &requested) in &wanted {
                    let available = of(product_id).map_or(0, |left| left.units);
                    if available < requested {
                        shortages.push(Shortage { product_id, requested, available });
                    }
                }
                if !shortages.is_empty() {
                    return Err(Refusal::ItemsNotCancellable { order_id, shortages });
                }
                let taken = before.iter().map(|left| wanted.get(&left.product).copied());
                taken.map(Option::unwrap_or_default).collect::<Vec<i64>>()
            }
        };
        let amounts = self.amounts(order, &before, &taken);
        let (customer_id, is_paid) = (order.customer_id, order_status == OrderStatus::Paid);
        if is_paid {
            let refund = amounts.iter().sum();
            self.check_room(customer_id, refund)?;
            let entry = self.book(customer_id, EntryKind::Refund, refund, Some(order_id), now);
            self.pay_debt(&entry, now);
        }
        let is_last = before.iter().zip(&taken).all(|(left, units)| left.units == *units);
        let kind =
            if is_last { EventKind::OrderCancelled } else { EventKind::OrderPartiallyCancelled };
        if is_paid {
            self.emit(kind, order_id, now);
        }
        let event_id = self.events.last().map(|event| event.id).filter(|_| is_paid);

        if items.is_none() && !keep_stock {
            self.end_order(order_id, OrderStatus::Cancelled);
        } else {
            let order = self.orders.get_mut(&order_id).unwrap();
            for ((left, units), amount) in before.iter().zip(&taken).zip(amounts) {
                if (*units, amount) == (0, 0) {
                    continue;
                }
                if !keep_stock {
                    self.products.get_mut(&left.product).unwrap().stock += units;
                }
                order.cancellations.push(LineCancellation {
                    order_id,
                    customer_id,
                    number: i64::try_from(order.cancellations.len()).unwrap() + 1,
                    product_id: left.product,
                    units: *units,
                    amount: Money::from_minor(amount),
                    is_restocked: !keep_stock,
                    event_id,
                    created_at: now,
                    line_units: left.whole.0 - left.units + units,
                    line_amount: Money::from_minor(left.whole.1 - left.money + amount),
                    quantity: left.whole.0,
                    net: Money::from_minor(left.whole.1),
                });
            }
            if is_last {
                self.end_order(order_id, OrderStatus::Cancelled);
            }
        }
        let order = self.orders.get_mut(&order_id).unwrap();
        if is_last {
            order.cancelled_at = Some(now);
        }
        Ok(order.clone().into())
    }

    /// The money that goes back for the units that are taken from each line.
    fn amounts(&self, order: &Order, before: &[Left], taken: &[i64]) -> Vec<i64> {
        let units_after: Vec<i64> =
            before.iter().zip(taken).map(|(left, units)| left.units - units).collect();
        let prices: Vec<i64> = before
            .iter()
            .zip(&units_after)
            .map(|(left, units)| left.price_of_last(*units))
            .collect();
        let gross: i64 =
            before.iter().zip(&units_after).map(|(left, units)| left.unit_price * units).sum();
        let money: i64 = before.iter().map(|left| left.money).sum();
        let coupon =
            order.owned_coupon_id.map(|id| &self.coupons[&self.owned_coupons[&id].coupon_id]);
        let is_below = coupon.is_some_and(|coupon| {
            let minimum = coupon.min_order_amount.map_or(0, Money::minor);
            coupon.below_minimum == BelowMinimum::Recalculate && gross < minimum
        });
        // The money that stays: the rest at its full price, if the order is no longer one for its coupon.
        let is_last = units_after.iter().all(|units| *units == 0);
        let stays = if is_below && !is_last { gross } else { prices.iter().sum() };
        let mut refund = (money - stays).max(0);
        let mut amounts = vec![0; before.len()];
        let (first, then): (Vec<usize>, Vec<usize>) =
            (0..before.len()).partition(|line| taken[*line] > 0);
        for line in first.into_iter().chain(then) {
            amounts[line] = refund.min(before[line].money - prices[line]);
            refund -= amounts[line];
        }
        amounts
    }
}
