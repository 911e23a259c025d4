//! Carts: products a customer may order later. A cart reserves no stock.

use crate::id::{CustomerId, ProductId};
use crate::limits::MAX_BALANCE;
use crate::model::product::{Product, ProductStatus};
use crate::money::Money;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Quantities by product id.
pub type CartLines = BTreeMap<ProductId, i64>;

/// A cart with current names, prices and stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cart {
    /// The cart's owner.
    pub customer_id: CustomerId,
    /// The items, ordered by product id.
    pub items: Vec<CartItem>,
    /// The sum of the items at current prices.
    pub total: Money,
}

/// One product in a cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "CartItemBody")]
#[non_exhaustive]
pub struct CartItem {
    /// The product.
    pub product_id: ProductId,
    /// Its name.
    pub name: String,
    /// The current price of one unit.
    pub unit_price: Money,
    /// The current price of one unit without a sale.
    pub regular_price: Money,
    /// The number of units.
    pub quantity: i64,
    /// Price times quantity.
    pub amount: Money,
    /// Units that can be sold right now.
    pub stock: i64,
    /// Active if the product can still be ordered.
    pub status: ProductStatus,
}

/// The JSON of an item. Results that earlier versions stored with keys have no regular price.
#[derive(Deserialize)]
struct CartItemBody {
    product_id: ProductId,
    name: String,
    unit_price: Money,
    regular_price: Option<Money>,
    quantity: i64,
    amount: Money,
    stock: i64,
    status: ProductStatus,
}

impl From<CartItemBody> for CartItem {
    fn from(body: CartItemBody) -> Self {
        let CartItemBody { product_id, name, unit_price, regular_price, quantity, .. } = body;
        let CartItemBody { amount, stock, status, .. } = body;
        let regular_price = regular_price.unwrap_or(unit_price);
        Self { product_id, name, unit_price, regular_price, quantity, amount, stock, status }
    }
}

impl Cart {
    /// Prices a customer's cart at the products as of an instant ([`Product::at`]).
    #[must_use]
    pub fn priced(
        customer_id: CustomerId,
        items: impl IntoIterator<Item = (Product, i64)>,
    ) -> Self {
        let items: Vec<CartItem> = items.into_iter().map(|(p, q)| CartItem::priced(p, q)).collect();
        let total = items.iter().fold(0_i64, |sum, item| sum.saturating_add(item.amount.minor()));
        Self { customer_id, items, total: capped(total) }
    }
}

impl CartItem {
    fn priced(product: Product, quantity: i64) -> Self {
        Self {
            product_id: product.id,
            name: product.name,
            unit_price: product.price,
            regular_price: product.regular_price,
            quantity,
            amount: capped(product.price.minor().saturating_mul(quantity)),
            stock: product.stock,
            status: product.status,
        }
    }
}

/// Caps an amount at [`MAX_BALANCE`]: above it JSON readers lose digits, and no order may cost that much.
fn capped(units: i64) -> Money {
    Money::from_minor(units).min(MAX_BALANCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_PRICE, MAX_STOCK};

    #[test]
    fn cart_amounts_are_capped_at_the_largest_exact_json_integer() {
        let yacht = Product {
            id: ProductId::new(1),
            name: "Yacht".to_owned(),
            price: MAX_PRICE,
            regular_price: MAX_PRICE,
            sale: None,
            low_stock_threshold: None,
            limit_per_customer: None,
            stock: MAX_STOCK,
            status: ProductStatus::Active,
        };
        let cart = Cart::priced(CustomerId::new(1), [(yacht.clone(), MAX_STOCK), (yacht, 1)]);
        assert_eq!(cart.items[0].amount, MAX_BALANCE);
        assert_eq!(cart.items[1].amount, MAX_PRICE);
        assert_eq!(cart.total, MAX_BALANCE);
    }
}
