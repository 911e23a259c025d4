//! The inputs of a rule beside its state, and its output.

use crate::clock::Timestamp;
use crate::id::OrderId;
use crate::model::audit_trail::{Actor, Subject};
use crate::model::cart::Cart;
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::delivery::EventLease;
use crate::model::order::Order;
use crate::model::product::Product;
use crate::model::refund::Refund;
use crate::model::settings::Settings;
use crate::model::token::Token;
use crate::model::wallet::{Charge, Customer, Debit};
use crate::state::State;
use serde::Serialize;

/// The inputs of a rule beside its state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// The instant the rule decides at.
    pub(crate) now: Timestamp,
    /// The time that an unpaid order holds its stock, in seconds.
    pub(crate) hold_seconds: i64,
    /// The author, if the audit trail records the change.
    pub(crate) actor: Option<Actor>,
    /// The trace of the request, for its events.
    pub(crate) trace: Option<&'a str>,
}

impl Context<'_> {
    /// Records a number that the operation was given, for the audit trail.
    pub(crate) fn record_field(&self, state: &mut State, field: &str, value: impl Serialize) {
        if self.actor.is_some() {
            state.field_changes.set(field, value);
        }
    }

    /// Records that the operation changes a name, without the name: it may be personal data.
    pub(crate) fn record_name(&self, state: &mut State, from: &str, to: &str) {
        if from != to {
            self.record_field(state, "name", "changed");
        }
    }

    /// Records a field that the operation changes, for the audit trail.
    pub(crate) fn record_change<T: Serialize + PartialEq>(
        &self,
        state: &mut State,
        field: &str,
        from: &T,
        to: &T,
    ) {
        if self.actor.is_some() {
            state.field_changes.add(field, from, to);
        }
    }
}

/// The result of an operation that was not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Customer(Customer),
    Product(Product),
    Coupon(Coupon),
    Charge(Charge),
    Refund(Refund),
    Debit(Debit),
    Cart(Cart),
    OwnedCoupon(OwnedCoupon),
    Order(Order),
    Expired(Vec<OrderId>),
    Done(()),
    EventLease(EventLease),
    Count(u64),
    Settings(Settings),
    Token(Token),
}

impl Output {
    /// Returns the object that the operation has changed, for the audit trail.
    pub(crate) fn subject(&self) -> Subject {
        match self {
            Self::Customer(customer) => Subject::Customer(customer.id),
            Self::Product(product) => Subject::Product(product.id),
            Self::Coupon(coupon) => Subject::Coupon(coupon.id),
            Self::Charge(charge) => Subject::Charge(charge.id),
            Self::Refund(refund) => Subject::Charge(refund.charge_id),
            Self::Debit(debit) => Subject::LedgerEntry(debit.id),
            Self::Cart(cart) => Subject::Customer(cart.customer_id),
            Self::OwnedCoupon(owned) => Subject::Customer(owned.customer_id),
            Self::Order(order) => Subject::Order(order.id),
            Self::Token(token) => Subject::Token(token.id),
            Self::Expired(_)
            | Self::Done(())
            | Self::EventLease(_)
            | Self::Count(_)
            | Self::Settings(_) => Subject::Shop,
        }
    }
}
