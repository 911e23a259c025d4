//! Idempotency records: the request that a key was used for, and its stored result.

use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::{ChargeId, CustomerId, OrderId, RefundId};
use crate::model::cart::Cart;
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::order::OrderStatus;
use crate::model::product::Product;
use crate::model::token::Token;
use crate::model::wallet::{Charge, Customer, Debit};
use serde::{Deserialize, Serialize};

/// The scope of keys that belong to the shop and not to a customer, as those of stock adjustments.
pub(crate) const GLOBAL_SCOPE: CustomerId = CustomerId::new(0);

/// The request that an idempotency key was used for, and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// The hash of the request. A request with the same key and another fingerprint is refused.
    pub fingerprint: i64,
    /// The result.
    pub answer: StoredResult,
    /// The instant the request was decided at.
    pub created_at: Timestamp,
    /// The digest of the key; `None` if the row that was made with it holds one of both.
    pub digest: Option<i64>,
    /// The request, if it was refused; `None` for a success, which is explained by what it made, and for keys of earlier
    /// versions.
    pub request: Option<RefusedRequest>,
}

/// A request that was refused, to explain the refusal later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRequest {
    /// The operation as JSON. The fingerprint is its hash, unless texts were left out.
    pub operation: String,
    /// True if the texts of the operation were left out, since they may be personal data.
    #[serde(default, skip_serializing_if = "is_whole")]
    pub is_redacted: bool,
    /// The newest order before it; 0 if there was none.
    pub last_order: OrderId,
    /// The newest adjustment of stock before it; 0 if there was none.
    pub last_movement: i64,
    /// The newest event before it; 0 if there was none.
    pub last_event: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde demands")]
fn is_whole(is_redacted: &bool) -> bool {
    !is_redacted
}

/// A result as it is stored with a key: only what cannot be derived from the rows that the request made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredResult {
    /// An order and its status after the request.
    Order(OrderId, OrderStatus),
    /// An order, its status after the request, and the number of its cancellations of parts.
    OrderAfter(OrderId, OrderStatus, usize),
    /// A charge that succeeded at once.
    Charge(Charge),
    /// A charge that was opened for its gateway to collect. Its outcome is in its row.
    OpenedCharge(ChargeId),
    /// A refund of a charge. Its outcome is in its row.
    Refund(RefundId),
    /// A debit.
    Debit(Debit),
    /// A claimed coupon.
    OwnedCoupon(OwnedCoupon),
    /// A product with its new stock.
    Product(Product),
    /// A new campaign.
    Coupon(Coupon),
    /// A customer.
    Customer(Customer),
    /// A new or revoked token, without its hash.
    Token(Token),
    /// A cart.
    Cart(Cart),
    /// A refusal.
    Refused(Refusal),
}
