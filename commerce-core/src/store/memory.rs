//! The store in memory: as plain as can be, the reference that the others are held against.

use crate::command::KeyRecord;
use crate::limits::{EXPIRY_BATCH, LOGIN_MEMORY};
use crate::state::{Deliveries, Needs, NextIds, SessionChange, State, Wanted};
use crate::store::{
    DeliveryFilter, LedgerFilter, Record, SalesCount, SalesLevel, Snapshot, Store, Table,
    Transaction,
};
use crate::{
    Account, CartLines, ChargeId, ChargeRow, ChargeStatus, Coupon, CouponId, Credentials, Currency,
    Customer, CustomerId, DeliveryRow, DeliveryStatus, EventId, EventRow, Key, LedgerEntry,
    LedgerEntryId, LoginAttempts, LoginHash, Order, OrderId, OrderStatus, Outbox, OwnedCoupon,
    OwnedCouponId, Product, ProductId, Role, SessionRow, StockMovement, StockMovementId,
    StoreError, Timestamp, TokenHash,
};
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A store that is gone with its process.
///
/// Who holds a snapshot of it keeps writers waiting.
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
    charges: BTreeMap<ChargeId, ChargeRow>,
    ledger: BTreeMap<LedgerEntryId, LedgerEntry>,
    events: BTreeMap<EventId, EventRow>,
    /// The first event that nobody has taken up; none is the first there is.
    next_event: Option<EventId>,
    deliveries: BTreeMap<EventId, DeliveryRow>,
    delivered: Vec<EventId>,
    replayed: Option<EventId>,
    keys: BTreeMap<(Key, CustomerId), KeyRecord>,
    sales: BTreeMap<(Timestamp, ProductId), i64>,
    credentials: BTreeMap<CustomerId, Credentials>,
    sessions: BTreeMap<TokenHash, SessionRow>,
    session_changes: Vec<SessionChange>,
    attempts: BTreeMap<LoginHash, LoginAttempts>,
}

impl MemoryStore {
    /// An empty store of that currency.
    #[must_use]
    pub fn new(currency: Currency) -> Self {
        Self { currency, tables: RwLock::default() }
    }
}

impl Store for MemoryStore {
    fn currency(&self) -> Currency {
        self.currency
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        // A transaction that panicked had not written yet: `apply` cannot fail midway.
        let tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Box::new(MemoryTransaction { tables, changes: None }))
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        self.begin().map(Some)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        Ok(Box::new(MemorySnapshot(self.tables.read().unwrap_or_else(PoisonError::into_inner))))
    }
}

struct MemoryTransaction<'a> {
    tables: RwLockWriteGuard<'a, Tables>,
    changes: Option<Tables>,
}

impl Transaction for MemoryTransaction<'_> {
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        let tables = &*self.tables;
        for id in &needs.accounts {
            state.accounts.loaded(*id, tables.accounts.get(id).cloned());
        }
        for id in &needs.products {
            state.products.loaded(*id, tables.products.get(id).cloned());
        }
        for id in &needs.carts {
            state.carts.loaded(*id, tables.carts.get(id).map(|lines| (*id, lines.clone())));
        }
        for id in &needs.coupons {
            state.coupons.loaded(*id, tables.coupons.get(id).cloned());
        }
        for id in &needs.owned_coupons {
            state.owned_coupons.loaded(*id, tables.owned_coupons.get(id).cloned());
        }
        for claim in &needs.claims {
            let owned = tables
                .owned_coupons
                .values()
                .find(|owned| (owned.coupon_id, owned.customer_id) == *claim)
                .cloned();
            state.claims.loaded(*claim, owned.as_ref().map(|owned| owned.id));
            if let Some(owned) = owned {
                state.owned_coupons.loaded(owned.id, Some(owned));
            }
        }
        for id in &needs.orders {
            state.orders.loaded(*id, tables.orders.get(id).cloned());
        }
        for id in &needs.charges {
            state.charges.loaded(*id, tables.charges.get(id).cloned());
        }
        for customer in &needs.pending_charges {
            for row in tables.pending_charges().filter(|row| row.customer_id == *customer) {
                state.charges.loaded(row.id, Some(row.clone()));
            }
            state.pending_charges.insert(*customer);
        }
        for (key, owner) in &needs.keys {
            let record = tables.keys.get(&(key.clone(), *owner)).cloned();
            state.key_loaded(key.clone(), *owner, record);
        }
        for login in &needs.logins {
            let owner = tables.credentials.values().find(|known| known.login == *login);
            state.login_loaded(login.clone(), owner.map(|known| known.customer_id));
        }
        for login in &needs.attempts {
            state.attempts.loaded(*login, tables.attempts.get(login).copied());
        }
        for id in &needs.events {
            state.known_events.loaded(*id, tables.events.get(id).cloned());
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
        for (owned, _) in state.owned_coupons.changed() {
            changes.owned_coupons.insert(owned.id, owned.clone());
        }
        for (order, _) in state.orders.changed() {
            changes.orders.insert(order.id, order.clone());
        }
        for (key, owner, record) in state.new_keys() {
            changes.keys.insert((key.clone(), owner), record.clone());
        }
        changes
            .stock_movements
            .extend(state.stock_movements.iter().map(|row| (row.id, row.clone())));
        for (charge, _) in state.charges.changed() {
            changes.charges.insert(charge.id, charge.clone());
        }
        changes.ledger.extend(state.ledger.iter().map(|row| (row.id, row.clone())));
        changes.events.extend(state.events.iter().map(|row| (row.id, row.clone())));
        changes.replayed = state.deliveries.replayed();
        changes.next_event = state.deliveries.moved();
        changes.delivered = state.deliveries.removed();
        let deliveries = state.deliveries.kept().into_iter();
        changes.deliveries.extend(deliveries.map(|row| (row.event_id, row.clone())));
        for sale in &state.sales {
            let units = changes.sales.entry((sale.paid_at, sale.product_id)).or_default();
            *units = units.saturating_add(sale.units);
        }
        let credentials = state.credentials.iter();
        changes.credentials.extend(credentials.map(|row| (row.customer_id, row.clone())));
        changes.session_changes.clone_from(&state.sessions);
        let attempts = state.attempts.changed();
        changes.attempts.extend(attempts.into_iter().map(|(row, _)| (row.login, *row)));
        self.changes = Some(changes);
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        let Some(changes) = self.changes.take() else { return Ok(()) };
        let tables = &mut *self.tables;
        tables.accounts.extend(changes.accounts);
        tables.products.extend(changes.products);
        tables.stock_movements.extend(changes.stock_movements);
        tables.carts.extend(changes.carts);
        tables.carts.retain(|_, lines| !lines.is_empty());
        tables.coupons.extend(changes.coupons);
        tables.owned_coupons.extend(changes.owned_coupons);
        tables.orders.extend(changes.orders);
        tables.charges.extend(changes.charges);
        tables.ledger.extend(changes.ledger);
        tables.events.extend(changes.events);
        tables.next_event = changes.next_event.or(tables.next_event);
        if let Some(first) = changes.replayed {
            tables.deliveries.retain(|event, _| *event < first);
        }
        tables.deliveries.retain(|event, _| !changes.delivered.contains(event));
        tables.deliveries.extend(changes.deliveries);
        tables.keys.extend(changes.keys);
        tables.credentials.extend(changes.credentials);
        tables.attempts.extend(changes.attempts);
        for change in changes.session_changes {
            tables.change_sessions(change);
        }
        for (bucket, units) in changes.sales {
            let count = tables.sales.entry(bucket).or_default();
            *count = count.saturating_add(units);
        }
        tables.sales.retain(|_, units| *units != 0);
        Ok(())
    }
}

impl Tables {
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
            SessionChange::Ended(now) => {
                self.sessions.retain(|_, row| now < row.expires_at);
                let long_ago = now.plus_seconds(LOGIN_MEMORY.saturating_neg());
                self.attempts.retain(|_, row| row.last_at >= long_ago);
            }
        }
    }

    fn pending_charges(&self) -> impl Iterator<Item = &ChargeRow> {
        self.charges.values().filter(|row| row.status == ChargeStatus::Pending)
    }

    fn next_event(&self) -> EventId {
        self.next_event.unwrap_or(EventId::new(1))
    }

    fn load_deliveries(&self, needs: &Needs, deliveries: &mut Deliveries) {
        let rows = |wanted: &dyn Fn(&DeliveryRow) -> bool| -> Vec<DeliveryRow> {
            self.deliveries.values().filter(|row| wanted(row)).cloned().collect()
        };
        for order in &needs.deliveries {
            deliveries.order_loaded(*order, rows(&|row| row.order_id == *order));
        }
        if let Some(limit) = needs.parked {
            let mut parked = rows(&|row| row.status == DeliveryStatus::Parked);
            parked.truncate(limit);
            deliveries.parked_loaded(parked);
        }
        if let Some(Wanted { now, limit }) = needs.wanted {
            let mut due = rows(&|row| row.is_due_at(now));
            due.sort_by_key(|row| (row.due_at, row.event_id));
            due.truncate(limit);
            let fresh = self.events.range(self.next_event()..).take(limit);
            deliveries.due_loaded(due);
            deliveries.fresh_loaded(fresh.map(|(_, event)| event.clone()).collect());
        }
        if needs.next_event || needs.wanted.is_some() {
            deliveries.next_loaded(self.next_event());
        }
    }

    fn load_due_orders(&self, now: Timestamp, state: &mut State) -> Vec<OrderId> {
        let mut due: Vec<_> = self.orders.values().filter(|order| order.is_due_at(now)).collect();
        due.sort_by_key(|order| (order.expires_at, order.id));
        due.truncate(EXPIRY_BATCH);
        due.into_iter()
            .map(|order| {
                state.orders.loaded(order.id, Some(order.clone()));
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
        }
    }
}

struct MemorySnapshot<'a>(RwLockReadGuard<'a, Tables>);

impl Snapshot for MemorySnapshot<'_> {
    fn account(&self, id: CustomerId) -> Result<Option<Account>, StoreError> {
        Ok(self.0.accounts.get(&id).cloned())
    }

    fn credentials(&self, login: &str) -> Result<Option<Credentials>, StoreError> {
        Ok(self.0.credentials.values().find(|known| known.login == login).cloned())
    }

    fn session(&self, token: TokenHash) -> Result<Option<(SessionRow, Role)>, StoreError> {
        let Some(session) = self.0.sessions.get(&token) else { return Ok(None) };
        let account = self.0.accounts.get(&session.customer_id);
        Ok(account.map(|account| (*session, account.customer.role)))
    }

    fn customers(&self, start: CustomerId, limit: usize) -> Result<Vec<Customer>, StoreError> {
        let rows = self.0.accounts.range(start..).take(limit);
        Ok(rows.map(|(_, account)| account.customer.clone()).collect())
    }

    fn product(&self, id: ProductId) -> Result<Option<Product>, StoreError> {
        Ok(self.0.products.get(&id).cloned())
    }

    fn products(&self, start: ProductId, limit: usize) -> Result<Vec<Product>, StoreError> {
        let rows = self.0.products.range(start..).map(|(_, product)| product);
        Ok(rows
            .filter(|product| product.status == crate::ProductStatus::Active)
            .take(limit)
            .cloned()
            .collect())
    }

    fn cart(&self, customer: CustomerId) -> Result<CartLines, StoreError> {
        Ok(self.0.carts.get(&customer).cloned().unwrap_or_default())
    }

    fn coupon(&self, id: CouponId) -> Result<Option<Coupon>, StoreError> {
        Ok(self.0.coupons.get(&id).cloned())
    }

    fn coupons(&self, start: CouponId, limit: usize) -> Result<Vec<Coupon>, StoreError> {
        Ok(self.0.coupons.range(start..).take(limit).map(|(_, coupon)| coupon.clone()).collect())
    }

    fn owned_coupons(
        &self,
        customer: CustomerId,
        start: CouponId,
        limit: usize,
    ) -> Result<Vec<OwnedCoupon>, StoreError> {
        let mine = self.0.owned_coupons.values();
        let mut mine: Vec<_> = mine
            .filter(|owned| owned.customer_id == customer && owned.coupon_id >= start)
            .collect();
        mine.sort_by_key(|owned| owned.coupon_id);
        Ok(mine.into_iter().take(limit).cloned().collect())
    }

    fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        Ok(self.0.orders.get(&id).cloned())
    }

    fn orders(
        &self,
        customer: CustomerId,
        start: OrderId,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError> {
        if self.0.orders.get(&start).is_none_or(|order| order.customer_id != customer) {
            return Ok(Vec::new());
        }
        let mine = self.0.orders.range(..=start).rev().map(|(_, order)| order);
        Ok(mine.filter(|order| order.customer_id == customer).take(limit).cloned().collect())
    }

    fn ledger(
        &self,
        customer: CustomerId,
        start: LedgerEntryId,
        limit: usize,
        filter: LedgerFilter,
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        if self.0.ledger.get(&start).is_none_or(|entry| entry.customer_id != customer) {
            return Ok(Vec::new());
        }
        let mine = self.0.ledger.range(..=start).rev().map(|(_, entry)| entry);
        let wanted = |entry: &&LedgerEntry| {
            entry.customer_id == customer
                && (filter == LedgerFilter::All || entry.as_payment().is_some())
        };
        Ok(mine.filter(wanted).take(limit).cloned().collect())
    }

    fn charge(&self, id: ChargeId) -> Result<Option<ChargeRow>, StoreError> {
        Ok(self.0.charges.get(&id).cloned())
    }

    fn charge_by_reference(&self, reference: &str) -> Result<Option<ChargeRow>, StoreError> {
        let known = |row: &&ChargeRow| {
            row.source.as_ref().is_some_and(|source| source.reference == reference)
        };
        Ok(self.0.charges.values().find(known).cloned())
    }

    fn pending_charges(
        &self,
        start: (CustomerId, ChargeId),
        limit: usize,
    ) -> Result<Vec<ChargeRow>, StoreError> {
        let mut rows: Vec<_> = self.0.pending_charges().cloned().collect();
        rows.sort_unstable_by_key(|row| (row.customer_id, row.id));
        rows.retain(|row| (row.customer_id, row.id) >= start);
        rows.truncate(limit);
        Ok(rows)
    }

    fn count_pending_charges(&self) -> Result<u64, StoreError> {
        Ok(u64::try_from(self.0.pending_charges().count()).unwrap_or(u64::MAX))
    }

    fn has_due_orders(&self, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.0.orders.values().any(|order| order.is_due_at(now)))
    }

    fn events(&self, start: EventId, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        Ok(self.0.events.range(start..).take(limit).map(|(_, event)| event.clone()).collect())
    }

    fn next_event(&self) -> Result<EventId, StoreError> {
        Ok(self.0.next_event())
    }

    fn deliveries(
        &self,
        start: EventId,
        limit: usize,
        filter: DeliveryFilter,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let rows = self.0.deliveries.range(start..).map(|(_, row)| row);
        let wanted = |row: &&DeliveryRow| {
            filter == DeliveryFilter::All || row.status == DeliveryStatus::Parked
        };
        Ok(rows.filter(wanted).take(limit).cloned().collect())
    }

    fn has_due_events(&self, now: Timestamp) -> Result<bool, StoreError> {
        let tables = &*self.0;
        let fresh = tables.events.range(tables.next_event()..).next();
        Ok(fresh.is_some() || tables.deliveries.values().any(|row| row.is_due_at(now)))
    }

    fn outbox(&self) -> Result<Outbox, StoreError> {
        let tables = &*self.0;
        let is_parked = |row: &&DeliveryRow| row.status == DeliveryStatus::Parked;
        let parked = tables.deliveries.values().filter(is_parked).count();
        let on_their_way = tables.deliveries.values().filter(|row| !is_parked(row));
        let fresh = tables.events.range(tables.next_event()..);
        let waiting = fresh.clone().count().saturating_add(on_their_way.clone().count());
        let mut waits = on_their_way.map(|row| row.event_id).chain(fresh.map(|(id, _)| *id));
        let oldest = waits.next().and_then(|id| tables.events.get(&id));
        Ok(Outbox {
            waiting: u64::try_from(waiting).unwrap_or(u64::MAX),
            oldest: oldest.map(|event| event.created_at),
            parked: u64::try_from(parked).unwrap_or(u64::MAX),
        })
    }

    fn best_sellers(
        &self,
        after: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(ProductId, i64)>, StoreError> {
        let mut units: BTreeMap<ProductId, i64> = BTreeMap::new();
        for order in self.0.orders.values().filter(|order| order.status == OrderStatus::Paid) {
            if order.paid_at.is_some_and(|at| after < at && at <= until) {
                for line in &order.lines {
                    let sum = units.entry(line.product_id).or_default();
                    *sum = sum.saturating_add(line.quantity);
                }
            }
        }
        let mut ranking: Vec<_> = units.into_iter().collect();
        ranking.sort_by_key(|(id, units)| (std::cmp::Reverse(*units), *id));
        ranking.truncate(limit);
        Ok(ranking)
    }

    fn scan(&self, table: Table, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        let tables = &*self.0;
        match table {
            Table::Accounts => {
                tables.accounts.values().cloned().map(Record::Account).for_each(visit);
            }
            Table::Products => {
                tables.products.values().cloned().map(Record::Product).for_each(visit);
            }
            Table::StockMovements => {
                tables.stock_movements.values().cloned().map(Record::StockMovement).for_each(visit);
            }
            Table::Carts => {
                for (&customer_id, lines) in &tables.carts {
                    for (&product_id, &quantity) in lines {
                        visit(Record::CartLine { customer_id, product_id, quantity });
                    }
                }
            }
            Table::Coupons => tables.coupons.values().cloned().map(Record::Coupon).for_each(visit),
            Table::OwnedCoupons => {
                tables.owned_coupons.values().cloned().map(Record::OwnedCoupon).for_each(visit);
            }
            Table::Orders => tables.orders.values().cloned().map(Record::Order).for_each(visit),
            Table::Charges => tables.charges.values().cloned().map(Record::Charge).for_each(visit),
            Table::Ledger => {
                tables.ledger.values().cloned().map(Record::LedgerEntry).for_each(visit);
            }
            Table::Events => tables.events.values().cloned().map(Record::Event).for_each(visit),
            Table::Relay => visit(Record::NextEvent(tables.next_event())),
            Table::Deliveries => {
                tables.deliveries.values().cloned().map(Record::Delivery).for_each(visit);
            }
            Table::Keys => {
                for ((key, owner), record) in &tables.keys {
                    visit(Record::Key { key: key.clone(), owner: *owner, record: record.clone() });
                }
            }
            Table::Sales => {
                for ((start, product_id), &units) in &tables.sales {
                    let (start, product_id) = (*start, *product_id);
                    visit(Record::SalesCount(SalesCount { seconds: 1, start, product_id, units }));
                }
            }
            Table::Credentials => {
                tables.credentials.values().cloned().map(Record::Credentials).for_each(visit);
            }
            Table::Sessions => {
                tables.sessions.values().copied().map(Record::Session).for_each(visit);
            }
        }
        Ok(())
    }

    fn sales_levels(&self) -> Result<Vec<SalesLevel>, StoreError> {
        Ok(vec![SalesLevel { seconds: 1, until: Timestamp::MAX.plus_seconds(1) }])
    }
}
