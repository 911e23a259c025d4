//! Purchases: each customer has the units that the live orders give of each product with a limit, and no others.

use super::Check;
use super::by_id::ById;
use super::problems::Problems;
use crate::id::{CustomerId, ProductId};
use crate::model::order::Order;
use crate::model::product::Purchase;
use crate::store::Record;
use std::collections::BTreeMap;

const CHECK: &str = "purchases";

#[derive(Default)]
pub(super) struct Purchases {
    customers: ById<CustomerId, ()>,
    /// True for a product with a limit.
    products: ById<ProductId, bool>,
    /// The units of live orders that no row has shown yet.
    expected: BTreeMap<(ProductId, CustomerId), i64>,
}

impl Check for Purchases {
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Account(account) => self.customers.push(account.customer.id, ()),
            Record::Product(product) => {
                self.products.push(product.id, product.limit_per_customer.is_some());
            }
            Record::Order(order) if order.is_live() => self.count(order),
            Record::Purchase(row) => self.purchase(row, problems),
            _ => {}
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        for ((product, customer), units) in &self.expected {
            let detail = format!("has no row, and the orders give {units} units");
            problems.add(CHECK, subject(*product, *customer), detail);
        }
    }
}

fn subject(product: ProductId, customer: CustomerId) -> String {
    format!("purchases of product {product} by customer {customer}")
}

impl Purchases {
    fn count(&mut self, order: &Order) {
        let has_limit = |id| self.products.get(id).copied().unwrap_or(false);
        for line in order.lines.iter().filter(|line| has_limit(line.product_id)) {
            let cancelled = order.cancelled_units(line.product_id);
            let bought = line.quantity.saturating_sub(cancelled);
            if bought > 0 {
                let units = self.expected.entry((line.product_id, order.customer_id)).or_default();
                *units = units.saturating_add(bought);
            }
        }
    }

    fn purchase(&mut self, row: &Purchase, problems: &mut Problems) {
        let Purchase { product_id, customer_id, units } = *row;
        let expected = self.expected.remove(&(product_id, customer_id)).unwrap_or(0);
        let mut report = |detail| problems.add(CHECK, subject(product_id, customer_id), detail);
        if !self.customers.has(customer_id) {
            report(format!("customer {customer_id} does not exist"));
        }
        match self.products.get(product_id) {
            None => report(format!("product {product_id} does not exist")),
            Some(false) => report("are counted, and the product has no limit".to_owned()),
            Some(true) if units != expected => {
                report(format!("are {units} units, and the orders give {expected}"));
            }
            Some(true) => {}
        }
    }
}
