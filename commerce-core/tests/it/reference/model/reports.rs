//! Reports: counted by hand over orders, lines, movements and ledger, with a calendar of fixed offsets.

use super::Model;
use super::parts::{self, Left};
use commerce_core::store::{CouponUsage, FirstOrder};
use commerce_core::{
    Basis, CouponId, CustomerId, EntryKind, LedgerEntry, Money, Order, OrderId, OrderStatus,
    Period, ProductId, ProductStatus, RankBy, Timestamp,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The zones of the generated reports, with their offsets in seconds; none changes its clock in these histories.
pub(crate) const ZONES: [(&str, i64); 4] = [
    ("UTC", 0),
    ("Asia/Seoul", 9 * 3_600),
    ("Asia/Kathmandu", 5 * 3_600 + 45 * 60),
    ("America/New_York", -5 * 3_600),
];

type Products = BTreeMap<ProductId, (i64, i64)>;

/// The instants of an order that count: paid, and cancelled after it was paid.
fn instants(order: &Order) -> (Option<Timestamp>, Option<Timestamp>) {
    match order.status {
        OrderStatus::Paid => (order.paid_at, None),
        OrderStatus::Cancelled => (order.paid_at, order.paid_at.and(order.cancelled_at)),
        OrderStatus::Pending | OrderStatus::Expired => (None, None),
    }
}

fn units(lines: &[Left]) -> i64 {
    lines.iter().map(|left| left.units).sum()
}

fn discount(lines: &[Left]) -> i64 {
    lines.iter().map(Left::discount).sum()
}

/// The amount paid for each line: the whole parts of the discount first, then single units by remainder.
pub(super) fn line_nets(order: &Order) -> Vec<i64> {
    let (subtotal, discount) =
        (i128::from(order.subtotal.minor()), i128::from(order.discount.minor()));
    let exact: Vec<i128> =
        order.lines.iter().map(|line| i128::from(line.amount.minor()) * discount).collect();
    let mut shares: Vec<i128> = exact.iter().map(|exact| exact / subtotal).collect();
    let mut left: Vec<usize> = (0..exact.len()).collect();
    while shares.iter().sum::<i128>() < discount {
        let most = left.iter().map(|index| exact[*index] % subtotal).max().unwrap();
        let next = left.iter().position(|index| exact[*index] % subtotal == most).unwrap();
        shares[left.remove(next)] += 1;
    }
    let nets =
        order.lines.iter().zip(shares).map(|(line, share)| i128::from(line.amount.minor()) - share);
    nets.map(|net| i64::try_from(net).unwrap()).collect()
}

impl Model {
    /// The first order of each customer.
    pub(super) fn first_orders(&self) -> BTreeMap<CustomerId, FirstOrder> {
        let mut paid: Vec<(Timestamp, OrderId, &Order)> = Vec::new();
        for order in self.orders.values() {
            if let (Some(at), _) = instants(order) {
                paid.push((at, order.id, order));
            }
        }
        paid.sort_unstable_by_key(|(at, id, _)| (*at, *id));
        let mut first = BTreeMap::new();
        for (paid_at, order_id, order) in paid {
            let is_cancelled = order.status == OrderStatus::Cancelled;
            first.entry(order.customer_id).or_insert(FirstOrder {
                paid_at,
                order_id,
                is_cancelled,
            });
        }
        first
    }

    /// The use of a campaign's coupons.
    pub(super) fn usage(&self, coupon: CouponId) -> CouponUsage {
        let uses = |order: &&Order| {
            order.owned_coupon_id.is_some_and(|id| self.owned_coupons[&id].coupon_id == coupon)
        };
        let mut usage = CouponUsage::default();
        for order in self.orders.values().filter(uses) {
            match order.status {
                OrderStatus::Pending | OrderStatus::Paid => usage.used += 1,
                OrderStatus::Cancelled | OrderStatus::Expired => usage.given_back += 1,
            }
            if order.status == OrderStatus::Paid {
                let add = |sum: Money, more: Money| Money::from_minor(sum.minor() + more.minor());
                for left in parts::left(order) {
                    usage.discounts = add(usage.discounts, Money::from_minor(left.discount()));
                    usage.net = add(usage.net, Money::from_minor(left.money));
                }
            }
        }
        usage
    }

    fn figures(&self, from: i64, to: i64, basis: Basis) -> Value {
        let is_inside =
            |at: Option<Timestamp>| at.is_some_and(|at| from < at.unix() && at.unix() <= to);
        let first: BTreeSet<OrderId> =
            self.first_orders().into_values().map(|first| first.order_id).collect();
        let (mut orders, mut sold, mut gross, mut discounts, mut first_orders) = (0, 0, 0, 0, 0);
        let (mut cancelled_orders, mut cancelled_units, mut refunds) = (0, 0, 0);
        for order in self.orders.values() {
            let (paid_at, cancelled_at) = instants(order);
            let stands = basis == Basis::Booked || cancelled_at.is_none();
            let is_booked = basis == Basis::Booked;
            let lines = if is_booked { parts::paid_for(order) } else { parts::left(order) };
            if is_inside(paid_at) && stands {
                orders += 1;
                sold += units(&lines);
                gross += lines.iter().map(Left::gross).sum::<i64>();
                discounts += discount(&lines);
                first_orders += i64::from(first.contains(&order.id));
            }
            for (at, units, money) in parts::refunds(order) {
                if is_booked && is_inside(Some(at)) {
                    cancelled_units += units;
                    refunds += money;
                }
            }
            if is_booked && is_inside(cancelled_at) {
                let rest = parts::left(order);
                cancelled_orders += 1;
                cancelled_units += units(&rest);
                refunds += rest.iter().map(|left| left.money).sum::<i64>();
            }
        }
        let net = gross - discounts;
        let average_order = if orders == 0 { 0 } else { net / orders };
        json!({
            "orders": orders, "units": sold, "gross": gross, "discounts": discounts, "net": net,
            "cancelled_orders": cancelled_orders, "cancelled_units": cancelled_units, "refunds": refunds,
            "first_orders": first_orders, "average_order": average_order,
        })
    }

    /// Predicts a sales report of `(from, to]`.
    pub(crate) fn sales_report(
        &self,
        (from, to): (Timestamp, Timestamp),
        (zone, offset): (&str, i64),
        by: Period,
        basis: Basis,
    ) -> Value {
        let (first, last) = (from.unix(), to.unix());
        let mut buckets = Vec::new();
        let mut before = first;
        while before < last {
            let end = end_of_period(before + 1 + offset, by) - offset;
            let end = end.min(last);
            let mut bucket = self.figures(before, end, basis);
            bucket["from"] = json!(Timestamp::from_unix(before));
            bucket["to"] = json!(Timestamp::from_unix(end));
            buckets.push(bucket);
            before = end;
        }
        json!({
            "from": from, "to": to, "zone": zone, "basis": basis,
            "as_of_event": self.events.last().map(|event| event.id),
            "totals": self.figures(first, last, basis),
            "buckets": buckets,
        })
    }

    fn products_sold(&self, from: Timestamp, to: Timestamp) -> Products {
        let mut products = Products::new();
        for order in self.orders.values().filter(|order| order.status == OrderStatus::Paid) {
            if order.paid_at.is_some_and(|at| from < at && at <= to) {
                for left in parts::left(order) {
                    let (units, money) = products.entry(left.product).or_default();
                    *units += left.units;
                    *money += left.money;
                }
            }
        }
        products
    }

    /// Predicts the product report of the three days up to `to`.
    pub(crate) fn product_report(&self, by: RankBy, to: Timestamp) -> Value {
        let back = |at: Timestamp| Timestamp::from_unix(at.unix() - 3 * 86_400);
        let from = back(to);
        let now = self.products_sold(from, to);
        let before = self.products_sold(back(from), from);
        let before_of = |id: &ProductId| before.get(id).map_or(0, |(units, _)| *units);
        let by_money = by == RankBy::Net;
        let ranked = |products: &Products| {
            let score = |(units, net): &(i64, i64)| if by_money { *net } else { *units };
            // Money that was kept back for units that are gone gives no rank.
            let sold = products.iter().filter(|(_, (units, _))| *units > 0);
            let mut ids: Vec<_> = sold.map(|(id, sold)| (-score(sold), *id)).collect();
            ids.sort_unstable();
            ids.into_iter().map(|(_, id)| id).collect::<Vec<_>>()
        };
        let ranks_before = ranked(&before);
        let ids = match by {
            RankBy::Units | RankBy::Net => ranked(&now),
            RankBy::Rising => {
                let mut ids: Vec<_> = now
                    .iter()
                    .map(|(id, (units, _))| (before_of(id) - units, *id))
                    .filter(|(fall, _)| *fall < 0)
                    .collect();
                ids.sort_unstable();
                ids.into_iter().map(|(_, id)| id).collect()
            }
        };
        let (all_units, all_net) =
            now.values().fold((0, 0), |sum, sold| (sum.0 + sold.0, sum.1 + sold.1));
        let item = |(index, id): (usize, &ProductId)| {
            let (product, (units, net)) = (&self.products[id], now[id]);
            let (part, whole) = if by_money { (net, all_net) } else { (units, all_units) };
            let share = i128::from(part) * 10_000;
            json!({
                "rank": index + 1,
                "rank_before": ranks_before.iter().position(|before| before == id).map(|index| index + 1),
                "product_id": id, "name": product.name, "units": units, "units_before": before_of(id), "net": net,
                "share_basis_points": if whole == 0 { 0 } else { share / i128::from(whole) },
                "stock": product.stock, "status": product.status,
            })
        };
        let items: Vec<Value> = ids.iter().enumerate().map(item).collect();
        json!({ "from": from, "to": to, "by": by, "units": all_units, "net": all_net, "items": items })
    }

    /// Predicts the stock report of the three days up to `to`.
    pub(crate) fn stock_report(&self, to: Timestamp) -> Value {
        let from = Timestamp::from_unix(to.unix() - 3 * 86_400);
        let sold = self.products_sold(from, to);
        let mut items = Vec::new();
        for product in
            self.products.values().filter(|product| product.status == ProductStatus::Active)
        {
            let sold = sold.get(&product.id).map_or(0, |(units, _)| *units);
            let is_received = |at: Timestamp, delta: i64| from < at && at <= to && delta > 0;
            let received: i64 = self
                .movements
                .iter()
                .filter(|row| {
                    row.product_id == product.id && is_received(row.created_at, row.delta)
                })
                .map(|row| row.delta)
                .sum();
            let days_left = (sold > 0).then(|| product.stock * 3 / sold);
            let through = if sold == 0 { 0 } else { sold * 10_000 / (sold + product.stock) };
            let is_low = product.low_stock_threshold.is_some_and(|low| product.stock <= low);
            let order = (!is_low, days_left.unwrap_or(i64::MAX), product.stock, product.id);
            items.push((order, json!({
                "product_id": product.id, "name": product.name, "sold": sold, "received": received,
                "stock": product.stock, "sell_through_basis_points": through, "days_left": days_left,
                "low_stock_threshold": product.low_stock_threshold,
            })));
        }
        items.sort_by_key(|(order, _)| *order);
        let items: Vec<Value> = items.into_iter().map(|(_, item)| item).collect();
        json!({ "from": from, "to": to, "items": items })
    }

    /// Predicts the coupon report.
    pub(crate) fn coupon_report(&self) -> Value {
        let item = |(id, coupon): (&CouponId, &commerce_core::Coupon)| {
            let usage = self.usage(*id);
            json!({
                "coupon_id": id, "name": coupon.name, "quantity": coupon.quantity, "issued": coupon.issued,
                "used": usage.used, "given_back": usage.given_back, "discounts": usage.discounts, "net": usage.net,
            })
        };
        json!({ "items": self.coupons.iter().map(item).collect::<Vec<_>>() })
    }

    /// Predicts the balance report.
    pub(crate) fn balance_report(&self, at: Timestamp) -> Value {
        let entries = || self.ledger.iter().filter(|entry| entry.created_at <= at);
        let moved = |kind: EntryKind| -> i64 {
            let entries = entries().filter(|entry| entry.kind == kind);
            entries.map(|entry| entry.amount.minor()).sum()
        };
        let sum = |kind: EntryKind| moved(kind).abs();
        let returned = -moved(EntryKind::ChargeRefund) - moved(EntryKind::Chargeback);
        let mut balances: BTreeMap<CustomerId, i64> = BTreeMap::new();
        for LedgerEntry { customer_id, amount, .. } in entries() {
            *balances.entry(*customer_id).or_default() += amount.minor();
        }
        json!({
            "at": at, "charged": sum(EntryKind::Charge), "debited": sum(EntryKind::Debit),
            "spent": sum(EntryKind::Payment), "refunded": sum(EntryKind::Refund),
            "returned": returned, "debts": moved(EntryKind::Debt),
            "outstanding": balances.values().sum::<i64>(),
            "customers": balances.values().filter(|balance| **balance > 0).count(),
        })
    }
}

/// Returns the last local second of the period that a local second is in.
fn end_of_period(second: i64, by: Period) -> i64 {
    let (length, shift) = match by {
        Period::Hour => (3_600, 0),
        Period::Day => (86_400, 0),
        // The first of January 1970 was a Thursday.
        Period::Week => (7 * 86_400, 3 * 86_400),
        Period::Month => unreachable!("months are tested beside their code"),
    };
    (second + shift).div_euclid(length) * length + length - shift - 1
}
