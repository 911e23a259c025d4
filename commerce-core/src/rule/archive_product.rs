//! Taking a product off the shelves. What was ordered of it stays.

use super::{Needs, Rule};
use crate::command::{Answer, Context};
use crate::state::State;
use crate::{ProductId, ProductStatus, Refusal};
use serde::Serialize;

/// Hides a product from lists and from ordering. Archiving it again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArchiveProduct {
    /// Which product.
    pub product_id: ProductId,
}

impl Rule for ArchiveProduct {
    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.product(state, self.product_id);
    }

    fn decide(&self, state: &mut State, _context: Context<'_>) -> Result<Answer, Refusal> {
        state.known_product(self.product_id)?;

        state.change_product(self.product_id, |product| product.status = ProductStatus::Archived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::testing::{World, code};

    #[test]
    fn an_archived_product_keeps_its_stock() {
        let mut world = World::default().with_product(3, 10, 10);
        for _ in 0..2 {
            let request = ArchiveProduct { product_id: ProductId::new(3) };
            let Ok(Answer::Product(product)) = world.run(request) else { panic!() };
            assert_eq!((product.status, product.stock), (ProductStatus::Archived, 10));
        }
    }

    #[test]
    fn refusals() {
        let request = ArchiveProduct { product_id: ProductId::new(9) };
        assert_eq!(code(World::default().refused(request)), "product_not_found");
    }
}
