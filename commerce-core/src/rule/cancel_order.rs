//! Cancels an order or a part of it: stock and money go back for exactly the units that are cancelled, and the coupon
//! when the last unit goes.

use super::Rule;
use super::order_effects::{Refunded, emit_event, refund, release_coupon, release_units};
use super::place_order::in_any_order;
use super::validate::{Checks, checked_credit};
use crate::clock::Timestamp;
use crate::error::{Refusal, Shortage};
use crate::id::{CustomerId, EventId, OrderId, ProductId};
use crate::limits::{MAX_ORDER_LINES, MAX_STOCK};
use crate::model::audit_trail::Action;
use crate::model::coupon::{BelowMinimum, Coupon};
use crate::model::event::EventKind;
use crate::model::order::{LineCancellation, Order, OrderStatus, Remainder};
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use crate::version::Version;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Cancels a pending or paid order, or some of its units.
///
/// A line's units have fixed shares of the order's discount, so that any sequence of cancellations pays back exactly
/// what was paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CancelOrder {
    /// The order.
    pub order_id: OrderId,
    /// The units to cancel, as product and quantity pairs; repeated products add up. `None` for all that are left.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "any_order")]
    pub items: Option<Vec<(ProductId, i64)>>,
    /// True if the units do not go back to the stock, such as damaged goods.
    #[serde(skip_serializing_if = "is_restocking")]
    pub keep_stock: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde demands")]
const fn is_restocking(keep_stock: &bool) -> bool {
    !*keep_stock
}

#[expect(clippy::ref_option, reason = "the signature that serde demands")]
fn any_order<S: Serializer>(
    items: &Option<Vec<(ProductId, i64)>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    in_any_order(items.as_deref().unwrap_or_default(), serializer)
}

impl CancelOrder {
    /// Cancels all that is left of an order.
    #[must_use]
    pub const fn new(order_id: OrderId) -> Self {
        Self { order_id, items: None, keep_stock: false }
    }

    fn validate(&self) -> Result<(), Refusal> {
        let Some(items) = &self.items else { return Ok(()) };
        let mut checks = Checks::default();
        checks.that((1..=MAX_ORDER_LINES).contains(&items.len()), "/items", || {
            format!(
                "1 to {MAX_ORDER_LINES} items are cancelled at a time, not {}: leave out the items to cancel the \
                 whole order",
                items.len()
            )
        });
        for (index, (_, quantity)) in items.iter().enumerate().take(MAX_ORDER_LINES) {
            checks.integer(*quantity, 1..=MAX_STOCK, &format!("/items/{index}/quantity"));
        }
        checks.done()
    }

    /// Returns the units to cancel of each line; refuses more than there are.
    fn units(&self, lines: &[Remainder<'_>]) -> Result<Vec<i64>, Refusal> {
        let Some(items) = &self.items else {
            return Ok(lines.iter().map(|left| left.units).collect());
        };
        let mut requested = BTreeMap::<ProductId, i64>::new();
        for (product, units) in items {
            let sum = requested.entry(*product).or_default();
            *sum = sum.saturating_add(*units);
        }
        let units_left = |product: ProductId| {
            lines.iter().find(|left| left.line.product_id == product).map_or(0, |left| left.units)
        };
        let shortages: Vec<_> = requested
            .iter()
            .map(|(product, units)| Shortage {
                product_id: *product,
                requested: *units,
                available: units_left(*product),
            })
            .filter(|shortage| shortage.requested > shortage.available)
            .collect();
        if !shortages.is_empty() {
            return Err(Refusal::ItemsNotCancellable { order_id: self.order_id, shortages });
        }
        let of_line = |left: &Remainder<'_>| requested.get(&left.line.product_id).copied();
        Ok(lines.iter().map(|left| of_line(left).unwrap_or(0)).collect())
    }
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
        Some(if self.items.is_none() {
            Action::OrderCancelled
        } else {
            Action::OrderPartiallyCancelled
        })
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        self.validate()?;
        let order_id = self.order_id;
        let mut order = state.known_order(order_id)?.clone();
        let status = if order.is_due_at(context.now) { OrderStatus::Expired } else { order.status };
        if !matches!(status, OrderStatus::Pending | OrderStatus::Paid) {
            return Err(Refusal::OrderNotCancellable { order_id, order_status: status });
        }
        let lines = order.remainders();
        let units = self.units(&lines)?;
        let is_last = lines.iter().zip(&units).all(|(left, units)| left.units == *units);
        let amounts = amounts(&lines, &units, if is_last { None } else { coupon(state, &order) });
        let refunded = Money::sum(amounts.iter().copied());
        let balance = state.account(order.customer_id)?.balance;
        let was_paid = status == OrderStatus::Paid;
        let balance_after = if was_paid { checked_credit(balance, refunded)? } else { balance };

        let kind =
            if is_last { EventKind::OrderCancelled } else { EventKind::OrderPartiallyCancelled };
        let event_id = was_paid.then(|| emit_event(state, kind, order_id, context));
        let taken = lines.iter().zip(&units).map(|(left, units)| (left.line.product_id, *units));
        release_units(state, order.customer_id, taken, !self.keep_stock);
        // A cancellation as a whole has no rows: what it took follows from the order's status.
        let rows = if self.items.is_some() || self.keep_stock {
            self.rows(&order, &lines, &units, &amounts, event_id, context.now)
        } else {
            Vec::new()
        };
        drop(lines);
        order.cancellations.extend(rows.iter().cloned());
        if is_last {
            order.status = OrderStatus::Cancelled;
            order.cancelled_at = Some(context.now);
            release_coupon(state, &order);
        }
        if was_paid {
            refund(
                state,
                &order,
                &Refunded { rows: &rows, amount: refunded, balance_after },
                context.now,
            );
        }
        state.save_order(&order);
        Ok(Output::Order(order))
    }
}

impl CancelOrder {
    fn rows(
        &self,
        order: &Order,
        lines: &[Remainder<'_>],
        units: &[i64],
        amounts: &[Money],
        event_id: Option<EventId>,
        now: Timestamp,
    ) -> Vec<LineCancellation> {
        let taken = lines.iter().zip(units.iter().zip(amounts));
        let taken = taken.filter(|(_, (units, amount))| **units > 0 || **amount > Money::ZERO);
        let first = i64::try_from(order.cancellations.len()).unwrap_or(i64::MAX).saturating_add(1);
        let row = |(number, (left, (units, amount))): (i64, (&Remainder<'_>, (&i64, &Money)))| {
            let (quantity, net) = (left.line.quantity, left.line_net);
            let net_left = left.net.minor().saturating_sub(amount.minor());
            LineCancellation {
                order_id: order.id,
                customer_id: order.customer_id,
                number,
                product_id: left.line.product_id,
                units: *units,
                amount: *amount,
                is_restocked: !self.keep_stock,
                event_id,
                created_at: now,
                line_units: quantity.saturating_sub(left.units).saturating_add(*units),
                line_amount: Money::from_minor(net.minor().saturating_sub(net_left)),
                quantity,
                net,
            }
        };
        (first..).zip(taken).map(row).collect()
    }
}

/// Returns the coupon whose discount an order loses when it falls below the minimum.
fn coupon<'a>(state: &'a State, order: &Order) -> Option<&'a Coupon> {
    let owned = state.owned_coupons.get(order.owned_coupon_id?)?;
    let coupon = state.coupons.get(owned.coupon_id)?;
    (coupon.below_minimum == BelowMinimum::Recalculate).then_some(coupon)
}

/// Returns the money to take off each line: the shares of the units, and what earlier cancellations kept back. If the
/// units that are left cost less than the minimum of `coupon`, the discount of these units is kept back.
fn amounts(lines: &[Remainder<'_>], units: &[i64], coupon: Option<&Coupon>) -> Vec<Money> {
    let after = lines.iter().zip(units).map(|(left, units)| {
        let units = left.units.saturating_sub(*units);
        Remainder { units, net: left.share_of(units), ..*left }
    });
    let after: Vec<_> = after.collect();
    let gross = Money::sum(after.iter().map(Remainder::gross));
    let net = Money::sum(after.iter().map(|left| left.net));
    let minimum = coupon.and_then(|coupon| coupon.min_order_amount);
    let is_below = minimum.is_some_and(|minimum| gross < minimum);
    let kept_back = if is_below { gross.checked_sub(net) } else { None };
    // The money of each line beyond the shares of its units that are left.
    let open = lines
        .iter()
        .zip(&after)
        .map(|(left, after)| left.net.checked_sub(after.net).unwrap_or_default().max(Money::ZERO));
    let open: Vec<Money> = open.collect();
    let wanted = Money::sum(open.iter().copied()).checked_sub(kept_back.unwrap_or_default());
    let mut rest = wanted.unwrap_or_default().max(Money::ZERO);
    let mut amounts = vec![Money::ZERO; lines.len()];
    // The lines of this cancellation come first.
    for is_cancelled in [true, false] {
        let of_pass = amounts.iter_mut().zip(&open).zip(units);
        for ((amount, open), _) in of_pass.filter(|(_, units)| (**units > 0) == is_cancelled) {
            *amount = (*open).min(rest);
            rest = rest.checked_sub(*amount).unwrap_or_default();
        }
    }
    amounts
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
        (world, CancelOrder::new(order.id))
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
        let unknown = CancelOrder::new(OrderId::new(99));
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
