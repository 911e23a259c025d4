//! Carts: what a customer may order later. A cart reserves nothing.

use crate::id::{CustomerId, ProductId};
use crate::limits::MAX_BALANCE;
use crate::model::product::{Product, ProductStatus};
use crate::money::Money;
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
        Self { customer_id, items, total: shown(total) }
    }
}

impl CartItem {
    fn priced(product: Product, quantity: i64) -> Self {
        Self {
            product_id: product.id,
            name: product.name,
            unit_price: product.price,
            quantity,
            amount: shown(product.price.minor().saturating_mul(quantity)),
            stock: product.stock,
            status: product.status,
        }
    }
}

/// An amount of a cart, [`MAX_BALANCE`] at most: beyond it readers of JSON lose digits, and no order may cost so much.
fn shown(units: i64) -> Money {
    Money::from_minor(units).min(MAX_BALANCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_PRICE, MAX_STOCK};

    #[test]
    fn a_cart_beyond_any_balance_is_shown_with_amounts_that_every_reader_keeps() {
        let yacht = Product {
            id: ProductId::new(1),
            name: "Yacht".to_owned(),
            price: MAX_PRICE,
            stock: MAX_STOCK,
            status: ProductStatus::Active,
        };
        let cart = Cart::priced(CustomerId::new(1), [(yacht.clone(), MAX_STOCK), (yacht, 1)]);
        assert_eq!(cart.items[0].amount, MAX_BALANCE);
        assert_eq!(cart.items[1].amount, MAX_PRICE);
        assert_eq!(cart.total, MAX_BALANCE);
    }
}
