//! Effects of paying, refunding and releasing an order, shared by the order rules.

use crate::model::event::{EventKind, EventRow};
use crate::model::order::{Order, OrderStatus};
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
    order.status = OrderStatus::Paid;
    order.paid_at = Some(context.now);
    let movement = Movement {
        customer_id: order.customer_id,
        kind: EntryKind::Payment,
        amount: order.total.negated(),
        balance_after,
        order_id: Some(order.id),
        charge_id: None,
        note: None,
    };
    state.move_money(&movement, context.now);
    count_payment(state, order);
    emit_event(state, EventKind::OrderPaid, order, context);
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

/// Counts the cancellation of a paid order.
fn count_cancellation(state: &mut State, order: &Order) {
    let account = state.accounts.get_mut(order.customer_id);
    let first = account.and_then(|account| account.first_order.as_mut());
    let first = first.filter(|first| first.order_id == order.id);
    let is_first = first.is_some();
    if let Some(first) = first {
        first.is_cancelled = true;
    }
    state.sales.extend(Sale::of_cancellation(order, is_first).into_iter().flatten());
}

/// Refunds a paid order: returns the money, and counts the cancellation.
pub(super) fn refund(state: &mut State, order: &Order, balance_after: Money, context: Context<'_>) {
    let movement = Movement {
        customer_id: order.customer_id,
        kind: EntryKind::Refund,
        amount: order.total,
        balance_after,
        order_id: Some(order.id),
        charge_id: None,
        note: None,
    };
    state.move_money(&movement, context.now);
    count_cancellation(state, order);
    emit_event(state, EventKind::OrderCancelled, order, context);
}

/// Takes the units of an order from the stock, and counts them as bought by its customer.
pub(super) fn hold_units(state: &mut State, order: &Order) {
    move_units(state, order, 1);
}

/// Moves the units of all lines: 1 takes them, -1 gives them back.
fn move_units(state: &mut State, order: &Order, sign: i64) {
    for line in &order.lines {
        let units = line.quantity.saturating_mul(sign);
        let Some(product) = state.products.get_mut(line.product_id) else { continue };
        product.stock = product.stock.saturating_sub(units);
        let has_limit = product.limit_per_customer.is_some();
        state.purchases.count(line.product_id, order.customer_id, units, has_limit);
    }
}

/// Releases the units and the coupon that an order held.
pub(super) fn release_holds(state: &mut State, order: &Order) {
    move_units(state, order, -1);
    if let Some(owned) = order.owned_coupon_id.and_then(|id| state.owned_coupons.get_mut(id)) {
        owned.assign_order(None);
    }
}

pub(super) fn emit_event(state: &mut State, kind: EventKind, order: &Order, context: Context<'_>) {
    let id = state.next_event_id();
    let trace = context.trace.map(str::to_owned);
    let created_at = context.now;
    state.events.push(EventRow { id, kind, order_id: order.id, trace, created_at });
}
