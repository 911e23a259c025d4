//! Products and every change of their stock that is not an order.

use crate::clock::Timestamp;
use crate::id::{ProductId, StockMovementId};
use crate::money::Money;
use serde::{Deserialize, Serialize};

/// A thing that is sold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// The product's id.
    pub id: ProductId,
    /// Its name.
    pub name: String,
    /// What one unit costs.
    pub price: Money,
    /// Units that can be sold right now.
    pub stock: i64,
    /// Whether it is sold.
    pub status: ProductStatus,
}

/// Whether a product is sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProductStatus {
    /// It can be ordered.
    Active,
    /// It is hidden from lists and cannot be ordered any more.
    Archived,
}

impl Product {
    /// Whether it can be ordered.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status == ProductStatus::Active
    }
}

/// A change of stock other than an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockMovement {
    /// The movement's id.
    pub id: StockMovementId,
    /// What was counted.
    pub product_id: ProductId,
    /// Units put in; negative when taken out.
    pub delta: i64,
    /// Why.
    pub reason: String,
    /// When.
    pub created_at: Timestamp,
}
