//! Idempotency keys: what a key answers with exists, belongs to whoever the key belongs to, and is still what the answer
//! says of it, as far as that never changes.

use super::Check;
use super::by_id::ById;
use super::problems::Problems;
use crate::clock::Timestamp;
use crate::digest::Fnv;
use crate::id::{
    ChargeId, CouponId, CustomerId, Key, LedgerEntryId, OrderId, OwnedCouponId, ProductId,
};
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::idempotency::{GLOBAL_SCOPE, StoredResult};
use crate::model::wallet::{Account, Customer, EntryKind};
use crate::money::Money;
use crate::store::Record;
use serde::Serialize;

const CHECK: &str = "keys";

/// The rows that an answer can name: their owners, and what never changes of them.
#[derive(Default)]
pub(super) struct Keys {
    customers: ById<CustomerId, Unchanging>,
    products: ById<ProductId, ()>,
    coupons: ById<CouponId, Unchanging>,
    owned_coupons: ById<OwnedCouponId, (CustomerId, Unchanging)>,
    orders: ById<OrderId, CustomerId>,
    charges: ById<ChargeId, (CustomerId, Unchanging)>,
    debits: ById<LedgerEntryId, (CustomerId, Unchanging)>,
}

/// The hash of what never changes of a row: names are too long to be kept of every customer.
type Unchanging = i64;

fn unchanging(fields: &impl Serialize) -> Unchanging {
    let mut hash = Fnv::default();
    // Tuples of numbers and texts can be written, and the sink never fails.
    let _ = serde_json::to_writer(&mut hash, fields);
    hash.all()
}

fn customer(row: &Customer) -> Unchanging {
    unchanging(&(&row.name, row.created_at))
}

fn coupon(row: &Coupon) -> Unchanging {
    let Coupon { name, discount, min_order_amount, quantity, valid_from, valid_until, .. } = row;
    unchanging(&(name, discount, min_order_amount, quantity, valid_from, valid_until))
}

fn owned_coupon(row: &OwnedCoupon) -> Unchanging {
    unchanging(&(row.coupon_id, row.rank, row.claimed_at))
}

/// A charge or a debit: the amount, the balance after it and the instant.
fn moved(amount: Money, balance: Option<Money>, at: Timestamp) -> Unchanging {
    unchanging(&(amount, balance, at))
}

impl Check for Keys {
    fn see(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Account(Account { customer: row, .. }) => {
                self.customers.push(row.id, customer(row));
            }
            Record::Product(product) => self.products.push(product.id, ()),
            Record::Coupon(row) => self.coupons.push(row.id, coupon(row)),
            Record::OwnedCoupon(row) => {
                self.owned_coupons.push(row.id, (row.customer_id, owned_coupon(row)));
            }
            Record::Order(order) => self.orders.push(order.id, order.customer_id),
            Record::Charge(row) => {
                let moved = moved(row.amount, row.balance_after, row.created_at);
                self.charges.push(row.id, (row.customer_id, moved));
            }
            Record::LedgerEntry(row) if row.kind == EntryKind::Debit => {
                let moved = moved(row.amount.negated(), Some(row.balance_after), row.created_at);
                self.debits.push(row.id, (row.customer_id, moved));
            }
            Record::Key { key, owner, record } => self.key(key, *owner, &record.answer, problems),
            _ => {}
        }
    }
}

impl Keys {
    fn key(&self, key: &Key, owner: CustomerId, answer: &StoredResult, problems: &mut Problems) {
        let mut wrong =
            |detail| problems.add(CHECK, format!("key {key} of {}", named(owner)), detail);
        if owner != GLOBAL_SCOPE && !self.customers.has(owner) {
            wrong(format!("{} does not exist", named(owner)));
        }
        // The owner, and whether the row is what the answer says of it.
        let of_shop =
            |row: Option<&Unchanging>, answered| row.map(|row| (GLOBAL_SCOPE, *row == answered));
        let of_customer = |row: Option<&(CustomerId, Unchanging)>, answered| {
            row.map(|(owner, row)| (*owner, *row == answered))
        };
        let found = match answer {
            StoredResult::Order(id, _) => self.orders.get(*id).map(|owner| (*owner, true)),
            StoredResult::OpenedCharge(id) => {
                self.charges.get(*id).map(|(owner, _)| (*owner, true))
            }
            StoredResult::Charge(row) => {
                let answered = moved(row.amount, Some(row.balance), row.created_at);
                of_customer(self.charges.get(row.id), answered)
            }
            StoredResult::Debit(row) => {
                let answered = moved(row.amount, Some(row.balance), row.created_at);
                of_customer(self.debits.get(row.id), answered)
            }
            StoredResult::OwnedCoupon(row) => {
                of_customer(self.owned_coupons.get(row.id), owned_coupon(row))
            }
            StoredResult::Product(row) => self.products.get(row.id).map(|()| (GLOBAL_SCOPE, true)),
            StoredResult::Coupon(row) => of_shop(self.coupons.get(row.id), coupon(row)),
            StoredResult::Customer(row) => of_shop(self.customers.get(row.id), customer(row)),
            StoredResult::Cart(cart) => {
                self.customers.get(cart.customer_id).map(|_| (cart.customer_id, true))
            }
            StoredResult::Refused(_) => return,
        };
        match found {
            None => wrong(format!("answers with {}, which does not exist", what(answer))),
            Some((other, _)) if other != owner => {
                wrong(format!("answers with {}, which is of {}", what(answer), named(other)));
            }
            Some((_, false)) => {
                wrong(format!(
                    "answers with {} as it is not: one of the two was altered",
                    what(answer)
                ));
            }
            Some(_) => {}
        }
    }
}

fn named(owner: CustomerId) -> String {
    if owner == GLOBAL_SCOPE { "the shop".to_owned() } else { format!("customer {owner}") }
}

fn what(answer: &StoredResult) -> String {
    match answer {
        StoredResult::Order(id, _) => format!("order {id}"),
        StoredResult::Charge(charge) => format!("charge {}", charge.id),
        StoredResult::OpenedCharge(id) => format!("charge {id}"),
        StoredResult::Debit(debit) => format!("debit {}", debit.id),
        StoredResult::OwnedCoupon(coupon) => format!("owned coupon {}", coupon.id),
        StoredResult::Product(product) => format!("product {}", product.id),
        StoredResult::Coupon(coupon) => format!("coupon {}", coupon.id),
        StoredResult::Customer(customer) => named(customer.id),
        StoredResult::Cart(cart) => format!("the cart of {}", named(cart.customer_id)),
        StoredResult::Refused(_) => "a refusal".to_owned(),
    }
}
