//! Metrics in the text format of Prometheus. Labels have low cardinality (operations, statuses, codes) and never
//! contain ids.

use crate::client::AddressSource;
use crate::message::Connections;
use crate::problem::kinds;
use crate::process;
use commerce_core::{Distribution, Error, Histogram, Shop, TIMES, Timestamp};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The operation label of requests that match no route.
const NONE: &str = "none";
/// The statuses of those requests: pages, OPTIONS, and rejections before routing.
const NONE_STATUSES: [u16; 9] = [200, 204, 302, 400, 404, 405, 408, 413, 431];
/// The status of any operation while too many requests are in flight.
const OVERLOADED: u16 = 503;

/// Counters since the start of the process.
pub(crate) struct Metrics {
    /// By operation.
    operations: BTreeMap<&'static str, Operation>,
    /// By code.
    errors: BTreeMap<&'static str, AtomicU64>,
    replays: AtomicU64,
    in_flight: AtomicU64,
    open: AtomicU64,
    /// Connections closed by the server, by reason.
    closed: [(&'static str, AtomicU64); 4],
    /// Logins and sign-ups, by the source of the client's address.
    clients: [(AddressSource, AtomicU64); 3],
}

/// The counters of an operation. Documented statuses are exported from the start, so that a rate includes the first
/// response. Other statuses have counters too, so that counting needs no lock.
struct Operation {
    micros: Histogram,
    statuses: BTreeMap<u16, Status>,
}

struct Status {
    count: AtomicU64,
    is_documented: bool,
}

/// Counts a request as in flight until dropped.
pub(crate) struct InFlightGuard<'a>(&'a AtomicU64);

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Creates the metrics of these operations, each with its documented statuses.
    pub(crate) fn new(operations: &[(&'static str, Vec<u16>)]) -> Self {
        let mut all = operations.to_vec();
        all.push((NONE, [&NONE_STATUSES[..], &[OVERLOADED]].concat()));
        let known: Vec<u16> = all.iter().flat_map(|(_, statuses)| statuses.clone()).collect();
        let operation = |documented: &[u16]| {
            let status =
                |code: &u16| Status { count: zero(), is_documented: documented.contains(code) };
            let statuses = known.iter().map(|code| (*code, status(code))).collect();
            Operation { micros: Histogram::new(TIMES), statuses }
        };
        let operations = all.iter().map(|(name, statuses)| (*name, operation(statuses)));
        Self {
            operations: operations.collect(),
            errors: kinds().map(|kind| (kind.code, zero())).collect(),
            replays: zero(),
            in_flight: zero(),
            open: zero(),
            closed: ["beyond_limit", "too_slow", "unread", "handshake"]
                .map(|reason| (reason, zero())),
            clients: AddressSource::ALL.map(|source| (source, zero())),
        }
    }

    /// Counts the start of a request.
    pub(crate) fn start_request(&self) -> InFlightGuard<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(&self.in_flight)
    }

    pub(crate) fn count(
        &self,
        operation: &str,
        status: u16,
        duration: Duration,
        code: Option<&'static str>,
        replayed: bool,
    ) {
        if let Some(operation) = self.operations.get(operation) {
            operation.micros.add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
            if let Some(status) = operation.statuses.get(&status) {
                status.count.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Some(count) = code.and_then(|code| self.errors.get(code)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.replays.fetch_add(u64::from(replayed), Ordering::Relaxed);
    }

    /// Counts the client of a login or sign-up.
    pub(crate) fn count_client(&self, source: AddressSource) {
        for (_, count) in self.clients.iter().filter(|(counted, _)| *counted == source) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn observe(&self, connections: Connections) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.open.store(number(connections.open), Ordering::Relaxed);
        let Connections { beyond_limit, too_slow, unread, handshakes, .. } = connections;
        let closed = [beyond_limit, too_slow, unread, handshakes];
        for ((_, count), more) in self.closed.iter().zip(closed) {
            count.fetch_add(number(more), Ordering::Relaxed);
        }
    }

    /// Renders all metrics.
    pub(crate) fn render(&self, shop: &Shop) -> Result<String, Error> {
        let mut text = String::new();
        let name = "commerce_build_info";
        head(&mut text, name, "gauge", "Build information; always 1.");
        line(&mut text, name, concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""), 1);
        self.requests(&mut text);
        let name = "commerce_refusals_total";
        head(&mut text, name, "counter", "Error responses by code.");
        for (code, count) in &self.errors {
            line(&mut text, name, &format!("code=\"{code}\""), read(count));
        }
        let name = "commerce_replays_total";
        head(&mut text, name, "counter", "Responses replayed for a known idempotency key.");
        line(&mut text, name, "", read(&self.replays));
        self.connections(&mut text);
        self.logins(&mut text, shop);
        engine(&mut text, shop);
        let down = shop.unreachable_machines()?.len();
        let name = "commerce_store_machines_down";
        head(&mut text, name, "gauge", "Workers of a distributed store that do not answer.");
        line(&mut text, name, "", down);
        // The other figures need the rows of all machines.
        if down == 0 {
            outbox(&mut text, shop)?;
            let name = "commerce_charges_pending";
            head(&mut text, name, "gauge", "Charges without an answer of the payment gateway.");
            line(&mut text, name, "", shop.count_pending_charges()?);
            let name = "commerce_refunds_pending";
            head(&mut text, name, "gauge", "Refunds without an answer of the payment gateway.");
            line(&mut text, name, "", shop.count_pending_refunds()?);
            store(&mut text, shop)?;
        }
        for metric in process::metrics() {
            head(&mut text, metric.name, metric.kind, metric.help);
            let value =
                if metric.is_time { seconds(metric.value) } else { metric.value.to_string() };
            line(&mut text, metric.name, "", value);
        }
        Ok(text)
    }

    fn requests(&self, text: &mut String) {
        let name = "commerce_http_requests_total";
        head(text, name, "counter", "Requests by operation and status.");
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
        head(text, name, "histogram", "Request duration.");
        for (operation, counted) in &self.operations {
            let labels = format!("operation=\"{operation}\"");
            histogram(text, name, &labels, &counted.micros.distribution(), seconds);
        }
    }

    fn connections(&self, text: &mut String) {
        let name = "commerce_http_requests_in_flight";
        head(text, name, "gauge", "Requests in flight, including this one.");
        line(text, name, "", read(&self.in_flight));
        let name = "commerce_http_connections_open";
        head(text, name, "gauge", "Open TCP connections, at most half a second old.");
        line(text, name, "", read(&self.open));
        let name = "commerce_http_connections_refused_total";
        head(text, name, "counter", "Connections closed by the server, by reason.");
        for (reason, count) in &self.closed {
            line(text, name, &format!("reason=\"{reason}\""), read(count));
        }
    }

    fn logins(&self, text: &mut String, shop: &Shop) {
        let passwords = shop.password_stats();
        let name = "commerce_logins_waiting";
        head(text, name, "gauge", "Logins and sign-ups that wait for the hashing of others.");
        line(text, name, "", passwords.waiting);
        let name = "commerce_logins_shed_total";
        let help = "Logins and sign-ups answered busy, because others of the client waited.";
        head(text, name, "counter", help);
        line(text, name, "", passwords.shed);
        let name = "commerce_login_clients_total";
        let help = "Logins and sign-ups by the source of the client's address.";
        head(text, name, "counter", help);
        for (source, count) in &self.clients {
            line(text, name, &format!("source=\"{}\"", source.name()), read(count));
        }
    }
}

fn engine(text: &mut String, shop: &Shop) {
    let stats = shop.stats();
    head(text, "commerce_commands_total", "counter", "Commands answered.");
    line(text, "commerce_commands_total", "", stats.commands);
    let name = "commerce_batch_commands";
    head(text, name, "histogram", "Commands per commit (group commit).");
    histogram(text, name, "", &stats.batches, |size| size.to_string());
    let name = "commerce_commit_seconds";
    head(text, name, "histogram", "Commit duration, including the sync to disk.");
    histogram(text, name, "", &stats.commit_micros, seconds);
    let name = "commerce_queue_commands";
    head(text, name, "gauge", "Commands waiting for a transaction.");
    line(text, name, "", stats.waiting);
    let name = "commerce_queue_wait_seconds";
    head(text, name, "histogram", "Time that commands waited for a transaction.");
    histogram(text, name, "", &stats.wait_micros, seconds);
}

fn store(text: &mut String, shop: &Shop) -> Result<(), Error> {
    let size = shop.size()?;
    let name = "commerce_store_bytes";
    head(text, name, "gauge", "Size of the data, without the write-ahead log.");
    line(text, name, "", size.data);
    let name = "commerce_store_log_bytes";
    head(text, name, "gauge", "Size of the write-ahead log of an SQLite store.");
    line(text, name, "", size.log);
    Ok(())
}

fn outbox(text: &mut String, shop: &Shop) -> Result<(), Error> {
    let outbox = shop.outbox()?;
    head(
        text,
        "commerce_outbox_events",
        "gauge",
        "Events waiting for delivery, without parked ones.",
    );
    line(text, "commerce_outbox_events", "", outbox.waiting);
    head(text, "commerce_outbox_parked", "gauge", "Parked events (dead letters).");
    line(text, "commerce_outbox_parked", "", outbox.parked);
    let name = "commerce_deliveries_total";
    head(text, name, "counter", "Delivery attempts of this process by outcome.");
    let relayed = shop.relay_stats();
    for (outcome, count) in
        [("delivered", relayed.delivered), ("failed", relayed.failed), ("parked", relayed.parked)]
    {
        line(text, name, &format!("outcome=\"{outcome}\""), count);
    }
    let name = "commerce_outbox_oldest_seconds";
    let help = "Age of the oldest undelivered event, including parked ones.";
    head(text, name, "gauge", help);
    let age = |at: Timestamp| shop.now().unix().saturating_sub(at.unix()).max(0);
    line(text, name, "", outbox.oldest.map_or(0, age));
    let name = "commerce_last_delivery_age_seconds";
    let help = "Time since the last delivery of this process, or since its start.";
    head(text, name, "gauge", help);
    line(text, name, "", age(shop.last_delivery()));
    Ok(())
}

fn zero() -> AtomicU64 {
    AtomicU64::new(0)
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// Formats microseconds as seconds, exactly and without trailing zeros.
fn seconds(micros: u64) -> String {
    let (whole, rest) = (micros.checked_div(1_000_000), micros.checked_rem(1_000_000));
    let text = format!("{}.{:06}", whole.unwrap_or(0), rest.unwrap_or(0));
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
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
    distribution: &Distribution,
    unit: fn(u64) -> String,
) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut cumulative = 0_u64;
    for (edge, count) in distribution.buckets() {
        cumulative = cumulative.saturating_add(count);
        let labels = format!("{labels}{comma}le=\"{}\"", unit(edge));
        line(text, &format!("{name}_bucket"), &labels, cumulative);
    }
    line(
        text,
        &format!("{name}_bucket"),
        &format!("{labels}{comma}le=\"+Inf\""),
        distribution.count(),
    );
    line(text, &format!("{name}_sum"), labels, unit(distribution.sum));
    line(text, &format!("{name}_count"), labels, distribution.count());
}

#[cfg(test)]
mod tests {
    use super::*;
    use commerce_core::store::{Snapshot, Transaction};
    use commerce_core::{Currency, MemoryStore, Store, StoreError};

    /// A distributed store with a worker that does not answer.
    struct WorkerDown(MemoryStore);

    impl Store for WorkerDown {
        fn currency(&self) -> Currency {
            self.0.currency()
        }

        fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
            self.0.begin()
        }

        fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
            self.0.try_begin()
        }

        fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
            Err(StoreError::Busy(None))
        }

        fn unreachable_machines(&self) -> Result<Vec<String>, StoreError> {
            Ok(vec!["worker a:5432 does not answer".to_owned()])
        }
    }

    #[test]
    fn metrics_of_a_store_whose_worker_is_down_report_it() {
        let shop = Shop::open(WorkerDown(MemoryStore::new(Currency::KRW)));
        let text = Metrics::new(&[]).render(&shop).unwrap();
        assert!(text.contains("\ncommerce_store_machines_down 1\n"), "{text}");
        assert_eq!(
            shop.ready().unwrap_err().to_string(),
            "the store cannot be used: worker a:5432 does not answer"
        );
    }
}
