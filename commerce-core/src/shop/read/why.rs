//! The explanation of an idempotency key: the request, its answer or refusal, and the rows that it made.

use crate::clock::Timestamp;
use crate::command;
use crate::error::{Code, Error, Refusal, Shortage};
use crate::id::{ChargeId, CustomerId, Key, OrderId, ProductId, StockMovementId};
use crate::idempotency::{GLOBAL_SCOPE, IdempotencyRecord, RefusedRequest, StoredResult};
use crate::limits::{MAX_CLOCK_SKEW, MAX_LEASED_EVENTS};
use crate::model::audit_trail::Actor;
use crate::model::coupon::Coupon;
use crate::model::event::EventKind;
use crate::model::order::{LineCancellation, Order, OrderStatus};
use crate::model::product::{Product, StockMovement};
use crate::model::refund::RefundRow;
use crate::model::stock_change::RETURN_OF_PART;
use crate::query::Budget;
use crate::query::filter::OrderFilter;
use crate::rule::add_coupon::AddCoupon;
use crate::rule::add_product::AddProduct;
use crate::rule::adjust_stock::AdjustStock;
use crate::rule::cancel_order::CancelOrder;
use crate::rule::operation::AnyOperation;
use crate::rule::refund_charge::RefundCharge;
use crate::rule::tokens::RevokeToken;
use crate::shop::Shop;
use crate::store::{Direction, IdRange, Snapshot};
use serde::Serialize;
use serde_json::{Value, json};

/// The most orders named as those that took the last units.
const MAX_TAKERS: usize = 10;

/// The rows of one read while a return of stock is searched.
const CHUNK: usize = 250;

/// The most rows that an explanation examines for one product: it is for a person who waits.
const MAX_SEARCHED: usize = 1_000_000;

/// An idempotency key, explained.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct KeyExplanation {
    /// The key.
    pub key: Key,
    /// The customer in the scope of whom it was used; `None` for the shop's own.
    pub customer_id: Option<CustomerId>,
    /// The instant the request was decided at.
    pub created_at: Timestamp,
    /// The request: for a success as far as it follows from what it made, for a refusal without personal data. `None` if it
    /// is not known.
    pub request: Option<Value>,
    /// The answer; `None` for a refusal.
    pub answer: Option<Value>,
    /// The order that the request placed, paid or cancelled.
    pub order_id: Option<OrderId>,
    /// The charge that the request made.
    pub charge_id: Option<ChargeId>,
    /// The refusal; `None` for a success.
    pub refusal: Option<ExplainedRefusal>,
    /// The products that a refusal for want of stock was short of.
    pub shortages: Vec<ExplainedShortage>,
}

/// A refusal with its numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ExplainedRefusal {
    /// The code.
    pub code: Code,
    /// The sentence for a person.
    pub detail: String,
    /// The refusal with its fields.
    pub fields: Value,
}

/// A product that was short of stock when a request was refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ExplainedShortage {
    /// The product.
    pub product_id: ProductId,
    /// Units requested.
    pub requested: i64,
    /// Units available then.
    pub available: i64,
    /// The orders that took the last units before it, the last one first.
    pub taken_by: Vec<Taker>,
    /// The last adjustments before it that removed units, the last one first.
    pub removed_by: Vec<Removal>,
    /// The first time after it that units came back; `None` if they have not.
    pub back: Option<Return>,
}

/// An order that took units of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Taker {
    /// The order.
    pub order_id: OrderId,
    /// Its customer.
    pub customer_id: CustomerId,
    /// Units taken.
    pub quantity: i64,
    /// Its present status.
    pub status: OrderStatus,
    /// The instant it was placed.
    pub created_at: Timestamp,
}

/// An adjustment that removed units of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Removal {
    /// The instant.
    pub created_at: Timestamp,
    /// Units removed, as a negative number.
    pub delta: i64,
    /// The reason.
    pub reason: String,
    /// The author, if the adjustment has one.
    pub actor: Option<Actor>,
}

/// Units of a product that came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Return {
    /// The instant.
    pub created_at: Timestamp,
    /// Units added.
    pub delta: i64,
    /// The reason given for an adjustment; otherwise what happened to the order.
    pub reason: String,
    /// The order that gave them back; `None` for an adjustment.
    pub order_id: Option<OrderId>,
}

/// Explanations. Errors are those of all reads.
#[expect(clippy::missing_errors_doc, reason = "documented once, at the reads of a shop")]
impl Shop {
    /// The uses of an idempotency key: at most one a customer and one of the shop, or only that of a customer. For a refusal
    /// for want of stock also the orders that took the last units before it, and when units came back.
    ///
    /// ```
    /// use commerce_core::{AddProduct, Currency, Key, MemoryStore, Money, Shop};
    /// let (shop, key) = (Shop::open(MemoryStore::new(Currency::KRW)), Key::new("tea").unwrap());
    /// shop.call(AddProduct::new("Tea", Money::from_minor(450), 10)).key(&key).run()?;
    /// assert_eq!(shop.explain_key(&key, None)?[0].answer.as_ref().unwrap()["product"]["stock"], 10);
    /// # Ok::<(), commerce_core::Error>(())
    /// ```
    pub fn explain_key(
        &self,
        key: &Key,
        customer: Option<CustomerId>,
    ) -> Result<Vec<KeyExplanation>, Error> {
        let snapshot = self.swept_snapshot()?;
        let records = snapshot.keys(key)?.into_iter();
        let records = records.filter(|(owner, _)| customer.is_none_or(|wanted| *owner == wanted));
        records.map(|(owner, record)| self.explain(&*snapshot, key, owner, record)).collect()
    }

    fn explain(
        &self,
        snapshot: &dyn Snapshot,
        key: &Key,
        owner: CustomerId,
        record: IdempotencyRecord,
    ) -> Result<KeyExplanation, Error> {
        let IdempotencyRecord { answer, created_at, request, fingerprint, .. } = record;
        let mut explained = KeyExplanation {
            key: key.clone(),
            customer_id: (owner != GLOBAL_SCOPE).then_some(owner),
            created_at,
            request: None,
            answer: None,
            order_id: None,
            charge_id: None,
            refusal: None,
            shortages: Vec::new(),
        };
        let StoredResult::Refused(refusal) = answer else {
            self.explain_success(snapshot, answer, fingerprint, &mut explained)?;
            return Ok(explained);
        };
        if let Refusal::InsufficientStock { shortages } = &refusal {
            for shortage in shortages {
                let refused = Refused { snapshot, at: created_at, request: request.as_ref() };
                explained.shortages.push(refused.explain(*shortage)?);
            }
        }
        explained.request = request.and_then(|kept| serde_json::from_str(&kept.operation).ok());
        explained.refusal = Some(ExplainedRefusal {
            code: refusal.code(),
            detail: refusal.sentence(self.currency()),
            fields: json!(refusal),
        });
        Ok(explained)
    }

    fn explain_success(
        &self,
        snapshot: &dyn Snapshot,
        answer: StoredResult,
        fingerprint: i64,
        explained: &mut KeyExplanation,
    ) -> Result<(), Error> {
        let (request, body) = match answer {
            StoredResult::Order(id, status) => {
                let (request, body) = explain_order(snapshot, id, status, 0, fingerprint)?;
                explained.order_id = Some(id);
                (Some(request), body)
            }
            StoredResult::OrderAfter(id, status, cancellations) => {
                let (request, body) =
                    explain_order(snapshot, id, status, cancellations, fingerprint)?;
                explained.order_id = Some(id);
                (Some(request), body)
            }
            StoredResult::Refund(id) => {
                let row = snapshot.refund(id)?.ok_or(Refusal::RefundNotFound { refund_id: id })?;
                explained.charge_id = Some(row.charge_id);
                let body = json!({ "refund": row.to_refund(self.currency()) });
                (Some(request_of_refund(&row, fingerprint)), body)
            }
            StoredResult::OpenedCharge(id) => {
                explained.charge_id = Some(id);
                let row = snapshot.charge(id)?.ok_or(Refusal::ChargeNotFound { charge_id: id })?;
                let balance = super::account(snapshot, row.customer_id)?.balance;
                let charge = row.to_charge(balance, self.currency());
                (
                    Some(request_of_charge(charge.customer_id, charge.amount)),
                    json!({ "charge": charge }),
                )
            }
            StoredResult::Charge(charge) => {
                explained.charge_id = Some(charge.id);
                (
                    Some(request_of_charge(charge.customer_id, charge.amount)),
                    json!({ "charge": charge }),
                )
            }
            StoredResult::Debit(debit) => {
                let request = json!({ "customer_id": debit.customer_id, "amount": debit.amount });
                (Some(json!({ "debit_balance": request })), json!({ "debit": debit }))
            }
            StoredResult::OwnedCoupon(owned) => {
                let request =
                    json!({ "coupon_id": owned.coupon_id, "customer_id": owned.customer_id });
                (Some(json!({ "claim_coupon": request })), json!({ "owned_coupon": owned }))
            }
            StoredResult::Product(product) => {
                let request =
                    request_of_product(snapshot, &product, explained.created_at, fingerprint)?;
                (request, json!({ "product": product }))
            }
            StoredResult::Coupon(coupon) => {
                let request = request_of_coupon(&coupon, fingerprint);
                (Some(request), json!({ "coupon": coupon }))
            }
            StoredResult::Customer(customer) => {
                let id = json!({ "customer_id": customer.id });
                let is_new = explained.customer_id.is_none();
                let kind = if is_new { "add_customer" } else { "update_customer" };
                (Some(json!({ kind: id })), json!({ "customer": customer }))
            }
            StoredResult::Token(token) => {
                let id = json!({ "token_id": token.id });
                let revokes = RevokeToken { token_id: token.id }.into();
                let is_end = fingerprint == command::fingerprint(&revokes);
                let kind = if is_end { "revoke_token" } else { "create_token" };
                (Some(json!({ kind: id })), json!({ "token": token }))
            }
            StoredResult::Cart(cart) => {
                let id = json!({ "customer_id": cart.customer_id });
                (Some(json!({ "edit_cart": id })), json!({ "cart": cart }))
            }
            StoredResult::Refused(_) => return Ok(()),
        };
        explained.request = request;
        explained.answer = Some(body);
        Ok(())
    }
}

fn request_of_charge(customer_id: CustomerId, amount: crate::money::Money) -> Value {
    json!({ "charge_balance": { "customer_id": customer_id, "amount": amount } })
}

/// The request that left an order as it is.
fn request_of_order(order: &Order, fingerprint: i64) -> Value {
    if let Some(request) = request_of_part(order, fingerprint) {
        return request;
    }
    let id = json!({ "order_id": order.id });
    match order.status {
        OrderStatus::Cancelled => json!({ "cancel_order": id }),
        // An order that is paid at once has no hold.
        OrderStatus::Paid if order.expires_at.is_some() => json!({ "pay_order": id }),
        OrderStatus::Pending | OrderStatus::Paid | OrderStatus::Expired => {
            let items: Vec<_> =
                order.lines.iter().map(|line| (line.product_id, line.quantity)).collect();
            let pay = if order.expires_at.is_some() { "later" } else { "now" };
            json!({ "place_order": {
                "customer_id": order.customer_id,
                "items": { "listed": items },
                "owned_coupon_id": order.owned_coupon_id,
                "pay": pay,
                "reference": order.reference,
            } })
        }
    }
}

/// Returns the cancellation of a part, or without a return to the stock, that wrote the last rows of an order.
fn request_of_part(order: &Order, fingerprint: i64) -> Option<Value> {
    let last = order.cancellations.last()?;
    let (order_id, keep_stock) = (order.id, !last.is_restocked);
    let mut requests = vec![CancelOrder { order_id, items: None, keep_stock }.into()];
    // A cancellation has one event and one instant, and at most one row a line.
    let rows = order.cancellations.iter().rev().take(order.lines.len());
    let is_last = |row: &&LineCancellation| {
        (row.event_id, row.created_at) == (last.event_id, last.created_at)
    };
    let mut items = Vec::new();
    for row in rows.take_while(is_last) {
        // Money that earlier cancellations kept back has a row without units.
        items.extend(Some((row.product_id, row.units)).filter(|(_, units)| *units > 0));
        let items = Some(items.clone());
        requests.push(CancelOrder { order_id, items, keep_stock }.into());
    }
    matching(requests, fingerprint)
}

/// Returns the request of an order's answer, and the order as it was then.
fn explain_order(
    snapshot: &dyn Snapshot,
    id: OrderId,
    status: OrderStatus,
    cancellations: usize,
    fingerprint: i64,
) -> Result<(Value, Value), Error> {
    let order = snapshot.order(id)?.ok_or(Refusal::OrderNotFound { order_id: id })?;
    let before = order.as_of(status, cancellations);
    Ok((request_of_order(&before, fingerprint), json!({ "order": before })))
}

/// The refund of a charge, of an amount or of all that was left.
fn request_of_refund(row: &RefundRow, fingerprint: i64) -> Value {
    let charge_id = row.charge_id;
    let requests = [None, Some(row.amount)]
        .map(|amount| RefundCharge { amount, ..RefundCharge::new(charge_id) }.into());
    let refund = json!({ "refund_charge": { "charge_id": charge_id } });
    matching(requests.into(), fingerprint).unwrap_or(refund)
}

/// Returns the first of these requests that has the fingerprint.
fn matching(requests: Vec<AnyOperation>, fingerprint: i64) -> Option<Value> {
    let found = requests.into_iter().find(|known| command::fingerprint(known) == fingerprint);
    found.map(|request| json!(request))
}

/// The campaign that was started, or else only that it was changed: the answer has more than the request.
fn request_of_coupon(coupon: &Coupon, fingerprint: i64) -> Value {
    let Coupon { id, quantity, min_order_amount, valid_from, valid_until, .. } = *coupon;
    let added = [None, Some(valid_from)].map(|valid_from| {
        let (name, discount) = (coupon.name.clone(), coupon.discount);
        let below_minimum = coupon.below_minimum;
        AddCoupon {
            name,
            discount,
            min_order_amount,
            below_minimum,
            quantity,
            valid_from,
            valid_until,
        }
        .into()
    });
    let changed = json!({ "update_coupon": { "coupon_id": id } });
    matching(added.into(), fingerprint).unwrap_or(changed)
}

/// The product that was added, or the adjustment of its stock in that second, or else only that it was changed; `None`
/// after too many adjustments since.
fn request_of_product(
    snapshot: &dyn Snapshot,
    product: &Product,
    at: Timestamp,
    fingerprint: i64,
) -> Result<Option<Value>, Error> {
    let Product { id: product_id, stock, .. } = *product;
    let added = [None, Some(product_id)].map(|id| {
        let (name, price) = (product.name.clone(), product.regular_price);
        AddProduct { id, name, price, stock }.into()
    });
    if let Some(request) = matching(added.into(), fingerprint) {
        return Ok(Some(request));
    }
    let mut start = StockMovementId::new(i64::MAX);
    for _ in 0..MAX_SEARCHED.div_ceil(CHUNK) {
        let rows = snapshot.stock_movements(product_id, start, Direction::Back, CHUNK)?;
        let end = at.plus_seconds(MAX_CLOCK_SKEW.saturating_neg());
        let last = rows.last().filter(|last| rows.len() >= CHUNK && last.created_at >= end);
        let last = last.map(|row| row.id.get());
        let adjusted = rows.into_iter().map(|StockMovement { delta, reason, .. }| {
            AdjustStock { product_id, delta, reason }.into()
        });
        if let Some(request) = matching(adjusted.collect(), fingerprint) {
            return Ok(Some(request));
        }
        let Some(last) = last else {
            return Ok(Some(json!({ "update_product": { "product_id": product_id } })));
        };
        start = StockMovementId::new(last.saturating_sub(1));
    }
    Ok(None)
}

/// The point at which a request was refused.
struct Refused<'a> {
    snapshot: &'a dyn Snapshot,
    at: Timestamp,
    /// The positions of the tables then; keys of earlier versions have none.
    request: Option<&'a RefusedRequest>,
}

impl Refused<'_> {
    fn explain(&self, shortage: Shortage) -> Result<ExplainedShortage, Error> {
        let Shortage { product_id, requested, available } = shortage;
        let taken_by = self.takers(product_id)?;
        let removed_by = self.removals(product_id)?;
        let adjusted = self.adjustment(product_id)?;
        let released = self.release(product_id)?;
        let part = self.part(product_id)?;
        let earliest = |change: &Return| change.created_at;
        let back = adjusted.into_iter().chain(part).chain(released).min_by_key(earliest);
        Ok(ExplainedShortage { product_id, requested, available, taken_by, removed_by, back })
    }

    /// The last orders with a product before the refusal.
    fn takers(&self, product: ProductId) -> Result<Vec<Taker>, Error> {
        let filter = OrderFilter {
            product_id: Some(product),
            to: self.request.is_none().then_some(self.at),
            ..OrderFilter::default()
        };
        let newest = self.request.map(|request| request.last_order);
        let newest = newest.map_or_else(|| self.snapshot.last_order(), |id| Ok(Some(id)))?;
        let read = |newest, oldest, limit| {
            let range = IdRange { newest: OrderId::new(newest), oldest: OrderId::new(oldest) };
            Ok(self.snapshot.orders_in(range, &filter, limit)?)
        };
        let id = |order: &Order| order.id.get();
        let newest = newest.map_or(0, OrderId::get);
        let orders = Budget::of(MAX_SEARCHED).windows(newest, MAX_TAKERS, read, id)?;
        Ok(orders.iter().map(|order| taker(order, product)).collect())
    }

    /// The last adjustments before the refusal that removed units.
    fn removals(&self, product: ProductId) -> Result<Vec<Removal>, Error> {
        let mut start = self.request.map_or(i64::MAX, |request| request.last_movement);
        let mut removals = Vec::new();
        for _ in 0..MAX_SEARCHED.div_ceil(CHUNK) {
            let from = StockMovementId::new(start);
            let rows = self.snapshot.stock_movements(product, from, Direction::Back, CHUNK)?;
            let last = rows.last().filter(|_| rows.len() >= CHUNK).map(|row| row.id.get());
            let removed = rows.into_iter().filter(|row| row.delta < 0 && row.created_at <= self.at);
            removals.extend(removed.map(
                |StockMovement { created_at, delta, reason, actor, .. }| Removal {
                    created_at,
                    delta,
                    reason,
                    actor,
                },
            ));
            match last {
                Some(last) if removals.len() < MAX_TAKERS => start = last.saturating_sub(1),
                _ => break,
            }
        }
        removals.truncate(MAX_TAKERS);
        Ok(removals)
    }

    /// The first adjustment after the refusal that added units.
    fn adjustment(&self, product: ProductId) -> Result<Option<Return>, Error> {
        let mut start = self.request.map_or(1, |request| request.last_movement.saturating_add(1));
        loop {
            let from = StockMovementId::new(start);
            let rows = self.snapshot.stock_movements(product, from, Direction::Forward, CHUNK)?;
            let last = rows.last().filter(|_| rows.len() >= CHUNK).map(|row| row.id.get());
            let is_after = |row: &StockMovement| self.request.is_some() || row.created_at > self.at;
            let found = rows.into_iter().find(|row| row.delta > 0 && is_after(row));
            match (found, last) {
                (Some(StockMovement { created_at, delta, reason, .. }), _) => {
                    return Ok(Some(Return { created_at, delta, reason, order_id: None }));
                }
                (None, None) => return Ok(None),
                (None, Some(last)) => start = last.saturating_add(1),
            }
        }
    }

    /// The first order after the refusal that gave units back.
    fn release(&self, product: ProductId) -> Result<Option<Return>, Error> {
        let mut start = (self.at, OrderId::new(1));
        for _ in 0..MAX_SEARCHED.div_ceil(CHUNK) {
            let orders = self.snapshot.released_orders(start, Direction::Forward, CHUNK)?;
            let last = orders.last().filter(|_| orders.len() >= CHUNK);
            let last = last.and_then(|order| Some((order.released_at()?, order.id)));
            for order in orders {
                let (order_id, quantity) =
                    (order.id, super::history::released_units(&order, product));
                if quantity > 0
                    && let Some(created_at) = order.released_at()
                    && self.is_before(created_at, &order)?
                {
                    let reason = super::history::release_reason(&order).to_owned();
                    let order_id = Some(order_id);
                    return Ok(Some(Return { created_at, delta: quantity, reason, order_id }));
                }
            }
            let Some((at, id)) = last else { return Ok(None) };
            start = (at, OrderId::new(id.get().saturating_add(1)));
        }
        Ok(None)
    }

    /// The first cancellation of a part after the refusal that put units back.
    fn part(&self, product: ProductId) -> Result<Option<Return>, Error> {
        let mut start = (self.at, OrderId::new(1), 1);
        loop {
            let rows = self.snapshot.restocked_parts(product, start, Direction::Forward, CHUNK)?;
            let last = rows.last().filter(|_| rows.len() >= CHUNK);
            let last = last.map(LineCancellation::position);
            for LineCancellation { order_id, units, event_id, created_at, .. } in rows {
                // In the same second, the event of a paid order knows its position; others have none.
                let is_after = created_at > self.at
                    || self.request.is_some_and(|request| {
                        event_id.is_none_or(|event| event.get() > request.last_event)
                    });
                if is_after {
                    let (reason, order_id) = (RETURN_OF_PART.to_owned(), Some(order_id));
                    return Ok(Some(Return { created_at, delta: units, reason, order_id }));
                }
            }
            let Some((at, order, number)) = last else { return Ok(None) };
            start = (at, order, number.saturating_add(1));
        }
    }

    /// Returns true if the refusal came before an order gave its stock back. In the same second, an expired order came first,
    /// since each command releases overdue orders before it is decided; the event of a paid order knows its position.
    fn is_before(&self, released_at: Timestamp, order: &Order) -> Result<bool, Error> {
        if released_at > self.at {
            return Ok(true);
        }
        let Some(request) = self.request else { return Ok(false) };
        if order.status == OrderStatus::Expired {
            return Ok(false);
        }
        if order.id > request.last_order || order.paid_at.is_none() {
            return Ok(true);
        }
        let mut next = request.last_event;
        loop {
            let from = crate::id::EventId::new(next.saturating_add(1));
            let events = self.snapshot.events(from, MAX_LEASED_EVENTS)?;
            let is_end = |kind, id| kind == EventKind::OrderCancelled && id == order.id;
            if events.iter().any(|event| is_end(event.kind, event.order_id)) {
                return Ok(true);
            }
            let last = events.last().filter(|event| event.created_at <= self.at);
            let Some(last) = last else { return Ok(false) };
            next = last.id.get();
        }
    }
}

fn taker(order: &Order, product: ProductId) -> Taker {
    let lines = order.lines.iter().filter(|line| line.product_id == product);
    let quantity = lines.fold(0_i64, |sum, line| sum.saturating_add(line.quantity));
    let Order { id: order_id, customer_id, status, created_at, .. } = *order;
    Taker { order_id, customer_id, quantity, status, created_at }
}
