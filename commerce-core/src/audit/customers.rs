//! Customers who were disabled have no session. Those who were erased have no personal data in any table, and what keys
//! have stored about them has none either.

use super::Check;
use super::by_id::ById;
use super::problems::Problems;
use crate::id::CustomerId;
use crate::idempotency::StoredResult;
use crate::model::wallet::{Customer, CustomerStatus, Role};
use crate::store::Record;

const CHECK: &str = "customers";

#[derive(Default)]
pub(super) struct Customers {
    statuses: ById<CustomerId, CustomerStatus>,
}

impl Check for Customers {
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        let mut report = |row: String, detail: &str| {
            let detail = format!("{detail}: erase the customer again");
            problems.add(CHECK, row, detail);
        };
        match record {
            Record::Account(account) => {
                let Customer { id, name, login, role, status, .. } = &account.customer;
                self.statuses.push(*id, *status);
                let is_plain = name == Customer::ERASED_NAME && login.is_none();
                if *status == CustomerStatus::Erased && !(is_plain && *role == Role::Customer) {
                    report(format!("customer {id}"), "is erased and has a name, a login or a role");
                }
            }
            Record::CartLine { customer_id, .. } if self.is_erased(*customer_id) => {
                report(format!("cart of customer {customer_id}"), "is of an erased customer");
            }
            Record::Charge(row)
                if self.is_erased(row.customer_id)
                    && row
                        .source
                        .as_ref()
                        .is_some_and(|source| source.payment_method.is_some()) =>
            {
                report(format!("charge {}", row.id), "has a payment method of an erased customer");
            }
            Record::Credentials(row) if self.is_erased(row.customer_id) => {
                let row = format!("credentials of customer {}", row.customer_id);
                report(row, "are of an erased customer");
            }
            Record::Session(row)
                if self.status(row.customer_id) != Some(CustomerStatus::Active) =>
            {
                let id = row.customer_id;
                let detail = "the customer was disabled or erased: revoke the session";
                problems.add(CHECK, format!("session of customer {id}"), detail.to_owned());
            }
            Record::Key { key, owner, record } => {
                let is_personal = match &record.answer {
                    StoredResult::Customer(row) => {
                        self.is_erased(row.id)
                            && (row.login.is_some() || row.name != Customer::ERASED_NAME)
                    }
                    StoredResult::Cart(cart) => self.is_erased(*owner) && !cart.items.is_empty(),
                    _ => false,
                };
                if is_personal {
                    report(format!("key {key}"), "has stored personal data of an erased customer");
                }
            }
            _ => {}
        }
    }
}

impl Customers {
    fn status(&self, id: CustomerId) -> Option<CustomerStatus> {
        self.statuses.get(id).copied()
    }

    fn is_erased(&self, id: CustomerId) -> bool {
        self.status(id) == Some(CustomerStatus::Erased)
    }
}
