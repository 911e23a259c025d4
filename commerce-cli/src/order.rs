//! `commerce order`: places an order.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::orders;
use crate::values::{self, Item, KeyArg};
use commerce_core::{CustomerId, OrderItems, OwnedCouponId, PayWhen, PlaceOrder};

/// Places an order, paid from the customer's balance.
#[derive(clap::Args, Debug)]
pub(crate) struct Order {
    /// The customer's id.
    #[arg(value_parser = values::id::<CustomerId>)]
    customer: CustomerId,
    /// What is ordered: product ids, each with how many of it, like 7:2 (1 when left out).
    #[arg(value_name = "PRODUCT[:QTY]", value_parser = values::item)]
    #[arg(required_unless_present = "cart", conflicts_with = "cart")]
    items: Vec<Item>,
    /// Orders what is in the customer's cart.
    #[arg(long)]
    cart: bool,
    /// The coupon to use, by the id of the customer's own coupon (`coupon owned` shows it).
    #[arg(long, value_name = "OWNED", value_parser = values::id::<OwnedCouponId>)]
    coupon: Option<OwnedCouponId>,
    /// Holds stock and coupon for 15 minutes; `orders pay` pays.
    #[arg(long)]
    unpaid: bool,
    #[command(flatten)]
    key: KeyArg,
}

impl Order {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let items = || self.items.iter().map(|item| (item.product, item.quantity)).collect();
        let request = PlaceOrder {
            customer_id: self.customer,
            items: if self.cart { OrderItems::Cart } else { OrderItems::Listed(items()) },
            owned_coupon_id: self.coupon,
            pay: if self.unpaid { PayWhen::Later } else { PayWhen::Now },
            reference: None,
        };
        let order = context.call(request, &self.key)?;
        context.print(order, |order| orders::order(context, order))
    }
}
