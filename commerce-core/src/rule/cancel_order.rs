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
        let amounts = amounts(&lines, &units, coupon(state, &order));
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

/// Returns the coupon of an order, if the order loses its discount below the minimum.
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

    /// Customer 1 has 1,000; a pending or paid order of 3 at 100 and 2 at 30 (360) with 10 % off (36).
    ///
    /// The line of 300 has a share of 30, that of 60 a share of 6: their units cost 90, and 27.
    fn two_lines(pay: PayWhen) -> (World, OrderId) {
        let mut world = World::default()
            .with_customer(1, 1_000)
            .with_product(3, 100, 5)
            .with_product(4, 30, 10)
            .with_coupon(1, 5)
            .with_claim(1, 1);
        let items = [(ProductId::new(3), 3), (ProductId::new(4), 2)];
        let owned_coupon_id = Some(OwnedCouponId::new(1));
        let request =
            PlaceOrder { owned_coupon_id, pay, ..PlaceOrder::new(CustomerId::new(1), items) };
        let Ok(Output::Order(order)) = world.run(request) else { panic!() };
        (world, order.id)
    }

    fn part(order_id: OrderId, items: &[(i64, i64)]) -> CancelOrder {
        let items = items.iter().map(|(id, units)| (ProductId::new(*id), *units)).collect();
        CancelOrder { items: Some(items), ..CancelOrder::new(order_id) }
    }

    fn cancelled(world: &mut World, request: CancelOrder) -> Order {
        let Ok(Output::Order(order)) = world.run(request) else { panic!("refused") };
        order
    }

    /// Returns the order that uses the coupon.
    fn user_of_coupon(world: &World) -> Option<OrderId> {
        world.state.owned_coupons.get(OwnedCouponId::new(1)).unwrap().order_id
    }

    /// The amounts of the refunds in the ledger.
    fn refunds(world: &World) -> Vec<i64> {
        let entries = world.state.ledger.iter().filter(|entry| entry.kind == EntryKind::Refund);
        entries.map(|entry| entry.amount.minor()).collect()
    }

    #[rstest]
    #[case::no_items(&[], "invalid_request")]
    #[case::no_units(&[(3, 0)], "invalid_request")]
    #[case::negative(&[(3, -1)], "invalid_request")]
    #[case::too_many_for_any_line(&[(3, MAX_STOCK + 1)], "invalid_request")]
    #[case::more_than_the_line(&[(3, 4)], "items_not_cancellable")]
    #[case::more_in_sum(&[(3, 2), (3, 2)], "items_not_cancellable")]
    #[case::sum_without_end(&[(3, MAX_STOCK), (3, MAX_STOCK)], "items_not_cancellable")]
    #[case::other_product(&[(3, 1), (5, 1)], "items_not_cancellable")]
    #[case::one_of_two_lines(&[(3, 1), (4, 3)], "items_not_cancellable")]
    fn part_that_is_not_there_is_refused(
        #[case] items: &[(i64, i64)],
        #[case] expected: &str,
        #[values(PayWhen::Now, PayWhen::Later)] pay: PayWhen,
    ) {
        let (mut world, id) = two_lines(pay);
        let before = world.state.orders.get(id).cloned();
        assert_eq!(code(world.refused(part(id, items))), expected);
        assert_eq!(world.state.orders.get(id).cloned(), before);
        assert_eq!((world.stock(3), world.stock(4)), (2, 8));
    }

    #[test]
    fn part_of_too_many_items_is_refused() {
        let (mut world, id) = two_lines(PayWhen::Now);
        let items = vec![(3, 1); MAX_ORDER_LINES + 1];
        assert_eq!(code(world.refused(part(id, &items))), "invalid_request");
    }

    #[test]
    fn refusal_of_a_part_names_each_shortage_with_what_is_left() {
        let (mut world, order_id) = two_lines(PayWhen::Now);
        cancelled(&mut world, part(order_id, &[(3, 2)]));
        let refusal = world.refused(part(order_id, &[(4, 2), (3, 2), (9, 1)]));
        let shortage = |id, requested, available| Shortage {
            product_id: ProductId::new(id),
            requested,
            available,
        };
        let shortages = vec![shortage(3, 2, 1), shortage(9, 1, 0)];
        assert_eq!(refusal, Refusal::ItemsNotCancellable { order_id, shortages });
    }

    #[rstest]
    #[case::cancelled(OrderStatus::Cancelled)]
    #[case::expired(OrderStatus::Expired)]
    fn part_of_a_cancelled_or_expired_order_is_refused(#[case] order_status: OrderStatus) {
        let (mut world, order_id) = two_lines(PayWhen::Later);
        match order_status {
            OrderStatus::Cancelled => drop(world.run(CancelOrder::new(order_id)).unwrap()),
            _ => world.now = NOW.plus_seconds(900),
        }
        let refusal = world.refused(part(order_id, &[(3, 1)]));
        assert_eq!(refusal, Refusal::OrderNotCancellable { order_id, order_status });
        assert_eq!(code(world.refused(part(OrderId::new(99), &[(3, 1)]))), "order_not_found");
    }

    #[test]
    fn refund_of_a_part_above_the_balance_limit_is_refused() {
        let (mut world, id) = two_lines(PayWhen::Now);
        world.set_balance(1, crate::limits::MAX_BALANCE.minor() - 89);
        assert_eq!(code(world.refused(part(id, &[(3, 1)]))), "balance_limit");
        cancelled(&mut world, part(id, &[(4, 1)]));
    }

    #[test]
    fn part_of_a_paid_order_returns_its_exact_share() {
        let (mut world, id) = two_lines(PayWhen::Now);
        assert_eq!(world.balance(1), 676);
        world.now = NOW.plus_seconds(60);
        let order = cancelled(&mut world, part(id, &[(4, 1), (3, 1)]));
        assert_eq!((order.status, order.cancelled_at), (OrderStatus::Paid, None));
        assert_eq!((order.paid().minor(), order.refunded().minor()), (324, 90 + 27));
        assert_eq!((world.balance(1), world.stock(3), world.stock(4)), (676 + 117, 3, 9));
        assert_eq!(refunds(&world), [117], "one refund a cancellation");
        assert_eq!(user_of_coupon(&world), Some(id), "the coupon stays used");
        let kinds: Vec<_> = world.state.events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::OrderPaid, EventKind::OrderPartiallyCancelled]);
        let rows: Vec<_> = order
            .cancellations
            .iter()
            .map(|row| (row.number, row.product_id.get(), row.units, row.amount.minor()))
            .collect();
        assert_eq!(rows, [(1, 3, 1, 90), (2, 4, 1, 27)]);
        let event = world.state.events[1].id;
        assert!(order.cancellations.iter().all(|row| row.event_id == Some(event)));
        let figures = |index: usize| world.state.sales[index].figures.iter().collect::<Vec<_>>();
        assert_eq!(figures(1), [(Figure::CancelledUnits, 2), (Figure::Refunds, 117)]);
        let void = [(Figure::VoidUnits, 2), (Figure::VoidGross, 130), (Figure::VoidDiscounts, 13)];
        assert_eq!(figures(2), void);
        let sold = |id, net| (ProductId::new(id), Sold { units: -1, net: Money::from_minor(net) });
        assert_eq!(world.state.sales[2].products, [sold(3, -90), sold(4, -27)]);
        assert_eq!((world.state.sales[1].at, world.state.sales[2].at), (world.now, NOW));
    }

    /// The last unit cancels the order, however the units are named, and gives the coupon back once.
    #[rstest]
    #[case::by_its_product(Some(&[(4, 1)][..]))]
    #[case::as_a_whole(None)]
    fn last_unit_cancels_the_order(#[case] last: Option<&[(i64, i64)]>) {
        let (mut world, id) = two_lines(PayWhen::Now);
        cancelled(&mut world, part(id, &[(3, 3)]));
        cancelled(&mut world, part(id, &[(4, 1)]));
        assert_eq!(user_of_coupon(&world), Some(id));
        let last = last.map_or(CancelOrder::new(id), |items| part(id, items));
        let order = cancelled(&mut world, last.clone());
        assert_eq!((order.status, order.cancelled_at), (OrderStatus::Cancelled, Some(NOW)));
        assert_eq!(order.refunded(), order.paid());
        assert_eq!(refunds(&world), [270, 27, 27]);
        assert_eq!((world.balance(1), world.stock(3), world.stock(4)), (1_000, 5, 10));
        assert_eq!(user_of_coupon(&world), None);
        assert_eq!(world.state.events.last().unwrap().kind, EventKind::OrderCancelled);
        let count =
            |figure| world.state.sales.iter().map(|sale| sale.figures.get(figure)).sum::<i64>();
        let figures = [Figure::CancelledOrders, Figure::CancelledUnits, Figure::Refunds];
        assert_eq!(figures.map(count), [1, 5, 324]);
        let figures = [Figure::VoidOrders, Figure::VoidUnits, Figure::VoidGross];
        assert_eq!(figures.map(count), [1, 5, 360]);
        let figures = [Figure::VoidDiscounts, Figure::VoidFirstOrders];
        assert_eq!(figures.map(count), [36, 1]);
        // The coupon is free for another order, which a late cancellation does not touch.
        let items = [(ProductId::new(3), 2)];
        let owned_coupon_id = Some(OwnedCouponId::new(1));
        let next = PlaceOrder { owned_coupon_id, ..PlaceOrder::new(CustomerId::new(1), items) };
        let Ok(Output::Order(next)) = world.run(next) else { panic!() };
        assert_eq!(code(world.refused(last)), "order_not_cancellable");
        assert_eq!(user_of_coupon(&world), Some(next.id));
    }

    #[test]
    fn cancellation_that_keeps_the_stock_returns_the_money_alone() {
        let (mut world, id) = two_lines(PayWhen::Now);
        let order = cancelled(&mut world, CancelOrder { keep_stock: true, ..part(id, &[(3, 1)]) });
        assert_eq!((world.balance(1), world.stock(3)), (676 + 90, 2));
        assert_eq!(order.units_out(&order.lines[0]), 3);
        let order = cancelled(&mut world, CancelOrder { keep_stock: true, ..CancelOrder::new(id) });
        assert_eq!((world.balance(1), world.stock(3), world.stock(4)), (1_000, 2, 8));
        assert_eq!(order.status, OrderStatus::Cancelled);
        let out: Vec<_> = order.lines.iter().map(|line| order.units_out(line)).collect();
        assert_eq!(out, [3, 2], "the units never go back");
        let rows: Vec<_> = order
            .cancellations
            .iter()
            .map(|row| (row.product_id.get(), row.units, row.amount.minor(), row.is_restocked))
            .collect();
        assert_eq!(rows, [(3, 1, 90, false), (3, 2, 180, false), (4, 2, 54, false)]);
        assert_eq!(order.refunds().len(), 2);
    }

    #[test]
    fn part_of_a_pending_order_makes_less_due() {
        let (mut world, id) = two_lines(PayWhen::Later);
        assert_eq!(world.state.orders.get(id).unwrap().due().minor(), 324);
        let order = cancelled(&mut world, part(id, &[(3, 1)]));
        assert_eq!((order.status, order.due().minor()), (OrderStatus::Pending, 234));
        assert_eq!((order.paid(), order.refunded()), (Money::ZERO, Money::ZERO));
        assert_eq!((world.balance(1), world.stock(3)), (1_000, 3));
        assert!(world.state.events.is_empty() && world.state.sales.is_empty());
        // The payment is of the rest, and so is the refund.
        let pay = crate::rule::pay_order::PayOrder { order_id: id };
        let Ok(Output::Order(order)) = world.run(pay) else { panic!() };
        assert_eq!((order.paid().minor(), order.due(), world.balance(1)), (234, Money::ZERO, 766));
        let figures: Vec<_> = world.state.sales[0].figures.iter().collect();
        let expected = [
            (Figure::Orders, 1),
            (Figure::Units, 4),
            (Figure::Gross, 260),
            (Figure::Discounts, 26),
            (Figure::FirstOrders, 1),
        ];
        assert_eq!(figures, expected);
        cancelled(&mut world, part(id, &[(4, 2)]));
        let order = cancelled(&mut world, CancelOrder::new(id));
        assert_eq!(refunds(&world), [54, 180]);
        assert_eq!((order.paid().minor(), order.refunded().minor()), (234, 234));
        assert_eq!((world.balance(1), world.stock(3), world.stock(4)), (1_000, 5, 10));
    }

    #[test]
    fn last_unit_of_a_pending_order_cancels_it_without_an_event() {
        let (mut world, id) = two_lines(PayWhen::Later);
        cancelled(&mut world, part(id, &[(3, 3)]));
        let order = cancelled(&mut world, part(id, &[(4, 2)]));
        assert_eq!((order.status, order.due()), (OrderStatus::Cancelled, Money::ZERO));
        assert_eq!((order.paid(), order.refunded()), (Money::ZERO, Money::ZERO));
        assert_eq!(order.refunds(), []);
        assert_eq!((world.balance(1), world.stock(3), world.stock(4)), (1_000, 5, 10));
        assert_eq!(user_of_coupon(&world), None);
        assert!(world.state.events.is_empty() && world.state.sales.is_empty());
    }

    #[test]
    fn expiry_releases_the_rest_of_a_pending_order() {
        let (mut world, id) = two_lines(PayWhen::Later);
        cancelled(&mut world, part(id, &[(3, 1)]));
        cancelled(&mut world, CancelOrder { keep_stock: true, ..part(id, &[(4, 1)]) });
        world.now = NOW.plus_seconds(900);
        world.run(crate::rule::expire_orders::ExpireOrders).unwrap();
        assert_eq!(world.state.orders.get(id).unwrap().status, OrderStatus::Expired);
        assert_eq!((world.stock(3), world.stock(4)), (5, 9));
        assert_eq!(user_of_coupon(&world), None);
    }

    /// Sets what a coupon of the tests does with orders below its minimum of 180.
    fn recalculate(world: &mut World) {
        let coupon = world.state.coupons.get_mut(crate::id::CouponId::new(1)).unwrap();
        coupon.below_minimum = BelowMinimum::Recalculate;
    }

    #[test]
    fn discount_of_the_rest_is_kept_back_below_the_minimum() {
        let (mut world, id) = two_lines(PayWhen::Now);
        recalculate(&mut world);
        // 260 is left: still an order of the campaign.
        cancelled(&mut world, part(id, &[(3, 1)]));
        // 160 is left, at its full price: 234 - 160 go back, not 90.
        cancelled(&mut world, part(id, &[(3, 1)]));
        assert_eq!(refunds(&world), [90, 74]);
        // The rest stays at its full price.
        cancelled(&mut world, part(id, &[(4, 1)]));
        let order = cancelled(&mut world, part(id, &[(4, 1)]));
        assert_eq!(order.status, OrderStatus::Paid);
        assert_eq!(refunds(&world), [90, 74, 30, 30]);
        // What was kept back goes with the last unit: all that was paid.
        let order = cancelled(&mut world, part(id, &[(3, 1)]));
        assert_eq!(order.status, OrderStatus::Cancelled);
        assert_eq!(refunds(&world), [90, 74, 30, 30, 100]);
        assert_eq!((world.balance(1), order.refunded()), (1_000, order.paid()));
        assert_eq!(user_of_coupon(&world), None);
        let count =
            |figure| world.state.sales.iter().map(|sale| sale.figures.get(figure)).sum::<i64>();
        assert_eq!(count(Figure::VoidDiscounts), 36, "the discount was given and taken back once");
    }

    #[test]
    fn pending_order_below_the_minimum_costs_its_full_price() {
        let (mut world, id) = two_lines(PayWhen::Later);
        recalculate(&mut world);
        let order = cancelled(&mut world, part(id, &[(3, 2)]));
        assert_eq!(order.due().minor(), 160);
        world.run(crate::rule::pay_order::PayOrder { order_id: id }).unwrap();
        let figures = &world.state.sales[0].figures;
        assert_eq!((figures.get(Figure::Gross), figures.get(Figure::Discounts)), (160, 0));
        let order = cancelled(&mut world, CancelOrder::new(id));
        assert_eq!((order.paid().minor(), order.refunded().minor()), (160, 160));
        assert_eq!(world.balance(1), 1_000);
    }

    /// The discount of the rest may be more than the units are worth: nothing goes back, and no amount is negative.
    #[test]
    fn cheap_unit_below_the_minimum_returns_nothing_rather_than_a_negative_amount() {
        let mut world = World::default()
            .with_customer(1, 1_000)
            .with_product(3, 170, 5)
            .with_product(4, 10, 5)
            .with_coupon(1, 5)
            .with_claim(1, 1);
        recalculate(&mut world);
        let items = [(ProductId::new(3), 1), (ProductId::new(4), 1)];
        let owned_coupon_id = Some(OwnedCouponId::new(1));
        let request = PlaceOrder { owned_coupon_id, ..PlaceOrder::new(CustomerId::new(1), items) };
        let Ok(Output::Order(order)) = world.run(request) else { panic!() };
        assert_eq!(order.total.minor(), 162);
        let order = cancelled(&mut world, part(order.id, &[(4, 1)]));
        assert_eq!((order.status, refunds(&world)), (OrderStatus::Paid, vec![0]));
        let order = cancelled(&mut world, part(order.id, &[(3, 1)]));
        assert_eq!((order.refunded().minor(), refunds(&world)), (162, vec![0, 162]));
    }

    #[test]
    fn repeated_key_gives_the_answer_of_its_time() {
        let (mut world, id) = two_lines(PayWhen::Later);
        let mut answers = Vec::new();
        let mut run = |world: &mut World, operation: crate::rule::operation::AnyOperation| {
            let key = crate::id::Key::new(&format!("key-{}", answers.len())).unwrap();
            let Ok(Output::Order(order)) = world.run_with_key(operation.clone(), &key) else {
                panic!("refused")
            };
            answers.push((operation, key, serde_json::to_string(&order).unwrap()));
        };
        run(&mut world, part(id, &[(3, 1)]).into());
        run(&mut world, crate::rule::pay_order::PayOrder { order_id: id }.into());
        run(&mut world, part(id, &[(4, 1)]).into());
        run(&mut world, part(id, &[(3, 1), (4, 1)]).into());
        run(&mut world, CancelOrder::new(id).into());
        let [_, paid, part_of_paid, ..] = &answers[..] else { panic!() };
        assert!(paid.2.contains(r#""total":324,"due":0,"refunded":0"#), "{}", paid.2);
        assert!(part_of_paid.2.contains(r#""refunded":27"#), "{}", part_of_paid.2);
        let balance = world.balance(1);
        for (operation, key, answer) in answers {
            let Ok(Output::Order(order)) = world.run_with_key(operation, &key) else { panic!() };
            assert_eq!(serde_json::to_string(&order).unwrap(), answer);
        }
        assert_eq!(world.balance(1), balance);
    }

    #[test]
    fn items_are_the_same_request_in_any_order() {
        let json =
            |items: &[(i64, i64)]| serde_json::to_string(&part(OrderId::new(7), items)).unwrap();
        assert_eq!(json(&[(4, 1), (3, 2)]), json(&[(3, 1), (4, 1), (3, 1)]));
        assert_ne!(json(&[(3, 2), (4, 1)]), json(&[(3, 1), (4, 1)]));
        // The request of earlier versions has the same fingerprint.
        let whole = serde_json::to_string(&CancelOrder::new(OrderId::new(7))).unwrap();
        assert_eq!(whole, r#"{"order_id":7}"#);
    }
}
