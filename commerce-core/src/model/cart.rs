//! Carts: what a customer may order later. A cart reserves nothing.

use crate::{CustomerId, Money, Product, ProductId, ProductStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Product and quantity pairs, by product id.
pub type CartLines = BTreeMap<ProductId, i64>;

/// A cart with today's names, prices and stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cart {
    /// Whose it is.
    pub customer_id: CustomerId,
    /// What is in it, by product id.
    pub items: Vec<CartItem>,
    /// The sum of the items at today's prices.
    pub total: Money,
}

/// One product in a cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartItem {
    /// The product.
    pub product_id: ProductId,
    /// Its name.
    pub name: String,
    /// Today's price of one unit.
    pub unit_price: Money,
    /// Units wanted.
    pub quantity: i64,
    /// Price times quantity.
    pub amount: Money,
    /// Units that can be sold right now.
    pub stock: i64,
    /// Whether it can still be ordered.
    pub status: ProductStatus,
}

impl Cart {
    /// The cart of a customer, priced with the products as they are now.
    #[must_use]
    pub fn priced(
        customer_id: CustomerId,
        items: impl IntoIterator<Item = (Product, i64)>,
    ) -> Self {
        let items: Vec<CartItem> = items.into_iter().map(|(p, q)| CartItem::priced(p, q)).collect();
        let total = items.iter().fold(0_i64, |sum, item| sum.saturating_add(item.amount.minor()));
        Self { customer_id, items, total: Money::from_minor(total) }
    }
}

impl CartItem {
    fn priced(product: Product, quantity: i64) -> Self {
        Self {
            product_id: product.id,
            name: product.name,
            unit_price: product.price,
            quantity,
            amount: Money::from_minor(product.price.minor().saturating_mul(quantity)),
            stock: product.stock,
            status: product.status,
        }
    }
}
