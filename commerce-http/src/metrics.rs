//! Figures in the text format of Prometheus. Labels are operations, statuses and codes, of which there
//! are few; never an id.

use crate::message::Connections;
use crate::openapi;
use crate::problem::kinds;
use crate::process;
use crate::route::Route;
use commerce_core::{Distribution, Error, Histogram, Shop, TIMES, Timestamp};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The operation under which requests are counted that found no other.
const NONE: &str = "none";
/// The statuses of those: pages, what OPTIONS gets, and what is refused before a route is found.
const NONE_STATUSES: [u16; 9] = [200, 204, 302, 400, 404, 405, 408, 413, 431];
/// What any operation may be answered with while too much is in flight.
const OVERLOADED: u16 = 503;

/// What has been counted since the process began.
pub(crate) struct Metrics {
    /// By operation.
    operations: BTreeMap<&'static str, Operation>,
    /// By code.
    refusals: BTreeMap<&'static str, AtomicU64>,
    replays: AtomicU64,
    running: AtomicU64,
    open: AtomicU64,
    /// Connections refused, by reason.
    refused: [(&'static str, AtomicU64); 3],
}

/// How one operation was answered. Every status that it documents is there from the beginning, so that a rate can be
/// taken of the first one; others have a place as well, so that counting needs no lock.
struct Operation {
    micros: Histogram,
    statuses: BTreeMap<u16, Status>,
}

struct Status {
    count: AtomicU64,
    is_documented: bool,
}

/// Counts a request as in flight until it is dropped.
pub(crate) struct Running<'a>(&'a AtomicU64);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Metrics of these routes, with the statuses that each can be answered with.
    pub(crate) fn new(routes: &[Route]) -> Self {
        let mut all: Vec<(&'static str, Vec<u16>)> =
            routes.iter().map(|route| (route.operation, openapi::statuses(route))).collect();
        all.push((NONE, [&NONE_STATUSES[..], &[OVERLOADED]].concat()));
        let known: Vec<u16> = all.iter().flat_map(|(_, statuses)| statuses.clone()).collect();
        let operation = |documented: &[u16]| {
            let status =
                |code: &u16| Status { count: none(), is_documented: documented.contains(code) };
            let statuses = known.iter().map(|code| (*code, status(code))).collect();
            Operation { micros: Histogram::new(TIMES), statuses }
        };
        let operations = all.iter().map(|(name, statuses)| (*name, operation(statuses)));
        Self {
            operations: operations.collect(),
            refusals: kinds().map(|kind| (kind.code, none())).collect(),
            replays: none(),
            running: none(),
            open: none(),
            refused: ["beyond_limit", "too_far_ahead", "too_slow"].map(|reason| (reason, none())),
        }
    }

    /// A request begins.
    pub(crate) fn running(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(&self.running)
    }

    pub(crate) fn count(
        &self,
        operation: &str,
        status: u16,
        took: Duration,
        code: Option<&'static str>,
        replayed: bool,
    ) {
        if let Some(operation) = self.operations.get(operation) {
            operation.micros.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            if let Some(status) = operation.statuses.get(&status) {
                status.count.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Some(count) = code.and_then(|code| self.refusals.get(code)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.replays.fetch_add(u64::from(replayed), Ordering::Relaxed);
    }

    pub(crate) fn observe(&self, seen: Connections) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.open.store(number(seen.open), Ordering::Relaxed);
        let refused = [seen.beyond_limit, seen.too_far_ahead, seen.too_slow];
        for ((_, count), more) in self.refused.iter().zip(refused) {
            count.fetch_add(number(more), Ordering::Relaxed);
        }
    }

    /// Everything, as it is now.
    pub(crate) fn show(&self, shop: &Shop) -> Result<String, Error> {
        let mut text = String::new();
        let name = "commerce_build_info";
        head(&mut text, name, "gauge", "1, with the version of the program.");
        line(&mut text, name, concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""), 1);
        self.requests(&mut text);
        let name = "commerce_refusals_total";
        head(&mut text, name, "counter", "Requests turned down, by code.");
        for (code, count) in &self.refusals {
            line(&mut text, name, &format!("code=\"{code}\""), read(count));
        }
        let name = "commerce_replays_total";
        head(
            &mut text,
            name,
            "counter",
            "Requests answered again because their key was used before.",
        );
        line(&mut text, name, "", read(&self.replays));
        self.connections(&mut text);
        engine(&mut text, shop);
        outbox(&mut text, shop)?;
        let name = "commerce_charges_pending";
        head(&mut text, name, "gauge", "Charges whose gateway has not answered.");
        line(&mut text, name, "", shop.count_pending_charges()?);
        store(&mut text, shop)?;
        for figure in process::figures() {
            head(&mut text, figure.name, figure.kind, figure.help);
            let value =
                if figure.is_time { seconds(figure.value) } else { figure.value.to_string() };
            line(&mut text, figure.name, "", value);
        }
        Ok(text)
    }

    fn requests(&self, text: &mut String) {
        let name = "commerce_http_requests_total";
        head(text, name, "counter", "Requests answered.");
        for (operation, counted) in &self.operations {
            for (status, Status { count, is_documented }) in &counted.statuses {
                let count = read(count);
                if *is_documented || count > 0 {
                    let labels = format!("operation=\"{operation}\",status=\"{status}\"");
                    line(text, name, &labels, count);
                }
            }
        }
        let name = "commerce_http_request_seconds";
        head(text, name, "histogram", "How long requests took.");
        for (operation, counted) in &self.operations {
            let labels = format!("operation=\"{operation}\"");
            histogram(text, name, &labels, &counted.micros.distribution(), seconds);
        }
    }

    fn connections(&self, text: &mut String) {
        let name = "commerce_http_requests_in_flight";
        head(text, name, "gauge", "Requests that are being answered, this one among them.");
        line(text, name, "", read(&self.running));
        let name = "commerce_http_connections_open";
        head(text, name, "gauge", "Open connections of a TCP port, as of half a second ago.");
        line(text, name, "", read(&self.open));
        let name = "commerce_http_connections_refused_total";
        head(text, name, "counter", "Connections closed by the server, by reason.");
        for (reason, count) in &self.refused {
            line(text, name, &format!("reason=\"{reason}\""), read(count));
        }
    }
}

fn engine(text: &mut String, shop: &Shop) {
    let stats = shop.stats();
    head(text, "commerce_commands_total", "counter", "Commands answered by the engine.");
    line(text, "commerce_commands_total", "", stats.commands);
    let name = "commerce_batch_commands";
    head(text, name, "histogram", "How many commands shared a commit.");
    histogram(text, name, "", &stats.batches, |size| size.to_string());
    let name = "commerce_commit_seconds";
    head(text, name, "histogram", "How long commits took: saving, and waiting for the disk.");
    histogram(text, name, "", &stats.commit_micros, seconds);
    let name = "commerce_queue_commands";
    head(text, name, "gauge", "Commands that wait for a transaction.");
    line(text, name, "", stats.waiting);
    let name = "commerce_queue_wait_seconds";
    head(text, name, "histogram", "How long commands waited for their transaction.");
    histogram(text, name, "", &stats.wait_micros, seconds);
}

fn store(text: &mut String, shop: &Shop) -> Result<(), Error> {
    let size = shop.size()?;
    let name = "commerce_store_bytes";
    head(text, name, "gauge", "Size of the store's data, without its log.");
    line(text, name, "", size.data);
    let name = "commerce_store_log_bytes";
    head(text, name, "gauge", "Size of the log of a store in a file.");
    line(text, name, "", size.log);
    Ok(())
}

fn outbox(text: &mut String, shop: &Shop) -> Result<(), Error> {
    let outbox = shop.outbox()?;
    head(text, "commerce_outbox_events", "gauge", "Events that wait to be delivered.");
    line(text, "commerce_outbox_events", "", outbox.waiting);
    head(text, "commerce_outbox_parked", "gauge", "Events that were given up.");
    line(text, "commerce_outbox_parked", "", outbox.parked);
    let name = "commerce_deliveries_total";
    head(text, name, "counter", "Events that relays of this process have sent, by outcome.");
    let relayed = shop.relay_stats();
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

fn none() -> AtomicU64 {
    AtomicU64::new(0)
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// Microseconds as seconds, exactly, and without zeros at the end.
fn seconds(micros: u64) -> String {
    let (whole, rest) = (micros.checked_div(1_000_000), micros.checked_rem(1_000_000));
    let text = format!("{}.{:06}", whole.unwrap_or(0), rest.unwrap_or(0));
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
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
    unit: fn(u64) -> String,
) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut below = 0_u64;
    for (edge, count) in seen.buckets() {
        below = below.saturating_add(count);
        let labels = format!("{labels}{comma}le=\"{}\"", unit(edge));
        line(text, &format!("{name}_bucket"), &labels, below);
    }
    line(text, &format!("{name}_bucket"), &format!("{labels}{comma}le=\"+Inf\""), seen.count());
    line(text, &format!("{name}_sum"), labels, unit(seen.sum));
    line(text, &format!("{name}_count"), labels, seen.count());
}
