//! Id newtypes, so that a product id cannot be passed where an order id is expected.

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
            /// Creates an id from its number. Ids in use are 1 or more; any other number is not found.
            #[must_use]
            pub const fn new(number: i64) -> Self {
                Self(number)
            }

            /// Returns the number.
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
    /// The id of a customer.
    CustomerId;
    /// The id of a product.
    ProductId;
    /// The id of a coupon campaign.
    CouponId;
    /// The id of one coupon that a customer claimed.
    OwnedCouponId;
    /// The id of an order.
    OrderId;
    /// The id of a charge.
    ChargeId;
    /// The id of a refund or dispute of a charge: that of the ledger entry that took the money from the balance.
    RefundId;
    /// The id of an entry of a customer's ledger; payments, refunds and debits are such entries.
    LedgerEntryId;
    /// The id of a change of stock other than an order.
    StockMovementId;
    /// The id of a token of a program.
    TokenId;
    /// The number of an entry of the audit trail: in commit order, without gaps.
    AuditEntryId;
    /// The number of an event in the outbox: in commit order, without gaps.
    EventId;
}

/// An idempotency key: chosen by the caller, it makes a call safe to retry.
///
/// 1 to 255 visible ASCII characters, scoped to one customer. Time-ordered keys (`UUIDv7`, ULID, a counter) are
/// the cheapest for a large store; random keys are equally correct.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Arc<str>);

impl Key {
    /// The maximum length of a key: the same as Stripe's, so that callers can keep their keys.
    pub const MAX_LENGTH: usize = 255;

    /// Creates a key, or returns `None` if the text is empty, longer than [`Key::MAX_LENGTH`], or contains
    /// anything but visible ASCII.
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

    /// Returns the key's text.
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
