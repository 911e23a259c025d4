//! Saving orders, their lines, and the coupons they use.

use super::split;
use crate::connection::Query;
use commerce_core::store::columns::{DbText, paid_and_refunded};
use commerce_core::store::{State, digest};
use commerce_core::{Order, OwnedCoupon};

/// Orders name the coupons they use and coupons the orders that use them: new coupons come first and
/// without their order, then orders, then what uses which coupon.
pub(super) fn save(state: &State, steps: &mut Vec<Query<'static>>) {
    let (claimed, handed): (Vec<&OwnedCoupon>, Vec<&OwnedCoupon>) =
        split(state.owned_coupons.changed());
    if !claimed.is_empty() {
        let sql = "INSERT INTO owned_coupons (id, coupon_id, customer_id, rank, claimed_at, digest)
                   SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[],
                                        $5::bigint[], $6::bigint[])";
        steps.push(
            Query::new(sql)
                .with(column!(claimed, row => row.id.get()))
                .with(column!(claimed, row => row.coupon_id.get()))
                .with(column!(claimed, row => row.customer_id.get()))
                .with(column!(claimed, row => row.rank))
                .with(column!(claimed, row => row.claimed_at.unix()))
                .with(column!(claimed, row => digest(state, *row))),
        );
    }
    let (new, old): (Vec<&Order>, Vec<&Order>) = split(state.orders.changed());
    if !new.is_empty() {
        steps.push(insert_orders(state, &new));
        steps.push(insert_lines(&new));
    }
    if !old.is_empty() {
        steps.push(update_orders(&old));
    }
    let used = claimed.into_iter().filter(|owned| owned.order_id.is_some());
    let handed: Vec<&OwnedCoupon> = handed.into_iter().chain(used).collect();
    if !handed.is_empty() {
        let sql = "UPDATE owned_coupons SET order_id = new.order_id
                   FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
                        AS new (id, customer_id, order_id)
                   WHERE owned_coupons.id = new.id AND owned_coupons.customer_id = new.customer_id
                     AND owned_coupons.id = ANY($1)";
        steps.push(
            Query::new(sql)
                .with(column!(handed, row => row.id.get()))
                .with(column!(handed, row => row.customer_id.get()))
                .with(column!(handed, row => row.order_id.map(commerce_core::OrderId::get)))
                .changing(handed.len()),
        );
    }
}

fn insert_orders(state: &State, rows: &[&Order]) -> Query<'static> {
    let sql = "INSERT INTO orders (id, customer_id, reference, status, subtotal, discount, total,
                                   paid, refunded, owned_coupon_id, created_at, expires_at, paid_at,
                                   cancelled_at, previous, digest)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[],
                                    $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
                                    $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
                                    $13::bigint[], $14::bigint[], $15::bigint[],
                                    $16::bigint[])";
    Query::new(sql)
        .with(column!(rows, row => row.id.get()))
        .with(column!(rows, row => row.customer_id.get()))
        .with(column!(rows, row => row.reference.clone()))
        .with(column!(rows, row => row.status.word()))
        .with(column!(rows, row => row.subtotal.minor()))
        .with(column!(rows, row => row.discount.minor()))
        .with(column!(rows, row => row.total.minor()))
        .with(column!(rows, row => paid_and_refunded(row).0.minor()))
        .with(column!(rows, row => paid_and_refunded(row).1.minor()))
        .with(column!(rows, row => row.owned_coupon_id.map(commerce_core::OwnedCouponId::get)))
        .with(column!(rows, row => row.created_at.unix()))
        .with(column!(rows, row => row.expires_at.map(commerce_core::Timestamp::unix)))
        .with(column!(rows, row => row.paid_at.map(commerce_core::Timestamp::unix)))
        .with(column!(rows, row => row.cancelled_at.map(commerce_core::Timestamp::unix)))
        .with(column!(rows, row => row.previous.map(commerce_core::OrderId::get)))
        .with(column!(rows, row => digest(state, *row)))
        .changing(rows.len())
}

fn insert_lines(orders: &[&Order]) -> Query<'static> {
    let lines: Vec<_> = orders
        .iter()
        .flat_map(|order| (0_i64..).zip(&order.lines).map(|(target, line)| (*order, target, line)))
        .collect();
    let sql = "INSERT INTO order_lines (order_id, position, customer_id, product_id, name,
                                        unit_price, quantity)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[],
                                    $5::text[], $6::bigint[], $7::bigint[])";
    Query::new(sql)
        .with(column!(lines, (order, ..) => order.id.get()))
        .with(column!(lines, (_, target, _) => *target))
        .with(column!(lines, (order, ..) => order.customer_id.get()))
        .with(column!(lines, (.., line) => line.product_id.get()))
        .with(column!(lines, (.., line) => line.name.clone()))
        .with(column!(lines, (.., line) => line.unit_price.minor()))
        .with(column!(lines, (.., line) => line.quantity))
        .changing(lines.len())
}

fn update_orders(rows: &[&Order]) -> Query<'static> {
    let sql = "UPDATE orders SET status = new.status, paid = new.paid, refunded = new.refunded,
                                 paid_at = new.paid_at, cancelled_at = new.cancelled_at
               FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[],
                           $6::bigint[], $7::bigint[])
                    AS new (id, customer_id, status, paid, refunded, paid_at, cancelled_at)
               WHERE orders.id = new.id AND orders.customer_id = new.customer_id
                     AND orders.id = ANY($1)";
    Query::new(sql)
        .with(column!(rows, row => row.id.get()))
        .with(column!(rows, row => row.customer_id.get()))
        .with(column!(rows, row => row.status.word()))
        .with(column!(rows, row => paid_and_refunded(row).0.minor()))
        .with(column!(rows, row => paid_and_refunded(row).1.minor()))
        .with(column!(rows, row => row.paid_at.map(commerce_core::Timestamp::unix)))
        .with(column!(rows, row => row.cancelled_at.map(commerce_core::Timestamp::unix)))
        .changing(rows.len())
}
