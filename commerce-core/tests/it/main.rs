//! The integration tests of `commerce-core`: one binary, so that the stores and the helpers are linked once.
//!
//! `tests/README.md` at the top of the repository lists which claim is tested where.

#![allow(missing_docs, unreachable_pub, reason = "a test")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects, reason = "a test")]

mod auth;
mod awaiting;
mod blocked;
mod causes;
mod chaos;
mod clock;
mod common;
mod contention;
mod copy;
mod customers;
mod damage;
mod deliveries;
mod distribute;
mod durable;
mod export;
mod faults;
mod files;
mod flips;
mod flush;
mod gateway;
mod identity;
mod instances;
mod instants;
mod joining;
mod lists;
mod migration;
mod mistakes;
mod needs;
mod parts;
mod poolers;
mod prices;
mod processes;
mod reference;
mod refunds;
mod relay;
mod reports;
mod sequence;
mod staff;
mod standby;
mod stock_history;
mod tidy;
mod tls;
mod versions;
mod week;
mod why;
