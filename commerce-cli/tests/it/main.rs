//! The integration tests of the `commerce` binary, at the command line and over HTTP.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test")]
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "a test")]

mod bank;
mod browser;
mod command;
mod http;
mod postgres;
