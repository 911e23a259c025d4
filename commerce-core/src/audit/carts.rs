//! Carts: the customer and the product of each line exist.

use super::Check;
use super::by_id::ById;
use super::problems::Problems;
use crate::id::{CustomerId, ProductId};
use crate::store::Record;

const CHECK: &str = "carts";

#[derive(Default)]
pub(super) struct Carts {
    customers: ById<CustomerId, ()>,
    products: ById<ProductId, ()>,
}

impl Check for Carts {
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Account(account) => self.customers.push(account.customer.id, ()),
            Record::Product(product) => self.products.push(product.id, ()),
            Record::CartLine { customer_id, product_id, quantity } => {
                let mut report = |detail| {
                    let subject =
                        format!("product {product_id} in the cart of customer {customer_id}");
                    problems.add(CHECK, subject, detail);
                };
                if !self.customers.has(*customer_id) {
                    report(format!("customer {customer_id} does not exist"));
                }
                if !self.products.has(*product_id) {
                    report(format!("product {product_id} does not exist"));
                }
                if *quantity < 1 {
                    report(format!("the quantity is {quantity} and should be 1 or more"));
                }
            }
            _ => {}
        }
    }
}
