//! The inputs of a rule beside its state, and its output.

use crate::clock::Timestamp;
use crate::id::OrderId;
use crate::model::cart::Cart;
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::delivery::EventLease;
use crate::model::order::Order;
use crate::model::product::Product;
use crate::model::settings::Settings;
use crate::model::wallet::{Charge, Customer, Debit};

/// The inputs of a rule beside its state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// The instant the rule decides at.
    pub(crate) now: Timestamp,
    /// The time that an unpaid order holds its stock, in seconds.
    pub(crate) hold_seconds: i64,
    /// The trace of the request, for its events.
    pub(crate) trace: Option<&'a str>,
}

/// The result of an operation that was not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Customer(Customer),
    Product(Product),
    Coupon(Coupon),
    Charge(Charge),
    Debit(Debit),
    Cart(Cart),
    OwnedCoupon(OwnedCoupon),
    Order(Order),
    Expired(Vec<OrderId>),
    Done(()),
    EventLease(EventLease),
    Count(u64),
    Settings(Settings),
}
