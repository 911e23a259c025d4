//! The relay of the outbox pattern: it leases due events, delivers them with no transaction open, and records the
//! outcomes in the commit that leases the next ones.
//!
//! Any number of relays may work on one store. Delivery is at least once: a relay that crashes after delivering and
//! before recording leaves a lease that expires, and the next relay delivers the event again with the same id.
//! Orders never wait for a relay.

use crate::clock::Timestamp;
use crate::destination::{DeliveryResult, Destination};
use crate::entropy::{self, random_byte};
use crate::error::Error;
use crate::limits::{MAX_DELIVERY, MAX_RETRY_JITTER};
use crate::model::delivery::{EventLease, LeasedEvent};
use crate::model::event::Event;
use crate::relay_stats::{RelayCounts, RelayStats};
use crate::rule::relay_events::{AttemptResult, DeliveryOutcome, RelayEvents};
use crate::shop::Shop;
use crate::sync::{CancellationToken, Mutex};
use crate::threads;
use circuit_breaker::{CircuitBreaker, Permit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::Builder;
use std::time::{Duration, Instant};

mod circuit_breaker;

/// The interval at which a relay polls for events of other processes and for due retries. A worker skips its poll
/// when another has polled within the interval, so each event is found within twice the interval.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The pause after a failed call of the store: no notification announces that it works again.
const STORE_PAUSE: Duration = Duration::from_millis(100);

/// The consecutive failures of the store after which [`Relay::run_once`] fails, and after which a worker that ends
/// leaves its last outcomes unrecorded.
const MAX_STORE_FAILURES: u32 = 5;

/// The time after which a failed call is not repeated in these two cases, however few calls have failed: it has already
/// waited for a busy store.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// The failed deliveries in a row after which [`Relay::run_once`] gives up.
const RUN_ONCE_FAILURES: u32 = 5;

/// Delivers the events of a shop to a destination; created by [`Shop::relay`].
///
/// [`Shop::start_relay`] runs one on a thread of its own.
#[must_use = "a relay does nothing until it is run"]
pub struct Relay<'a> {
    shop: &'a Shop,
    destination: &'a dyn Destination,
    on_error: Box<dyn Fn(&str) + Send + Sync + 'a>,
}

/// The reason why a relay ended without being cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// The destination accepts no more events.
    #[error("the destination accepts no more events: {error}")]
    Gone {
        /// The response of the destination.
        error: String,
        /// The counts up to then.
        relayed: RelayStats,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Shop {
    /// Returns a relay of this shop's events to a destination.
    pub fn relay<'a>(&'a self, destination: &'a dyn Destination) -> Relay<'a> {
        Relay { shop: self, destination, on_error: Box::new(|_| {}) }
    }

    /// Returns the counts of this shop's relays since it was opened.
    #[must_use]
    pub fn relay_stats(&self) -> RelayStats {
        self.relay_counts().stats()
    }

    /// Returns the instant of the last delivery by a relay of this shop, or of the shop's opening if there was none.
    #[must_use]
    pub fn last_delivery(&self) -> Timestamp {
        self.relay_counts().last_delivery()
    }
}

impl<'a> Relay<'a> {
    /// Sets a callback for failed deliveries and failures of the store: one line each, as they happen.
    pub fn on_error(self, on_error: impl Fn(&str) + Send + Sync + 'a) -> Self {
        Self { on_error: Box::new(on_error), ..self }
    }

    /// Delivers events as they are written, until it is cancelled. It then finishes the deliveries under way, which take
    /// at most [`MAX_DELIVERY`], and begins no more.
    ///
    /// # Errors
    ///
    /// [`RelayError::Gone`]. A store that fails is retried without end.
    pub fn run(&self, stop: &CancellationToken) -> Result<RelayStats, RelayError> {
        self.work(stop, false)
    }

    /// Delivers the events that are due now. It ends early after several failed deliveries in a row.
    ///
    /// # Errors
    ///
    /// [`RelayError::Gone`], and [`RelayError::Store`] when the store fails repeatedly.
    pub fn run_once(&self, stop: &CancellationToken) -> Result<RelayStats, RelayError> {
        self.work(stop, true)
    }

    fn work(&self, stop: &CancellationToken, once: bool) -> Result<RelayStats, RelayError> {
        let max_concurrency = self.destination.max_concurrency().max(1);
        let token = |_| entropy::bytes().map(i64::from_le_bytes);
        let tokens: Result<Vec<i64>, _> = (0..max_concurrency).map(token).collect();
        let tokens = tokens.map_err(Error::from)?;
        let run = &Run {
            relay: self,
            stop,
            once,
            breaker: CircuitBreaker::default(),
            polled_at: Mutex::new(Instant::now()),
            end: Mutex::new(None),
            counts: RelayCounts::default(),
        };
        std::thread::scope(|scope| {
            let mut workers =
                tokens.into_iter().map(|token| Worker { run, token, outcomes: Vec::new() });
            // The first worker runs on the caller's thread.
            let own = workers.next();
            for worker in workers {
                let thread = Builder::new().name("relay".to_owned());
                if let Err(error) = thread.spawn_scoped(scope, move || worker.work()) {
                    run.report(&format!(
                        "fewer deliveries at a time: {}",
                        threads::refused(&error)
                    ));
                    break;
                }
            }
            if let Some(worker) = own {
                worker.work();
            }
        });
        let relayed = run.counts.stats();
        let end = run.end.lock().take();
        match end {
            None => Ok(relayed),
            Some(End::Gone(error)) => Err(RelayError::Gone { error, relayed }),
            Some(End::Store(error)) => Err(RelayError::Store(error)),
        }
    }
}

/// The state that the workers of a run share.
struct Run<'a> {
    relay: &'a Relay<'a>,
    stop: &'a CancellationToken,
    once: bool,
    breaker: CircuitBreaker,
    /// The instant of the last poll for events of other processes.
    polled_at: Mutex<Instant>,
    end: Mutex<Option<End>>,
    counts: RelayCounts,
}

/// The reason why a run ends without being cancelled.
enum End {
    Gone(String),
    Store(Error),
}

impl Run<'_> {
    fn is_ending(&self) -> bool {
        self.stop.is_cancelled() || self.end.lock().is_some()
    }

    fn end(&self, reason: End) {
        self.end.lock().get_or_insert(reason);
    }

    fn report(&self, error: &str) {
        (self.relay.on_error)(error);
    }

    fn count(&self, count: impl Fn(&RelayCounts)) {
        count(&self.counts);
        count(self.relay.shop.relay_counts());
    }

    /// Waits until an event may be due that was not due when `generation` was read.
    fn idle(&self, generation: u64) {
        let notifier = self.relay.shop.notifier();
        while !self.is_ending() && !notifier.wait(generation, POLL_INTERVAL) && !self.poll_due() {}
    }

    /// Returns true if a poll finds due events; skips the poll when another worker has just polled.
    fn poll_due(&self) -> bool {
        let mut polled_at = self.polled_at.lock();
        if polled_at.elapsed() < POLL_INTERVAL {
            return false;
        }
        *polled_at = Instant::now();
        drop(polled_at);
        // The call that leases events reports a failing store.
        self.relay.shop.has_due_events().unwrap_or(true)
    }

    fn deliver(&self, events: &[Event]) -> DeliveryResult {
        let destination = self.relay.destination;
        catch_unwind(AssertUnwindSafe(|| destination.deliver(events))).unwrap_or_else(|_| {
            DeliveryResult::Failed {
                error: "the destination panicked".to_owned(),
                retry_after: None,
            }
        })
    }
}

/// One of the threads of a run, which delivers one batch at a time.
struct Worker<'a> {
    run: &'a Run<'a>,
    /// Random id of this worker's leases.
    token: i64,
    /// Outcomes of deliveries that are not recorded yet.
    outcomes: Vec<DeliveryOutcome>,
}

impl Worker<'_> {
    fn work(mut self) {
        let run = self.run;
        let notifier = run.relay.shop.notifier();
        let mut store_failures = 0_u32;
        while !run.is_ending() {
            if run.once && run.breaker.failures() >= RUN_ONCE_FAILURES {
                break;
            }
            let Some(permit) = run.breaker.acquire(POLL_INTERVAL) else {
                // The breaker may stay open for longer than a lease: record the outcomes meanwhile.
                let _ = self.record_and_lease(0, false);
                // The destination may have asked for minutes of pause, during which no event is due.
                if run.once && !run.relay.shop.has_due_events().unwrap_or(true) {
                    break;
                }
                continue;
            };
            let generation = notifier.generation();
            let max_events = permit.max_events(run.relay.destination.max_batch_size().max(1));
            let leased_at = Instant::now();
            let lease = match self.record_and_lease(max_events, permit.is_probe()) {
                Ok(lease) => lease,
                Err(error) => {
                    drop(permit);
                    if store_failures == 0 {
                        run.report(&format!("the store failed: {error}"));
                    }
                    store_failures = store_failures.saturating_add(1);
                    let gives_up = store_failures >= MAX_STORE_FAILURES
                        || leased_at.elapsed() >= STORE_TIMEOUT;
                    if run.once && gives_up {
                        run.end(End::Store(error));
                    }
                    std::thread::sleep(STORE_PAUSE);
                    continue;
                }
            };
            store_failures = 0;
            if !lease.events.is_empty() {
                // More events are due: wake an idle worker.
                notifier.notify(usize::from(lease.more));
                self.deliver(lease.events, leased_at, &permit);
                drop(permit);
                if run.breaker.failures() > 0 {
                    // The breaker may delay the next lease: record the outcomes now. If that fails, the next lease
                    // records them.
                    let _ = self.record_and_lease(0, false);
                }
            } else if !lease.more {
                drop(permit);
                if run.once {
                    break;
                }
                run.idle(generation);
            }
        }
        self.finish();
    }

    /// Records the outcomes so far and leases the next events, in one commit.
    fn record_and_lease(
        &mut self,
        max_events: usize,
        fresh_first: bool,
    ) -> Result<EventLease, Error> {
        let outcomes = self.outcomes.clone();
        if outcomes.is_empty() && max_events == 0 {
            return Ok(EventLease { events: Vec::new(), more: false, parked: 0 });
        }
        let jitter = i64::from(random_byte()).rem_euclid(MAX_RETRY_JITTER.saturating_add(1));
        let request = RelayEvents { token: self.token, outcomes, max_events, fresh_first, jitter };
        let result = self.run.relay.shop.call(request).run();
        if let Ok(lease) = &result {
            self.outcomes.clear();
            self.run.count(|counts| counts.add_parked(lease.parked));
        }
        result
    }

    /// Records the last outcomes. Events whose outcome cannot be recorded are delivered again once their lease has
    /// expired.
    fn finish(&mut self) {
        let started = Instant::now();
        for _ in 0..MAX_STORE_FAILURES {
            if self.record_and_lease(0, false).is_ok() || started.elapsed() >= STORE_TIMEOUT {
                return;
            }
            std::thread::sleep(STORE_PAUSE);
        }
    }

    /// Delivers leased events: new ones in one batch, retries one by one, since one of them may be the cause of the
    /// failure. Deliveries that are not begun in the first half of the lease are released, and so are those left
    /// after a failure. The lease is counted from the request for it.
    fn deliver(&mut self, leased: Vec<LeasedEvent>, leased_at: Instant, permit: &Permit<'_>) {
        let (new, retried): (Vec<_>, Vec<_>) =
            leased.into_iter().partition(|leased| leased.attempts == 0);
        let new: Vec<Event> = new.into_iter().map(|leased| leased.event).collect();
        let retried = retried.into_iter().map(|leased| vec![leased.event]);
        let mut goes_on = true;
        for batch in Some(new).filter(|new| !new.is_empty()).into_iter().chain(retried) {
            goes_on &= !self.run.is_ending() && leased_at.elapsed() < MAX_DELIVERY;
            if !goes_on {
                self.add_outcomes(&batch, &AttemptResult::Released);
                continue;
            }
            let delivery = self.run.deliver(&batch);
            if let Some(warning) = self.run.relay.destination.warning() {
                self.run.report(&warning);
            }
            goes_on = self.handle_result(&batch, delivery, permit);
        }
    }

    /// Counts and reports the result of a delivery, and returns true if the worker may deliver the next batch.
    fn handle_result(
        &mut self,
        events: &[Event],
        delivery: DeliveryResult,
        permit: &Permit<'_>,
    ) -> bool {
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        let goes_on;
        let (result, cause) = match delivery {
            DeliveryResult::Done => {
                permit.succeeded();
                let now = self.run.relay.shop.now();
                self.run.count(|counts| counts.add_delivered(count, now));
                self.add_outcomes(events, &AttemptResult::Delivered);
                return true;
            }
            DeliveryResult::Failed { error, retry_after } => {
                goes_on = permit.failed(retry_after, random_byte());
                let seconds = |after: Duration| i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
                let retry_after = retry_after.map(seconds);
                (AttemptResult::Failed { error: error.clone(), retry_after }, error)
            }
            // Not reported here: the run ends with this error.
            DeliveryResult::Gone { error } => {
                self.run.end(End::Gone(error));
                self.run.count(|counts| counts.add_failed(count));
                self.add_outcomes(events, &AttemptResult::Released);
                return false;
            }
        };
        self.run.count(|counts| counts.add_failed(count));
        let first = events.first().map_or(0, |event| event.id.get());
        let others = match events.len() {
            1 => String::new(),
            many => format!(" and {} more", many.saturating_sub(1)),
        };
        self.run.report(&format!("event {first}{others} did not arrive: {cause}"));
        self.add_outcomes(events, &result);
        goes_on
    }

    fn add_outcomes(&mut self, events: &[Event], result: &AttemptResult) {
        self.outcomes.extend(events.iter().map(|event| DeliveryOutcome {
            event_id: event.id,
            order_id: event.order_id,
            result: result.clone(),
        }));
    }
}
