//! Figures in the text format of Prometheus. Labels are operations, statuses and codes, of which there
//! are few; never an id.

use crate::pages::PAGES;
use crate::problem::{Fault, status_of};
use crate::route::Route;
use commerce_core::{Code, Distribution, Error, Histogram, Shop, Timestamp};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What has been counted since the process began.
pub(crate) struct Metrics {
    /// By operation. Requests that found none are counted under `none`.
    operations: BTreeMap<&'static str, Operation>,
    /// By code.
    refusals: BTreeMap<&'static str, AtomicU64>,
}

/// How one operation was answered. Every status it can have is there from the beginning, so that counting
/// waits for nobody.
struct Operation {
    micros: Histogram,
    statuses: BTreeMap<u16, AtomicU64>,
}

impl Metrics {
    pub(crate) fn new(routes: &[Route]) -> Self {
        let names = routes.iter().map(|route| route.operation).chain(["none"]);
        let problems = || {
            let codes = Code::ALL.map(|code| (status_of(code).http, code.as_str()));
            codes.into_iter().chain(Fault::ALL.map(|fault| (fault.table().0, fault.table().1)))
        };
        let statuses = || {
            // What routes give, and what is given beside them: to OPTIONS, and to who has it already.
            let good =
                routes.iter().map(|route| route.status).chain(PAGES.iter().map(|page| page.status));
            let good = good.chain([202, 204, 304]);
            good.chain(problems().map(|(status, _)| status))
                .map(|status| (status, none()))
                .collect()
        };
        let operation = || Operation { micros: Histogram::default(), statuses: statuses() };
        let operations = names.map(|name| (name, operation())).collect();
        Self { operations, refusals: problems().map(|(_, code)| (code, none())).collect() }
    }

    pub(crate) fn count(
        &self,
        operation: &str,
        status: u16,
        took: Duration,
        code: Option<&'static str>,
    ) {
        if let Some(operation) = self.operations.get(operation) {
            operation.micros.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            increase(&operation.statuses, &status);
        }
        if let Some(code) = code {
            increase(&self.refusals, &code);
        }
    }

    /// Everything, as it is now.
    pub(crate) fn show(&self, shop: &Shop) -> Result<String, Error> {
        let mut text = String::new();
        head(&mut text, "commerce_http_requests_total", "counter", "Requests answered.");
        for (name, operation) in &self.operations {
            for (status, count) in counted(&operation.statuses) {
                let labels = format!("operation=\"{name}\",status=\"{status}\"");
                line(&mut text, "commerce_http_requests_total", &labels, count);
            }
        }
        let name = "commerce_http_request_seconds";
        head(&mut text, name, "histogram", "How long requests took.");
        for (operation, counted) in &self.operations {
            let seen = counted.micros.distribution();
            if seen.count() > 0 {
                histogram(&mut text, name, &format!("operation=\"{operation}\""), &seen, times());
            }
        }
        head(&mut text, "commerce_refusals_total", "counter", "Requests turned down, by code.");
        for (code, count) in counted(&self.refusals) {
            line(&mut text, "commerce_refusals_total", &format!("code=\"{code}\""), count);
        }
        engine(&mut text, shop);
        outbox(&mut text, shop)?;
        let name = "commerce_charges_pending";
        head(&mut text, name, "gauge", "Charges whose gateway has not answered.");
        line(&mut text, name, "", shop.count_pending_charges()?);
        Ok(text)
    }
}

fn engine(text: &mut String, shop: &Shop) {
    let stats = shop.stats();
    head(text, "commerce_commands_total", "counter", "Commands answered by the engine.");
    line(text, "commerce_commands_total", "", stats.commands);
    let name = "commerce_batch_commands";
    head(text, name, "histogram", "How many commands shared a commit.");
    histogram(text, name, "", &stats.batches, (1..=1 << 10, |size| size.to_string()));
    let name = "commerce_commit_seconds";
    head(text, name, "histogram", "How long commits took: saving, and waiting for the disk.");
    histogram(text, name, "", &stats.commit_micros, times());
}

fn outbox(text: &mut String, shop: &Shop) -> Result<(), Error> {
    let outbox = shop.outbox()?;
    head(text, "commerce_outbox_events", "gauge", "Events that wait to be delivered.");
    line(text, "commerce_outbox_events", "", outbox.waiting);
    head(text, "commerce_outbox_parked", "gauge", "Events that were given up.");
    line(text, "commerce_outbox_parked", "", outbox.parked);
    let name = "commerce_deliveries_total";
    head(text, name, "counter", "Events that relays of this process have sent, by outcome.");
    let relayed = shop.relayed();
    for (outcome, count) in
        [("delivered", relayed.delivered), ("failed", relayed.failed), ("parked", relayed.parked)]
    {
        line(text, name, &format!("outcome=\"{outcome}\""), count);
    }
    let name = "commerce_outbox_oldest_seconds";
    let help = "The age of the oldest event that has not arrived, parked ones among them.";
    head(text, name, "gauge", help);
    let age = |at: Timestamp| shop.now().unix().saturating_sub(at.unix()).max(0);
    line(text, name, "", outbox.oldest.map_or(0, age));
    let name = "commerce_last_delivery_age_seconds";
    let help = "Seconds since a relay of this process last delivered an event, or since its start.";
    head(text, name, "gauge", help);
    line(text, name, "", age(shop.last_delivery()));
    Ok(())
}

/// Which buckets are shown, and how their bounds are written.
type Scale = (RangeInclusive<u64>, fn(u64) -> String);

/// From 64 microseconds to 16 seconds.
fn times() -> Scale {
    (1 << 6..=1 << 24, seconds)
}

fn none() -> AtomicU64 {
    AtomicU64::new(0)
}

fn increase<K: Ord>(counts: &BTreeMap<K, AtomicU64>, key: &K) {
    if let Some(count) = counts.get(key) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// What was counted at all.
fn counted<K: Copy>(counts: &BTreeMap<K, AtomicU64>) -> impl Iterator<Item = (K, u64)> {
    let counts = counts.iter().map(|(key, count)| (*key, count.load(Ordering::Relaxed)));
    counts.filter(|(_, count)| *count > 0)
}

/// Microseconds as seconds, exactly.
fn seconds(micros: u64) -> String {
    let (whole, rest) = (micros.checked_div(1_000_000), micros.checked_rem(1_000_000));
    format!("{}.{:06}", whole.unwrap_or(0), rest.unwrap_or(0))
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // A string takes everything that is written to it.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let _ = writeln!(text, "{name}{labels} {value}");
}

fn histogram(
    text: &mut String,
    name: &str,
    labels: &str,
    seen: &Distribution,
    (shown, unit): Scale,
) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut below = 0_u64;
    for (most, count) in seen.buckets() {
        below = below.saturating_add(count);
        if shown.contains(&most) {
            let labels = format!("{labels}{comma}le=\"{}\"", unit(most));
            line(text, &format!("{name}_bucket"), &labels, below);
        }
    }
    line(text, &format!("{name}_bucket"), &format!("{labels}{comma}le=\"+Inf\""), seen.count());
    line(text, &format!("{name}_sum"), labels, unit(seen.sum));
    line(text, &format!("{name}_count"), labels, seen.count());
}
