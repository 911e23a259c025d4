//! The columns of each kind in CSV: one table a kind, for header, rows and documentation.

use super::rows::{CustomerRow, EventLine, LineRow, MovementRow, OrderRow};
use crate::csv::Cell;
use crate::id::{ChargeId, OrderId, OwnedCouponId};
use crate::model::coupon::{Coupon, Discount, OwnedCoupon};
use crate::model::product::Product;
use crate::model::wallet::LedgerEntry;
use crate::money::Money;

/// A row in CSV.
pub(super) trait ExportRow {
    /// The names of the columns.
    const NAMES: &'static [&'static str];
    /// True if the row has amounts: its JSON object then has their currency.
    const HAS_AMOUNTS: bool;

    /// Passes the values in the order of the columns.
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>));
}

/// Implements [`ExportRow`]: a line a column, as `name = value of a row;`.
macro_rules! columns {
    ($row:ty, $has_amounts:literal, |$value_of:ident| { $($name:literal = $value:expr;)+ }) => {
        impl ExportRow for $row {
            const NAMES: &'static [&'static str] = &[$($name),+];
            const HAS_AMOUNTS: bool = $has_amounts;

            fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
                let $value_of = self;
                $(put(Cell::from($value));)+
            }
        }
    };
}

// The first four are those of an import, which must not make the price of a sale the regular one.
columns!(Product, true, |row| {
    "id" = row.id.get();
    "name" = row.name.as_str();
    "price" = row.regular_price;
    "stock" = row.stock;
    "status" = row.status.as_str();
    "sale_price" = row.sale.map(|sale| sale.price);
    "sale_from" = row.sale.map(|sale| sale.from);
    "sale_until" = row.sale.and_then(|sale| sale.until);
    "low_stock_threshold" = row.low_stock_threshold;
    "limit_per_customer" = row.limit_per_customer;
});

// The first three are those of an import.
columns!(CustomerRow, true, |row| {
    "id" = row.customer.id.get();
    "name" = row.customer.name.as_str();
    "balance" = row.balance;
    "login" = row.customer.login.as_deref();
    "role" = row.customer.role.as_str();
    "status" = row.customer.status.as_str();
    "created_at" = row.customer.created_at;
});

// The first five are those of an import. Values of the whole order are in its first row only, so that a column adds up.
columns!(OrderRow<'_>, true, |row| {
    "order" = row.name.as_ref();
    "customer_id" = row.order.customer_id.get();
    "placed_at" = row.order.created_at;
    "product_id" = row.line.product_id.get();
    "quantity" = row.line.quantity;
    "name" = row.line.name.as_str();
    "unit_price" = row.line.unit_price;
    "amount" = row.line.amount;
    "regular_price" = row.line.regular_price;
    "cancelled_quantity" = row.order.cancelled_units(row.line.product_id);
    "id" = row.first(row.order.id.get());
    "reference" = row.first(row.order.reference.as_deref());
    "status" = row.first(row.order.status.as_str());
    "subtotal" = row.first(row.order.subtotal);
    "discount" = row.first(row.order.discount);
    "total" = row.first(row.order.total);
    "refunded" = row.first(row.order.refunded());
    "owned_coupon_id" = row.first(row.order.owned_coupon_id.map(OwnedCouponId::get));
    "expires_at" = row.first(row.order.expires_at);
    "paid_at" = row.first(row.order.paid_at);
    "cancelled_at" = row.first(row.order.cancelled_at);
});

columns!(LineRow<'_>, true, |row| {
    "order_id" = row.order_id.get();
    "customer_id" = row.customer_id.get();
    "position" = row.position;
    "product_id" = row.line.product_id.get();
    "name" = row.line.name.as_str();
    "unit_price" = row.line.unit_price;
    "regular_price" = row.line.regular_price;
    "quantity" = row.line.quantity;
    "amount" = row.line.amount;
    "net" = row.net;
    "status" = row.status.as_str();
    "created_at" = row.created_at;
    "paid_at" = row.paid_at;
    "cancelled_at" = row.cancelled_at;
    "cancelled_quantity" = row.cancelled_quantity;
});

columns!(LedgerEntry, true, |row| {
    "id" = row.id.get();
    "customer_id" = row.customer_id.get();
    "kind" = row.kind.as_str();
    "amount" = row.amount;
    "balance_after" = row.balance_after;
    "order_id" = row.order_id.map(OrderId::get);
    "charge_id" = row.charge_id.map(ChargeId::get);
    "note" = row.note.as_deref();
    "created_at" = row.created_at;
});

columns!(MovementRow<'_>, false, |row| {
    "product_id" = row.product_id.get();
    "delta" = row.delta;
    "reason" = row.reason.as_ref();
    "order_id" = row.order_id.map(OrderId::get);
    "actor" = row.actor.as_deref();
    "created_at" = row.created_at;
});

columns!(Coupon, true, |row| {
    "id" = row.id.get();
    "name" = row.name.as_str();
    "type" = match row.discount {
        Discount::Fixed { .. } => "fixed",
        Discount::Percent { .. } => "percent",
    };
    "amount" = fixed_amount(row);
    "percent" = percentage(row).map(|(percent, _)| percent);
    "max_amount" = percentage(row).and_then(|(_, max_amount)| max_amount);
    "min_order_amount" = row.min_order_amount;
    "quantity" = row.quantity;
    "issued" = row.issued;
    "valid_from" = row.valid_from;
    "valid_until" = row.valid_until;
    "stopped_at" = row.stopped_at;
    "below_minimum" = row.below_minimum.as_str();
});

columns!(OwnedCoupon, false, |row| {
    "id" = row.id.get();
    "coupon_id" = row.coupon_id.get();
    "customer_id" = row.customer_id.get();
    "rank" = row.rank;
    "status" = row.status.as_str();
    "order_id" = row.order_id.map(OrderId::get);
    "claimed_at" = row.claimed_at;
});

columns!(EventLine, true, |row| {
    "id" = row.event.id.get();
    "public_id" = row.public_id.as_str();
    "type" = row.event.kind.as_str();
    "order_id" = row.event.order_id.get();
    "trace" = row.event.trace.as_deref();
    "created_at" = row.event.created_at;
});

fn fixed_amount(coupon: &Coupon) -> Option<Money> {
    match coupon.discount {
        Discount::Fixed { amount } => Some(amount),
        Discount::Percent { .. } => None,
    }
}

fn percentage(coupon: &Coupon) -> Option<(i64, Option<Money>)> {
    match coupon.discount {
        Discount::Fixed { .. } => None,
        Discount::Percent { percent, max_amount } => Some((percent, max_amount)),
    }
}
