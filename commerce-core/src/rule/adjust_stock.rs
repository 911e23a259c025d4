//! Adjusts a product's stock by hand, with a reason.

use super::Rule;
use super::validate::Checks;
use crate::clock::Timestamp;
use crate::error::{Refusal, Shortage};
use crate::id::{CustomerId, ProductId};
use crate::idempotency::GLOBAL_SCOPE;
use crate::limits::MAX_STOCK;
use crate::model::audit_trail::Action;
use crate::model::product::{Product, StockMovement};
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use crate::version::Version;
use serde::Serialize;

/// Adds units to a product's stock, or removes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AdjustStock {
    /// The product.
    pub product_id: ProductId,
    /// Units to add; negative to remove.
    pub delta: i64,
    /// The reason.
    pub reason: String,
}

impl Rule for AdjustStock {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(GLOBAL_SCOPE)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.product(state, self.product_id);
    }

    fn version(&self, state: &State, now: Timestamp) -> Result<Version, Refusal> {
        Ok(state.version_of(state.known_product(self.product_id)?.clone().at(now)))
    }

    fn action(&self) -> Option<Action> {
        Some(Action::StockAdjusted)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        Checks::default()
            .integer(self.delta, -MAX_STOCK..=MAX_STOCK, "/delta")
            .that(self.delta != 0, "/delta", || "delta must not be 0".to_owned())
            .text(&self.reason, "/reason")
            .done()?;
        let available = state.known_product(self.product_id)?.stock;
        let stock = available.saturating_add(self.delta);
        if self.delta > 0 && stock > MAX_STOCK {
            let detail =
                format!("stock is {available} and must not exceed {MAX_STOCK}: add fewer units");
            return Err(Refusal::invalid("/delta", detail));
        }
        if stock < 0 {
            let requested = self.delta.saturating_neg();
            let shortage = Shortage { product_id: self.product_id, requested, available };
            return Err(Refusal::InsufficientStock { shortages: vec![shortage] });
        }

        context.record_field(state, "delta", self.delta);
        write_movement(state, self.product_id, self.delta, &self.reason, context);
        let change = |product: &mut Product| product.stock = stock;
        state.change_product(self.product_id, context.now, change).map(Output::Product)
    }
}

/// Records a change of stock and its reason.
pub(super) fn write_movement(
    state: &mut State,
    product_id: ProductId,
    delta: i64,
    reason: &str,
    context: Context<'_>,
) {
    let id = state.next_stock_movement_id();
    let reason = reason.to_owned();
    let (actor, created_at) = (context.actor, context.now);
    state.stock_movements.push(StockMovement { id, product_id, delta, reason, actor, created_at });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::testing::{World, code};
    use rstest::rstest;

    /// Cancelled orders can bring stock above the limit.
    #[test]
    fn stock_above_the_limit_can_be_reduced() {
        let mut world = World::default().with_product(3, 10, MAX_STOCK + 10);
        let request = |delta| AdjustStock {
            product_id: ProductId::new(3),
            delta,
            reason: "count".to_owned(),
        };
        assert_eq!(code(world.refused(request(1))), "invalid_request");
        world.run(request(-4)).unwrap();
        assert_eq!(world.stock(3), MAX_STOCK + 6);
    }

    #[rstest]
    #[case::add(5, 15)]
    #[case::remove_all(-10, 0)]
    fn adjust_stock_changes_stock_and_records_the_reason(#[case] delta: i64, #[case] stock: i64) {
        let mut world = World::default().with_product(3, 10, 10);
        let request = AdjustStock { product_id: ProductId::new(3), delta, reason: "count".into() };
        world.run(request).unwrap();
        assert_eq!(world.stock(3), stock);
        let movement = world.state.stock_movements.last().unwrap();
        assert_eq!((movement.delta, movement.reason.as_str()), (delta, "count"));
    }

    #[rstest]
    #[case::zero(3, 0, "count", "invalid_request")]
    #[case::no_reason(3, 1, "", "invalid_request")]
    #[case::above_limit(3, MAX_STOCK, "count", "invalid_request")]
    #[case::smallest_integer(3, i64::MIN, "count", "invalid_request")]
    #[case::below_zero(3, -11, "count", "insufficient_stock")]
    #[case::unknown(9, 1, "count", "product_not_found")]
    fn adjust_stock_refuses_invalid_requests_and_shortages(
        #[case] id: i64,
        #[case] delta: i64,
        #[case] reason: &str,
        #[case] refused: &str,
    ) {
        let mut world = World::default().with_product(3, 10, 10);
        let request = AdjustStock { product_id: ProductId::new(id), delta, reason: reason.into() };
        assert_eq!(code(world.refused(request)), refused);
    }
}
