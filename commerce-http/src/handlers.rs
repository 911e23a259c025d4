//! The handlers of the calls, one file per resource.

pub(crate) mod best_sellers;
pub(crate) mod carts;
pub(crate) mod coupons;
pub(crate) mod customers;
pub(crate) mod exports;
pub(crate) mod operations;
pub(crate) mod orders;
pub(crate) mod products;
pub(crate) mod reports;
pub(crate) mod sessions;
pub(crate) mod staff;
pub(crate) mod wallet;
pub(crate) mod webhooks;
