//! Expires orders that were not paid in time.
//!
//! Every command releases overdue orders before it is decided itself, so that no request is refused stock
//! that an expired order still holds. The sweep does the same while there are no other commands.

use super::Rule;
use super::order_effects::release_holds;
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::OrderId;
use crate::model::order::OrderStatus;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Expires orders that were not paid in time, at most
/// [`EXPIRY_BATCH`](crate::limits::EXPIRY_BATCH) per commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExpireOrders;

impl Rule for ExpireOrders {
    fn needs(&self, _state: &State, _needs: &mut Needs) {}

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        Ok(Output::Expired(expire_due(state, context.now)))
    }
}

/// Expires the loaded orders that are overdue at `now` and returns their ids, the longest overdue first.
pub(crate) fn expire_due(state: &mut State, now: Timestamp) -> Vec<OrderId> {
    let waiting = state.overdue_orders().iter().filter_map(|id| state.orders.get(*id));
    let mut due: Vec<_> = waiting.filter(|order| order.is_due_at(now)).cloned().collect();
    due.sort_unstable_by_key(|order| (order.expires_at, order.id));
    for order in &mut due {
        order.status = OrderStatus::Expired;
        release_holds(state, order);
        state.save_order(order);
    }
    due.into_iter().map(|order| order.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CustomerId, OwnedCouponId, ProductId};
    use crate::rule::place_order::{PayWhen, PlaceOrder};
    use crate::rule::testing::{NOW, World};

    fn held() -> (World, OrderId) {
        let mut world = World::default()
            .with_customer(1, 1_000)
            .with_product(3, 100, 5)
            .with_coupon(1, 5)
            .with_claim(1, 1);
        let request = PlaceOrder {
            pay: PayWhen::Later,
            owned_coupon_id: Some(OwnedCouponId::new(1)),
            ..PlaceOrder::new(CustomerId::new(1), [(ProductId::new(3), 5)])
        };
        let Ok(Output::Order(order)) = world.run(request) else { panic!() };
        (world, order.id)
    }

    #[test]
    fn overdue_order_releases_stock_and_coupon_once() {
        let (mut world, id) = held();
        world.now = NOW.plus_seconds(899);
        assert!(matches!(world.run(ExpireOrders), Ok(Output::Expired(ids)) if ids.is_empty()));
        world.now = NOW.plus_seconds(900);
        for expected in [vec![id], vec![]] {
            assert!(matches!(world.run(ExpireOrders), Ok(Output::Expired(ids)) if ids == expected));
            assert_eq!(world.stock(3), 5);
        }
        assert_eq!(world.state.orders.get(id).unwrap().status, OrderStatus::Expired);
        assert_eq!(world.state.owned_coupons.get(OwnedCouponId::new(1)).unwrap().order_id, None);
    }

    #[test]
    fn order_can_use_stock_held_by_an_overdue_order() {
        let (mut world, _) = held();
        world.now = NOW.plus_seconds(900);
        world.run(PlaceOrder::new(CustomerId::new(1), [(ProductId::new(3), 5)])).unwrap();
        assert_eq!(world.stock(3), 0);
    }
}
