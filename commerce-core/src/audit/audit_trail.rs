//! The audit trail: its numbers have no gaps, its actors and subjects exist, and each change of stock by an actor has an
//! entry.

use super::Check;
use super::by_id::ById;
use super::problems::Problems;
use crate::id::{
    ChargeId, CouponId, CustomerId, LedgerEntryId, OrderId, ProductId, StockMovementId, TokenId,
};
use crate::model::audit_trail::{Action, Actor, AuditEntry, Subject};
use crate::store::Record;
use std::collections::BTreeMap;

const CHECK: &str = "audit_trail";

#[derive(Default)]
pub(super) struct AuditTrail {
    last: i64,
    customers: ById<CustomerId, ()>,
    products: ById<ProductId, ()>,
    coupons: ById<CouponId, ()>,
    orders: ById<OrderId, ()>,
    charges: ById<ChargeId, ()>,
    ledger: ById<LedgerEntryId, ()>,
    tokens: ById<TokenId, ()>,
    /// The last movement of each product by each actor, and the number of movements that have no entry yet.
    movements: BTreeMap<(ProductId, Actor), (StockMovementId, i64)>,
}

impl Check for AuditTrail {
    fn visit(&mut self, record: &Record, problems: &mut Problems) {
        match record {
            Record::Account(account) => self.customers.push(account.customer.id, ()),
            Record::Product(product) => self.products.push(product.id, ()),
            Record::Coupon(coupon) => self.coupons.push(coupon.id, ()),
            Record::Order(order) => self.orders.push(order.id, ()),
            Record::Charge(charge) => self.charges.push(charge.id, ()),
            Record::LedgerEntry(entry) => self.ledger.push(entry.id, ()),
            Record::Token(token) => self.tokens.push(token.id, ()),
            Record::StockMovement(movement) => {
                if let Some(actor) = movement.actor {
                    let of = (movement.product_id, actor);
                    let (last, count) = self.movements.entry(of).or_insert((movement.id, 0));
                    (*last, *count) = (movement.id, count.saturating_add(1));
                }
            }
            Record::AuditEntry(entry) => self.entry(entry, problems),
            _ => {}
        }
    }

    fn finish(&mut self, problems: &mut Problems) {
        for ((product, actor), (movement, count)) in &self.movements {
            if *count > 0 {
                let detail =
                    format!("the audit trail has no entry of {actor} for product {product}");
                problems.add(CHECK, format!("stock movement {movement}"), detail);
            }
        }
    }
}

impl AuditTrail {
    fn entry(&mut self, entry: &AuditEntry, problems: &mut Problems) {
        let id = entry.id.get();
        let mut report = |detail| problems.add(CHECK, format!("audit entry {id}"), detail);
        if self.last.checked_add(1) != Some(id) {
            report(format!("follows entry {}: entries between them are missing", self.last));
        }
        self.last = id;
        if !self.has_actor(entry.actor) {
            report(format!("its actor {} does not exist", entry.actor));
        }
        if !self.has_subject(entry.subject) {
            report(format!("its subject {} does not exist", entry.subject));
        }
        if let (Action::StockAdjusted | Action::ProductAdded, Subject::Product(product)) =
            (entry.action, entry.subject)
            && let Some((_, count)) = self.movements.get_mut(&(product, entry.actor))
        {
            *count = count.saturating_sub(1);
        }
    }

    fn has_actor(&self, actor: Actor) -> bool {
        match actor {
            Actor::Customer(id) => self.customers.has(id),
            Actor::Token(id) => self.tokens.has(id),
            Actor::Cli => true,
        }
    }

    fn has_subject(&self, subject: Subject) -> bool {
        match subject {
            Subject::Customer(id) => self.customers.has(id),
            Subject::Product(id) => self.products.has(id),
            Subject::Coupon(id) => self.coupons.has(id),
            Subject::Order(id) => self.orders.has(id),
            Subject::Charge(id) => self.charges.has(id),
            Subject::LedgerEntry(id) => self.ledger.has(id),
            Subject::Token(id) => self.tokens.has(id),
            Subject::Shop => true,
        }
    }
}
