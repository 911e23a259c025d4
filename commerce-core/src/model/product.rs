//! Products, and the changes of their stock other than orders.

use crate::clock::Timestamp;
use crate::id::{ProductId, StockMovementId};
use crate::model::audit_trail::Actor;
use crate::model::words::words;
use crate::money::Money;
use serde::{Deserialize, Serialize};

/// A product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// The product's id.
    pub id: ProductId,
    /// Its name.
    pub name: String,
    /// The price of one unit.
    pub price: Money,
    /// Units that can be sold right now.
    pub stock: i64,
    /// Active if it is sold.
    pub status: ProductStatus,
}

/// The status of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProductStatus {
    /// On sale.
    Active,
    /// Hidden from lists; cannot be ordered.
    Archived,
}

words! {
    ProductStatus {
        Active = "active",
        Archived = "archived",
    }
}

impl Product {
    /// Returns true if the product can be ordered.
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
    /// The product.
    pub product_id: ProductId,
    /// Units added; negative if removed.
    pub delta: i64,
    /// The reason given.
    pub reason: String,
    /// The author, if it was an actor of the audit trail.
    pub actor: Option<Actor>,
    /// The instant of the change.
    pub created_at: Timestamp,
}
