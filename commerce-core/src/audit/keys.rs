//! Idempotency keys: the row that a stored result names exists, has the owner of the key, and agrees with the result in
//! the fields that never change.

use super::Check;
use super::by_id::ById;
use super::problems::Problems;
use crate::clock::Timestamp;
use crate::digest::Fnv;
use crate::id::{
    ChargeId, CouponId, CustomerId, Key, LedgerEntryId, OrderId, OwnedCouponId, ProductId,
    RefundId, TokenId,
};
use crate::idempotency::{GLOBAL_SCOPE, IdempotencyRecord, StoredResult};
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::token::Token;
use crate::model::wallet::{Account, Customer, EntryKind};
use crate::money::Money;
use crate::store::Record;
use serde::Serialize;

const CHECK: &str = "keys";

/// The rows that a stored result can name: their owners and their immutable fields.
#[derive(Default)]
pub(super) struct Keys {
    customers: ById<CustomerId, Immutable>,
    products: ById<ProductId, ()>,
    tokens: ById<TokenId, Immutable>,
    coupons: ById<CouponId, Immutable>,
    owned_coupons: ById<OwnedCouponId, (CustomerId, Immutable)>,
    orders: ById<OrderId, CustomerId>,
    refunds: ById<RefundId, CustomerId>,
    charges: ById<ChargeId, (CustomerId, Immutable)>,
    debits: ById<LedgerEntryId, (CustomerId, Immutable)>,
}

/// The hash of the immutable fields of a row: the fields themselves would take too much memory.
type Immutable = i64;

fn immutable(fields: &impl Serialize) -> Immutable {
    let mut hash = Fnv::default();
    // Tuples of numbers and texts are serializable, and the hash never fails.
    let _ = serde_json::to_writer(&mut hash, fields);
    hash.all()
}

fn customer(row: &Customer) -> Immutable {
    immutable(&row.created_at)
}

fn coupon(row: &Coupon) -> Immutable {
    let Coupon { discount, min_order_amount, valid_from, .. } = row;
    immutable(&(discount, min_order_amount, valid_from))
}

fn token(row: &Token) -> Immutable {
    immutable(&(&row.name, row.role, row.created_at, row.expires_at))
}

fn owned_coupon(row: &OwnedCoupon) -> Immutable {
    immutable(&(row.coupon_id, row.rank, row.claimed_at))
}

/// The immutable fields of a charge or a debit: the amount, the balance after it and the instant.
fn movement(amount: Money, balance: Option<Money>, at: Timestamp) -> Immutable {
    immutable(&(amount, balance, at))
}

impl Check for Keys {
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Account(Account { customer: row, .. }) => {
                self.customers.push(row.id, customer(row));
            }
            Record::Product(product) => self.products.push(product.id, ()),
            Record::Token(row) => self.tokens.push(row.id, token(row)),
            Record::Coupon(row) => self.coupons.push(row.id, coupon(row)),
            Record::OwnedCoupon(row) => {
                self.owned_coupons.push(row.id, (row.customer_id, owned_coupon(row)));
            }
            Record::Order(order) => self.orders.push(order.id, order.customer_id),
            Record::Refund(row) => self.refunds.push(row.id, row.customer_id),
            Record::Charge(row) => {
                let fields = movement(row.amount, row.balance_after, row.created_at);
                self.charges.push(row.id, (row.customer_id, fields));
            }
            Record::LedgerEntry(row) if row.kind == EntryKind::Debit => {
                let fields =
                    movement(row.amount.negated(), Some(row.balance_after), row.created_at);
                self.debits.push(row.id, (row.customer_id, fields));
            }
            Record::Key { key, owner, record } => {
                self.key(key, *owner, &record.answer, problems);
                check_request(key, *owner, record, problems);
            }
            _ => {}
        }
    }
}

impl Keys {
    fn key(&self, key: &Key, owner: CustomerId, answer: &StoredResult, problems: &mut Problems) {
        let mut report =
            |detail| problems.add(CHECK, format!("key {key} of {}", owner_name(owner)), detail);
        if owner != GLOBAL_SCOPE && !self.customers.has(owner) {
            report(format!("{} does not exist", owner_name(owner)));
        }
        // The owner of the row, and true if the row agrees with the stored result.
        let of_shop =
            |row: Option<&Immutable>, stored| row.map(|row| (GLOBAL_SCOPE, *row == stored));
        let of_customer = |row: Option<&(CustomerId, Immutable)>, stored| {
            row.map(|(owner, row)| (*owner, *row == stored))
        };
        let row = match answer {
            StoredResult::Order(id, _) | StoredResult::OrderAfter(id, ..) => {
                self.orders.get(*id).map(|owner| (*owner, true))
            }
            StoredResult::Refund(id) => self.refunds.get(*id).map(|owner| (*owner, true)),
            StoredResult::OpenedCharge(id) => {
                self.charges.get(*id).map(|(owner, _)| (*owner, true))
            }
            StoredResult::Charge(row) => {
                let stored = movement(row.amount, Some(row.balance), row.created_at);
                of_customer(self.charges.get(row.id), stored)
            }
            StoredResult::Debit(row) => {
                let stored = movement(row.amount, Some(row.balance), row.created_at);
                of_customer(self.debits.get(row.id), stored)
            }
            StoredResult::OwnedCoupon(row) => {
                of_customer(self.owned_coupons.get(row.id), owned_coupon(row))
            }
            StoredResult::Product(row) => self.products.get(row.id).map(|()| (GLOBAL_SCOPE, true)),
            StoredResult::Coupon(row) => of_shop(self.coupons.get(row.id), coupon(row)),
            // A key of the shop has added the customer, one of the customer has changed it.
            StoredResult::Customer(row) => {
                let of = if owner == row.id { owner } else { GLOBAL_SCOPE };
                self.customers.get(row.id).map(|known| (of, *known == customer(row)))
            }
            StoredResult::Token(row) => of_shop(self.tokens.get(row.id), token(row)),
            StoredResult::Cart(cart) => {
                self.customers.get(cart.customer_id).map(|_| (cart.customer_id, true))
            }
            StoredResult::Refused(_) => return,
        };
        match row {
            None => report(format!("names {}, which does not exist", row_name(answer))),
            Some((other, _)) if other != owner => {
                report(format!("names {}, which is of {}", row_name(answer), owner_name(other)));
            }
            Some((_, false)) => {
                report(format!(
                    "has a stored result that differs from {}: one of the two was altered",
                    row_name(answer)
                ));
            }
            Some(_) => {}
        }
    }
}

/// Checks that only a refusal has a request, and that its hash is the fingerprint.
fn check_request(
    key: &Key,
    owner: CustomerId,
    record: &IdempotencyRecord,
    problems: &mut Problems,
) {
    let Some(request) = &record.request else { return };
    let mut hash = Fnv::default();
    hash.bytes(request.operation.as_bytes());
    let detail = if !matches!(record.answer, StoredResult::Refused(_)) {
        "has a request beside an answer that is no refusal"
    } else if !request.is_redacted && hash.all() != record.fingerprint {
        "has a request that differs from its fingerprint: one of the two was altered"
    } else {
        return;
    };
    problems.add(CHECK, format!("key {key} of {}", owner_name(owner)), detail.to_owned());
}

fn owner_name(owner: CustomerId) -> String {
    if owner == GLOBAL_SCOPE { "the shop".to_owned() } else { format!("customer {owner}") }
}

fn row_name(answer: &StoredResult) -> String {
    match answer {
        StoredResult::Order(id, _) | StoredResult::OrderAfter(id, ..) => format!("order {id}"),
        StoredResult::Refund(id) => format!("refund {id}"),
        StoredResult::Charge(charge) => format!("charge {}", charge.id),
        StoredResult::OpenedCharge(id) => format!("charge {id}"),
        StoredResult::Debit(debit) => format!("debit {}", debit.id),
        StoredResult::OwnedCoupon(coupon) => format!("owned coupon {}", coupon.id),
        StoredResult::Product(product) => format!("product {}", product.id),
        StoredResult::Coupon(coupon) => format!("coupon {}", coupon.id),
        StoredResult::Customer(customer) => owner_name(customer.id),
        StoredResult::Token(token) => format!("token {}", token.id),
        StoredResult::Cart(cart) => format!("the cart of {}", owner_name(cart.customer_id)),
        StoredResult::Refused(_) => "a refusal".to_owned(),
    }
}
