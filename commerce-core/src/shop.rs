//! The shop: what an embedding program holds. Calls go through the engine, reads go to a snapshot.

mod call;
mod read;

use crate::auth::Passwords;
use crate::charges::NewCharge;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::command::{AnyOperation, Command, Operation};
use crate::engine::{Engine, EventNotifier};
use crate::error::Error;
use crate::gateway::PaymentGateway;
use crate::id::{CouponId, CustomerId, EventId, Key, OrderId, ProductId};
use crate::limits::{
    EXPIRY_BATCH, HOLD_SECONDS, MAX_GATEWAY_CALLS, MAX_HOLD_SECONDS, MAX_LEASED_EVENTS,
};
use crate::model::coupon::OwnedCoupon;
use crate::model::order::Order;
use crate::model::product::Product;
use crate::model::wallet::{Charge, Debit};
use crate::money::Money;
use crate::relay::Counts;
use crate::rule::{
    AdjustStock, CancelOrder, ClaimCoupon, DebitBalance, ExpireOrders, PayOrder, PlaceOrder,
    ReplayEvents, RetryEvents,
};
use crate::store::Store;
use crate::sync::Semaphore;
use std::sync::Arc;
use std::time::Duration;

pub use call::{Outcome, PendingCall, PreparedCall};
pub(crate) use read::account;

/// Instants that far ahead can still be told.
const MAX_TIMEOUT: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// How long a read waits for overdue orders to be released. They are shown as expired all the same; only
/// their stock and coupons are seen later when somebody else writes for longer than that.
const SWEEP_TIMEOUT: Duration = Duration::from_millis(100);

/// An order service on a store. Share it among as many threads as you like.
///
/// Dropping it finishes what was submitted.
pub struct Shop {
    store: Arc<dyn Store>,
    engine: Engine,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    passwords: Passwords,
    gateway: Option<Arc<dyn PaymentGateway>>,
    relayed: Counts,
    gateway_permits: Semaphore,
}

/// How a [`Shop`] is to be opened.
pub struct ShopBuilder {
    clock: Arc<dyn Clock>,
    timeout: Duration,
    hold_seconds: i64,
    gateway: Option<Arc<dyn PaymentGateway>>,
}

impl Default for ShopBuilder {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            timeout: Duration::from_secs(30),
            hold_seconds: HOLD_SECONDS,
            gateway: None,
        }
    }
}

impl ShopBuilder {
    /// Where `now` comes from; [`SystemClock`] unless told otherwise.
    #[must_use]
    pub fn clock(self, clock: impl Clock + 'static) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// How long a call waits for its turn before it is answered
    /// [`StoreError::Busy`](crate::error::StoreError::Busy); 30 seconds unless told otherwise, a year at most.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: timeout.min(MAX_TIMEOUT), ..self }
    }

    /// How long an unpaid order holds its stock, from a second to a week; 15 minutes unless told
    /// otherwise.
    #[must_use]
    pub fn hold_seconds(self, seconds: i64) -> Self {
        Self { hold_seconds: seconds.clamp(1, MAX_HOLD_SECONDS), ..self }
    }

    /// Where the money of charges comes from. Without one, a charge puts money onto a balance and asks
    /// nobody.
    #[must_use]
    pub fn gateway(self, gateway: Arc<dyn PaymentGateway>) -> Self {
        Self { gateway: Some(gateway), ..self }
    }

    /// Opens the shop on a store.
    pub fn open(self, store: impl Store + 'static) -> Shop {
        let store: Arc<dyn Store> = Arc::new(store);
        let engine = Engine::new(Arc::clone(&store), self.hold_seconds);
        let passwords = Passwords::default();
        let Self { clock, timeout, gateway, .. } = self;
        let relayed = Counts::since(clock.now());
        let gateway_permits = Semaphore::new(MAX_GATEWAY_CALLS, 0);
        Shop { store, engine, clock, timeout, passwords, gateway, relayed, gateway_permits }
    }
}

/// Calls that change the store. All others go through [`Shop::call`] with their request.
///
/// # Errors
///
/// Each fails with [`Error::Refused`] when a rule says no, and with [`Error::Store`] when the service
/// fails; the refusals are named at each, beside `idempotency_key_reused` that any may give.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Shop {
    /// A shop on a store, with the machine's clock and the usual settings.
    pub fn open(store: impl Store + 'static) -> Self {
        Self::builder().open(store)
    }

    /// A shop with settings of your own.
    #[must_use]
    pub fn builder() -> ShopBuilder {
        ShopBuilder::default()
    }

    /// Gets ready for many callers at a time: starts the thread that commits their calls together, and
    /// opens connections for two reads at once. All of it is else done when it is first needed.
    pub fn prepare(&self) -> Result<(), Error> {
        self.engine.start()?;
        Ok(self.store.prepare()?)
    }

    /// Prepares a call, to be decided as of the instant it is now, whenever it is run.
    pub fn call<R: Operation>(&self, request: R) -> PreparedCall<'_, R> {
        let action: AnyOperation = request.into();
        PreparedCall::new(self, Command::new(action, self.now()))
    }

    /// Prepares a call to be decided at an instant of the caller's choosing: for imports of history.
    ///
    /// Refused as `invalid_request` when that instant is ahead of the shop's clock. Holds of other
    /// orders end by the shop's clock, whatever the instant of the call is.
    pub fn call_at<R: Operation>(&self, request: R, now: Timestamp) -> PreparedCall<'_, R> {
        let action: AnyOperation = request.into();
        PreparedCall::new(self, Command::new(action, self.now()).decided_at(now))
    }

    /// Puts money onto a balance, as [`Shop::charge_from`] does, from no payment method in particular.
    ///
    /// Refused as `invalid_request`, `customer_not_found`, `balance_limit`, `too_many_requests`,
    /// `charge_declined`.
    pub fn charge(&self, customer: CustomerId, amount: Money, key: &Key) -> Result<Charge, Error> {
        let charge = NewCharge { customer_id: customer, amount, payment_method: None };
        self.charge_from(&charge, key).result
    }

    /// Uses money from a balance outside an order.
    ///
    /// Refused as `invalid_request`, `customer_not_found`, `insufficient_balance`.
    pub fn debit(&self, customer: CustomerId, amount: Money, key: &Key) -> Result<Debit, Error> {
        self.call(DebitBalance { customer_id: customer, amount, note: None }).key(key).run()
    }

    /// Changes a product's stock by hand.
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
    /// Refused as `customer_not_found`, `coupon_not_found`, `coupon_already_claimed`,
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
    /// Refused, in this order, as `invalid_request`, `customer_not_found`, `cart_empty`,
    /// `product_not_found`, `product_archived`, `coupon_not_found`, `coupon_already_used`,
    /// `coupon_not_started`, `coupon_expired`, `coupon_not_applicable`, `insufficient_stock`,
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

    /// Cancels an order and gives back all it took.
    ///
    /// Refused as `order_not_found`, `order_not_cancellable`, `balance_limit`.
    pub fn cancel_order(&self, order: OrderId, key: &Key) -> Result<Order, Error> {
        self.call(CancelOrder { order_id: order }).key(key).run()
    }

    /// Lets parked events be sent again: these, or all of them. With an event go the other parked ones of
    /// its order. Counts them; events that are not parked are passed by.
    pub fn retry_events(&self, events: Option<Vec<EventId>>) -> Result<u64, Error> {
        let all = events.is_none();
        let request = RetryEvents { events };
        let mut retried = 0_u64;
        loop {
            let count = self.call(request.clone()).run()?;
            retried = retried.saturating_add(count);
            // Parked meanwhile, they would be retried for ever.
            if !all || count < u64::try_from(MAX_LEASED_EVENTS).unwrap_or(u64::MAX) {
                return Ok(retried);
            }
        }
    }

    /// Lets all events from one on be sent again, and counts those of them that had been sent, or taken up
    /// to be sent.
    ///
    /// Refused as `invalid_request`.
    pub fn replay_events(&self, from: EventId) -> Result<u64, Error> {
        self.call(ReplayEvents { from }).run()
    }

    /// Releases every order that was not paid in time, and names those it released itself: other calls
    /// release what they find overdue as well.
    pub fn expire_orders(&self) -> Result<Vec<OrderId>, Error> {
        self.sweep(self.timeout)
    }

    fn sweep(&self, timeout: Duration) -> Result<Vec<OrderId>, Error> {
        let mut expired = Vec::new();
        loop {
            let sweep = Command::new(ExpireOrders, self.now());
            let batch = Outcome::<Vec<OrderId>>::of(self.engine.run(sweep, timeout)).result?;
            let more = batch.len() >= EXPIRY_BATCH;
            expired.extend(batch);
            if !more {
                return Ok(expired);
            }
        }
    }
}

/// What other floors of the library ask of a shop.
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

    /// What wakes who waits for events.
    pub(crate) fn notifier(&self) -> &EventNotifier {
        self.engine.notifier()
    }

    /// What the relays of this shop have done so far.
    pub(crate) fn counts(&self) -> &Counts {
        &self.relayed
    }
}
