//! `commerce cart`: what a customer may order later. A cart reserves nothing.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::Rows;
use crate::values;
use commerce_core::{CartEdit, CustomerId, EditCart, ProductId, ProductStatus};

/// Shows and changes what a customer may order later.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Cart {
    /// Shows a cart at today's prices.
    Show {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        customer: CustomerId,
    },
    /// Sets how many of a product are wanted; 0 takes it out.
    Set {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        customer: CustomerId,
        /// The product's id.
        #[arg(value_parser = values::id::<ProductId>)]
        product: ProductId,
        /// Units wanted.
        #[arg(value_name = "QTY", value_parser = values::integer, allow_negative_numbers = true)]
        quantity: i64,
    },
    /// Wants more of a product than before.
    Add {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        customer: CustomerId,
        /// The product's id.
        #[arg(value_parser = values::id::<ProductId>)]
        product: ProductId,
        /// Units wanted beyond those in the cart.
        #[arg(value_name = "QTY", value_parser = values::integer, allow_negative_numbers = true)]
        quantity: i64,
    },
    /// Takes a product out.
    Remove {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        customer: CustomerId,
        /// The product's id.
        #[arg(value_parser = values::id::<ProductId>)]
        product: ProductId,
    },
    /// Takes everything out.
    Clear {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        customer: CustomerId,
    },
}

impl Cart {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let (customer, edit) = match self {
            Self::Show { customer } => (customer, None),
            Self::Set { customer, product, quantity } => {
                (customer, Some(CartEdit::Set(product, quantity)))
            }
            Self::Add { customer, product, quantity } => {
                (customer, Some(CartEdit::Add(product, quantity)))
            }
            Self::Remove { customer, product } => (customer, Some(CartEdit::Remove(product))),
            Self::Clear { customer } => (customer, Some(CartEdit::Clear)),
        };
        let cart = match edit {
            Some(edit) => context.shop.call(EditCart { customer_id: customer, edit }).run()?,
            None => context.shop.cart(customer)?,
        };
        context.print(cart, |cart| self::cart(context, cart))
    }
}

fn cart(context: &CommandContext, cart: &commerce_core::Cart) -> String {
    let (price, amount) = (context.head("price"), context.head("amount"));
    let rows = Rows::new(
        [">product", "name", &price, ">quantity", &amount, ">stock"],
        "the cart is empty",
    )
    .each(&cart.items, |item| {
        let stock = match item.status {
            ProductStatus::Active => item.stock.to_string(),
            ProductStatus::Archived => "no longer sold".to_owned(),
        };
        [
            item.product_id.to_string(),
            item.name.clone(),
            context.number(item.unit_price),
            item.quantity.to_string(),
            context.number(item.amount),
            stock,
        ]
    });
    if cart.items.is_empty() {
        return rows.text();
    }
    format!("{}\ntotal {}", rows.text(), context.money(cart.total))
}
