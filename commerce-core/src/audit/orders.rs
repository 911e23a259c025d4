//! Orders: each one adds up, stands where its instants say, and is found from its customer.

use super::Check;
use super::by_id::ById;
use super::problems::{Problems, shown};
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
    fn see(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Account(account) => {
                let chain = Chain { last_order: account.last_order, newest: None };
                self.customers.push(account.customer.id, chain);
            }
            Record::Order(order) => {
                let mut wrong = |detail| problems.add(CHECK, format!("order {}", order.id), detail);
                check_lines(order, &mut wrong);
                check_amounts(order, &mut wrong);
                check_status(order, &mut wrong);
                self.check_chain(order, &mut wrong);
            }
            _ => {}
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        for (id, chain) in
            self.customers.iter().filter(|(_, chain)| chain.last_order != chain.newest)
        {
            let (is, should) = (shown(chain.last_order), shown(chain.newest));
            let detail = format!("the newest order is {should} and last_order names {is}");
            problems.add(CHECK, format!("customer {id}"), detail);
        }
    }
}

impl Orders {
    fn check_chain(&mut self, order: &Order, wrong: &mut dyn FnMut(String)) {
        let Some(chain) = self.customers.get_mut(order.customer_id) else {
            return wrong(format!("customer {} does not exist", order.customer_id));
        };
        if order.previous != chain.newest {
            let (is, should) = (shown(order.previous), shown(chain.newest));
            wrong(format!("the customer's order before it is {should} and it names {is}"));
        }
        chain.newest = Some(order.id);
    }
}

fn check_lines(order: &Order, wrong: &mut dyn FnMut(String)) {
    if order.lines.is_empty() {
        wrong("has no lines".to_owned());
    }
    let mut products = HashSet::with_capacity(order.lines.len());
    for OrderLine { product_id, unit_price, quantity, amount, .. } in &order.lines {
        if !products.insert(product_id) {
            wrong(format!("has product {product_id} in more than one line"));
        }
        if *quantity < 1 {
            wrong(format!("has {quantity} units of product {product_id}"));
        }
        let due = unit_price.checked_mul(*quantity);
        if due != Some(*amount) {
            let due = shown(due);
            wrong(format!("the line of product {product_id} is {amount} and should be {due}"));
        }
    }
}

fn check_amounts(order: &Order, wrong: &mut dyn FnMut(String)) {
    let Order { subtotal, discount, total, .. } = *order;
    let sum = order.lines.iter().try_fold(Money::ZERO, |sum, line| sum.checked_add(line.amount));
    if sum != Some(subtotal) {
        wrong(format!("the subtotal is {subtotal} and the lines add up to {}", shown(sum)));
    }
    if discount < Money::ZERO || (discount > Money::ZERO && order.owned_coupon_id.is_none()) {
        wrong(format!("has a discount of {discount} and no coupon for it"));
    }
    let due = subtotal.checked_sub(discount);
    if due != Some(total) || total < Money::ZERO {
        wrong(format!("the total is {total} and should be {subtotal} less {discount}"));
    }
}

fn check_status(order: &Order, wrong: &mut dyn FnMut(String)) {
    let Order { status, paid_at, cancelled_at, expires_at, .. } = *order;
    let fits = match status {
        OrderStatus::Pending | OrderStatus::Expired => {
            paid_at.is_none() && cancelled_at.is_none() && expires_at.is_some()
        }
        OrderStatus::Paid => paid_at.is_some() && cancelled_at.is_none(),
        OrderStatus::Cancelled => {
            cancelled_at.is_some() && (paid_at.is_some() || expires_at.is_some())
        }
    };
    if !fits {
        wrong(format!(
            "is {status}, which does not fit expires_at {}, paid_at {} and cancelled_at {}",
            shown(expires_at),
            shown(paid_at),
            shown(cancelled_at)
        ));
    }
}
