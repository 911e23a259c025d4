//! `commerce seed`: repeatable synthetic data.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::exit::ExitKind;
use crate::interrupt;
use crate::pipeline::{ImportCounts, Pipeline, SourceLocation, Submission};
use crate::progress;
use clap::value_parser;
use commerce_core::{
    AddCustomer, AddProduct, CustomerId, Key, Operation, PageRequest, PlaceOrder, ProductId,
    Timestamp,
};
use plan::{Plan, Sizes};
use serde::Serialize;

mod plan;

/// The period that the orders are spread over, in days before now.
const DAYS: i64 = 30;

#[derive(clap::Args, Debug)]
pub(crate) struct SeedCommand {
    /// Number of products.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u64).range(1..=100_000))]
    products: u64,
    /// Number of customers.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u64).range(1..=1_000_000))]
    customers: u64,
    /// Number of orders.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = value_parser!(u64).range(0..=10_000_000))]
    orders: u64,
    /// Seed of the random numbers.
    #[arg(long = "seed", value_name = "S", default_value_t = 1)]
    number: u64,
}

/// Rows of the seed now in the store; `skipped` of them existed before.
#[derive(Default, Serialize)]
struct SeedReport {
    products: u64,
    customers: u64,
    orders: u64,
    skipped: u64,
}

impl SeedCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<ExitKind, CliError> {
        interrupt::watch()?;
        let sizes =
            Sizes { products: self.products, customers: self.customers, orders: self.orders };
        let plan = Plan::new(self.number, sizes);
        check(context, &plan)?;
        let start = context.shop.now().plus_seconds(DAYS.saturating_mul(-24 * 60 * 60));
        let mut report = SeedReport::default();
        let mut add = |counts: ImportCounts| {
            report.skipped = report.skipped.saturating_add(counts.skipped);
            counts.done.saturating_add(counts.skipped)
        };
        let products = add(fill(context, "products", self.products, |n| product(&plan, n, start))?);
        let customers =
            add(fill(context, "customers", self.customers, |n| customer(&plan, n, start))?);
        let orders = add(fill(context, "orders", self.orders, |n| order(&plan, n, start))?);
        let body = SeedReport { products, customers, orders, ..report };
        let is_interrupted = interrupt::requested();
        context.output.print(&body, text)?;
        if is_interrupted {
            context.output.note("stopped early: run it again to continue");
            return Ok(ExitKind::Interrupted);
        }
        Ok(ExitKind::Success)
    }
}

/// Checks that the store is empty or was filled with the same seed: generated orders must not use stock and
/// balances of other data.
fn check(context: &CommandContext, plan: &Plan) -> Result<(), CliError> {
    let first = PageRequest::first(1);
    let product = context.shop.products(&first)?.items.into_iter().next();
    let customer = context.shop.customers(&first)?.items.into_iter().next();
    let product_matches = product.is_none_or(|product| {
        let planned = product_request(plan, 0);
        planned.id == Some(product.id)
            && planned.name == product.name
            && planned.price == product.price
    });
    let customer_matches = customer.is_none_or(|customer| {
        let planned = customer_request(plan, 0);
        planned.id == Some(customer.id) && planned.name == customer.name
    });
    if product_matches && customer_matches {
        return Ok(());
    }
    Err(CliError::usage(
        "the store holds other data than this seed generates: seed a new --database",
    ))
}

/// Submits the calls 0 to `count - 1`, until one fails or Ctrl-C is pressed.
fn fill<R: Operation + Clone>(
    context: &CommandContext,
    what: &str,
    count: u64,
    submission: impl Fn(u64) -> Submission<R>,
) -> Result<ImportCounts, CliError> {
    let bar = progress::items(what, count);
    let mut pipeline = Pipeline::new(&context.shop);
    for number in 0..count {
        if interrupt::requested() || !pipeline.push(submission(number)) {
            break;
        }
        bar.inc(1);
    }
    let (counts, error) = pipeline.finish();
    bar.finish_and_clear();
    error.map_or(Ok(counts), Err)
}

fn product(plan: &Plan, number: u64, at: Timestamp) -> Submission<AddProduct> {
    let request = product_request(plan, number);
    Submission { request, at: Some(at), key: None, location: location("product", number) }
}

fn product_request(plan: &Plan, number: u64) -> AddProduct {
    let product = plan.product(number);
    AddProduct { id: Some(ProductId::new(id(number))), ..product }
}

fn customer(plan: &Plan, number: u64, at: Timestamp) -> Submission<AddCustomer> {
    let request = customer_request(plan, number);
    Submission { request, at: Some(at), key: None, location: location("customer", number) }
}

fn customer_request(plan: &Plan, number: u64) -> AddCustomer {
    let customer = plan.customer(number);
    AddCustomer { id: Some(CustomerId::new(id(number))), ..customer }
}

fn order(plan: &Plan, number: u64, start: Timestamp) -> Submission<PlaceOrder> {
    let order = plan.order(number);
    let items: Vec<_> =
        order.items.iter().map(|(p, units)| (ProductId::new(id(*p)), *units)).collect();
    let request = PlaceOrder::new(CustomerId::new(id(order.customer)), items);
    let at = start.plus_seconds(plan.offset(number, DAYS.saturating_mul(24 * 60 * 60)));
    let key = Key::new(&format!("seed:{}:{number}", plan.seed()));
    Submission { request, at: Some(at), key, location: location("order", number) }
}

/// The id of a number. Ids start at 1.
fn id(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX).saturating_add(1)
}

fn location(what: &str, number: u64) -> SourceLocation {
    SourceLocation { text: format!("{what} {}", id(number)), ..SourceLocation::default() }
}

fn text(report: &SeedReport) -> String {
    let SeedReport { products, customers, orders, skipped } = report;
    format!(
        "{products} products, {customers} customers and {orders} orders; {skipped} of these rows existed already"
    )
}
