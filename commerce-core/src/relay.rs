//! The relay: takes events up, delivers them with no transaction open, and writes down what became of them
//! in the commit that takes up the next.
//!
//! Any number of relays may work on one store. Each event arrives at least once: who dies between sending and
//! writing down leaves it to the next, who sends it again with the same id. Orders wait for none of it.

use crate::clock::Timestamp;
use crate::destination::{DeliveryResult, Destination};
use crate::entropy::{self, random_byte};
use crate::error::Error;
use crate::limits::{MAX_DELIVERY, MAX_RETRY_JITTER};
use crate::model::event::Event;
use crate::rule::{AttemptResult, DeliveryOutcome, EventLease, LeasedEvent, RelayEvents};
use crate::shop::Shop;
use crate::sync::{CancellationToken, Mutex};
use crate::threads;
use circuit_breaker::{CircuitBreaker, Permit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

mod circuit_breaker;

/// How often to look for what other processes have written, and for retries whose time has come: a worker
/// may look as much later as another has looked before it, so that each is found within twice as long.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// How long to leave a store alone that could not be asked: nobody tells when it is back.
const STORE_PAUSE: Duration = Duration::from_millis(100);

/// How often in a row a store may fail before that ends what is to end anyway.
const STORE_TRIES: u32 = 5;

/// How long one call may take to fail before it counts as all of [`STORE_TRIES`]: a busy store was waited for already.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often in a row a delivery may fail before [`Relay::run_once`] gives up.
const RUN_ONCE_FAILURES: u32 = 5;

/// Delivers the events of a shop to a destination; made by [`Shop::relay`].
#[must_use = "a relay does nothing until it is run"]
pub struct Relay<'a> {
    shop: &'a Shop,
    destination: &'a dyn Destination,
    tell: Box<dyn Fn(&str) + Send + Sync + 'a>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RelayStats {
    /// Events that have arrived.
    pub delivered: u64,
    /// Tries that have failed, counted by event.
    pub failed: u64,
    /// Events that were given up, with those behind them.
    pub parked: u64,
}

/// Why a relay has ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// The destination wants no more events.
    #[error("the destination wants no more events: {error}")]
    Gone {
        /// What it said.
        error: String,
        /// What was done before.
        relayed: RelayStats,
    },
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Shop {
    /// A relay of this shop's events to that destination.
    pub fn relay<'a>(&'a self, destination: &'a dyn Destination) -> Relay<'a> {
        Relay { shop: self, destination, tell: Box::new(|_| {}) }
    }

    /// What the relays of this shop have done since it was opened.
    #[must_use]
    pub fn relay_stats(&self) -> RelayStats {
        self.counts().now()
    }

    /// The instant of the last delivery by a relay of this shop, or of the shop's opening when there was none.
    #[must_use]
    pub fn last_delivery(&self) -> Timestamp {
        Timestamp::from_unix(self.counts().last.load(Ordering::Relaxed))
    }
}

impl<'a> Relay<'a> {
    /// Has somebody told what goes wrong, in a line each, as it happens: deliveries that fail, and stores.
    pub fn on_error(self, tell: impl Fn(&str) + Send + Sync + 'a) -> Self {
        Self { tell: Box::new(tell), ..self }
    }

    /// Delivers events as they are written, until it is asked to stop.
    ///
    /// # Errors
    ///
    /// [`RelayError::Gone`]. A store that fails is asked again and again.
    pub fn run(&self, stop: &CancellationToken) -> Result<RelayStats, RelayError> {
        self.work(stop, false)
    }

    /// Delivers what is due now. It ends before that when one delivery after another fails.
    ///
    /// # Errors
    ///
    /// [`RelayError::Gone`], and [`RelayError::Store`] when the store fails again and again.
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
            counts: Counts::default(),
        };
        std::thread::scope(|scope| {
            let mut workers =
                tokens.into_iter().map(|token| Worker { run, token, outcomes: Vec::new() });
            // The first one works on this thread.
            let own = workers.next();
            for worker in workers {
                let started = Builder::new().name("relay".to_owned());
                if let Err(error) = started.spawn_scoped(scope, move || worker.work()) {
                    run.tell(&format!("fewer deliveries at a time: {}", threads::refused(&error)));
                    break;
                }
            }
            if let Some(worker) = own {
                worker.work();
            }
        });
        let relayed = run.counts.now();
        let end = run.end.lock().take();
        match end {
            None => Ok(relayed),
            Some(End::Gone(error)) => Err(RelayError::Gone { error, relayed }),
            Some(End::Store(error)) => Err(RelayError::Store(error)),
        }
    }
}

/// What the workers of a run share.
struct Run<'a> {
    relay: &'a Relay<'a>,
    stop: &'a CancellationToken,
    once: bool,
    breaker: CircuitBreaker,
    /// When somebody last looked for what other processes have written.
    polled_at: Mutex<Instant>,
    end: Mutex<Option<End>>,
    counts: Counts,
}

/// Why a run ends by itself.
enum End {
    Gone(String),
    Store(Error),
}

impl Run<'_> {
    fn is_ending(&self) -> bool {
        self.stop.is_cancelled() || self.end.lock().is_some()
    }

    fn end(&self, why: End) {
        self.end.lock().get_or_insert(why);
    }

    fn tell(&self, error_line: &str) {
        (self.relay.tell)(error_line);
    }

    fn count(&self, count: impl Fn(&Counts)) {
        count(&self.counts);
        count(self.relay.shop.counts());
    }

    /// Waits until something may be due that was not when `seen` was taken.
    fn idle(&self, seen: u64) {
        let notifier = self.relay.shop.notifier();
        while !self.is_ending() && !notifier.wait(seen, POLL_INTERVAL) && !self.poll_due() {}
    }

    /// Looks for events, unless somebody else has just done so.
    fn poll_due(&self) -> bool {
        let mut polled_at = self.polled_at.lock();
        if polled_at.elapsed() < POLL_INTERVAL {
            return false;
        }
        *polled_at = Instant::now();
        drop(polled_at);
        // A store that fails is told of by who takes events up.
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

/// One of those who deliver at the same time.
struct Worker<'a> {
    run: &'a Run<'a>,
    token: i64,
    /// What became of events and is not written down yet.
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
                // Others keep the gate shut, for longer than a lease maybe: what has arrived is written down.
                let _ = self.ask(0, false);
                // The destination may have asked for minutes, for which nothing is due.
                if run.once && !run.relay.shop.has_due_events().unwrap_or(true) {
                    break;
                }
                continue;
            };
            let seen = notifier.generation();
            let max_events = permit.max_events(run.relay.destination.max_batch_size().max(1));
            let begun = Instant::now();
            let lease = match self.ask(max_events, permit.is_probe()) {
                Ok(lease) => lease,
                Err(error) => {
                    drop(permit);
                    if store_failures == 0 {
                        run.tell(&format!("the store cannot be asked: {error}"));
                    }
                    store_failures = store_failures.saturating_add(1);
                    let is_over = store_failures >= STORE_TRIES || begun.elapsed() >= STORE_TIMEOUT;
                    if run.once && is_over {
                        run.end(End::Store(error));
                    }
                    std::thread::sleep(STORE_PAUSE);
                    continue;
                }
            };
            store_failures = 0;
            if !lease.events.is_empty() {
                // Whoever has nothing to do may help.
                notifier.notify(usize::from(lease.more));
                self.deliver(lease.events, begun, &permit);
                drop(permit);
                if run.breaker.failures() > 0 {
                    // The next wish may be long in coming. What cannot be written down now, is then.
                    let _ = self.ask(0, false);
                }
            } else if !lease.more {
                drop(permit);
                if run.once {
                    break;
                }
                run.idle(seen);
            }
        }
        self.finish();
    }

    /// Writes down what there is to write down, and takes events up.
    fn ask(&mut self, max_events: usize, fresh_first: bool) -> Result<EventLease, Error> {
        let outcomes = self.outcomes.clone();
        if outcomes.is_empty() && max_events == 0 {
            return Ok(EventLease { events: Vec::new(), more: false, parked: 0 });
        }
        let jitter = i64::from(random_byte()).rem_euclid(MAX_RETRY_JITTER.saturating_add(1));
        let request = RelayEvents { token: self.token, outcomes, max_events, fresh_first, jitter };
        let asked = self.run.relay.shop.call(request).run();
        if let Ok(lease) = &asked {
            self.outcomes.clear();
            self.run.count(|counts| add(&counts.parked, lease.parked));
        }
        asked
    }

    /// What is not written down in the end is sent again once the lease is over.
    fn finish(&mut self) {
        let begun = Instant::now();
        for _ in 0..STORE_TRIES {
            if self.ask(0, false).is_ok() || begun.elapsed() >= STORE_TIMEOUT {
                return;
            }
            std::thread::sleep(STORE_PAUSE);
        }
    }

    /// Delivers what was taken up: events that are new together, others each by itself, since one of them
    /// may be why it failed. What is not begun in the first half of the lease, which began with the wish, is
    /// given back, and so is what is left after a failure.
    fn deliver(&mut self, leased: Vec<LeasedEvent>, begun: Instant, permit: &Permit<'_>) {
        let (new, again): (Vec<_>, Vec<_>) =
            leased.into_iter().partition(|leased| leased.attempts == 0);
        let new: Vec<Event> = new.into_iter().map(|leased| leased.event).collect();
        let again = again.into_iter().map(|leased| vec![leased.event]);
        let mut goes_on = true;
        for part in Some(new).filter(|new| !new.is_empty()).into_iter().chain(again) {
            goes_on &= !self.run.is_ending() && begun.elapsed() < MAX_DELIVERY;
            if !goes_on {
                self.note(&part, &AttemptResult::Released);
                continue;
            }
            let delivery = self.run.deliver(&part);
            if let Some(warning) = self.run.relay.destination.warning() {
                self.run.tell(&warning);
            }
            goes_on = self.take(&part, delivery, permit);
        }
    }

    /// Takes in what became of events. Whether to go on with others.
    fn take(&mut self, events: &[Event], delivery: DeliveryResult, permit: &Permit<'_>) -> bool {
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        let goes_on;
        let (result, what) = match delivery {
            DeliveryResult::Done => {
                permit.succeeded();
                let now = self.run.relay.shop.now().unix();
                self.run.count(|counts| {
                    add(&counts.delivered, count);
                    counts.last.store(now, Ordering::Relaxed);
                });
                self.note(events, &AttemptResult::Delivered);
                return true;
            }
            DeliveryResult::Failed { error, retry_after } => {
                goes_on = permit.failed(retry_after, random_byte());
                let seconds = |after: Duration| i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
                let retry_after = retry_after.map(seconds);
                (AttemptResult::Failed { error: error.clone(), retry_after }, error)
            }
            // How the relay ends says it.
            DeliveryResult::Gone { error } => {
                self.run.end(End::Gone(error));
                self.run.count(|counts| add(&counts.failed, count));
                self.note(events, &AttemptResult::Released);
                return false;
            }
        };
        self.run.count(|counts| add(&counts.failed, count));
        let first = events.first().map_or(0, |event| event.id.get());
        let others = match events.len() {
            1 => String::new(),
            many => format!(" and {} more", many.saturating_sub(1)),
        };
        self.run.tell(&format!("event {first}{others} did not arrive: {what}"));
        self.note(events, &result);
        goes_on
    }

    fn note(&mut self, events: &[Event], result: &AttemptResult) {
        self.outcomes.extend(events.iter().map(|event| DeliveryOutcome {
            event_id: event.id,
            order_id: event.order_id,
            result: result.clone(),
        }));
    }
}

/// What relays have done.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    delivered: AtomicU64,
    failed: AtomicU64,
    parked: AtomicU64,
    /// The instant of the last delivery, or of the beginning; in seconds since 1970.
    last: AtomicI64,
}

impl Counts {
    pub(crate) fn since(now: Timestamp) -> Self {
        Self { last: AtomicI64::new(now.unix()), ..Self::default() }
    }

    fn now(&self) -> RelayStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RelayStats {
            delivered: read(&self.delivered),
            failed: read(&self.failed),
            parked: read(&self.parked),
        }
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}
