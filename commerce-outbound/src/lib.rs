//! Where the events of the order service go, and where the money of charges comes from.
//!
//! [`destination`] gives the place that a URL, a file or `-` names, as a
//! [`Destination`](commerce_core::Destination): events arrive there as CloudEvents 1.0 JSON, signed after
//! Standard Webhooks when there is a secret. [`Stripe`] is a
//! [`PaymentGateway`](commerce_core::PaymentGateway). Both talk to parties that fail, hang and repeat
//! themselves: whatever these do, a call returns within
//! [`MAX_DELIVERY`](commerce_core::limits::MAX_DELIVERY), says what is known, and no more.

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm,
        clippy::needless_pass_by_value,
        reason = "tests may stop, and are read more easily so"
    )
)]

mod cloud_event;
mod destination;
mod error;
mod file;
mod stdout;
mod stripe;

pub use cloud_event::MAX_EVENT_BYTES;
pub use destination::{DestinationOptions, MAX_EVENTS_A_REQUEST, destination};
pub use error::OutboundError;
pub use stripe::{Stripe, StripeOptions};
