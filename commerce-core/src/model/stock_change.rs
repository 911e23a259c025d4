//! Changes of stock: manual ones, and those that orders made.

use crate::clock::Timestamp;
use crate::id::OrderId;
use crate::model::audit_trail::Actor;
use serde::Serialize;

/// The reason of a change by a cancellation of a part of an order.
pub(crate) const RETURN_OF_PART: &str = "part of order cancelled";

/// A change of the stock of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StockChange {
    /// The instant of the change.
    pub created_at: Timestamp,
    /// Units added; negative if removed.
    pub delta: i64,
    /// Units in stock after it.
    pub stock_after: i64,
    /// The reason given for a manual change; otherwise what happened to the order.
    pub reason: String,
    /// The order that took the units or gave them back; `None` for a manual change.
    pub order_id: Option<OrderId>,
    /// The author of the adjustment, the order or its cancellation, if the audit trail records one.
    pub actor: Option<Actor>,
}
