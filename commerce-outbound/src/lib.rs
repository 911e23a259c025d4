//! Where the events of the order service go, and where the money of charges comes from.
//!
//! [`destination`] gives the place that a URL, a file or `-` names, as a
//! [`Destination`](commerce_core::Destination): events arrive there as CloudEvents 1.0 JSON, signed after
//! Standard Webhooks when there is a secret. [`Stripe`] is a
//! [`PaymentGateway`](commerce_core::PaymentGateway). Both talk to parties that fail, hang and repeat
//! themselves: whatever these do, a call returns within
//! [`MAX_DELIVERY`](commerce_core::limits::MAX_DELIVERY), says what is known, and no more.
//!
//! ```
//! use commerce_outbound::{DestinationOptions, OutboundError, destination};
//!
//! let archive = destination("file:/var/lib/commerce/events.ndjson", DestinationOptions::default())?;
//! assert_eq!(archive.max_concurrency(), 1);
//!
//! // The inside of one's own network is told to only where that is meant.
//! let inside = destination("http://10.0.0.7/orders", DestinationOptions::default());
//! assert!(matches!(inside, Err(OutboundError::PrivateAddress)));
//! # Ok::<(), OutboundError>(())
//! ```

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm,
        clippy::needless_pass_by_value,
        reason = "tests may stop, and are read more easily so"
    )
)]

mod address;
mod cloud_event;
mod destination;
mod error;
mod file;
mod http;
#[cfg(test)]
mod outside;
#[cfg(test)]
mod receiver;
mod secrets;
mod signature;
mod stdout;
mod stripe;
mod webhook;

pub use cloud_event::MAX_EVENT_BYTES;
pub use destination::{DestinationOptions, MAX_EVENTS_A_REQUEST, destination};
pub use error::OutboundError;
pub use secrets::SecretSource;
pub use stripe::{Stripe, StripeOptions};
