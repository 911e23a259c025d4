//! `commerce product`: what is sold, at which price, and how many there are.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::{Rows, facts};
use crate::values::{self, KeyArg, PageArgs};
use commerce_core::{AddProduct, AdjustStock, Money, ProductId, ProductStatus, UpdateProduct};

/// Adds products, shows them and changes them.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Product {
    /// Adds a product.
    Add {
        /// Its name.
        name: String,
        /// What one unit costs, in minor units: 1250 is 12.50 USD.
        #[arg(value_parser = values::amount, allow_negative_numbers = true)]
        price: Money,
        /// Units in stock.
        #[arg(value_parser = values::integer, allow_negative_numbers = true)]
        stock: i64,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Lists the products that are sold, by id.
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Shows one product, archived ones too.
    Show {
        /// The product's id.
        #[arg(value_parser = values::id::<ProductId>)]
        id: ProductId,
    },
    /// Changes a product's name or price. Orders keep those they were placed with.
    Update {
        /// The product's id.
        #[arg(value_parser = values::id::<ProductId>)]
        id: ProductId,
        /// The new name.
        #[arg(long)]
        name: Option<String>,
        /// The new price of one unit, in minor units.
        #[arg(long, value_parser = values::amount, allow_negative_numbers = true)]
        price: Option<Money>,
    },
    /// Puts units into stock, or takes them out.
    Stock {
        /// The product's id.
        #[arg(value_parser = values::id::<ProductId>)]
        id: ProductId,
        /// Units put in; a negative number takes them out.
        #[arg(value_parser = values::integer, allow_negative_numbers = true)]
        delta: i64,
        /// Why, for the books.
        #[arg(long, default_value = "adjusted by hand")]
        reason: String,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Takes a product off the shelves. What was ordered of it stays.
    Archive {
        /// The product's id.
        #[arg(value_parser = values::id::<ProductId>)]
        id: ProductId,
    },
}

impl Product {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let product = match self {
            Self::List { page } => {
                let text = |rows: &[_]| products(context, rows);
                return context.list_priced(&page, |page| context.shop.products(page), text);
            }
            Self::Show { id } => context.shop.product(id)?,
            Self::Add { name, price, stock, key } => {
                context.call(AddProduct::new(name, price, stock), &key)?
            }
            Self::Update { id, name, price } => {
                context.shop.call(UpdateProduct { name, price, ..UpdateProduct::new(id) }).run()?
            }
            Self::Stock { id, delta, reason, key } => {
                context.call(AdjustStock { product_id: id, delta, reason }, &key)?
            }
            Self::Archive { id } => context.shop.call(UpdateProduct::archive(id)).run()?,
        };
        context.print(product, |product| self::product(context, product))
    }
}

fn products(context: &CommandContext, products: &[commerce_core::Product]) -> String {
    let head = [">id", "name", &context.head("price"), ">stock"];
    Rows::new(head, "there are no products")
        .each(products, |product| {
            let (id, stock) = (product.id.to_string(), product.stock.to_string());
            [id, product.name.clone(), context.number(product.price), stock]
        })
        .text()
}

fn product(context: &CommandContext, product: &commerce_core::Product) -> String {
    let status = match product.status {
        ProductStatus::Active => "active",
        ProductStatus::Archived => "archived",
    };
    facts([
        ("product", product.id.to_string()),
        ("name", product.name.clone()),
        ("price", context.money(product.price)),
        ("stock", product.stock.to_string()),
        ("status", status.to_owned()),
    ])
}
