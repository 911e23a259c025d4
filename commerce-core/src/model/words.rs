//! The words of statuses, kinds and roles, as stores keep them and people read them. JSON has the same words.

use crate::model::coupon::OwnedCouponStatus;
use crate::model::delivery::DeliveryStatus;
use crate::model::event::EventKind;
use crate::model::order::OrderStatus;
use crate::model::product::ProductStatus;
use crate::model::wallet::{ChargeStatus, EntryKind, PaymentKind, Role};
use std::fmt;

macro_rules! words {
    ($($type:ident { $($variant:ident = $word:literal,)+ })+) => {$(
        impl $type {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for the value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The value of a word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+

        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn words_match_json_and_are_parsed_back() {
                $(for value in $type::ALL {
                    assert_eq!(serde_json::to_value(value).unwrap(), value.as_str());
                    assert_eq!($type::from_word(value.as_str()), Some(*value));
                })+
            }
        }
    };
}

words! {
    Role { Customer = "customer", Admin = "admin", }
    ProductStatus { Active = "active", Archived = "archived", }
    OwnedCouponStatus { Held = "held", Used = "used", Expired = "expired", }
    OrderStatus { Pending = "pending", Paid = "paid", Cancelled = "cancelled", Expired = "expired", }
    ChargeStatus { Pending = "pending", Succeeded = "succeeded", Failed = "failed", }
    EntryKind { Charge = "charge", Debit = "debit", Payment = "payment", Refund = "refund", }
    PaymentKind { Payment = "payment", Refund = "refund", }
    DeliveryStatus { Sending = "sending", Waiting = "waiting", Parked = "parked", }
    EventKind { OrderPaid = "order.paid", OrderCancelled = "order.cancelled", }
}
