//! The store in memory: as simple as possible, because the other stores are compared with it.

use self::read::MemorySnapshot;
use crate::clock::Timestamp;
use crate::digest::{Digest, Digested};
use crate::error::StoreError;
use crate::id::{
    AuditEntryId, ChargeId, CouponId, CustomerId, EventId, Key, LedgerEntryId, OrderId,
    OwnedCouponId, ProductId, RefundId, StockMovementId, TokenId,
};
use crate::idempotency::IdempotencyRecord;
use crate::limits::EXPIRY_BATCH;
use crate::model::audit_trail::AuditEntry;
use crate::model::auth::{Credentials, LoginAttempts, LoginHash, SessionRow, TokenHash};
use crate::model::cart::CartLines;
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::delivery::{DeliveryRow, DeliveryStatus};
use crate::model::event::{Epoch, EventRow};
use crate::model::order::{Order, OrderStatus};
use crate::model::product::{Product, Purchase, StockMovement};
use crate::model::refund::{RefundKind, RefundRow, RefundStatus};
use crate::model::settings::Settings;
use crate::model::token::Token;
use crate::model::wallet::{Account, ChargeRow, ChargeStatus, LedgerEntry};
use crate::money::Currency;
use crate::state::{
    Change, Deliveries, DueEventsQuery, Erasure, Needs, NextIds, PersonalData, SessionChange,
    State, may_be_personal,
};
use crate::store::{Counted, Snapshot, Store, Transaction};
use crate::sync::{RwLock, RwLockWriteGuard};
use std::collections::BTreeMap;

mod read;

/// A store in memory, which ends with its process.
///
/// An open snapshot blocks writers.
///
/// ```
/// use commerce_core::{AddCustomer, Currency, MemoryStore, Shop};
/// let shop = Shop::open(MemoryStore::new(Currency::KRW));
/// let customer = shop.call(AddCustomer::new("Kim")).run()?;
/// assert_eq!(shop.balance(customer.id)?.balance.minor(), 0);
/// # Ok::<(), commerce_core::Error>(())
/// ```
#[derive(Debug)]
pub struct MemoryStore {
    currency: Currency,
    tables: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    accounts: BTreeMap<CustomerId, Account>,
    products: BTreeMap<ProductId, Product>,
    stock_movements: BTreeMap<StockMovementId, StockMovement>,
    carts: BTreeMap<CustomerId, CartLines>,
    coupons: BTreeMap<CouponId, Coupon>,
    owned_coupons: BTreeMap<OwnedCouponId, OwnedCoupon>,
    orders: BTreeMap<OrderId, Order>,
    purchases: BTreeMap<(ProductId, CustomerId), Purchase>,
    unlimited: Vec<ProductId>,
    charges: BTreeMap<ChargeId, ChargeRow>,
    refunds: BTreeMap<RefundId, RefundRow>,
    ledger: BTreeMap<LedgerEntryId, LedgerEntry>,
    events: BTreeMap<EventId, EventRow>,
    epochs: BTreeMap<EventId, Epoch>,
    /// The first event that no relay has leased yet; `None` before the first lease.
    next_event: Option<EventId>,
    deliveries: BTreeMap<EventId, DeliveryRow>,
    delivered: Vec<EventId>,
    replayed: Option<EventId>,
    keys: BTreeMap<(Key, CustomerId), IdempotencyRecord>,
    digests: BTreeMap<Digested, i64>,
    sales: BTreeMap<(Timestamp, Counted), i64>,
    settings: Option<Settings>,
    tokens: BTreeMap<TokenId, Token>,
    audit_trail: BTreeMap<AuditEntryId, AuditEntry>,
    credentials: BTreeMap<CustomerId, Credentials>,
    sessions: BTreeMap<TokenHash, SessionRow>,
    session_changes: Vec<SessionChange>,
    erasures: Vec<Erasure>,
    attempts: BTreeMap<LoginHash, LoginAttempts>,
}

impl MemoryStore {
    /// Creates an empty store.
    #[must_use]
    pub fn new(currency: Currency) -> Self {
        let first = EventId::new(1);
        // If the system has no random numbers, the public ids of events are plain numbers.
        let epochs = Epoch::begin(first).into_iter().map(|epoch| (first, epoch)).collect();
        Self { currency, tables: RwLock::new(Tables { epochs, ..Tables::default() }) }
    }
}

impl Store for MemoryStore {
    fn currency(&self) -> Currency {
        self.currency
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        // A transaction that panicked has written no row yet: `commit` cannot fail midway.
        let tables = self.tables.write();
        Ok(Box::new(MemoryTransaction { tables, changes: Vec::new() }))
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        self.begin().map(Some)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        Ok(Box::new(MemorySnapshot(self.tables.read())))
    }

    fn reads_locally(&self) -> bool {
        true
    }
}

struct MemoryTransaction<'a> {
    tables: RwLockWriteGuard<'a, Tables>,
    /// The changes of each save: a copy saves several times.
    changes: Vec<Tables>,
}

impl Transaction for MemoryTransaction<'_> {
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        let tables = &*self.tables;
        for id in &needs.accounts {
            state.accounts.provide(*id, tables.accounts.get(id).cloned());
        }
        for id in &needs.products {
            state.products.provide(*id, tables.products.get(id).cloned());
        }
        for id in &needs.carts {
            state.carts.provide(*id, tables.carts.get(id).map(|lines| (*id, lines.clone())));
        }
        for id in &needs.coupons {
            state.coupons.provide(*id, tables.coupons.get(id).cloned());
        }
        for id in &needs.owned_coupons {
            state.owned_coupons.provide(*id, tables.owned_coupons.get(id).cloned());
        }
        for claim in &needs.claims {
            let owned = tables
                .owned_coupons
                .values()
                .find(|owned| (owned.coupon_id, owned.customer_id) == *claim)
                .cloned();
            state.claims.provide(*claim, owned.as_ref().map(|owned| owned.id));
            if let Some(owned) = owned {
                state.owned_coupons.provide(owned.id, Some(owned));
            }
        }
        for id in &needs.orders {
            state.orders.provide(*id, tables.orders.get(id).cloned());
        }
        for (product, customer) in &needs.purchases {
            let units = tables.purchases.get(&(*product, *customer)).map_or(0, |row| row.units);
            state.purchases.provide(*product, *customer, units);
        }
        for product in &needs.live_units {
            state.purchases.provide_live(*product, tables.live_units(*product));
        }
        for (customer, reference) in &needs.references {
            let has_reference = |order: &&Order| {
                order.customer_id == *customer && order.reference.as_ref() == Some(reference)
            };
            let order = tables.orders.values().find(has_reference).map(|order| order.id);
            state.provide_reference(*customer, reference.clone(), order);
        }
        for id in &needs.charges {
            state.charges.provide(*id, tables.charges.get(id).cloned());
        }
        for customer in &needs.pending_charges {
            for row in tables.pending_charges().filter(|row| row.customer_id == *customer) {
                state.charges.provide(row.id, Some(row.clone()));
            }
            state.pending_charges.insert(*customer);
        }
        for id in &needs.refunds {
            state.refunds.provide(*id, tables.refunds.get(id).cloned());
        }
        for charge in &needs.refunds_of {
            for row in tables.refunds.values().filter(|row| row.charge_id == *charge) {
                state.refunds.provide(row.id, Some(row.clone()));
            }
            state.refunded_charges.insert(*charge);
        }
        for (key, owner) in &needs.keys {
            let record = tables.keys.get(&(key.clone(), *owner)).cloned();
            state.provide_key(key.clone(), *owner, record);
        }
        for login in &needs.logins {
            let owner = tables.credentials.values().find(|row| row.login == *login);
            state.provide_login(login.clone(), owner.map(|row| row.customer_id));
        }
        for login in &needs.attempts {
            state.attempts.provide(*login, tables.attempts.get(login).copied());
        }
        for customer in &needs.credentials {
            let credentials = tables.credentials.get(customer).cloned();
            state.known_credentials.provide(*customer, credentials);
        }
        for customer in &needs.personal {
            state.provide_personal_data(*customer, tables.personal_data(*customer));
        }
        if needs.admins {
            let admins = tables.accounts.values().filter(|row| row.customer.is_acting_admin());
            state.provide_admins(i64::try_from(admins.count()).unwrap_or(i64::MAX));
        }
        for id in &needs.tokens {
            state.tokens.provide(*id, tables.tokens.get(id).cloned());
        }
        for id in &needs.events {
            state.known_events.provide(*id, tables.events.get(id).cloned());
        }
        tables.load_deliveries(needs, &mut state.deliveries);
        if let Some(now) = needs.due_orders {
            state.due_orders = Some(tables.load_due_orders(now, state));
        }
        if needs.ids {
            state.ids = Some(tables.next_ids());
        }
        Ok(())
    }

    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        let mut changes = Tables::default();
        for (account, _) in state.accounts.changed() {
            changes.accounts.insert(account.customer.id, account.clone());
        }
        for (product, _) in state.products.changed() {
            changes.products.insert(product.id, product.clone());
        }
        for ((customer, lines), _) in state.carts.changed() {
            changes.carts.insert(*customer, lines.clone());
        }
        for (coupon, _) in state.coupons.changed() {
            changes.coupons.insert(coupon.id, coupon.clone());
        }
        for (owned, change) in state.owned_coupons.changed() {
            changes.keep_digest(state, owned, change);
            changes.owned_coupons.insert(owned.id, owned.clone());
        }
        for (order, change) in state.orders.changed() {
            changes.keep_digest(state, order, change);
            changes.orders.insert(order.id, order.clone());
        }
        for (refund, change) in state.refunds.changed() {
            changes.keep_digest(state, refund, change);
            changes.refunds.insert(refund.id, refund.clone());
        }
        changes.unlimited.extend(state.purchases.cleared());
        let (kept, gone) = state.purchases.changed();
        for row in kept.into_iter().chain(gone) {
            changes.purchases.insert((row.product_id, row.customer_id), *row);
        }
        for (key, owner, record) in state.new_keys() {
            changes.keys.insert((key.clone(), owner), record.clone());
        }
        changes
            .stock_movements
            .extend(state.stock_movements.iter().map(|row| (row.id, row.clone())));
        for (charge, change) in state.charges.changed() {
            changes.keep_digest(state, charge, change);
            changes.charges.insert(charge.id, charge.clone());
        }
        for entry in &state.ledger {
            changes.keep_digest(state, entry, Change::Inserted);
        }
        changes.ledger.extend(state.ledger.iter().map(|row| (row.id, row.clone())));
        changes.events.extend(state.events.iter().map(|row| (row.id, row.clone())));
        changes.epochs.extend(state.epochs.iter().map(|row| (row.first_event, row.clone())));
        changes.replayed = state.deliveries.delete_from();
        changes.next_event = state.deliveries.new_cursor();
        changes.delivered = state.deliveries.deletes();
        let deliveries = state.deliveries.upserts().into_iter();
        changes.deliveries.extend(deliveries.map(|row| (row.event_id, row.clone())));
        for sale in &state.sales {
            for (of, more) in sale.counts() {
                let count = changes.sales.entry((sale.at, of)).or_default();
                *count = count.saturating_add(more);
            }
        }
        let tokens = state.tokens.changed();
        changes.tokens.extend(tokens.into_iter().map(|(row, _)| (row.id, row.clone())));
        changes.settings = state.settings;
        changes.audit_trail.extend(state.audit_trail.iter().map(|row| (row.id, row.clone())));
        let credentials = state.credentials.iter();
        changes.credentials.extend(credentials.map(|row| (row.customer_id, row.clone())));
        changes.erasures.clone_from(&state.erasures);
        changes.session_changes.clone_from(&state.sessions);
        let attempts = state.attempts.changed();
        changes.attempts.extend(attempts.into_iter().map(|(row, _)| (row.login, *row)));
        self.changes.push(changes);
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        for changes in std::mem::take(&mut self.changes) {
            self.tables.save(changes);
        }
        Ok(())
    }
}

impl Tables {
    fn save(&mut self, changes: Self) {
        let tables = self;
        tables.accounts.extend(changes.accounts);
        tables.products.extend(changes.products);
        tables.stock_movements.extend(changes.stock_movements);
        tables.carts.extend(changes.carts);
        tables.carts.retain(|_, lines| !lines.is_empty());
        tables.coupons.extend(changes.coupons);
        tables.owned_coupons.extend(changes.owned_coupons);
        tables.orders.extend(changes.orders);
        tables.purchases.retain(|(product, _), _| !changes.unlimited.contains(product));
        tables.purchases.extend(changes.purchases);
        tables.purchases.retain(|_, row| row.units > 0);
        tables.charges.extend(changes.charges);
        tables.refunds.extend(changes.refunds);
        tables.ledger.extend(changes.ledger);
        tables.events.extend(changes.events);
        tables.epochs.extend(changes.epochs);
        tables.next_event = changes.next_event.or(tables.next_event);
        if let Some(first) = changes.replayed {
            tables.deliveries.retain(|event, _| *event < first);
        }
        tables.deliveries.retain(|event, _| !changes.delivered.contains(event));
        tables.deliveries.extend(changes.deliveries);
        tables.keys.extend(changes.keys);
        tables.digests.extend(changes.digests);
        tables.credentials.extend(changes.credentials);
        // Before the attempts: an end in the middle of the batch must not remove attempts that were recorded after it.
        for change in changes.session_changes {
            tables.change_sessions(change);
        }
        tables.attempts.extend(changes.attempts);
        for erasure in changes.erasures {
            tables.erase(erasure);
        }
        for (bucket, more) in changes.sales {
            let count = tables.sales.entry(bucket).or_default();
            *count = count.saturating_add(more);
        }
        tables.sales.retain(|_, count| *count != 0);
        tables.settings = changes.settings.or(tables.settings);
        tables.tokens.extend(changes.tokens);
        tables.audit_trail.extend(changes.audit_trail);
    }

    /// Saves the digest of a new row.
    fn keep_digest(&mut self, state: &State, row: &impl Digest, change: Change) {
        let new = row.hashed().filter(|_| change == Change::Inserted);
        self.digests.extend(new.and_then(|(of, _)| Some((of, state.digest(row)?))));
    }

    fn change_sessions(&mut self, change: SessionChange) {
        match change {
            SessionChange::Opened(row) => {
                self.sessions.insert(row.token, row);
            }
            SessionChange::Closed(token) => {
                self.sessions.remove(&token);
            }
            SessionChange::ClosedAll(customer) => {
                self.sessions.retain(|_, row| row.customer_id != customer);
            }
            SessionChange::ClosedOthers(customer, token) => {
                self.sessions.retain(|_, row| row.customer_id != customer || row.token == token);
            }
            SessionChange::Ended(now) => {
                self.sessions.retain(|_, row| row.is_valid_at(now));
                self.attempts.retain(|_, row| row.counts_at(now));
            }
        }
    }

    fn personal_data(&self, customer: CustomerId) -> PersonalData {
        let digest = |of| self.digests.get(&of).copied();
        let notes =
            self.ledger.values().filter(|row| row.customer_id == customer && row.note.is_some());
        let has_method = |row: &&ChargeRow| {
            let source = row.source.as_ref();
            row.customer_id == customer && source.is_some_and(|of| of.payment_method.is_some())
        };
        let charges = self.charges.values().filter(has_method);
        let orders = self.orders.values().filter(|order| order.customer_id == customer);
        let keys = self
            .keys
            .iter()
            .filter(|((_, scope), kept)| may_be_personal(customer, *scope, &kept.answer));
        let is_pending =
            |row: &&RefundRow| row.customer_id == customer && row.status == RefundStatus::Pending;
        let pending_refunds = self.refunds.values().filter(is_pending).count();
        PersonalData {
            pending_refunds: u64::try_from(pending_refunds).unwrap_or(u64::MAX),
            pending_orders: orders
                .filter(|order| order.status == OrderStatus::Pending)
                .map(|order| order.id)
                .collect(),
            notes: notes.map(|row| (row.clone(), digest(Digested::Debit(row.id)))).collect(),
            payment_methods: charges
                .map(|row| (row.clone(), digest(Digested::Charge(row.id))))
                .collect(),
            keys: keys.map(|((key, scope), kept)| (key.clone(), *scope, kept.clone())).collect(),
        }
    }

    fn erase(&mut self, erasure: Erasure) {
        self.credentials.remove(&erasure.customer_id);
        if let Some(login) = erasure.login {
            self.attempts.remove(&login);
        }
        for (id, digest) in erasure.notes {
            if let Some(row) = self.ledger.get_mut(&id) {
                row.note = None;
            }
            self.digests.extend(digest.map(|digest| (Digested::Debit(id), digest)));
        }
        for (id, digest) in erasure.payment_methods {
            if let Some(source) = self.charges.get_mut(&id).and_then(|row| row.source.as_mut()) {
                source.payment_method = None;
            }
            self.digests.extend(digest.map(|digest| (Digested::Charge(id), digest)));
        }
        for (key, scope, answer) in erasure.answers {
            if let Some(record) = self.keys.get_mut(&(key, scope)) {
                record.answer = answer;
            }
        }
    }

    fn live_units(&self, product: ProductId) -> BTreeMap<CustomerId, i64> {
        let mut units: BTreeMap<CustomerId, i64> = BTreeMap::new();
        for order in self.orders.values().filter(|order| order.is_live()) {
            for line in order.lines.iter().filter(|line| line.product_id == product) {
                let left = line.quantity.saturating_sub(order.cancelled_units(product));
                let sum = units.entry(order.customer_id).or_default();
                *sum = sum.saturating_add(left);
            }
        }
        units.retain(|_, units| *units > 0);
        units
    }

    fn pending_charges(&self) -> impl Iterator<Item = &ChargeRow> {
        self.charges.values().filter(|row| row.status == ChargeStatus::Pending)
    }

    fn pending_refunds(&self) -> impl Iterator<Item = &RefundRow> {
        self.refunds
            .values()
            .filter(|row| row.status == RefundStatus::Pending && row.kind == RefundKind::Requested)
    }

    fn next_event(&self) -> EventId {
        self.next_event.unwrap_or(EventId::new(1))
    }

    fn load_deliveries(&self, needs: &Needs, deliveries: &mut Deliveries) {
        let rows = |is_wanted: &dyn Fn(&DeliveryRow) -> bool| -> Vec<DeliveryRow> {
            self.deliveries.values().filter(|row| is_wanted(row)).cloned().collect()
        };
        for order in &needs.deliveries {
            deliveries.provide_order(*order, rows(&|row| row.order_id == *order));
        }
        if let Some(limit) = needs.parked {
            let mut parked = rows(&|row| row.status == DeliveryStatus::Parked);
            parked.truncate(limit);
            deliveries.provide_parked(parked);
        }
        if let Some(DueEventsQuery { now, limit }) = needs.due_events {
            // As in the SQL stores, rows written by a clock that was ahead are read in the order of another index.
            let mut ahead = rows(&|row| row.due_at > now && row.is_due_at(now));
            ahead.sort_by_key(|row| (row.updated_at, row.event_id));
            ahead.truncate(limit);
            let mut due = rows(&|row| row.due_at <= now && row.is_due_at(now));
            due.append(&mut ahead);
            due.sort_by_key(|row| (row.due_at, row.event_id));
            due.truncate(limit);
            let fresh = self.events.range(self.next_event()..).take(limit);
            deliveries.provide_due(due);
            deliveries.provide_fresh(fresh.map(|(_, event)| event.clone()).collect());
            deliveries.provide_epochs(self.epochs.values().cloned().collect());
        }
        if needs.next_event || needs.due_events.is_some() {
            deliveries.provide_next(self.next_event());
        }
    }

    fn load_due_orders(&self, now: Timestamp, state: &mut State) -> Vec<OrderId> {
        let mut due: Vec<_> = self.orders.values().filter(|order| order.is_due_at(now)).collect();
        due.sort_by_key(|order| (order.expires_at, order.id));
        due.truncate(EXPIRY_BATCH);
        due.into_iter()
            .map(|order| {
                state.orders.provide(order.id, Some(order.clone()));
                order.id
            })
            .collect()
    }

    fn next_ids(&self) -> NextIds {
        macro_rules! next {
            ($table:ident) => {
                self.$table.keys().next_back().map_or(0, |id| id.get()).saturating_add(1)
            };
        }
        NextIds {
            customer: next!(accounts),
            product: next!(products),
            coupon: next!(coupons),
            owned_coupon: next!(owned_coupons),
            order: next!(orders),
            charge: next!(charges),
            ledger_entry: next!(ledger),
            stock_movement: next!(stock_movements),
            event: next!(events),
            audit_entry: next!(audit_trail),
            token: next!(tokens),
        }
    }
}
