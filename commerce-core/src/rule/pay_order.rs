//! Pays an order that was placed to be paid later.

use super::Rule;
use super::order_effects::pay;
use super::validate::checked_debit;
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::{CustomerId, OrderId};
use crate::model::audit_trail::Action;
use crate::model::order::OrderStatus;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use crate::version::Version;
use serde::Serialize;

/// Pays a pending order from its customer's balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PayOrder {
    /// The order.
    pub order_id: OrderId,
}

impl Rule for PayOrder {
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
        Some(Action::OrderPaid)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let order_id = self.order_id;
        let mut order = state.known_order(order_id)?.clone();
        // An overdue order counts as expired, whether or not its holds have been released.
        let status = if order.is_due_at(context.now) { OrderStatus::Expired } else { order.status };
        if status != OrderStatus::Pending {
            return Err(Refusal::OrderNotPayable { order_id, order_status: status });
        }
        let balance_after = checked_debit(state.account(order.customer_id)?.balance, order.due())?;

        pay(state, &mut order, balance_after, context);
        state.save_order(&order);
        Ok(Output::Order(order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProductId;
    use crate::model::event::EventKind;
    use crate::money::Money;
    use crate::rule::cancel_order::CancelOrder;
    use crate::rule::place_order::{PayWhen, PlaceOrder};
    use crate::rule::testing::{NOW, World, code};
    use rstest::rstest;

    fn pending(balance: i64) -> (World, PayOrder) {
        let mut world = World::default().with_customer(1, balance).with_product(3, 100, 5);
        let items = [(ProductId::new(3), 2)];
        let request =
            PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(CustomerId::new(1), items) };
        let Ok(Output::Order(order)) = world.run(request) else { panic!() };
        (world, PayOrder { order_id: order.id })
    }

    #[test]
    fn pending_order_can_be_paid_in_its_last_second() {
        let (mut world, request) = pending(1_000);
        world.now = NOW.plus_seconds(899);
        let Ok(Output::Order(order)) = world.run(request) else { panic!() };
        assert_eq!((order.status, order.paid_at), (OrderStatus::Paid, Some(world.now)));
        assert_eq!((world.balance(1), world.stock(3)), (800, 3));
        assert_eq!(world.state.events[0].kind, EventKind::OrderPaid);
        assert_eq!(world.state.sales[0].at, world.now);
    }

    #[rstest]
    #[case::paid(OrderStatus::Paid)]
    #[case::cancelled(OrderStatus::Cancelled)]
    #[case::expired(OrderStatus::Expired)]
    fn order_that_is_not_pending_is_not_payable(#[case] order_status: OrderStatus) {
        let (mut world, request) = pending(1_000);
        let order_id = request.order_id;
        match order_status {
            OrderStatus::Paid => drop(world.run(request.clone()).unwrap()),
            OrderStatus::Cancelled => drop(world.run(CancelOrder::new(order_id)).unwrap()),
            _ => world.now = NOW.plus_seconds(900),
        }
        assert_eq!(world.refused(request), Refusal::OrderNotPayable { order_id, order_status });
    }

    #[test]
    fn pay_order_refuses_small_balances_and_unknown_orders() {
        let (mut world, request) = pending(199);
        let refusal = Refusal::InsufficientBalance {
            balance: Money::from_minor(199),
            required: Money::from_minor(200),
        };
        assert_eq!(world.refused(request), refusal);
        let unknown = PayOrder { order_id: OrderId::new(99) };
        assert_eq!(code(world.refused(unknown)), "order_not_found");
    }
}
