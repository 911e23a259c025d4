//! Ids as types of their own, so that a product's id cannot be handed in where an order's is asked.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// The id with that number. Ids in use are 1 or more; others are simply not found.
            #[must_use]
            pub const fn new(number: i64) -> Self {
                Self(number)
            }

            /// The number itself.
            #[must_use]
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<i64> for $name {
            fn from(number: i64) -> Self {
                Self(number)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+};
}

ids! {
    /// Names a customer.
    CustomerId;
    /// Names a product.
    ProductId;
    /// Names a coupon campaign.
    CouponId;
    /// Names one coupon that a customer claimed.
    OwnedCouponId;
    /// Names an order.
    OrderId;
    /// Names a charge.
    ChargeId;
    /// Names an entry of a customer's ledger; payments, refunds and debits are such entries.
    LedgerEntryId;
    /// Names a change of stock other than an order.
    StockMovementId;
    /// Numbers an event in the outbox: in the order of commits, without gaps.
    EventId;
}

/// An idempotency key: chosen by the caller, it makes a call safe to repeat.
///
/// 1 to 255 visible ASCII characters. It belongs to one customer. Keys that grow with time
/// (`UUIDv7`, ULID, a counter) are the cheapest for a big store; random ones are as right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Arc<str>);

impl Key {
    /// The most characters a key may have: what Stripe allows, so that callers can keep theirs.
    pub const MAX_LENGTH: usize = 255;

    /// A key of the caller's choosing, or `None` when it is empty, longer than
    /// [`Key::MAX_LENGTH`], or holds anything but visible ASCII.
    ///
    /// ```
    /// use commerce_core::Key;
    /// assert!(Key::new("order-2026-0001").is_some());
    /// assert!(Key::new("").is_none());
    /// assert!(Key::new("two words").is_none());
    /// ```
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let length = (1..=Self::MAX_LENGTH).contains(&text.len());
        (length && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(text.into()))
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
