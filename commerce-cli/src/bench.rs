//! `commerce bench`: how many orders this machine places in a second, each waited for until it is on
//! disk, on a throw-away store of the same kind and on the same disk.

use crate::args::ExitKind;
use crate::database::Database;
use crate::error::CliError;
use crate::interrupt;
use crate::output::Output;
use crate::pipeline::{Entry, Pipeline, SourceLocation};
use crate::prng::{SplitMix, Zipf};
use crate::table::facts;
use clap::value_parser;
use clients::{Latencies, Load};
use commerce_core::limits::{MAX_AMOUNT, MAX_ORDER_LINES, MAX_STOCK};
use commerce_core::{AddCustomer, AddProduct, Money, Operation, Shop, Stats};
use scratch_store::ScratchStore;
use serde::Serialize;
use std::time::{Duration, Instant};

mod clients;
mod scratch_store;

/// The fewest customers: orders of one customer share a balance, which real shops see little of.
const CUSTOMERS: u32 = 1_000;

/// What a unit of anything costs, and what every customer has: enough for every order there can be.
const PRICE: Money = Money::from_minor(100);
const BALANCE: Money = MAX_AMOUNT;

/// Measures how many orders this machine places in a second.
///
/// Clients place orders on a throw-away store beside the database (on a server: in a schema of its own), one order at a time each, and wait
/// until it is on disk. The store is audited at the end, and removed. A line of an order is one unit
/// of a product; its products are all different.
#[derive(clap::Args, Debug)]
pub(crate) struct Bench {
    /// How many orders.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    orders: u32,
    /// How many clients at a time, each a thread.
    #[arg(long, value_name = "C", default_value_t = 16, value_parser = value_parser!(u32).range(1..=1_024))]
    clients: u32,
    /// How many products there are.
    #[arg(long, value_name = "P", default_value_t = 1_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    products: u32,
    /// How many lines an order has.
    #[arg(long, value_name = "L", default_value_t = 3, value_parser = lines)]
    lines: u32,
    /// How skewed sales are: the n-th product sells 1/n^Z as often as the first. 0 is not at all.
    #[arg(long, value_name = "Z", default_value_t = 0.0, value_parser = skew, allow_negative_numbers = true)]
    skew: f64,
}

#[derive(Serialize)]
struct Measured {
    orders: u32,
    clients: u32,
    orders_per_second: f64,
    latency_ms: LatencyMs,
    orders_per_commit: f64,
    refused: u32,
    audit_ok: bool,
}

#[derive(Serialize)]
struct LatencyMs {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Bench {
    pub(crate) fn run(&self, database: &Database, output: Output) -> Result<ExitKind, CliError> {
        if self.lines > self.products {
            let (lines, products) = (self.lines, self.products);
            return Err(CliError::usage(format!(
                "an order of {lines} different products needs more than the {products} there are: \
                 fewer --lines, or more --products"
            )));
        }
        interrupt::watch()?;
        let (store, scratch_store) = ScratchStore::make(database)?;
        let shop = Shop::open(store);
        let measured = self.measure(&shop);
        // The store is closed before it is removed, which happens on errors too.
        drop(shop);
        drop(scratch_store);
        let measured = measured?;
        output.print(&measured, text)?;
        if interrupt::requested() {
            output.note("stopped before the end: these are the orders until then");
        }
        Ok(match (measured.audit_ok, interrupt::requested()) {
            (false, _) => ExitKind::AuditFailed,
            (true, true) => ExitKind::Interrupted,
            (true, false) => ExitKind::Success,
        })
    }

    fn measure(&self, shop: &Shop) -> Result<Measured, CliError> {
        let customers = self.clients.max(CUSTOMERS);
        fill(shop, self.products, |number| AddProduct {
            id: Some(i64::from(number).into()),
            ..AddProduct::new(format!("Product {number}"), PRICE, MAX_STOCK)
        })?;
        fill(shop, customers, |number| AddCustomer {
            id: Some(i64::from(number).into()),
            balance: BALANCE,
            ..AddCustomer::new(format!("Customer {number}"))
        })?;
        let products = usize::try_from(self.products).unwrap_or(usize::MAX);
        let load = Load {
            orders: self.orders,
            clients: self.clients,
            customers,
            lines: usize::try_from(self.lines).unwrap_or(usize::MAX),
            popularity: Zipf::new(products, self.skew),
        };
        let before = shop.stats();
        let started = Instant::now();
        let latencies = load.run(shop)?;
        let elapsed = started.elapsed();
        let audit_ok = shop.audit()?.ok;
        Ok(self.measured(&latencies, elapsed, &before, &shop.stats(), audit_ok))
    }

    fn measured(
        &self,
        latencies: &Latencies,
        elapsed: Duration,
        before: &Stats,
        after: &Stats,
        audit_ok: bool,
    ) -> Measured {
        let commits = after.commits.saturating_sub(before.commits);
        let commands = after.commands.saturating_sub(before.commands);
        Measured {
            orders: latencies.placed,
            clients: self.clients,
            orders_per_second: rounded(f64::from(latencies.placed), elapsed.as_secs_f64()),
            latency_ms: LatencyMs {
                p50: milliseconds(latencies.micros.value_at_quantile(0.5)),
                p99: milliseconds(latencies.micros.value_at_quantile(0.99)),
                max: milliseconds(latencies.micros.max()),
            },
            orders_per_commit: rounded(real(commands), real(commits)),
            refused: latencies.refused,
            audit_ok,
        }
    }
}

fn fill<R: Operation + Clone>(
    shop: &Shop,
    count: u32,
    request: impl Fn(u32) -> R,
) -> Result<(), CliError> {
    let mut pipeline = Pipeline::new(shop);
    for number in 1..=count {
        let entry = Entry {
            request: request(number),
            at: None,
            key: None,
            location: SourceLocation::default(),
        };
        if interrupt::requested() || !pipeline.push(entry) {
            break;
        }
    }
    pipeline.finish().1.map_or(Ok(()), Err)
}

fn lines(text: &str) -> Result<u32, String> {
    let lines = text.parse().ok().filter(|lines| (1..=MAX_ORDER_LINES).contains(lines));
    let lines = lines.and_then(|lines| u32::try_from(lines).ok());
    lines.ok_or_else(|| format!("an order has 1 to {MAX_ORDER_LINES} lines"))
}

fn skew(text: &str) -> Result<f64, String> {
    let skew = text.parse().ok().filter(|skew| (0.0..=10.0).contains(skew));
    skew.ok_or_else(|| "a skew is a number from 0 to 10, like 0.9".to_owned())
}

/// Counts beyond 32 bits are not reached here, and cut off if they were.
fn real(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A quotient with one digit behind the point; 0 when there is nothing to divide by.
#[expect(clippy::float_arithmetic, reason = "a measurement is no money")]
fn rounded(what: f64, by: f64) -> f64 {
    if by > 0.0 { (what / by * 10.0).round() / 10.0 } else { 0.0 }
}

#[expect(clippy::float_arithmetic, reason = "a measurement is no money")]
fn milliseconds(micros: u64) -> f64 {
    real(micros) / 1_000.0
}

fn text(measured: &Measured) -> String {
    let Measured { orders, clients, refused, latency_ms: LatencyMs { p50, p99, max }, .. } =
        measured;
    facts([
        ("orders", format!("{orders} placed by {clients} clients, {refused} refused")),
        ("throughput", format!("{:.1} orders/s", measured.orders_per_second)),
        ("latency", format!("p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms")),
        ("orders per commit", format!("{:.1}", measured.orders_per_commit)),
        (
            "audit",
            if measured.audit_ok { "all is well" } else { "the store is NOT sound" }.to_owned(),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0", true)]
    #[case("1.5", true)]
    #[case("10", true)]
    #[case("10.1", false)]
    #[case("-1", false)]
    #[case("NaN", false)]
    #[case("inf", false)]
    #[case("steep", false)]
    fn skews(#[case] text: &str, #[case] ok: bool) {
        assert_eq!(skew(text).is_ok(), ok);
    }

    #[test]
    fn figures_are_rounded_and_never_divided_by_nothing() {
        assert_eq!(format!("{}", rounded(10.0, 3.0)), "3.3");
        assert_eq!(format!("{}", rounded(10.0, 0.0)), "0");
        assert_eq!(format!("{}", milliseconds(1_234)), "1.234");
    }
}
