//! Orders: the amounts of each add up, its status agrees with its instants, and its customer's list holds it.

use super::Check;
use super::by_id::ById;
use super::problems::{Problems, or_none};
use crate::id::{CustomerId, OrderId};
use crate::model::order::{Order, OrderLine, OrderStatus};
use crate::money::Money;
use crate::store::Record;
use std::collections::HashSet;

const CHECK: &str = "orders";

#[derive(Default)]
pub(super) struct Orders {
    customers: ById<CustomerId, Chain>,
}

/// The newest order that the account names, and the newest one seen.
struct Chain {
    last_order: Option<OrderId>,
    newest: Option<OrderId>,
}

impl Check for Orders {
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Account(account) => {
                let chain = Chain { last_order: account.last_order, newest: None };
                self.customers.push(account.customer.id, chain);
            }
            Record::Order(order) => {
                let mut report =
                    |detail| problems.add(CHECK, format!("order {}", order.id), detail);
                check_lines(order, &mut report);
                check_amounts(order, &mut report);
                check_status(order, &mut report);
                self.check_chain(order, &mut report);
            }
            _ => {}
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        for (id, chain) in
            self.customers.iter().filter(|(_, chain)| chain.last_order != chain.newest)
        {
            let (last_order, newest) = (or_none(chain.last_order), or_none(chain.newest));
            let detail = format!("the newest order is {newest} and last_order is {last_order}");
            problems.add(CHECK, format!("customer {id}"), detail);
        }
    }
}

impl Orders {
    fn check_chain(&mut self, order: &Order, report: &mut dyn FnMut(String)) {
        let Some(chain) = self.customers.get_mut(order.customer_id) else {
            return report(format!("customer {} does not exist", order.customer_id));
        };
        if order.previous != chain.newest {
            let (previous, before) = (or_none(order.previous), or_none(chain.newest));
            report(format!(
                "the customer's order before it is {before} and previous is {previous}"
            ));
        }
        chain.newest = Some(order.id);
    }
}

fn check_lines(order: &Order, report: &mut dyn FnMut(String)) {
    if order.lines.is_empty() {
        report("has no lines".to_owned());
    }
    let mut products = HashSet::with_capacity(order.lines.len());
    for OrderLine { product_id, unit_price, regular_price, quantity, amount, .. } in &order.lines {
        if !products.insert(product_id) {
            report(format!("has product {product_id} in more than one line"));
        }
        if *quantity < 1 {
            report(format!("has {quantity} units of product {product_id}"));
        }
        if regular_price < unit_price {
            report(format!(
                "the line of product {product_id} has the price {unit_price}, above the regular {regular_price}"
            ));
        }
        let due = unit_price.checked_mul(*quantity);
        if due != Some(*amount) {
            let due = or_none(due);
            report(format!("the line of product {product_id} is {amount} and should be {due}"));
        }
    }
}

fn check_amounts(order: &Order, report: &mut dyn FnMut(String)) {
    let Order { subtotal, discount, total, .. } = *order;
    let sum = order.lines.iter().try_fold(Money::ZERO, |sum, line| sum.checked_add(line.amount));
    if sum != Some(subtotal) {
        report(format!("the subtotal is {subtotal} and the lines add up to {}", or_none(sum)));
    }
    // An imported order has its discount from another system.
    let is_explained = order.owned_coupon_id.is_some() || order.reference.is_some();
    if discount < Money::ZERO || (discount > Money::ZERO && !is_explained) {
        report(format!("has a discount of {discount} and no coupon for it"));
    }
    let due = subtotal.checked_sub(discount);
    if due != Some(total) || total < Money::ZERO {
        report(format!("the total is {total} and should be {subtotal} less {discount}"));
    }
}

fn check_status(order: &Order, report: &mut dyn FnMut(String)) {
    // Without `..`, so that a new instant of orders is an error here.
    let &Order {
        status,
        expires_at,
        paid_at,
        cancelled_at,
        id: _,
        customer_id: _,
        reference: _,
        lines: _,
        subtotal: _,
        discount: _,
        total: _,
        owned_coupon_id: _,
        created_at: _,
        previous: _,
        cancellations: _,
    } = order;
    let is_consistent = match status {
        OrderStatus::Pending | OrderStatus::Expired => {
            paid_at.is_none() && cancelled_at.is_none() && expires_at.is_some()
        }
        OrderStatus::Paid => paid_at.is_some() && cancelled_at.is_none(),
        OrderStatus::Cancelled => {
            cancelled_at.is_some() && (paid_at.is_some() || expires_at.is_some())
        }
    };
    if !is_consistent {
        report(format!(
            "is {status}, which contradicts expires_at {}, paid_at {} and cancelled_at {}",
            or_none(expires_at),
            or_none(paid_at),
            or_none(cancelled_at)
        ));
    }
}
