//! Domain types: plain data and the few methods that depend on nothing else. JSON field names are part of the
//! public contract.

pub(crate) mod audit_trail;
pub(crate) mod auth;
pub(crate) mod cart;
pub(crate) mod coupon;
pub(crate) mod delivery;
pub(crate) mod event;
pub(crate) mod export;
pub(crate) mod order;
pub(crate) mod patch;
pub(crate) mod product;
pub(crate) mod refund;
pub(crate) mod sale;
pub(crate) mod settings;
pub(crate) mod stock_change;
pub(crate) mod token;
pub(crate) mod wallet;
mod words;
