//! The shop: what an embedding program holds. Calls go through the engine, reads go to a snapshot.

use crate::access::Passwords;
use crate::audit::{AuditReport, audit};
use crate::charges::NewCharge;
use crate::command::{Action, Command, Decision, Reply, Request};
use crate::engine::Wakeups;
use crate::engine::{Engine, Pending, Stats};
use crate::gateway::PaymentGateway;
use crate::limits::{EXPIRY_BATCH, HOLD_SECONDS, MAX_CLAIM, MAX_HOLD_SECONDS};
use crate::query::{BestSeller, BestSellers, BestSellersRequest, Page, PageRequest};
use crate::relay::Counts;
use crate::rule::{
    AdjustStock, CancelOrder, ClaimCoupon, DebitBalance, ExpireOrders, PayOrder, PlaceOrder,
    ReplayEvents, RetryEvents,
};
use crate::store::{DeliveryFilter, LedgerFilter, Snapshot, Store};
use crate::{
    Account, Balance, Cart, Charge, Clock, Coupon, CouponId, Currency, Customer, CustomerId, Debit,
    DeliveryRow, Error, Event, EventId, EventRow, Key, LedgerEntry, LedgerEntryId, Money, Order,
    OrderId, Outbox, OwnedCoupon, Payment, Product, ProductId, Progress, Refusal, StoreError,
    SystemClock, Timestamp, TrackedEvent,
};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// Instants that far ahead can still be told.
const MAX_PATIENCE: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// How long a read waits for overdue orders to be released. They are shown as expired all the same; only
/// their stock and coupons are seen later when somebody else writes for longer than that.
const SWEEP_PATIENCE: Duration = Duration::from_millis(100);

/// An order service on a store. Share it among as many threads as you like.
///
/// Dropping it finishes what was submitted.
pub struct Shop {
    store: Arc<dyn Store>,
    engine: Engine,
    clock: Arc<dyn Clock>,
    patience: Duration,
    passwords: Passwords,
    gateway: Option<Arc<dyn PaymentGateway>>,
    relayed: Counts,
}

/// How a [`Shop`] is to be opened.
pub struct ShopBuilder {
    clock: Arc<dyn Clock>,
    patience: Duration,
    hold_seconds: i64,
    gateway: Option<Arc<dyn PaymentGateway>>,
}

impl Default for ShopBuilder {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            patience: Duration::from_secs(30),
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

    /// How long a call waits for its turn before it is answered [`StoreError::Busy`]; 30 seconds
    /// unless told otherwise, a year at most.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience: patience.min(MAX_PATIENCE), ..self }
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
        let engine = Engine::start(Arc::clone(&store), self.hold_seconds);
        let passwords = Passwords::default();
        let Self { clock, patience, gateway, .. } = self;
        let relayed = Counts::default();
        Shop { store, engine, clock, patience, passwords, gateway, relayed }
    }
}

/// How a call ended, for callers that need to know whether it is an answer given before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<T> {
    /// The answer.
    pub result: Result<T, Error>,
    /// Whether the key was used before and this is the answer it was given then.
    pub replayed: bool,
}

/// A call being prepared: give it a key, then [`run`](Call::run) or [`submit`](Call::submit) it.
#[must_use = "a call does nothing until it is run or submitted"]
pub struct Call<'a, R> {
    shop: &'a Shop,
    command: Command,
    answer: PhantomData<fn() -> R>,
}

/// A call that was submitted. Dropped without waiting, it is carried out all the same.
#[must_use = "whether the call succeeded is known only after waiting for it"]
pub struct Ticket<A> {
    pending: Result<Pending, StoreError>,
    answer: PhantomData<fn() -> A>,
}

impl<R: Request> Call<'_, R> {
    /// Makes the call safe to repeat: with the same key it is answered as the first time. The key belongs
    /// to the customer whose money, coupons, cart or order it is about, and to the shop itself when it is
    /// about products, campaigns and new customers. [`ExpireOrders`] and calls about logins take no notice
    /// of keys: repeated, they do no harm.
    pub fn key(self, key: &Key) -> Self {
        Self { command: self.command.with_key(key.clone()), ..self }
    }

    /// Has events carry the trace of the request on (W3C `traceparent`).
    pub fn trace(self, trace: Option<String>) -> Self {
        Self { command: self.command.with_trace(trace), ..self }
    }

    /// Hands the call in and goes on; the answer is waited for later. When very many calls wait
    /// already, this waits for room first.
    pub fn submit(self) -> Ticket<R::Answer> {
        let pending = self.shop.engine.submit(self.command, self.shop.patience);
        Ticket { pending, answer: PhantomData }
    }

    /// Carries the call out.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the rule that said no; [`Error::Store`] when the service failed.
    pub fn run(self) -> Result<R::Answer, Error> {
        self.outcome().result
    }

    /// As [`Call::run`], and tells whether the answer was given before.
    #[must_use]
    pub fn outcome(self) -> Outcome<R::Answer> {
        Outcome::of(self.shop.engine.run(self.command, self.shop.patience))
    }
}

impl<A: TryFrom<Reply, Error = StoreError>> Outcome<A> {
    fn of(decision: Decision) -> Self {
        let answer = |answer| A::try_from(Reply(answer)).map_err(Error::from);
        Self { result: decision.result.and_then(answer), replayed: decision.replayed }
    }
}

impl<A: TryFrom<Reply, Error = StoreError>> Ticket<A> {
    /// Waits until the call is on disk, or refused.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the rule that said no; [`Error::Store`] when the service failed.
    pub fn wait(self) -> Result<A, Error> {
        self.outcome().result
    }

    /// As [`Ticket::wait`], and tells whether the answer was given before.
    #[must_use]
    pub fn outcome(self) -> Outcome<A> {
        match self.pending {
            Ok(pending) => Outcome::of(pending.wait()),
            Err(error) => Outcome { result: Err(error.into()), replayed: false },
        }
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

    /// Prepares a call, to be decided as of the instant it is now, whenever it is run.
    pub fn call<R: Request>(&self, request: R) -> Call<'_, R> {
        self.call_at(request, self.clock.now())
    }

    /// Prepares a call to be decided at an instant of the caller's choosing: for imports of history.
    pub fn call_at<R: Request>(&self, request: R, now: Timestamp) -> Call<'_, R> {
        let action: Action = request.into();
        Call { shop: self, command: Command::new(action, now), answer: PhantomData }
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
            if !all || count < u64::try_from(MAX_CLAIM).unwrap_or(u64::MAX) {
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
        self.sweep(self.patience)
    }

    fn sweep(&self, patience: Duration) -> Result<Vec<OrderId>, Error> {
        let mut expired = Vec::new();
        loop {
            let sweep = Command::new(ExpireOrders, self.now());
            let batch = Outcome::<Vec<OrderId>>::of(self.engine.run(sweep, patience)).result?;
            let more = batch.len() >= EXPIRY_BATCH;
            expired.extend(batch);
            if !more {
                return Ok(expired);
            }
        }
    }
}

/// Reads.
///
/// # Errors
///
/// Each fails with [`Error::Store`] when the service fails, with the `_not_found` of what was asked
/// for, and lists with `invalid_request` when limit or cursor make no sense.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Shop {
    /// A snapshot in which no overdue order holds stock or coupons any more. When they cannot be released
    /// now (others write, the disk is full), what can be read is still read.
    fn fresh(&self) -> Result<Box<dyn Snapshot + '_>, Error> {
        let snapshot = self.store.snapshot()?;
        if !snapshot.has_due_orders(self.now())? {
            return Ok(snapshot);
        }
        drop(snapshot);
        let _ = self.sweep(SWEEP_PATIENCE);
        Ok(self.store.snapshot()?)
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) fn gateway(&self) -> Option<&dyn PaymentGateway> {
        self.gateway.as_deref()
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// The store's currency.
    #[must_use]
    pub fn currency(&self) -> Currency {
        self.store.currency()
    }

    /// The instant it is now, by the shop's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What the engine has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Finds out whether the store can be read.
    pub fn ready(&self) -> Result<(), Error> {
        self.store.snapshot()?.product(ProductId::new(0))?;
        Ok(())
    }

    /// What wakes who waits for events.
    pub(crate) fn wakeups(&self) -> &Wakeups {
        self.engine.wakeups()
    }

    /// What the relays of this shop have done so far.
    pub(crate) fn counts(&self) -> &Counts {
        &self.relayed
    }

    /// Whether there is an event that may be sent now.
    pub fn has_due_events(&self) -> Result<bool, Error> {
        Ok(self.store.snapshot()?.has_due_events(self.now())?)
    }

    /// How many events wait to be delivered, and since when.
    pub fn outbox(&self) -> Result<Outbox, Error> {
        Ok(self.store.snapshot()?.outbox()?)
    }

    /// One customer.
    pub fn customer(&self, id: CustomerId) -> Result<Customer, Error> {
        Ok(account(&*self.store.snapshot()?, id)?.customer)
    }

    /// Customers by id.
    pub fn customers(&self, page: &PageRequest) -> Result<Page<Customer>, Error> {
        let start = CustomerId::new(page.start(1)?);
        let rows = self.store.snapshot()?.customers(start, page.rows())?;
        Ok(Page::of(rows, page, |customer| customer.id.get()))
    }

    /// A customer's balance.
    pub fn balance(&self, id: CustomerId) -> Result<Balance, Error> {
        let balance = account(&*self.store.snapshot()?, id)?.balance;
        Ok(Balance { customer_id: id, balance, currency: self.currency() })
    }

    /// A customer's ledger, newest first.
    pub fn ledger(&self, id: CustomerId, page: &PageRequest) -> Result<Page<LedgerEntry>, Error> {
        self.ledger_page(id, page, LedgerFilter::All)
    }

    /// A customer's payments and refunds, newest first.
    pub fn payments(&self, id: CustomerId, page: &PageRequest) -> Result<Page<Payment>, Error> {
        let entries = self.ledger_page(id, page, LedgerFilter::Payments)?;
        let next_cursor = entries.next_cursor;
        let items = entries.items.iter().filter_map(LedgerEntry::as_payment).collect();
        Ok(Page { items, next_cursor })
    }

    fn ledger_page(
        &self,
        id: CustomerId,
        page: &PageRequest,
        filter: LedgerFilter,
    ) -> Result<Page<LedgerEntry>, Error> {
        let snapshot = self.store.snapshot()?;
        let newest = account(&*snapshot, id)?.last_entry.map_or(0, LedgerEntryId::get);
        let start = LedgerEntryId::new(page.start(newest)?);
        let rows = snapshot.ledger(id, start, page.rows(), filter)?;
        Ok(Page::of(rows, page, |entry| entry.id.get()))
    }

    /// One product.
    pub fn product(&self, id: ProductId) -> Result<Product, Error> {
        let product = self.fresh()?.product(id)?;
        product.ok_or_else(|| Refusal::ProductNotFound { product_ids: vec![id] }.into())
    }

    /// Products that are sold, by id.
    pub fn products(&self, page: &PageRequest) -> Result<Page<Product>, Error> {
        let start = ProductId::new(page.start(1)?);
        let rows = self.fresh()?.products(start, page.rows())?;
        Ok(Page::of(rows, page, |product| product.id.get()))
    }

    /// A customer's cart at today's prices.
    pub fn cart(&self, id: CustomerId) -> Result<Cart, Error> {
        let snapshot = self.fresh()?;
        account(&*snapshot, id)?;
        let mut items = Vec::new();
        for (product, quantity) in snapshot.cart(id)? {
            items.extend(snapshot.product(product)?.map(|product| (product, quantity)));
        }
        Ok(Cart::priced(id, items))
    }

    /// One coupon campaign.
    pub fn coupon(&self, id: CouponId) -> Result<Coupon, Error> {
        let unknown = Refusal::CouponNotFound { coupon_id: Some(id), owned_coupon_id: None };
        self.store.snapshot()?.coupon(id)?.ok_or_else(|| unknown.into())
    }

    /// Coupon campaigns by id.
    pub fn coupons(&self, page: &PageRequest) -> Result<Page<Coupon>, Error> {
        let start = CouponId::new(page.start(1)?);
        let rows = self.store.snapshot()?.coupons(start, page.rows())?;
        Ok(Page::of(rows, page, |coupon| coupon.id.get()))
    }

    /// A customer's coupons by campaign, with the status they have now.
    pub fn owned_coupons(
        &self,
        id: CustomerId,
        page: &PageRequest,
    ) -> Result<Page<OwnedCoupon>, Error> {
        let snapshot = self.fresh()?;
        account(&*snapshot, id)?;
        let start = CouponId::new(page.start(1)?);
        let mut rows = Vec::new();
        for owned in snapshot.owned_coupons(id, start, page.rows())? {
            rows.extend(
                snapshot.coupon(owned.coupon_id)?.map(|coupon| owned.at(self.now(), &coupon)),
            );
        }
        Ok(Page::of(rows, page, |owned| owned.coupon_id.get()))
    }

    /// One order.
    pub fn order(&self, id: OrderId) -> Result<Order, Error> {
        let order = self.fresh()?.order(id)?.map(|order| order.at(self.now()));
        order.ok_or_else(|| Refusal::OrderNotFound { order_id: id }.into())
    }

    /// A customer's orders, newest first.
    pub fn orders(&self, id: CustomerId, page: &PageRequest) -> Result<Page<Order>, Error> {
        let snapshot = self.fresh()?;
        let newest = account(&*snapshot, id)?.last_order.map_or(0, OrderId::get);
        let start = OrderId::new(page.start(newest)?);
        let mut rows = snapshot.orders(id, start, page.rows())?;
        rows = rows.into_iter().map(|order| order.at(self.now())).collect();
        Ok(Page::of(rows, page, |order| order.id.get()))
    }

    /// The outbox, oldest event first.
    pub fn events(&self, page: &PageRequest) -> Result<Page<Event>, Error> {
        let snapshot = self.store.snapshot()?;
        let start = EventId::new(page.start(1)?);
        let mut rows = Vec::new();
        for event in snapshot.events(start, page.rows())? {
            rows.extend(snapshot.order(event.order_id)?.map(|order| event.with(&order)));
        }
        Ok(Page::of(rows, page, |event| event.id.get()))
    }

    /// The outbox, oldest event first, with how far the delivery of each has come.
    pub fn tracked_events(&self, page: &PageRequest) -> Result<Page<TrackedEvent>, Error> {
        let snapshot = self.store.snapshot()?;
        let start = EventId::new(page.start(1)?);
        let events = snapshot.events(start, page.rows())?;
        let deliveries = snapshot.deliveries(start, page.rows(), DeliveryFilter::All)?;
        tracked(&*snapshot, page, events, deliveries)
    }

    /// Events that were given up, oldest first.
    pub fn parked_events(&self, page: &PageRequest) -> Result<Page<TrackedEvent>, Error> {
        let snapshot = self.store.snapshot()?;
        let start = EventId::new(page.start(1)?);
        let deliveries = snapshot.deliveries(start, page.rows(), DeliveryFilter::Parked)?;
        let mut events = Vec::new();
        for delivery in &deliveries {
            events.extend(snapshot.events(delivery.event_id, 1)?);
        }
        tracked(&*snapshot, page, events, deliveries)
    }

    /// The products that sold most in the days before an instant, that instant included.
    pub fn best_sellers(&self, request: &BestSellersRequest) -> Result<BestSellers, Error> {
        let to = request.at.unwrap_or_else(|| self.now());
        let from = request.after(to)?;
        let snapshot = self.fresh()?;
        let mut items = Vec::new();
        for (product_id, units_sold) in snapshot.best_sellers(from, to, request.limit)? {
            let Some(product) = snapshot.product(product_id)? else { continue };
            items.push(BestSeller {
                rank: items.len().saturating_add(1),
                product_id,
                name: product.name,
                price: product.price,
                stock: product.stock,
                status: product.status,
                units_sold,
            });
        }
        Ok(BestSellers { from, to, items })
    }

    /// Proves the store consistent on one snapshot, or says row by row what is not.
    pub fn audit(&self) -> Result<AuditReport, Error> {
        Ok(audit(&*self.store.snapshot()?)?)
    }
}

/// Events with their orders and with what is known of their deliveries.
fn tracked(
    snapshot: &dyn Snapshot,
    page: &PageRequest,
    events: Vec<EventRow>,
    deliveries: Vec<DeliveryRow>,
) -> Result<Page<TrackedEvent>, Error> {
    let next = snapshot.next_event()?;
    let mut deliveries: BTreeMap<_, _> =
        deliveries.into_iter().map(|row| (row.event_id, row)).collect();
    let mut rows = Vec::new();
    for event in events {
        let delivery = Progress::of(event.id, deliveries.remove(&event.id), next);
        let order = snapshot.order(event.order_id)?;
        rows.extend(order.map(|order| TrackedEvent { event: event.with(&order), delivery }));
    }
    Ok(Page::of(rows, page, |row| row.event.id.get()))
}

pub(crate) fn account(snapshot: &dyn Snapshot, id: CustomerId) -> Result<Account, Error> {
    snapshot.account(id)?.ok_or_else(|| Refusal::CustomerNotFound { customer_id: id }.into())
}
