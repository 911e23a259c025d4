//! Effects of paying, refunding and releasing an order, shared by the order rules.

use crate::clock::Timestamp;
use crate::id::{CustomerId, EventId, OrderId, ProductId};
use crate::model::event::{EventKind, EventRow};
use crate::model::order::{LineCancellation, Order, OrderStatus};
use crate::model::sale::{FirstOrder, Sale};
use crate::model::wallet::EntryKind;
use crate::money::Money;
use crate::rule::context::Context;
use crate::state::{Movement, State};

/// Pays an order: moves the money, counts the sales and emits the event. The caller has checked `balance_after`.
pub(super) fn pay(
    state: &mut State,
    order: &mut Order,
    balance_after: Money,
    context: Context<'_>,
) {
    let amount = order.due();
    order.status = OrderStatus::Paid;
    order.paid_at = Some(context.now);
    let movement = Movement {
        customer_id: order.customer_id,
        kind: EntryKind::Payment,
        amount: amount.negated(),
        balance_after,
        order_id: Some(order.id),
        charge_id: None,
        note: None,
    };
    state.move_money(&movement, context.now);
    count_payment(state, order);
    emit_event(state, EventKind::OrderPaid, order.id, context);
}

/// Counts the sales of a paid order. An order that was paid before the customer's first one, such as one of imported
/// history, becomes the first.
fn count_payment(state: &mut State, order: &Order) {
    let account = state.accounts.get_mut(order.customer_id);
    let Some((account, paid)) = account.zip(FirstOrder::of(order)) else { return };
    let before = account.first_order;
    let is_first = before.is_none_or(|first| paid.is_before(&first));
    if is_first {
        account.first_order = Some(paid);
        state.sales.extend(before.map(|first| Sale::of_first_order(first, -1)));
    }
    state.sales.extend(Sale::of_payment(order, is_first));
}

/// Counts a cancellation of a paid order: `rows` of parts, and all that was left if the order is cancelled.
fn count_cancellation(state: &mut State, order: &Order, rows: &[LineCancellation]) {
    state.sales.extend(Sale::of_parts(order, rows).into_iter().flatten());
    if order.status != OrderStatus::Cancelled {
        return;
    }
    let account = state.accounts.get_mut(order.customer_id);
    let first = account.and_then(|account| account.first_order.as_mut());
    let first = first.filter(|first| first.order_id == order.id);
    let is_first = first.is_some();
    if let Some(first) = first {
        first.is_cancelled = true;
    }
    state.sales.extend(Sale::of_cancellation(order, is_first).into_iter().flatten());
}

/// The money that a cancellation pays back.
pub(super) struct Refunded<'a> {
    /// The rows of the cancellation; none if it took all that was left.
    pub(super) rows: &'a [LineCancellation],
    /// The amount.
    pub(super) amount: Money,
    /// The balance after it, which the caller has checked.
    pub(super) balance_after: Money,
}

/// Refunds a cancellation of a paid order: returns the money, and counts the cancellation.
pub(super) fn refund(state: &mut State, order: &Order, refunded: &Refunded<'_>, now: Timestamp) {
    let movement = Movement {
        customer_id: order.customer_id,
        kind: EntryKind::Refund,
        amount: refunded.amount,
        balance_after: refunded.balance_after,
        order_id: Some(order.id),
        charge_id: None,
        note: None,
    };
    state.move_money(&movement, now);
    count_cancellation(state, order, refunded.rows);
}

/// Takes the units of a new order from the stock, and counts them as bought by its customer.
pub(super) fn hold_units(state: &mut State, order: &Order) {
    let units = order.lines.iter().map(|line| (line.product_id, line.quantity.saturating_neg()));
    release_units(state, order.customer_id, units, true);
}

/// Releases units that a customer held or had bought. They go back to the stock if `is_restocked`.
pub(super) fn release_units(
    state: &mut State,
    customer_id: CustomerId,
    units: impl Iterator<Item = (ProductId, i64)>,
    is_restocked: bool,
) {
    for (product_id, units) in units.filter(|(_, units)| *units != 0) {
        let Some(product) = state.products.get_mut(product_id) else { continue };
        if is_restocked {
            product.stock = product.stock.saturating_add(units);
        }
        let has_limit = product.limit_per_customer.is_some();
        state.purchases.count(product_id, customer_id, units.saturating_neg(), has_limit);
    }
}

/// Releases the units and the coupon that an order holds.
pub(super) fn release_holds(state: &mut State, order: &Order) {
    let left = order.remainders();
    let units = left.iter().map(|left| (left.line.product_id, left.units));
    release_units(state, order.customer_id, units, true);
    release_coupon(state, order);
}

/// Releases the coupon that an order held.
pub(super) fn release_coupon(state: &mut State, order: &Order) {
    if let Some(owned) = order.owned_coupon_id.and_then(|id| state.owned_coupons.get_mut(id)) {
        owned.assign_order(None);
    }
}

pub(super) fn emit_event(
    state: &mut State,
    kind: EventKind,
    order_id: OrderId,
    context: Context<'_>,
) -> EventId {
    let id = state.next_event_id();
    let trace = context.trace.map(str::to_owned);
    let created_at = context.now;
    state.events.push(EventRow { id, kind, order_id, trace, created_at });
    id
}
