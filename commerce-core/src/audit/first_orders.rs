//! First orders: each customer's row names the order that was paid first.

use super::Check;
use super::by_id::ById;
use super::problems::{Problems, or_none};
use crate::id::CustomerId;
use crate::model::sale::FirstOrder;
use crate::store::Record;

const CHECK: &str = "first_orders";

#[derive(Default)]
pub(super) struct FirstOrders {
    customers: ById<CustomerId, Customer>,
}

struct Customer {
    named: Option<FirstOrder>,
    found: Option<FirstOrder>,
}

impl Check for FirstOrders {
    fn visit(&mut self, record: &Record, _problems: &mut Problems) {
        match record {
            Record::Account(account) => {
                let customer = Customer { named: account.first_order, found: None };
                self.customers.push(account.customer.id, customer);
            }
            Record::Order(order) => {
                let customer = self.customers.get_mut(order.customer_id);
                if let Some((paid, customer)) = FirstOrder::of(order).zip(customer)
                    && customer.found.is_none_or(|found| paid.is_before(&found))
                {
                    customer.found = Some(paid);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        for (id, Customer { named, found }) in self.customers.iter() {
            if named != found {
                let of = |first: &Option<FirstOrder>| {
                    or_none(first.map(|first| {
                        let end = if first.is_cancelled { ", cancelled" } else { "" };
                        format!("{} (paid at {}{end})", first.order_id, first.paid_at)
                    }))
                };
                let detail =
                    format!("its first order is {}, and the orders give {}", of(named), of(found));
                problems.add(CHECK, format!("customer {id}"), detail);
            }
        }
    }
}
