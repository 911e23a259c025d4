//! `commerce order`: places an order.

use crate::commands::orders;
use crate::context::CommandContext;
use crate::error::CliError;
use crate::values::{self, Item, KeyArg};
use commerce_core::{CustomerId, OrderItems, OwnedCouponId, PayWhen, PlaceOrder};

#[derive(clap::Args, Debug)]
pub(crate) struct OrderCommand {
    /// The customer's id.
    #[arg(value_parser = values::id::<CustomerId>)]
    customer: CustomerId,
    /// Product ids with quantities, like 7:2 (default quantity: 1).
    #[arg(value_name = "PRODUCT[:QTY]", value_parser = values::item)]
    #[arg(required_unless_present = "cart", conflicts_with = "cart")]
    items: Vec<Item>,
    /// Orders the contents of the customer's cart.
    #[arg(long)]
    cart: bool,
    /// Id of the customer's coupon to use, as `coupon owned` lists it.
    #[arg(long, value_name = "OWNED", value_parser = values::id::<OwnedCouponId>)]
    coupon: Option<OwnedCouponId>,
    /// Places a pending order, which holds stock and coupon for 15 minutes. Pay it with `orders pay`.
    #[arg(long)]
    unpaid: bool,
    /// Your own order number; no other order of the customer may have it.
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    #[command(flatten)]
    key: KeyArg,
}

impl OrderCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let items = || self.items.iter().map(|item| (item.product, item.quantity)).collect();
        let request = PlaceOrder {
            customer_id: self.customer,
            items: if self.cart { OrderItems::Cart } else { OrderItems::Listed(items()) },
            owned_coupon_id: self.coupon,
            pay: if self.unpaid { PayWhen::Later } else { PayWhen::Now },
            reference: self.reference,
            past: None,
        };
        let order = context.call(request, &self.key)?;
        context.print(order, |order| orders::order(context, order))
    }
}
