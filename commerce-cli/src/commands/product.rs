//! `commerce product`: products, their prices and their stock.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::{REGULAR, TextTable, or_dash, properties};
use crate::values::{self, Edge, KeyArg, PageArgs};
use commerce_core::{
    AddProduct, AdjustStock, Money, Patch, ProductFilter, ProductId, ProductSelection,
    ProductStatus, SalePrice, StockChange, UpdateProduct,
};

/// Adds, shows and changes products.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum ProductCommand {
    /// Adds a product.
    Add {
        /// Name.
        name: String,
        /// Unit price in minor units: 1250 is 12.50 USD.
        #[arg(value_parser = values::amount, allow_negative_numbers = true)]
        price: Money,
        /// Units in stock.
        #[arg(value_parser = values::integer, allow_negative_numbers = true)]
        stock: i64,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Lists products by id, the active ones by default.
    List {
        /// Only products with this text in their names, in upper or lower case.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Archived products instead of the active ones.
        #[arg(long, conflicts_with = "all")]
        archived: bool,
        /// Active and archived products.
        #[arg(long)]
        all: bool,
        /// Only products with stock at or below their low-stock threshold.
        #[arg(long)]
        low: bool,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Lists every change of a product's stock, newest first: adjustments and orders alike.
    History {
        /// The product's id.
        #[arg(value_parser = values::id::<ProductId>)]
        id: ProductId,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Shows one product, active or archived.
    Show {
        /// The product's id.
        #[arg(value_parser = values::id::<ProductId>)]
        id: ProductId,
    },
    /// Changes a product's name, prices or thresholds. Existing orders keep their names and prices.
    Update(UpdateArgs),
    /// Adds units to the stock, or removes them.
    Stock {
        /// The product's id.
        #[arg(value_parser = values::id::<ProductId>)]
        id: ProductId,
        /// Units to add; a negative number removes units.
        #[arg(value_parser = values::integer, allow_negative_numbers = true)]
        delta: i64,
        /// Reason, recorded with the stock movement.
        #[arg(long, value_name = "TEXT", default_value = "adjusted by hand")]
        reason: String,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Archives a product: it can no longer be ordered. Existing orders are unchanged.
    Archive {
        /// The product's id.
        #[arg(value_parser = values::id::<ProductId>)]
        id: ProductId,
    },
    /// Makes an archived product active again.
    Unarchive {
        /// The product's id.
        #[arg(value_parser = values::id::<ProductId>)]
        id: ProductId,
    },
}

#[derive(clap::Args, Debug)]
pub(crate) struct UpdateArgs {
    /// The product's id.
    #[arg(value_parser = values::id::<ProductId>)]
    id: ProductId,
    /// New name.
    #[arg(long)]
    name: Option<String>,
    /// New regular price of a unit in minor units.
    #[arg(long, value_parser = values::amount, allow_negative_numbers = true)]
    price: Option<Money>,
    /// Price of a unit during a sale, below the regular price.
    #[arg(long, value_name = "PRICE", value_parser = values::amount, allow_negative_numbers = true)]
    sale_price: Option<Money>,
    /// Start of the sale, a time or a day of the zone of the shop (default: now).
    #[arg(long, value_name = "TIME", value_parser = values::edge)]
    sale_from: Option<Edge>,
    /// End of the sale, exclusive, or `none` (default: none). A day means its start.
    #[arg(long, value_name = "TIME", value_parser = values::edge_patch)]
    sale_until: Option<Patch<Edge>>,
    /// Removes the sale.
    #[arg(long, conflicts_with_all = ["sale_price", "sale_from", "sale_until"])]
    no_sale: bool,
    /// Stock at and below which the product is low on stock, or `none`.
    #[arg(long, value_name = "N", value_parser = values::integer_patch, allow_negative_numbers = true)]
    low_stock_threshold: Option<Patch<i64>>,
    /// Greatest number of units that a customer may have in pending and paid orders, or `none`.
    #[arg(long, value_name = "N", value_parser = values::integer_patch, allow_negative_numbers = true)]
    limit_per_customer: Option<Patch<i64>>,
}

impl UpdateArgs {
    fn request(self, context: &CommandContext) -> Result<UpdateProduct, CliError> {
        let sale_price = self.sale_price.map(Patch::Set).unwrap_or_default();
        Ok(UpdateProduct {
            name: self.name,
            price: self.price,
            sale_price: if self.no_sale { Patch::Remove } else { sale_price },
            sale_from: context.instant(self.sale_from.as_ref(), Edge::start)?,
            sale_until: context.instant_patch(self.sale_until.as_ref())?,
            low_stock_threshold: self.low_stock_threshold.unwrap_or_default(),
            limit_per_customer: self.limit_per_customer.unwrap_or_default(),
            ..UpdateProduct::new(self.id)
        })
    }
}

impl ProductCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let product = match self {
            Self::List { search, archived, all, low, page } => {
                let status = match (archived, all) {
                    (true, _) => ProductSelection::Archived,
                    (false, true) => ProductSelection::All,
                    (false, false) => ProductSelection::Active,
                };
                let filter = ProductFilter { search, status, low_stock: low };
                let read = |page: &_| context.shop.list_products(&filter, page);
                return context.search_priced(&page, read, |rows| products(context, rows, low));
            }
            Self::History { id, page } => {
                return context.search(
                    &page,
                    |page| context.shop.product_history(id, page),
                    history,
                );
            }
            Self::Show { id } => context.shop.product(id)?,
            Self::Add { name, price, stock, key } => {
                context.call(AddProduct::new(name, price, stock), &key)?
            }
            Self::Update(update) => context.shop.call(update.request(context)?).run()?,
            Self::Stock { id, delta, reason, key } => {
                context.call(AdjustStock { product_id: id, delta, reason }, &key)?
            }
            Self::Archive { id } => context.shop.call(UpdateProduct::archive(id)).run()?,
            Self::Unarchive { id } => context.shop.call(UpdateProduct::unarchive(id)).run()?,
        };
        context.print(product, |product| self::product(context, product))
    }
}

fn products(context: &CommandContext, products: &[commerce_core::Product], low: bool) -> String {
    let headers = [">id", "~name", &context.head("price"), REGULAR, ">stock", ">low at", "status"];
    TextTable::new(headers, "no products")
        .rows(products, |product| {
            let (id, stock) = (product.id.to_string(), product.stock.to_string());
            let status = product.status.to_string();
            let prices = [product.price, product.regular_price].map(|price| context.number(price));
            let [price, regular] = prices;
            let low_at = or_dash(product.low_stock_threshold);
            [id, product.name.clone(), price, regular, stock, low_at, status]
        })
        .hide_if(3, products.iter().all(|product| product.price == product.regular_price))
        .hide_if(5, !low)
        .text()
}

fn history(changes: &[StockChange]) -> String {
    let headers = ["at", ">change", ">stock after", "~reason", "order", "by"];
    TextTable::new(headers, "no changes")
        .rows(changes, |change| {
            [
                change.created_at.to_string(),
                format!("{:+}", change.delta),
                change.stock_after.to_string(),
                change.reason.clone(),
                or_dash(change.order_id),
                or_dash(change.actor),
            ]
        })
        .text()
}

fn product(context: &CommandContext, product: &commerce_core::Product) -> String {
    let status = match product.status {
        ProductStatus::Active => "active",
        ProductStatus::Archived => "archived",
    };
    let sale = product.sale.map(|SalePrice { price, from, until }| {
        let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
        format!("{} from {from}{until}", context.money(price))
    });
    properties([
        ("product", product.id.to_string()),
        ("name", product.name.clone()),
        ("price", context.money(product.price)),
        ("regular price", context.money(product.regular_price)),
        ("sale", or_dash(sale)),
        ("stock", product.stock.to_string()),
        ("low at", or_dash(product.low_stock_threshold)),
        ("limit per customer", or_dash(product.limit_per_customer)),
        ("status", status.to_owned()),
    ])
}
