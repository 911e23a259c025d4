//! Changing a product's name or price. Orders keep what they were placed with.

use super::valid::Checks;
use super::{Needs, Rule};
use crate::command::{Answer, Context};
use crate::limits::MAX_PRICE;
use crate::state::State;
use crate::{Money, ProductId, Refusal};
use serde::Serialize;

/// Changes a product's name, price or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpdateProduct {
    /// Which product.
    pub product_id: ProductId,
    /// The new name; the old one stays when absent.
    pub name: Option<String>,
    /// The new price; the old one stays when absent.
    pub price: Option<Money>,
}

impl Rule for UpdateProduct {
    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.product(state, self.product_id);
    }

    fn decide(&self, state: &mut State, _context: Context<'_>) -> Result<Answer, Refusal> {
        let mut checks = Checks::default();
        checks.that(self.name.is_some() || self.price.is_some(), "", || {
            "give a new name, a new price, or both".to_owned()
        });
        if let Some(name) = &self.name {
            checks.text(name, "/name");
        }
        if let Some(price) = self.price {
            checks.integer(price.minor(), 1..=MAX_PRICE.minor(), "/price");
        }
        checks.done()?;
        state.active_product(self.product_id)?;

        state.change_product(self.product_id, |product| {
            if let Some(name) = &self.name {
                product.name.clone_from(name);
            }
            product.price = self.price.unwrap_or(product.price);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::testing::{World, code};
    use rstest::rstest;

    #[test]
    fn what_is_not_named_stays() {
        let mut world = World::default().with_product(3, 10, 10);
        let request = UpdateProduct {
            product_id: ProductId::new(3),
            name: None,
            price: Some(Money::from_minor(12)),
        };
        let Ok(Answer::Product(product)) = world.run(request) else { panic!() };
        assert_eq!(
            (product.price.minor(), product.name.as_str(), product.stock),
            (12, "Product 3", 10)
        );
    }

    #[rstest]
    #[case::nothing(3, None, None, "invalid_request")]
    #[case::no_name(3, Some(""), None, "invalid_request")]
    #[case::free(3, None, Some(0), "invalid_request")]
    #[case::unknown(9, Some("a"), None, "product_not_found")]
    #[case::archived(4, Some("a"), None, "product_archived")]
    fn refusals(
        #[case] id: i64,
        #[case] name: Option<&str>,
        #[case] price: Option<i64>,
        #[case] refused: &str,
    ) {
        let mut world = World::default().with_product(3, 10, 10).with_archived(4);
        let request = UpdateProduct {
            product_id: ProductId::new(id),
            name: name.map(str::to_owned),
            price: price.map(Money::from_minor),
        };
        assert_eq!(code(world.refused(request)), refused);
    }
}
