//! `commerce cart`: shopping carts. A cart does not reserve stock.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::{REGULAR, TextTable};
use crate::values;
use commerce_core::{CartEdit, CustomerId, EditCart, ProductId, ProductStatus};

/// Shows and edits shopping carts. A cart does not reserve stock.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum CartCommand {
    /// Shows a cart at current prices.
    Show {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        customer: CustomerId,
    },
    /// Sets the quantity of a product; 0 removes it.
    Set {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        customer: CustomerId,
        /// The product's id.
        #[arg(value_parser = values::id::<ProductId>)]
        product: ProductId,
        /// New quantity.
        #[arg(value_name = "QTY", value_parser = values::integer, allow_negative_numbers = true)]
        quantity: i64,
    },
    /// Adds to the quantity of a product.
    Add {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        customer: CustomerId,
        /// The product's id.
        #[arg(value_parser = values::id::<ProductId>)]
        product: ProductId,
        /// Units to add.
        #[arg(value_name = "QTY", value_parser = values::integer, allow_negative_numbers = true)]
        quantity: i64,
    },
    /// Removes a product.
    Remove {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        customer: CustomerId,
        /// The product's id.
        #[arg(value_parser = values::id::<ProductId>)]
        product: ProductId,
    },
    /// Removes all products.
    Clear {
        /// The customer's id.
        #[arg(value_parser = values::id::<CustomerId>)]
        customer: CustomerId,
    },
}

impl CartCommand {
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
    let table = TextTable::new(
        [">product", "name", &price, REGULAR, ">quantity", &amount, ">stock"],
        "the cart is empty",
    )
    .rows(&cart.items, |item| {
        let stock = match item.status {
            ProductStatus::Active => item.stock.to_string(),
            ProductStatus::Archived => "no longer sold".to_owned(),
        };
        [
            item.product_id.to_string(),
            item.name.clone(),
            context.number(item.unit_price),
            context.number(item.regular_price),
            item.quantity.to_string(),
            context.number(item.amount),
            stock,
        ]
    })
    .hide_if(3, cart.items.iter().all(|item| item.unit_price == item.regular_price));
    if cart.items.is_empty() {
        return table.text();
    }
    format!("{}\ntotal {}", table.text(), context.money(cart.total))
}
