//! `commerce bench`: measures the orders per second of this machine. Every order is durable before it counts. The
//! scratch store is of the same kind and on the same disk as the database.

use crate::database::Database;
use crate::error::CliError;
use crate::exit::ExitKind;
use crate::interrupt;
use crate::output::Output;
use crate::pipeline::{Pipeline, SourceLocation, Submission};
use crate::prng::Zipf;
use crate::table::properties;
use clap::value_parser;
use clients::{Latencies, Load};
use commerce_core::limits::{MAX_AMOUNT, MAX_ORDER_LINES, MAX_STOCK};
use commerce_core::{AddCustomer, AddProduct, Money, Operation, Shop, Stats};
use scratch_store::ScratchStore;
use serde::Serialize;
use std::time::{Duration, Instant};

mod clients;
mod scratch_store;

/// The minimum number of customers. Orders of one customer contend for a balance, which is rare in real shops.
const MIN_CUSTOMERS: u32 = 1_000;

/// The price of a unit, and the balance of a customer: enough for all orders.
const PRICE: Money = Money::from_minor(100);
const BALANCE: Money = MAX_AMOUNT;

#[derive(clap::Args, Debug)]
pub(crate) struct BenchCommand {
    /// Number of orders.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    orders: u32,
    /// Number of concurrent clients, a thread each.
    #[arg(long, value_name = "C", default_value_t = 16, value_parser = value_parser!(u32).range(1..=1_024))]
    clients: u32,
    /// Number of products.
    #[arg(long, value_name = "P", default_value_t = 1_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    products: u32,
    /// Lines per order.
    #[arg(long, value_name = "L", default_value_t = 3, value_parser = lines)]
    lines: u32,
    /// Zipf exponent of sales, 0 to 10: the n-th product sells 1/n^Z as often as the first. 0 is uniform.
    #[arg(long, value_name = "Z", default_value_t = 0.0, value_parser = skew, allow_negative_numbers = true)]
    skew: f64,
}

#[derive(Serialize)]
struct BenchReport {
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

impl BenchCommand {
    pub(crate) fn run(&self, database: &Database, output: Output) -> Result<ExitKind, CliError> {
        if self.lines > self.products {
            let (lines, products) = (self.lines, self.products);
            return Err(CliError::usage(format!(
                "{lines} different products per order are more than the {products} products there are: \
                 use fewer --lines or more --products"
            )));
        }
        interrupt::watch()?;
        let (store, scratch_store) = ScratchStore::create(database)?;
        let shop = Shop::open(store);
        let report = self.measure(&shop);
        // The store is closed before it is removed, also on errors.
        drop(shop);
        drop(scratch_store);
        let report = report?;
        output.print(&report, text)?;
        if interrupt::requested() {
            output.note("stopped early: the figures cover the orders until then");
        }
        Ok(match (report.audit_ok, interrupt::requested()) {
            (false, _) => ExitKind::AuditFailed,
            (true, true) => ExitKind::Interrupted,
            (true, false) => ExitKind::Success,
        })
    }

    fn measure(&self, shop: &Shop) -> Result<BenchReport, CliError> {
        let customers = self.clients.max(MIN_CUSTOMERS);
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
        Ok(self.report(&latencies, elapsed, &before, &shop.stats(), audit_ok))
    }

    fn report(
        &self,
        latencies: &Latencies,
        elapsed: Duration,
        before: &Stats,
        after: &Stats,
        audit_ok: bool,
    ) -> BenchReport {
        let commits = after.commits.saturating_sub(before.commits);
        let commands = after.commands.saturating_sub(before.commands);
        BenchReport {
            orders: latencies.placed,
            clients: self.clients,
            orders_per_second: quotient(f64::from(latencies.placed), elapsed.as_secs_f64()),
            latency_ms: LatencyMs {
                p50: milliseconds(latencies.micros.value_at_quantile(0.5)),
                p99: milliseconds(latencies.micros.value_at_quantile(0.99)),
                max: milliseconds(latencies.micros.max()),
            },
            orders_per_commit: quotient(float(commands), float(commits)),
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
        let submission = Submission {
            request: request(number),
            at: None,
            key: None,
            location: SourceLocation::default(),
        };
        if interrupt::requested() || !pipeline.push(submission) {
            break;
        }
    }
    pipeline.finish().1.map_or(Ok(()), Err)
}

fn lines(text: &str) -> Result<u32, String> {
    let lines = text.parse().ok().filter(|lines| (1..=MAX_ORDER_LINES).contains(lines));
    let lines = lines.and_then(|lines| u32::try_from(lines).ok());
    lines.ok_or_else(|| format!("expected 1 to {MAX_ORDER_LINES} lines"))
}

fn skew(text: &str) -> Result<f64, String> {
    let skew = text.parse().ok().filter(|skew| (0.0..=10.0).contains(skew));
    skew.ok_or_else(|| "expected a number from 0 to 10, like 0.9".to_owned())
}

/// A count as a float. Counts beyond 32 bits do not occur here, and would be capped.
fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A quotient rounded to one decimal place; 0 if the divisor is 0.
#[expect(clippy::float_arithmetic, reason = "a measurement, not money")]
fn quotient(dividend: f64, divisor: f64) -> f64 {
    if divisor > 0.0 { (dividend / divisor * 10.0).round() / 10.0 } else { 0.0 }
}

#[expect(clippy::float_arithmetic, reason = "a measurement, not money")]
fn milliseconds(micros: u64) -> f64 {
    float(micros) / 1_000.0
}

fn text(report: &BenchReport) -> String {
    let BenchReport { orders, clients, refused, latency_ms: LatencyMs { p50, p99, max }, .. } =
        report;
    properties([
        ("orders", format!("{orders} placed by {clients} clients, {refused} refused")),
        ("throughput", format!("{:.1} orders/s", report.orders_per_second)),
        ("latency", format!("p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms")),
        ("orders per commit", format!("{:.1}", report.orders_per_commit)),
        (
            "audit",
            if report.audit_ok { "no problems found" } else { "the store is INCONSISTENT" }
                .to_owned(),
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
    fn skew_parses_numbers_from_0_to_10(#[case] text: &str, #[case] ok: bool) {
        assert_eq!(skew(text).is_ok(), ok);
    }

    #[test]
    fn figures_are_rounded_and_division_by_zero_is_zero() {
        assert_eq!(format!("{}", quotient(10.0, 3.0)), "3.3");
        assert_eq!(format!("{}", quotient(10.0, 0.0)), "0");
        assert_eq!(format!("{}", milliseconds(1_234)), "1.234");
    }
}
