//! `commerce orders`: listing, paying, cancelling and expiring orders.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::{TextTable, or_dash, properties};
use crate::values::{self, KeyArg, PageArgs};
use commerce_core::{CancelOrder, CustomerId, Money, Order, OrderId, OrderStatus, PayOrder};
use serde::Serialize;

/// Lists, shows, pays, cancels and expires orders.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum OrdersCommand {
    /// Lists a customer's orders, newest first.
    List {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        customer: CustomerId,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Shows one order.
    Show {
        /// The order's id.
        #[arg(value_parser = values::id::<OrderId>)]
        id: OrderId,
    },
    /// Pays an order that was placed with --unpaid.
    Pay {
        /// The order's id.
        #[arg(value_parser = values::id::<OrderId>)]
        id: OrderId,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Cancels an order, and returns its money, stock and coupon.
    Cancel {
        /// The order's id.
        #[arg(value_parser = values::id::<OrderId>)]
        id: OrderId,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Expires pending orders that were not paid in time, and releases their stock and coupons. Commands that
    /// change the store do this too.
    Expire,
}

#[derive(Serialize)]
struct ExpireReport {
    expired: Vec<OrderId>,
}

impl OrdersCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let order = match self {
            Self::List { customer, page } => {
                let text = |rows: &[_]| orders(context, rows);
                return context.list_priced(
                    &page,
                    |page| context.shop.orders(customer, page),
                    text,
                );
            }
            Self::Expire => return expire(context),
            Self::Show { id } => context.shop.order(id)?,
            Self::Pay { id, key } => context.call(PayOrder { order_id: id }, &key)?,
            Self::Cancel { id, key } => context.call(CancelOrder { order_id: id }, &key)?,
        };
        context.print(order, |order| self::order(context, order))
    }
}

fn expire(context: &CommandContext) -> Result<(), CliError> {
    let body = ExpireReport { expired: context.shop.expire_orders()? };
    context.output.print(&body, |ExpireReport { expired }| match expired.as_slice() {
        [] => "no order was overdue".to_owned(),
        orders => {
            let ids: Vec<String> = orders.iter().map(OrderId::to_string).collect();
            format!("expired, not paid in time: order {}", ids.join(", "))
        }
    })
}

fn orders(context: &CommandContext, orders: &[Order]) -> String {
    let headers = [">id", "placed", "status", ">lines", &context.head("total"), "reference"];
    TextTable::new(headers, "this customer has no orders")
        .rows(orders, |order| {
            [
                order.id.to_string(),
                order.created_at.to_string(),
                order.status.to_string(),
                order.lines.len().to_string(),
                context.number(order.total),
                order.reference.clone().unwrap_or_default(),
            ]
        })
        .text()
}

/// The text of one order.
pub(crate) fn order(context: &CommandContext, order: &Order) -> String {
    let (price, amount) = (context.head("price"), context.head("amount"));
    let lines = TextTable::new([">product", "name", &price, ">quantity", &amount], "no lines")
        .rows(&order.lines, |line| {
            [
                line.product_id.to_string(),
                line.name.clone(),
                context.number(line.unit_price),
                line.quantity.to_string(),
                context.number(line.amount),
            ]
        })
        .text();
    let properties = properties([
        ("order", order.id.to_string()),
        ("customer", order.customer_id.to_string()),
        ("placed", order.created_at.to_string()),
        ("status", status(order)),
        ("reference", or_dash(order.reference.clone())),
        ("coupon", or_dash(order.owned_coupon_id)),
    ]);
    format!("{properties}\n\n{lines}\n{}", total(context, order))
}

fn total(context: &CommandContext, order: &Order) -> String {
    let total = context.money(order.total);
    if order.discount == Money::ZERO {
        return format!("total {total}");
    }
    let (subtotal, discount) = (context.money(order.subtotal), context.money(order.discount));
    format!("subtotal {subtotal}, discount {discount}, total {total}")
}

fn status(order: &Order) -> String {
    let since = match order.status {
        OrderStatus::Pending => order.expires_at.map(|at| format!(", pay before {at}")),
        OrderStatus::Paid => order.paid_at.map(|at| format!(" at {at}")),
        OrderStatus::Cancelled => order.cancelled_at.map(|at| format!(" at {at}")),
        OrderStatus::Expired => order.expires_at.map(|at| format!(" at {at}")),
    };
    format!("{}{}", order.status, since.unwrap_or_default())
}
