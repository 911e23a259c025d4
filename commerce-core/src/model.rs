//! What the things are: plain data with their own small behaviour. JSON field names are the contract's.

pub(crate) mod auth;
pub(crate) mod cart;
pub(crate) mod coupon;
pub(crate) mod delivery;
pub(crate) mod event;
pub(crate) mod idempotency;
pub(crate) mod order;
pub(crate) mod product;
pub(crate) mod wallet;
mod words;
