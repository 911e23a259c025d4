//! `commerce orders`: listing, paying, cancelling and expiring orders.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::{REGULAR, TextTable, or_dash, properties};
use crate::values::{self, Edge, Item, KeyArg, PageArgs};
use commerce_core::{
    CancelOrder, CouponId, CustomerId, Money, Order, OrderFilter, OrderId, OrderStatus, PayOrder,
    ProductId,
};
use serde::Serialize;

/// Lists, shows, pays, cancels and expires orders.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum OrdersCommand {
    /// Lists the orders of the shop or of a customer, newest first. Filters combine.
    List(Box<ListArgs>),
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
    /// Cancels an order or some of its units, and returns their money and stock, and the coupon with the last unit.
    Cancel {
        /// The order's id.
        #[arg(value_parser = values::id::<OrderId>)]
        id: OrderId,
        /// Product ids with the units to cancel, like 7:2 (default units: 1; default: all that is left).
        #[arg(long = "item", value_name = "PRODUCT[:UNITS]", value_parser = values::item)]
        #[arg(num_args = 1..)]
        items: Option<Vec<Item>>,
        /// Does not put the units back into stock, such as damaged goods.
        #[arg(long)]
        keep_stock: bool,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Expires pending orders that were not paid in time, and releases their stock and coupons. Commands that
    /// change the store do this too.
    Expire,
}

/// The filters of a list of orders.
#[derive(clap::Args, Debug)]
pub(crate) struct ListArgs {
    /// The customer's id (default: all customers).
    #[arg(value_parser = values::id::<CustomerId>)]
    customer: Option<CustomerId>,
    /// Present status.
    #[arg(long, value_parser = values::words(OrderStatus::ALL, OrderStatus::as_str))]
    status: Option<OrderStatus>,
    /// Only orders placed after this time, or from this day on, as in a report.
    #[arg(long, value_name = "TIME", value_parser = values::edge)]
    from: Option<Edge>,
    /// Only orders placed up to this time or day, which counts itself.
    #[arg(long, value_name = "TIME", value_parser = values::edge)]
    to: Option<Edge>,
    /// Only orders with this product.
    #[arg(long, value_name = "ID", value_parser = values::id::<ProductId>)]
    product: Option<ProductId>,
    /// Only orders with this order number of another system.
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    /// Only orders that use or have used a coupon of this campaign.
    #[arg(long, value_name = "ID", value_parser = values::id::<CouponId>)]
    coupon: Option<CouponId>,
    #[command(flatten)]
    page: PageArgs,
}

impl ListArgs {
    fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let Self { customer: customer_id, status, from, to, .. } = self;
        let Self { product: product_id, reference, coupon: coupon_id, page, .. } = self;
        let from = context.instant(from.as_ref(), Edge::before)?;
        let to = context.instant(to.as_ref(), Edge::last_second)?;
        let filter =
            OrderFilter { customer_id, status, from, to, product_id, reference, coupon_id };
        let of_customer = OrderFilter { customer_id, ..OrderFilter::default() };
        let text = |rows: &[_]| orders(context, rows);
        match customer_id.filter(|_| filter == of_customer) {
            Some(id) => context.list_priced(&page, |page| context.shop.orders(id, page), text),
            None => {
                context.search_priced(&page, |page| context.shop.list_orders(&filter, page), text)
            }
        }
    }
}

#[derive(Serialize)]
struct ExpireReport {
    expired: Vec<OrderId>,
}

impl OrdersCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let order = match self {
            Self::List(list) => return list.run(context),
            Self::Expire => return expire(context),
            Self::Show { id } => context.shop.order(id)?,
            Self::Pay { id, key } => context.call(PayOrder { order_id: id }, &key)?,
            Self::Cancel { id, items, keep_stock, key } => {
                let pair = |item: Item| (item.product, item.quantity);
                let items = items.map(|items| items.into_iter().map(pair).collect());
                context.call(CancelOrder { order_id: id, items, keep_stock }, &key)?
            }
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
    let total = context.head("total");
    let headers = [">id", ">customer", "placed", "status", ">lines", &total, "~reference"];
    TextTable::new(headers, "no orders")
        .rows(orders, |order| {
            [
                order.id.to_string(),
                order.customer_id.to_string(),
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
    let headers = [">product", "name", &price, REGULAR, ">quantity", ">cancelled", &amount];
    let lines = TextTable::new(headers, "no lines")
        .rows(&order.lines, |line| {
            [
                line.product_id.to_string(),
                line.name.clone(),
                context.number(line.unit_price),
                context.number(line.regular_price),
                line.quantity.to_string(),
                order.cancelled_units(line.product_id).to_string(),
                context.number(line.amount),
            ]
        })
        .hide_if(3, order.lines.iter().all(|line| line.unit_price == line.regular_price))
        // The status of an order that was cancelled or has expired as a whole states it.
        .hide_if(5, order.cancellations.is_empty())
        .text();
    let properties = properties([
        ("order", order.id.to_string()),
        ("customer", order.customer_id.to_string()),
        ("placed", order.created_at.to_string()),
        ("status", status(order)),
        ("reference", or_dash(order.reference.clone())),
        ("owned coupon", or_dash(order.owned_coupon_id)),
    ]);
    format!("{properties}\n\n{lines}\n{}", total(context, order))
}

fn total(context: &CommandContext, order: &Order) -> String {
    let is_reduced = order.discount != Money::ZERO;
    let amounts = [
        ("subtotal", Some(order.subtotal).filter(|_| is_reduced)),
        ("discount", Some(order.discount).filter(|_| is_reduced)),
        ("total", Some(order.total)),
        ("refunded", Some(order.refunded()).filter(|refunded| *refunded != Money::ZERO)),
        // A part of an order that was not paid yet was cancelled.
        ("due", Some(order.due()).filter(|due| *due != Money::ZERO && *due != order.total)),
    ];
    let amount = |(name, amount): (_, Option<Money>)| {
        amount.map(|amount| format!("{name} {}", context.money(amount)))
    };
    amounts.into_iter().filter_map(amount).collect::<Vec<_>>().join(", ")
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
