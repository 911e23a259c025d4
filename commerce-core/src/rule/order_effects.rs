//! Effects of paying, refunding and releasing an order, shared by the order rules.

use crate::model::event::{EventKind, EventRow};
use crate::model::order::{Order, OrderStatus};
use crate::model::wallet::EntryKind;
use crate::money::Money;
use crate::rule::context::Context;
use crate::state::{Movement, Sale, State};

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
    for line in &order.lines {
        let (product_id, units) = (line.product_id, line.quantity);
        state.sales.push(Sale { paid_at: context.now, product_id, units });
    }
    emit_event(state, EventKind::OrderPaid, order, context);
}

/// Refunds a paid order: returns the money, and takes its units out of the sales of the instant it was paid.
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
    for line in &order.lines {
        let (product_id, units) = (line.product_id, line.quantity.saturating_neg());
        let paid_at = order.paid_at.unwrap_or(order.created_at);
        state.sales.push(Sale { paid_at, product_id, units });
    }
    emit_event(state, EventKind::OrderCancelled, order, context);
}

/// Releases the stock and the coupon that an order held.
pub(super) fn release_holds(state: &mut State, order: &Order) {
    for line in &order.lines {
        if let Some(product) = state.products.get_mut(line.product_id) {
            product.stock = product.stock.saturating_add(line.quantity);
        }
    }
    if let Some(owned) = order.owned_coupon_id.and_then(|id| state.owned_coupons.get_mut(id)) {
        owned.assign_order(None);
    }
}

fn emit_event(state: &mut State, kind: EventKind, order: &Order, context: Context<'_>) {
    let id = state.next_event_id();
    let trace = context.trace.map(str::to_owned);
    let created_at = context.now;
    state.events.push(EventRow { id, kind, order_id: order.id, trace, created_at });
}
