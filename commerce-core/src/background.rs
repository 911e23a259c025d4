//! Background jobs of a server: a thread that relays events, and one that reconciles pending charges and refunds.
//!
//! A shop starts none by itself: a short-lived program needs none, and several processes on one store need not all
//! run them, though they may.

use crate::charges::ReconcileSummary;
use crate::destination::Destination;
use crate::error::Error;
use crate::limits::SETTLE_AFTER_SECONDS;
use crate::relay::RelayError;
use crate::shop::Shop;
use crate::sync::CancellationToken;
use crate::threads;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The pause between two rounds of the reconciler.
const PAUSE: Duration = Duration::from_secs(5);

/// The longest pause while charges or refunds stay pending: the exponential back-off doubles it with each such round.
const MAX_PAUSE: Duration = Duration::from_secs(5 * 60);

/// A background job, started by [`Shop::start_relay`] or [`Shop::start_reconciler`].
///
/// The job runs until its token is cancelled; dropping this handle does not end it.
///
/// ```
/// use commerce_core::{CancellationToken, Currency, MemoryStore, Shop, SimulatedGateway};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// let builder = Shop::builder().gateway(Arc::new(SimulatedGateway));
/// let shop = Arc::new(builder.open(MemoryStore::new(Currency::KRW)));
/// let token = CancellationToken::new();
/// let job = shop.start_reconciler(&token, |report| eprintln!("{report:?}"))?;
/// // Serve requests here.
/// job.stop(Duration::from_secs(10));
/// # Ok::<(), commerce_core::Error>(())
/// ```
#[derive(Debug)]
pub struct BackgroundJob {
    stop: CancellationToken,
    /// Closed when the thread has ended and no longer holds the shop.
    ended: Receiver<()>,
}

/// A report of the relay that [`Shop::start_relay`] started.
#[derive(Debug)]
pub enum RelayReport<'a> {
    /// A delivery or the store failed, or the destination has a warning; the relay goes on.
    Problem(&'a str),
    /// The relay has ended without being cancelled.
    Ended(&'a RelayError),
}

/// A report of the reconciler that [`Shop::start_reconciler`] started.
#[derive(Debug)]
pub enum ReconcileReport<'a> {
    /// The gateway has a warning.
    Warning(&'a str),
    /// A round settled charges or refunds, or left some pending. A round that repeats the one before is not reported.
    Round(&'a ReconcileSummary),
    /// A round failed; the next one tries again.
    Failed(&'a Error),
}

impl BackgroundJob {
    /// Cancels the job and waits for its end, at most that long: the graceful shutdown.
    ///
    /// Work that takes longer is lost safely. An event under way is delivered again once its lease has expired, and
    /// a charge or a refund is asked for again in a later round.
    pub fn stop(self, timeout: Duration) {
        self.stop.cancel();
        let _ = self.ended.recv_timeout(timeout);
    }

    fn start(
        name: &str,
        token: CancellationToken,
        job: impl FnOnce(&CancellationToken) + Send + 'static,
    ) -> Result<Self, Error> {
        let (alive, ended) = channel::<()>();
        let stop = token.clone();
        let run = move || {
            // The job drops the shop before `alive`, so that the store is closed when `stop` returns.
            job(&token);
            drop(alive);
        };
        threads::start(name, run)?;
        Ok(Self { stop, ended })
    }
}

/// Background jobs.
///
/// # Errors
///
/// [`StoreError::Unavailable`](crate::error::StoreError::Unavailable) when the system refuses a thread.
#[expect(clippy::missing_errors_doc, reason = "documented once, above")]
impl Shop {
    /// Starts a thread that relays events to a destination until `token` is cancelled, as [`Relay`](crate::Relay)
    /// does. It ends early when the destination accepts no more events.
    pub fn start_relay(
        self: &Arc<Self>,
        destination: Box<dyn Destination>,
        token: &CancellationToken,
        report: impl Fn(RelayReport<'_>) + Send + Sync + 'static,
    ) -> Result<BackgroundJob, Error> {
        let shop = Arc::clone(self);
        BackgroundJob::start("relay", token.clone(), move |token| {
            let relay = shop.relay(&*destination);
            let result = relay.on_error(|line| report(RelayReport::Problem(line))).run(token);
            if let Err(error) = result {
                report(RelayReport::Ended(&error));
            }
        })
    }

    /// Starts a thread that calls [`Shop::settle_charges`] every 5 seconds until `token` is cancelled, and less often,
    /// down to every 5 minutes, while charges or refunds stay pending.
    pub fn start_reconciler(
        self: &Arc<Self>,
        token: &CancellationToken,
        mut report: impl FnMut(ReconcileReport<'_>) + Send + 'static,
    ) -> Result<BackgroundJob, Error> {
        let shop = Arc::clone(self);
        BackgroundJob::start("reconciler", token.clone(), move |token| {
            let mut pause = Duration::ZERO;
            let mut last = Ok(ReconcileSummary::default());
            while !token.wait_timeout(pause) {
                let round = shop.settle_charges(SETTLE_AFTER_SECONDS, token);
                if let Some(warning) = shop.gateway_warning() {
                    report(ReconcileReport::Warning(&warning));
                }
                let has_settled_all = round.as_ref().is_ok_and(|summary| summary.pending == 0);
                let longer = pause.saturating_mul(2).clamp(PAUSE, MAX_PAUSE);
                pause = if has_settled_all { PAUSE } else { longer };
                match &round {
                    round if *round == last => {}
                    Ok(summary) if *summary == ReconcileSummary::default() => {}
                    Ok(summary) => report(ReconcileReport::Round(summary)),
                    Err(error) => report(ReconcileReport::Failed(error)),
                }
                last = round;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use crate::destination::DeliveryResult;
    use crate::gateway::simulated::SimulatedGateway;
    use crate::id::Key;
    use crate::model::event::Event;
    use crate::money::{Currency, Money};
    use crate::rule::add_customer::AddCustomer;
    use crate::rule::add_product::AddProduct;
    use crate::rule::place_order::PlaceOrder;
    use crate::store::memory::MemoryStore;
    use std::sync::mpsc::{Sender, channel};

    const START: Timestamp = Timestamp::from_unix(1_767_225_600); // 2026-01-01
    const WAIT: Duration = Duration::from_secs(60);

    fn shop(clock: &Arc<ManualClock>) -> Arc<Shop> {
        let builder = Shop::builder().clock(Arc::clone(clock)).gateway(Arc::new(SimulatedGateway));
        Arc::new(builder.open(MemoryStore::new(Currency::KRW)))
    }

    fn charge(shop: &Shop, amount: i64) -> crate::id::CustomerId {
        let customer = shop.call(AddCustomer::new("Kim")).run().unwrap().id;
        shop.charge(customer, Money::from_minor(amount), &Key::new("charge").unwrap()).unwrap();
        customer
    }

    /// Starts a reconciler, and returns the summaries of its rounds.
    fn reconcile(shop: &Arc<Shop>) -> (BackgroundJob, Receiver<ReconcileSummary>) {
        let (sender, rounds) = channel();
        let report = move |report: ReconcileReport<'_>| {
            if let ReconcileReport::Round(summary) = report {
                let _ = sender.send(summary.clone());
            }
        };
        (shop.start_reconciler(&CancellationToken::default(), report).unwrap(), rounds)
    }

    #[test]
    fn reconciler_settles_pending_charges_until_stopped() {
        let clock = Arc::new(ManualClock::new(START));
        let shop = shop(&clock);
        let customer = charge(&shop, 408_408);
        assert_eq!(shop.count_pending_charges().unwrap(), 1);
        clock.set(START.plus_seconds(SETTLE_AFTER_SECONDS));
        let (job, rounds) = reconcile(&shop);
        assert_eq!(rounds.recv_timeout(WAIT).unwrap().succeeded, 1);
        assert_eq!(shop.balance(customer).unwrap().balance, Money::from_minor(408_408));
        job.stop(WAIT);
        assert_eq!(Arc::strong_count(&shop), 1);
    }

    #[test]
    fn reconciler_settles_pending_refunds() {
        let clock = Arc::new(ManualClock::new(START));
        let shop = shop(&clock);
        charge(&shop, 1_000_000);
        let new = crate::refunds::NewRefund {
            charge_id: crate::id::ChargeId::new(1),
            customer_id: None,
            amount: Some(Money::from_minor(500_500)),
        };
        let refund = shop.refund_charge(None, &new, &Key::new("refund").unwrap(), &mut |_| {});
        assert_eq!(refund.result.unwrap().balance, Money::from_minor(499_500));
        assert_eq!(shop.count_pending_refunds().unwrap(), 1);
        clock.set(START.plus_seconds(SETTLE_AFTER_SECONDS));
        let (job, rounds) = reconcile(&shop);
        assert_eq!(rounds.recv_timeout(WAIT).unwrap().failed, 1);
        assert_eq!(shop.count_pending_refunds().unwrap(), 0);
        let customer = crate::id::CustomerId::new(1);
        assert_eq!(shop.balance(customer).unwrap().balance, Money::from_minor(1_000_000));
        job.stop(WAIT);
    }

    struct Sink(Sender<i64>);

    impl Destination for Sink {
        fn max_batch_size(&self) -> usize {
            1
        }

        fn max_concurrency(&self) -> usize {
            1
        }

        fn deliver(&self, events: &[Event]) -> DeliveryResult {
            let _ = self.0.send(events[0].id.get());
            DeliveryResult::Gone { error: "full".to_owned() }
        }
    }

    #[test]
    fn relay_thread_delivers_and_reports_a_destination_that_is_gone() {
        let shop = shop(&Arc::new(ManualClock::new(START)));
        let customer = charge(&shop, 1_000);
        let tea = shop.call(AddProduct::new("Tea", Money::from_minor(100), 10)).run().unwrap().id;
        let order = PlaceOrder::new(customer, [(tea, 1)]);
        shop.place_order(order, &Key::new("order").unwrap()).unwrap();
        let ((sender, delivered), (reports, ends)) = (channel(), channel());
        let report = move |report: RelayReport<'_>| {
            if let RelayReport::Ended(error) = report {
                let _ = reports.send(error.to_string());
            }
        };
        let token = CancellationToken::default();
        let job = shop.start_relay(Box::new(Sink(sender)), &token, report).unwrap();
        assert_eq!(delivered.recv_timeout(WAIT), Ok(1));
        let end = "the destination accepts no more events: full";
        assert_eq!(ends.recv_timeout(WAIT).as_deref(), Ok(end));
        job.stop(WAIT);
        assert!(token.is_cancelled());
        assert_eq!(Arc::strong_count(&shop), 1);
    }
}
