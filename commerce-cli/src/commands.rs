//! The subcommands, one file each.

pub(crate) mod admin;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod balance;
pub(crate) mod bench;
pub(crate) mod cart;
pub(crate) mod charge;
pub(crate) mod charges;
pub(crate) mod copy;
pub(crate) mod coupon;
pub(crate) mod customer;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod manual;
pub(crate) mod order;
pub(crate) mod orders;
pub(crate) mod password;
pub(crate) mod product;
pub(crate) mod report;
pub(crate) mod seed;
pub(crate) mod serve;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod top;
