//! Idempotency keys: what a key answers with exists, and belongs to whoever the key belongs to.

use super::Check;
use super::by_id::ById;
use super::problems::Problems;
use crate::command::{Recorded, SHOP};
use crate::store::Record;
use crate::{
    ChargeId, CouponId, CustomerId, EntryKind, Key, LedgerEntryId, OrderId, OwnedCouponId,
    ProductId,
};

const CHECK: &str = "keys";

/// Whose each row is that an answer can name.
#[derive(Default)]
pub(super) struct Keys {
    customers: ById<CustomerId, ()>,
    products: ById<ProductId, ()>,
    coupons: ById<CouponId, ()>,
    owned_coupons: ById<OwnedCouponId, CustomerId>,
    orders: ById<OrderId, CustomerId>,
    charges: ById<ChargeId, CustomerId>,
    debits: ById<LedgerEntryId, CustomerId>,
}

impl Check for Keys {
    fn see(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Account(account) => self.customers.push(account.customer.id, ()),
            Record::Product(product) => self.products.push(product.id, ()),
            Record::Coupon(coupon) => self.coupons.push(coupon.id, ()),
            Record::OwnedCoupon(owned) => self.owned_coupons.push(owned.id, owned.customer_id),
            Record::Order(order) => self.orders.push(order.id, order.customer_id),
            Record::Charge(charge) => self.charges.push(charge.id, charge.customer_id),
            Record::LedgerEntry(entry) if entry.kind == EntryKind::Debit => {
                self.debits.push(entry.id, entry.customer_id);
            }
            Record::Key { key, owner, record } => self.key(key, *owner, &record.answer, problems),
            _ => {}
        }
    }
}

impl Keys {
    fn key(&self, key: &Key, owner: CustomerId, answer: &Recorded, problems: &mut Problems) {
        let mut wrong =
            |detail| problems.add(CHECK, format!("key {key} of {}", named(owner)), detail);
        if owner != SHOP && !self.customers.has(owner) {
            wrong(format!("{} does not exist", named(owner)));
        }
        let whose = match answer {
            Recorded::Order(id, _) => self.orders.get(*id),
            Recorded::Charge(charge) => self.charges.get(charge.id),
            Recorded::OpenedCharge(id) => self.charges.get(*id),
            Recorded::Debit(debit) => self.debits.get(debit.id),
            Recorded::OwnedCoupon(coupon) => self.owned_coupons.get(coupon.id),
            Recorded::Product(product) => self.products.get(product.id).map(|()| &SHOP),
            Recorded::Coupon(coupon) => self.coupons.get(coupon.id).map(|()| &SHOP),
            Recorded::Customer(customer) => self.customers.get(customer.id).map(|()| &SHOP),
            Recorded::Cart(cart) => {
                self.customers.get(cart.customer_id).map(|()| &cart.customer_id)
            }
            Recorded::Refused(_) => return,
        };
        match whose {
            None => wrong(format!("answers with {}, which does not exist", what(answer))),
            Some(whose) if *whose != owner => {
                wrong(format!("answers with {}, which is of {}", what(answer), named(*whose)));
            }
            Some(_) => {}
        }
    }
}

fn named(owner: CustomerId) -> String {
    if owner == SHOP { "the shop".to_owned() } else { format!("customer {owner}") }
}

fn what(answer: &Recorded) -> String {
    match answer {
        Recorded::Order(id, _) => format!("order {id}"),
        Recorded::Charge(charge) => format!("charge {}", charge.id),
        Recorded::OpenedCharge(id) => format!("charge {id}"),
        Recorded::Debit(debit) => format!("debit {}", debit.id),
        Recorded::OwnedCoupon(coupon) => format!("owned coupon {}", coupon.id),
        Recorded::Product(product) => format!("product {}", product.id),
        Recorded::Coupon(coupon) => format!("coupon {}", coupon.id),
        Recorded::Customer(customer) => named(customer.id),
        Recorded::Cart(cart) => format!("the cart of {}", named(cart.customer_id)),
        Recorded::Refused(_) => "a refusal".to_owned(),
    }
}
