//! Adds a product with its initial stock.

use super::Rule;
use super::adjust_stock::write_movement;
use super::validate::Checks;
use crate::error::Refusal;
use crate::id::{CustomerId, ProductId};
use crate::idempotency::GLOBAL_SCOPE;
use crate::limits::{MAX_PRICE, MAX_STOCK};
use crate::model::audit_trail::Action;
use crate::model::product::{Product, ProductStatus};
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Adds a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddProduct {
    /// The id; default: the next free one.
    pub id: Option<ProductId>,
    /// The product's name.
    pub name: String,
    /// The price of one unit, 1 to [`MAX_PRICE`].
    pub price: Money,
    /// Units in stock, 0 to [`MAX_STOCK`].
    pub stock: i64,
}

impl AddProduct {
    /// Creates a request for a product with the next free id.
    #[must_use]
    pub fn new(name: impl Into<String>, price: Money, stock: i64) -> Self {
        Self { id: None, name: name.into(), price, stock }
    }
}

impl Rule for AddProduct {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(GLOBAL_SCOPE)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        if let Some(id) = self.id {
            needs.product(state, id);
        }
    }

    fn action(&self) -> Option<Action> {
        Some(Action::ProductAdded)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        Checks::default()
            .integer(self.id.map_or(1, ProductId::get), 1..=i64::MAX / 2, "/id")
            .text(&self.name, "/name")
            .integer(self.price.minor(), 1..=MAX_PRICE.minor(), "/price")
            .integer(self.stock, 0..=MAX_STOCK, "/stock")
            .done()?;
        if let Some(id) = self.id.filter(|id| state.products.get(*id).is_some()) {
            return Err(Refusal::ProductExists { product_id: id });
        }

        let id = match self.id {
            Some(id) => id,
            None => state.next_product_id(),
        };
        state.reserve_product_id(id);
        let product = Product {
            id,
            name: self.name.clone(),
            price: self.price,
            regular_price: self.price,
            sale: None,
            stock: self.stock,
            low_stock_threshold: None,
            limit_per_customer: None,
            status: ProductStatus::Active,
        };
        state.products.insert(id, product.clone());
        if self.stock > 0 {
            write_movement(state, id, self.stock, "first stock", context);
        }
        Ok(Output::Product(product))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::testing::{World, code};
    use rstest::rstest;

    #[test]
    fn initial_stock_is_a_stock_movement() {
        let mut world = World::default();
        let request =
            AddProduct { id: None, name: "Tea".into(), price: Money::from_minor(5), stock: 3 };
        let Ok(Output::Product(product)) = world.run(request) else { panic!() };
        assert_eq!((product.stock, product.is_active()), (3, true));
        assert_eq!(world.state.stock_movements[0].delta, 3);
    }

    #[rstest]
    #[case::no_name(None, "", 1, 0, "invalid_request")]
    #[case::zero_price(None, "a", 0, 0, "invalid_request")]
    #[case::negative_price(None, "a", -1, 0, "invalid_request")]
    #[case::price_above_limit(None, "a", MAX_PRICE.minor() + 1, 0, "invalid_request")]
    #[case::negative_stock(None, "a", 1, -1, "invalid_request")]
    #[case::stock_above_limit(None, "a", 1, MAX_STOCK + 1, "invalid_request")]
    #[case::id_in_use(Some(3), "a", 1, 0, "product_exists")]
    fn add_product_refuses_invalid_requests_and_ids_in_use(
        #[case] id: Option<i64>,
        #[case] name: &str,
        #[case] price: i64,
        #[case] stock: i64,
        #[case] refused: &str,
    ) {
        let mut world = World::default().with_product(3, 10, 10);
        let id = id.map(ProductId::new);
        let request = AddProduct { id, name: name.into(), price: Money::from_minor(price), stock };
        assert_eq!(code(world.refused(request)), refused);
    }
}
