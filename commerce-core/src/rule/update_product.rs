//! Updates a product's name, price or status. Existing orders keep the name and price they were placed with.

use super::Rule;
use super::validate::Checks;
use crate::error::Refusal;
use crate::id::{CustomerId, ProductId};
use crate::idempotency::GLOBAL_SCOPE;
use crate::limits::MAX_PRICE;
use crate::model::audit_trail::Action;
use crate::model::product::ProductStatus;
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use crate::version::Version;
use serde::Serialize;

/// Updates a product. An archived product (hidden from lists and not orderable) must be reactivated before, or in
/// the same call as, any other change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpdateProduct {
    /// The product.
    pub product_id: ProductId,
    /// The new name; default: unchanged.
    pub name: Option<String>,
    /// The new price; default: unchanged.
    pub price: Option<Money>,
    /// The new status; default: unchanged.
    pub status: Option<ProductStatus>,
}

impl UpdateProduct {
    /// Creates an update without changes.
    #[must_use]
    pub fn new(product_id: ProductId) -> Self {
        Self { product_id, name: None, price: None, status: None }
    }

    /// Creates an update that archives the product; archiving an archived product succeeds.
    #[must_use]
    pub fn archive(product_id: ProductId) -> Self {
        Self { status: Some(ProductStatus::Archived), ..Self::new(product_id) }
    }
}

impl Rule for UpdateProduct {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(GLOBAL_SCOPE)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.product(state, self.product_id);
    }

    fn version(&self, state: &State) -> Result<Version, Refusal> {
        Ok(state.version_of(state.known_product(self.product_id)?))
    }

    fn action(&self) -> Option<Action> {
        Some(Action::ProductUpdated)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let mut checks = Checks::default();
        let has_change = self.name.is_some() || self.price.is_some() || self.status.is_some();
        checks.that(has_change, "", || "give a new name, price or status".to_owned());
        if let Some(name) = &self.name {
            checks.text(name, "/name");
        }
        if let Some(price) = self.price {
            checks.integer(price.minor(), 1..=MAX_PRICE.minor(), "/price");
        }
        checks.done()?;
        match (self.status, &self.name, self.price) {
            (Some(ProductStatus::Active), ..) | (Some(_), None, None) => {
                state.known_product(self.product_id)?
            }
            _ => state.active_product(self.product_id)?,
        };

        let before = state.known_product(self.product_id)?;
        let (price, status) = (before.price, before.status);
        context.record_change(state, "price", &price, &self.price.unwrap_or(price));
        context.record_change(state, "status", &status, &self.status.unwrap_or(status));
        state
            .change_product(self.product_id, |product| {
                if let Some(name) = &self.name {
                    product.name.clone_from(name);
                }
                product.price = self.price.unwrap_or(product.price);
                product.status = self.status.unwrap_or(product.status);
            })
            .map(Output::Product)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::testing::{World, code};
    use rstest::rstest;

    #[test]
    fn update_product_keeps_fields_that_are_absent() {
        let mut world = World::default().with_product(3, 10, 10);
        let price = Some(Money::from_minor(12));
        let request = UpdateProduct { price, ..UpdateProduct::new(ProductId::new(3)) };
        let Ok(Output::Product(product)) = world.run(request) else { panic!() };
        assert_eq!(
            (product.price.minor(), product.name.as_str(), product.stock),
            (12, "Product 3", 10)
        );
    }

    #[test]
    fn archived_product_keeps_stock_and_can_be_reactivated() {
        let mut world = World::default().with_product(3, 10, 10);
        let id = ProductId::new(3);
        for _ in 0..2 {
            let Ok(Output::Product(product)) = world.run(UpdateProduct::archive(id)) else {
                panic!()
            };
            assert_eq!((product.status, product.stock), (ProductStatus::Archived, 10));
        }
        let status = Some(ProductStatus::Active);
        let back = UpdateProduct { status, name: Some("Tea".to_owned()), ..UpdateProduct::new(id) };
        let Ok(Output::Product(product)) = world.run(back) else { panic!() };
        assert_eq!((product.is_active(), product.name.as_str()), (true, "Tea"));
    }

    #[rstest]
    #[case::no_change(3, None, None, "invalid_request")]
    #[case::no_name(3, Some(""), None, "invalid_request")]
    #[case::zero_price(3, None, Some(0), "invalid_request")]
    #[case::unknown(9, Some("a"), None, "product_not_found")]
    #[case::archived(4, Some("a"), None, "product_archived")]
    fn update_product_refuses_invalid_requests(
        #[case] id: i64,
        #[case] name: Option<&str>,
        #[case] price: Option<i64>,
        #[case] refused: &str,
    ) {
        let mut world = World::default().with_product(3, 10, 10).with_archived(4);
        let request = UpdateProduct {
            name: name.map(str::to_owned),
            price: price.map(Money::from_minor),
            ..UpdateProduct::new(ProductId::new(id))
        };
        assert_eq!(code(world.refused(request)), refused);
    }
}
