//! The shop: the entry point of an embedding program. Calls go through the engine, reads go to a snapshot.

mod call;
mod read;

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::command::Command;
use crate::engine::{Engine, EventNotifier};
use crate::error::Error;
use crate::gateway::PaymentGateway;
use crate::id::{CouponId, CustomerId, EventId, Key, OrderId, ProductId, TokenId};
use crate::limits::{
    EXPIRY_BATCH, HOLD_SECONDS, MAX_GATEWAY_CALLS, MAX_HOLD_SECONDS, MAX_LEASED_EVENTS,
};
use crate::model::audit_trail::Actor;
use crate::model::coupon::OwnedCoupon;
use crate::model::order::Order;
use crate::model::product::Product;
use crate::model::wallet::Debit;
use crate::money::Money;
use crate::password::Passwords;
use crate::relay_stats::RelayCounts;
use crate::rule::adjust_stock::AdjustStock;
use crate::rule::cancel_order::CancelOrder;
use crate::rule::claim_coupon::ClaimCoupon;
use crate::rule::debit_balance::DebitBalance;
use crate::rule::expire_orders::ExpireOrders;
use crate::rule::operation::Operation;
use crate::rule::pay_order::PayOrder;
use crate::rule::place_order::PlaceOrder;
use crate::rule::replay_events::ReplayEvents;
use crate::rule::retry_events::RetryEvents;
use crate::store::Store;
use crate::sync::{Mutex, Semaphore};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use call::{Outcome, PendingCall, PreparedCall};
pub use read::LogFilter;
pub(crate) use read::account;
pub use read::{ExplainedRefusal, ExplainedShortage, KeyExplanation, Removal, Return, Taker};

/// The longest timeout. The deadline of a call must be representable as an [`Instant`](std::time::Instant).
const MAX_TIMEOUT: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The time that a read waits for overdue orders to be released. The orders are shown as expired in any case; only
/// their stock and coupons appear later if other processes write for longer than this.
const SWEEP_TIMEOUT: Duration = Duration::from_millis(100);

/// The time for which reads do not try again after a failed sweep, so that a process that writes for long costs them a
/// tenth of their time at most.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// An order service on a store. It can be shared by any number of threads.
///
/// Dropping it waits for the calls that were submitted.
pub struct Shop {
    store: Arc<dyn Store>,
    engine: Engine,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    passwords: Passwords,
    gateway: Option<Arc<dyn PaymentGateway>>,
    /// The author of calls that name none.
    actor: Option<Actor>,
    relay_counts: RelayCounts,
    gateway_permits: Semaphore,
    /// The last sweep by a read, if it failed.
    failed_sweep: Mutex<Option<Instant>>,
    /// The day on which the use of each token was submitted last: requests must not queue it again while writes wait.
    token_days: Mutex<HashMap<TokenId, Timestamp>>,
}

/// Settings of a [`Shop`].
pub struct ShopBuilder {
    clock: Arc<dyn Clock>,
    timeout: Duration,
    hold_seconds: i64,
    gateway: Option<Arc<dyn PaymentGateway>>,
    actor: Option<Actor>,
}

impl Default for ShopBuilder {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            timeout: Duration::from_secs(30),
            hold_seconds: HOLD_SECONDS,
            gateway: None,
            actor: None,
        }
    }
}

impl ShopBuilder {
    /// Sets the clock. Default: [`SystemClock`].
    #[must_use]
    pub fn clock(self, clock: impl Clock + 'static) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Sets the time that a call waits for its transaction before it fails with
    /// [`StoreError::Busy`](crate::error::StoreError::Busy). Default: 30 seconds; at most a year.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: timeout.min(MAX_TIMEOUT), ..self }
    }

    /// Sets the time that an unpaid order holds its stock, from a second to a week. Default: 15 minutes.
    #[must_use]
    pub fn hold_seconds(self, seconds: i64) -> Self {
        Self { hold_seconds: seconds.clamp(1, MAX_HOLD_SECONDS), ..self }
    }

    /// Sets the payment gateway that collects the money of charges. Default: none; a charge then adds money to a
    /// balance without collecting it.
    #[must_use]
    pub fn gateway(self, gateway: Arc<dyn PaymentGateway>) -> Self {
        Self { gateway: Some(gateway), ..self }
    }

    /// Sets the author of calls, which the audit trail records. Default: none, and no entries.
    #[must_use]
    pub fn actor(self, actor: Actor) -> Self {
        Self { actor: Some(actor), ..self }
    }

    /// Opens the shop on a store.
    pub fn open(self, store: impl Store + 'static) -> Shop {
        let store: Arc<dyn Store> = Arc::new(store);
        let engine = Engine::new(Arc::clone(&store), self.hold_seconds);
        let passwords = Passwords::default();
        let Self { clock, timeout, gateway, actor, .. } = self;
        let relay_counts = RelayCounts::since(clock.now());
        let gateway_permits = Semaphore::new(MAX_GATEWAY_CALLS);
        let failed_sweep = Mutex::default();
        Shop {
            store,
            engine,
            clock,
            timeout,
            passwords,
            gateway,
            actor,
            relay_counts,
            gateway_permits,
            failed_sweep,
            token_days: Mutex::default(),
        }
    }
}

/// Calls that change the store. Operations without a method of their own go through [`Shop::call`].
///
/// # Errors
///
/// Each fails with [`Error::Refused`] if a rule refuses it, and with [`Error::Store`] if the service fails. The
/// refusals are listed at each method; every call with a key may also be refused as `idempotency_key_reused`.
#[expect(clippy::missing_errors_doc, reason = "documented once, above")]
impl Shop {
    /// Opens a shop on a store, with the system clock and default settings.
    pub fn open(store: impl Store + 'static) -> Self {
        Self::builder().open(store)
    }

    /// Returns a builder for a shop with other settings.
    #[must_use]
    pub fn builder() -> ShopBuilder {
        ShopBuilder::default()
    }

    /// Prepares for concurrent callers: starts the writer thread for group commit, and opens connections for two
    /// simultaneous reads. Without it, both happen on first use.
    pub fn prepare(&self) -> Result<(), Error> {
        self.engine.start()?;
        Ok(self.store.prepare()?)
    }

    /// Prepares a call that is decided as of now, whenever it is run.
    pub fn call<R: Operation>(&self, operation: R) -> PreparedCall<'_, R> {
        PreparedCall::new(self, self.command(operation))
    }

    /// Prepares a call that is decided as of the given instant, for imports of history.
    ///
    /// Refused as `invalid_request` if that instant is ahead of the shop's clock. Holds of other orders end by the
    /// shop's clock, whatever the instant of the call.
    pub fn call_at<R: Operation>(&self, operation: R, now: Timestamp) -> PreparedCall<'_, R> {
        PreparedCall::new(self, self.command(operation).decided_at(now))
    }

    fn command<R: Operation>(&self, operation: R) -> Command {
        Command::new(operation.into_any(), self.now()).with_actor(self.actor)
    }

    /// Takes money from a balance outside an order.
    ///
    /// Refused as `invalid_request`, `customer_not_found`, `insufficient_balance`.
    pub fn debit(&self, customer: CustomerId, amount: Money, key: &Key) -> Result<Debit, Error> {
        self.call(DebitBalance { customer_id: customer, amount, note: None }).key(key).run()
    }

    /// Adjusts a product's stock manually.
    ///
    /// Refused as `invalid_request`, `product_not_found`, `insufficient_stock`.
    pub fn adjust_stock(
        &self,
        product: ProductId,
        delta: i64,
        reason: &str,
        key: &Key,
    ) -> Result<Product, Error> {
        self.call(AdjustStock { product_id: product, delta, reason: reason.to_owned() })
            .key(key)
            .run()
    }

    /// Claims a coupon for a customer.
    ///
    /// Refused as `customer_not_found`, `customer_erased`, `coupon_not_found`, `coupon_already_claimed`,
    /// `coupon_not_started`, `coupon_expired`, `coupon_sold_out`.
    pub fn claim_coupon(
        &self,
        coupon: CouponId,
        customer: CustomerId,
        key: &Key,
    ) -> Result<OwnedCoupon, Error> {
        self.call(ClaimCoupon { coupon_id: coupon, customer_id: customer }).key(key).run()
    }

    /// Places an order.
    ///
    /// Refused, in this order, as `invalid_request`, `customer_not_found`, `customer_erased`, `reference_taken`,
    /// `cart_empty`, `product_not_found`, `product_archived`, `coupon_not_found`, `coupon_already_used`,
    /// `coupon_not_started`, `coupon_expired`, `coupon_not_applicable`, `purchase_limit`, `insufficient_stock`,
    /// `insufficient_balance`.
    pub fn place_order(&self, order: PlaceOrder, key: &Key) -> Result<Order, Error> {
        self.call(order).key(key).run()
    }

    /// Pays an order that was placed to be paid later.
    ///
    /// Refused as `order_not_found`, `order_not_payable`, `insufficient_balance`.
    pub fn pay_order(&self, order: OrderId, key: &Key) -> Result<Order, Error> {
        self.call(PayOrder { order_id: order }).key(key).run()
    }

    /// Cancels an order, and returns its stock, its coupon and the money that was paid.
    ///
    /// Refused as `order_not_found`, `order_not_cancellable`, `balance_limit`.
    pub fn cancel_order(&self, order: OrderId, key: &Key) -> Result<Order, Error> {
        self.call(CancelOrder::new(order)).key(key).run()
    }

    /// Schedules parked events (dead letters) for delivery again, the given ones or all, together with the other
    /// parked events of their orders. Returns their number; events that are not parked are ignored.
    pub fn retry_events(&self, events: Option<Vec<EventId>>) -> Result<u64, Error> {
        let all = events.is_none();
        let request = RetryEvents { events };
        let mut retried = 0_u64;
        loop {
            let count = self.call(request.clone()).run()?;
            retried = retried.saturating_add(count);
            // Events that are parked meanwhile would otherwise keep this loop running forever.
            if !all || count < u64::try_from(MAX_LEASED_EVENTS).unwrap_or(u64::MAX) {
                return Ok(retried);
            }
        }
    }

    /// Schedules all events from the given one for delivery again. Returns the number of those that had been
    /// delivered or leased.
    ///
    /// Refused as `invalid_request`.
    pub fn replay_events(&self, from: EventId) -> Result<u64, Error> {
        self.call(ReplayEvents { from }).run()
    }

    /// Releases every overdue order. Returns the ids of those that this call released: other calls release overdue
    /// orders as well.
    pub fn expire_orders(&self) -> Result<Vec<OrderId>, Error> {
        self.sweep(self.timeout)
    }

    fn sweep(&self, timeout: Duration) -> Result<Vec<OrderId>, Error> {
        let mut expired = Vec::new();
        loop {
            let batch = self.call(ExpireOrders).outcome_within(timeout).result?;
            let more = batch.len() >= EXPIRY_BATCH;
            expired.extend(batch);
            if !more {
                return Ok(expired);
            }
        }
    }
}

/// Access for the parts of the library that are built on the shop.
impl Shop {
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) fn gateway(&self) -> Option<&dyn PaymentGateway> {
        self.gateway.as_deref()
    }

    pub(crate) fn gateway_permits(&self) -> &Semaphore {
        &self.gateway_permits
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Returns true for the first call with a token and a day.
    pub(crate) fn is_first_use(&self, token: TokenId, day: Timestamp) -> bool {
        self.token_days.lock().insert(token, day) != Some(day)
    }

    /// The notifier that relays wait on.
    pub(crate) fn notifier(&self) -> &EventNotifier {
        self.engine.notifier()
    }

    /// The counts of this shop's relays.
    pub(crate) fn relay_counts(&self) -> &RelayCounts {
        &self.relay_counts
    }
}
