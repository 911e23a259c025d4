//! The integration tests of `commerce-http`: one binary.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    reason = "a failing test panics; the measurements are printed"
)]

mod attacks;
mod deploy;
mod pages;
