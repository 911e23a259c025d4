//! Cancels an order: returns its stock, coupon and money exactly once.

use super::Rule;
use super::order_effects::{refund, release_holds};
use super::validate::checked_credit;
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::{CustomerId, OrderId};
use crate::model::audit_trail::Action;
use crate::model::order::OrderStatus;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use crate::version::Version;
use serde::Serialize;

/// Cancels a pending or paid order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CancelOrder {
    /// The order.
    pub order_id: OrderId,
}

impl Rule for CancelOrder {
    fn key_scope(&self, state: &State) -> Option<CustomerId> {
        state.order_owner(self.order_id)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.whole_order(state, self.order_id);
    }

    fn version(&self, state: &State, _now: Timestamp) -> Result<Version, Refusal> {
        Ok(state.version_of(state.known_order(self.order_id)?))
    }

    fn action(&self) -> Option<Action> {
        Some(Action::OrderCancelled)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let order_id = self.order_id;
        let mut order = state.known_order(order_id)?.clone();
        let status = if order.is_due_at(context.now) { OrderStatus::Expired } else { order.status };
        if !matches!(status, OrderStatus::Pending | OrderStatus::Paid) {
            return Err(Refusal::OrderNotCancellable { order_id, order_status: status });
        }
        let balance = state.account(order.customer_id)?.balance;
        let was_paid = status == OrderStatus::Paid;
        let balance_after = if was_paid { checked_credit(balance, order.total)? } else { balance };

        order.status = OrderStatus::Cancelled;
        order.cancelled_at = Some(context.now);
        release_holds(state, &order);
        if was_paid {
            refund(state, &order, balance_after, context);
        }
        state.save_order(&order);
        Ok(Output::Order(order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{OwnedCouponId, ProductId};
    use crate::model::event::EventKind;
    use crate::model::sale::{Figure, Sold};
    use crate::model::wallet::EntryKind;
    use crate::money::Money;
    use crate::rule::place_order::{PayWhen, PlaceOrder};
    use crate::rule::testing::{NOW, World, code};
    use rstest::rstest;

    fn placed(pay: PayWhen) -> (World, CancelOrder) {
        let mut world = World::default()
            .with_customer(1, 1_000)
            .with_product(3, 100, 5)
            .with_coupon(1, 5)
            .with_claim(1, 1);
        let request = PlaceOrder {
            pay,
            owned_coupon_id: Some(OwnedCouponId::new(1)),
            ..PlaceOrder::new(CustomerId::new(1), [(ProductId::new(3), 2)])
        };
        let Ok(Output::Order(order)) = world.run(request) else { panic!() };
        (world, CancelOrder { order_id: order.id })
    }

    #[test]
    fn cancel_paid_order_returns_money_stock_coupon_and_sales() {
        let (mut world, request) = placed(PayWhen::Now);
        assert_eq!(world.balance(1), 820);
        world.now = NOW.plus_seconds(60);
        let Ok(Output::Order(order)) = world.run(request) else { panic!() };
        assert_eq!((order.status, order.cancelled_at), (OrderStatus::Cancelled, Some(world.now)));
        assert_eq!((world.balance(1), world.stock(3)), (1_000, 5));
        let owned = world.state.owned_coupons.get(OwnedCouponId::new(1)).unwrap();
        assert_eq!(owned.order_id, None);
        let entry = world.state.ledger.last().unwrap();
        assert_eq!((entry.kind, entry.amount.minor()), (EntryKind::Refund, 180));
        let sales = world.state.sales.iter();
        let sales: Vec<_> = sales.map(|sale| (sale.at, sale.products.clone())).collect();
        let sold =
            |units, net| vec![(ProductId::new(3), Sold { units, net: Money::from_minor(net) })];
        let expected = [(NOW, sold(2, 180)), (world.now, vec![]), (NOW, sold(-2, -180))];
        assert_eq!(sales, expected, "the units leave the window of the payment");
        let figures = |index: usize| world.state.sales[index].figures.iter().collect::<Vec<_>>();
        let cancelled =
            [(Figure::CancelledOrders, 1), (Figure::CancelledUnits, 2), (Figure::Refunds, 180)];
        assert_eq!(figures(1), cancelled);
        let void = [
            (Figure::VoidOrders, 1),
            (Figure::VoidUnits, 2),
            (Figure::VoidGross, 200),
            (Figure::VoidDiscounts, 20),
            (Figure::VoidFirstOrders, 1),
        ];
        assert_eq!(figures(2), void);
        assert_eq!(world.state.events[1].kind, EventKind::OrderCancelled);
    }

    #[test]
    fn cancel_pending_order_releases_holds_and_moves_no_money() {
        let (mut world, request) = placed(PayWhen::Later);
        world.run(request).unwrap();
        assert_eq!((world.balance(1), world.stock(3)), (1_000, 5));
        assert!(world.state.events.is_empty() && world.state.sales.is_empty());
    }

    #[rstest]
    #[case::cancelled(OrderStatus::Cancelled)]
    #[case::expired(OrderStatus::Expired)]
    fn cancelled_or_expired_order_is_not_cancellable(#[case] order_status: OrderStatus) {
        let (mut world, request) = placed(PayWhen::Later);
        let order_id = request.order_id;
        match order_status {
            OrderStatus::Cancelled => drop(world.run(request.clone()).unwrap()),
            _ => world.now = NOW.plus_seconds(900),
        }
        let refusal = world.refused(request);
        assert_eq!(refusal, Refusal::OrderNotCancellable { order_id, order_status });
        assert_eq!(world.stock(3), 5, "stock is returned exactly once");
    }

    #[test]
    fn cancel_order_refuses_unknown_orders() {
        let (mut world, _) = placed(PayWhen::Now);
        let unknown = CancelOrder { order_id: OrderId::new(99) };
        assert_eq!(code(world.refused(unknown)), "order_not_found");
    }

    #[test]
    fn refund_above_balance_limit_is_refused_and_order_stays_paid() {
        let (mut world, request) = placed(PayWhen::Now);
        world.set_balance(1, crate::limits::MAX_BALANCE.minor());
        assert_eq!(code(world.refused(request.clone())), "balance_limit");
        assert_eq!(world.state.orders.get(request.order_id).unwrap().status, OrderStatus::Paid);
    }
}
