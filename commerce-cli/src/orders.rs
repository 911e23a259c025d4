//! `commerce orders`: what was ordered, and what becomes of it.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::{Rows, facts, or_dash};
use crate::values::{self, KeyArg, PageArgs};
use commerce_core::{CancelOrder, CustomerId, Money, Order, OrderId, OrderStatus, PayOrder};
use serde::Serialize;

/// Shows orders, pays them and cancels them.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Orders {
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
    /// Cancels an order and gives back all it took.
    Cancel {
        /// The order's id.
        #[arg(value_parser = values::id::<OrderId>)]
        id: OrderId,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Releases what orders hold that were not paid in time. Other commands do so too, in passing.
    Expire,
}

#[derive(Serialize)]
struct Expired {
    expired: Vec<OrderId>,
}

impl Orders {
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
    let body = Expired { expired: context.shop.expire_orders()? };
    context.output.print(&body, |Expired { expired }| match expired.as_slice() {
        [] => "no order was overdue".to_owned(),
        orders => {
            let ids: Vec<String> = orders.iter().map(OrderId::to_string).collect();
            format!("not paid in time: order {}", ids.join(", "))
        }
    })
}

fn orders(context: &CommandContext, orders: &[Order]) -> String {
    let head = [">id", "placed", "status", ">lines", &context.head("total"), "reference"];
    Rows::new(head, "this customer has no orders")
        .each(orders, |order| {
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

/// One order in full.
pub(crate) fn order(context: &CommandContext, order: &Order) -> String {
    let (price, amount) = (context.head("price"), context.head("amount"));
    let lines = Rows::new([">product", "name", &price, ">quantity", &amount], "no lines")
        .each(&order.lines, |line| {
            [
                line.product_id.to_string(),
                line.name.clone(),
                context.number(line.unit_price),
                line.quantity.to_string(),
                context.number(line.amount),
            ]
        })
        .text();
    let facts = facts([
        ("order", order.id.to_string()),
        ("customer", order.customer_id.to_string()),
        ("placed", order.created_at.to_string()),
        ("status", status(order)),
        ("reference", or_dash(order.reference.clone())),
        ("coupon", or_dash(order.owned_coupon_id)),
    ]);
    format!("{facts}\n\n{lines}\n{}", total(context, order))
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
        OrderStatus::Pending => order.expires_at.map(|at| format!(", to be paid before {at}")),
        OrderStatus::Paid => order.paid_at.map(|at| format!(" at {at}")),
        OrderStatus::Cancelled => order.cancelled_at.map(|at| format!(" at {at}")),
        OrderStatus::Expired => order.expires_at.map(|at| format!(" at {at}")),
    };
    format!("{}{}", order.status, since.unwrap_or_default())
}
