//! Snapshots of the memory store: full scans, where the other stores have an index or a roll-up.

use super::Tables;
use crate::clock::Timestamp;
use crate::digest::Digest;
use crate::error::StoreError;
use crate::id::{
    AuditEntryId, ChargeId, CouponId, CustomerId, EventId, Key, LedgerEntryId, OrderId,
    OwnedCouponId, ProductId, RefundId, StockMovementId, TokenId,
};
use crate::idempotency::IdempotencyRecord;
use crate::model::audit_trail::{Actor, AuditEntry, Subject};
use crate::model::auth::{Credentials, LoginAttempts, LoginHash, SessionRow, TokenHash};
use crate::model::cart::CartLines;
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::delivery::{DeliveryRow, DeliveryStatus, Outbox};
use crate::model::event::{Epoch, EventRow};
use crate::model::order::{LineCancellation, Order, OrderStatus, PartPosition};
use crate::model::product::{Product, StockMovement};
use crate::model::refund::RefundRow;
use crate::model::sale::{Figures, Sale, Sold};
use crate::model::settings::Settings;
use crate::model::token::Token;
use crate::model::wallet::{Account, ChargeRow, Customer, LedgerEntry, Role};
use crate::store::{
    ChargeFilter, DeliveryFilter, Direction, IdRange, LedgerFilter, OrderFilter, Record,
    SalesCount, SalesLevel, Snapshot, Table, visit_with_digest,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::RwLockReadGuard;

/// Returns rows in the order of a key, from `start` on.
fn along<'a, T: Clone + 'a, K: Ord>(
    rows: impl Iterator<Item = &'a T>,
    key: impl Fn(&T) -> K,
    start: &K,
    direction: Direction,
    limit: usize,
) -> Vec<T> {
    let mut rows: Vec<&T> = match direction {
        Direction::Forward => rows.filter(|row| key(row) >= *start).collect(),
        Direction::Back => rows.filter(|row| key(row) <= *start).collect(),
    };
    rows.sort_by_key(|row| key(row));
    if direction == Direction::Back {
        rows.reverse();
    }
    rows.into_iter().take(limit).cloned().collect()
}

pub(super) struct MemorySnapshot<'a>(pub(super) RwLockReadGuard<'a, Tables>);

impl Snapshot for MemorySnapshot<'_> {
    fn account(&self, id: CustomerId) -> Result<Option<Account>, StoreError> {
        Ok(self.0.accounts.get(&id).cloned())
    }

    fn credentials(&self, login: &str) -> Result<Option<Credentials>, StoreError> {
        Ok(self.0.credentials.values().find(|row| row.login == login).cloned())
    }

    fn login_attempts(&self, login: LoginHash) -> Result<Option<LoginAttempts>, StoreError> {
        Ok(self.0.attempts.get(&login).copied())
    }

    fn session(&self, token: TokenHash) -> Result<Option<(SessionRow, Role)>, StoreError> {
        let Some(session) = self.0.sessions.get(&token) else { return Ok(None) };
        let account = self.0.accounts.get(&session.customer_id);
        Ok(account.map(|account| (*session, account.customer.role)))
    }

    fn sessions(
        &self,
        customer: Option<CustomerId>,
        start: TokenHash,
        limit: usize,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let rows = self.0.sessions.range(start..).map(|(_, row)| *row);
        let rows = rows.filter(|row| customer.is_none_or(|id| row.customer_id == id));
        Ok(rows.take(limit).collect())
    }

    fn token(&self, hash: &str) -> Result<Option<Token>, StoreError> {
        Ok(self.0.tokens.values().find(|token| token.hash == hash).cloned())
    }

    fn tokens(&self, start: TokenId, limit: usize) -> Result<Vec<Token>, StoreError> {
        Ok(self.0.tokens.range(start..).take(limit).map(|(_, token)| token.clone()).collect())
    }

    fn audit_trail(
        &self,
        actor: Option<Actor>,
        start: AuditEntryId,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let entries = self.0.audit_trail.range(..=start).rev().map(|(_, entry)| entry);
        let of_actor = entries.filter(|entry| actor.is_none_or(|actor| entry.actor == actor));
        Ok(of_actor.take(limit).cloned().collect())
    }

    fn audit_trail_of_orders(&self, orders: &[OrderId]) -> Result<Vec<AuditEntry>, StoreError> {
        let orders: BTreeSet<OrderId> = orders.iter().copied().collect();
        let is_wanted = |entry: &&AuditEntry| matches!(entry.subject, Subject::Order(id) if orders.contains(&id));
        Ok(self.0.audit_trail.values().filter(is_wanted).cloned().collect())
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
            .filter(|product| product.status == crate::model::product::ProductStatus::Active)
            .take(limit)
            .cloned()
            .collect())
    }

    fn all_products(&self, start: ProductId, limit: usize) -> Result<Vec<Product>, StoreError> {
        Ok(self.0.products.range(start..).take(limit).map(|(_, product)| product.clone()).collect())
    }

    fn stock_movements(
        &self,
        product: ProductId,
        start: StockMovementId,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<StockMovement>, StoreError> {
        let rows = self.0.stock_movements.values().filter(|row| row.product_id == product);
        Ok(along(rows, |row| row.id, &start, direction, limit))
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
        let rows = self.0.owned_coupons.values();
        let mut owned_coupons: Vec<_> = rows
            .filter(|owned| owned.customer_id == customer && owned.coupon_id >= start)
            .collect();
        owned_coupons.sort_by_key(|owned| owned.coupon_id);
        Ok(owned_coupons.into_iter().take(limit).cloned().collect())
    }

    fn owned_coupon(
        &self,
        customer: CustomerId,
        id: OwnedCouponId,
    ) -> Result<Option<OwnedCoupon>, StoreError> {
        let owned = self.0.owned_coupons.get(&id);
        Ok(owned.filter(|owned| owned.customer_id == customer).cloned())
    }

    fn claims(
        &self,
        coupon: CouponId,
        start: i64,
        limit: usize,
    ) -> Result<Vec<OwnedCoupon>, StoreError> {
        let rows = self.0.owned_coupons.values().filter(|owned| owned.coupon_id == coupon);
        Ok(along(rows, |owned| owned.rank, &start, Direction::Forward, limit))
    }

    fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        Ok(self.0.orders.get(&id).cloned())
    }

    fn last_order(&self) -> Result<Option<OrderId>, StoreError> {
        Ok(self.0.orders.keys().next_back().copied())
    }

    fn orders_in(
        &self,
        range: IdRange<OrderId>,
        filter: &OrderFilter,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError> {
        let coupon_of = |order: &Order| {
            let owned = self.0.owned_coupons.get(&order.owned_coupon_id?);
            owned.map(|owned| owned.coupon_id)
        };
        let orders = self.0.orders.values().rev();
        let orders = orders.filter(|order| range.newest >= order.id && order.id >= range.oldest);
        let matching = orders.filter(|order| filter.matches(order, coupon_of(order)));
        Ok(matching.take(limit).cloned().collect())
    }

    fn oldest_of_status(
        &self,
        status: OrderStatus,
        start: OrderId,
        rows: usize,
    ) -> Result<Option<OrderId>, StoreError> {
        let orders = self.0.orders.range(..=start).rev().map(|(_, order)| order);
        let mut orders = orders.filter(|order| order.status == status);
        Ok(orders.nth(rows.saturating_sub(1)).map(|order| order.id))
    }

    fn released_orders(
        &self,
        start: (Timestamp, OrderId),
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError> {
        let orders = self.0.orders.values().filter(|order| order.released_at().is_some());
        let key = |order: &Order| (order.released_at().unwrap_or_default(), order.id);
        Ok(along(orders, key, &start, direction, limit))
    }

    fn restocked_parts(
        &self,
        product: ProductId,
        start: PartPosition,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<LineCancellation>, StoreError> {
        let rows = self.0.orders.values().flat_map(|order| &order.cancellations);
        let rows = rows.filter(|row| row.product_id == product && row.is_restock());
        Ok(along(rows, LineCancellation::position, &start, direction, limit))
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
        let rows = self.0.orders.range(..=start).rev().map(|(_, order)| order);
        Ok(rows.filter(|order| order.customer_id == customer).take(limit).cloned().collect())
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
        let rows = self.0.ledger.range(..=start).rev().map(|(_, entry)| entry);
        let is_wanted = |entry: &&LedgerEntry| {
            entry.customer_id == customer
                && (filter == LedgerFilter::All || entry.as_payment().is_some())
        };
        Ok(rows.filter(is_wanted).take(limit).cloned().collect())
    }

    fn charge(&self, id: ChargeId) -> Result<Option<ChargeRow>, StoreError> {
        Ok(self.0.charges.get(&id).cloned())
    }

    fn last_charge(&self) -> Result<Option<ChargeId>, StoreError> {
        Ok(self.0.charges.keys().next_back().copied())
    }

    fn charges_in(
        &self,
        range: IdRange<ChargeId>,
        filter: ChargeFilter,
        limit: usize,
    ) -> Result<Vec<ChargeRow>, StoreError> {
        let charges = self.0.charges.values().rev();
        let charges = charges.filter(|row| range.newest >= row.id && row.id >= range.oldest);
        Ok(charges.filter(|row| filter.matches(row)).take(limit).cloned().collect())
    }

    fn charge_by_reference(&self, reference: &str) -> Result<Option<ChargeRow>, StoreError> {
        let has_reference = |row: &&ChargeRow| {
            row.source.as_ref().is_some_and(|source| source.reference == reference)
        };
        Ok(self.0.charges.values().find(has_reference).cloned())
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

    fn refund(&self, id: RefundId) -> Result<Option<RefundRow>, StoreError> {
        Ok(self.0.refunds.get(&id).cloned())
    }

    fn refunds_of(
        &self,
        charge: ChargeId,
        start: RefundId,
        limit: usize,
    ) -> Result<Vec<RefundRow>, StoreError> {
        let rows = self.0.refunds.range(start..).map(|(_, row)| row);
        Ok(rows.filter(|row| row.charge_id == charge).take(limit).cloned().collect())
    }

    fn pending_refunds(&self, start: RefundId, limit: usize) -> Result<Vec<RefundRow>, StoreError> {
        let rows = self.0.pending_refunds().filter(|row| row.id >= start);
        Ok(rows.take(limit).cloned().collect())
    }

    fn count_pending_refunds(&self) -> Result<u64, StoreError> {
        Ok(u64::try_from(self.0.pending_refunds().count()).unwrap_or(u64::MAX))
    }

    fn keys(&self, key: &Key) -> Result<Vec<(CustomerId, IdempotencyRecord)>, StoreError> {
        let records = self.0.keys.iter().filter(|((known, _), _)| known == key);
        Ok(records.map(|((_, owner), record)| (*owner, record.clone())).collect())
    }

    fn has_due_orders(&self, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.0.orders.values().any(|order| order.is_due_at(now)))
    }

    fn events(&self, start: EventId, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        Ok(self.0.events.range(start..).take(limit).map(|(_, event)| event.clone()).collect())
    }

    fn epochs(&self) -> Result<Vec<Epoch>, StoreError> {
        Ok(self.0.epochs.values().cloned().collect())
    }

    fn last_event(&self) -> Result<Option<EventId>, StoreError> {
        Ok(self.0.events.keys().next_back().copied())
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
        let is_wanted = |row: &&DeliveryRow| {
            filter == DeliveryFilter::All || row.status == DeliveryStatus::Parked
        };
        Ok(rows.filter(is_wanted).take(limit).cloned().collect())
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
        let unfinished = tables.deliveries.values().filter(|row| !is_parked(row));
        let failed = unfinished.clone().filter(|row| row.attempts > 0).count();
        let fresh = tables.events.range(tables.next_event()..);
        let waiting = fresh.clone().count().saturating_add(unfinished.count());
        let first = tables.deliveries.keys().chain(fresh.map(|(id, _)| id)).next();
        let oldest = first.and_then(|id| tables.events.get(id));
        Ok(Outbox {
            waiting: u64::try_from(waiting).unwrap_or(u64::MAX),
            failed: u64::try_from(failed).unwrap_or(u64::MAX),
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
        let products = self.product_sales(after, until)?.into_iter();
        let units = products.map(|(id, sold)| (id, sold.units));
        let mut ranking: Vec<_> = units.filter(|(_, units)| *units > 0).collect();
        ranking.sort_by_key(|(id, units)| (std::cmp::Reverse(*units), *id));
        ranking.truncate(limit);
        Ok(ranking)
    }

    fn product_sales(
        &self,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(ProductId, Sold)>, StoreError> {
        let mut products: BTreeMap<ProductId, Sold> = BTreeMap::new();
        for order in self.0.orders.values().filter(|order| order.status.counts_as_sold()) {
            if order.paid_at.is_some_and(|at| after < at && at <= until) {
                for left in order.remainders() {
                    let sold = Sold { units: left.units, net: left.net };
                    products.entry(left.line.product_id).or_default().add(sold);
                }
            }
        }
        Ok(products.into_iter().collect())
    }

    fn sales_totals(&self, edges: &[Timestamp]) -> Result<Vec<Figures>, StoreError> {
        let first = self.0.accounts.values().filter_map(|account| account.first_order);
        let first: BTreeSet<OrderId> = first.map(|first| first.order_id).collect();
        let orders = self.0.orders.values();
        let sales: Vec<Sale> =
            orders.flat_map(|order| Sale::all_of(order, first.contains(&order.id))).collect();
        let windows = edges.iter().zip(edges.iter().skip(1)).map(|(after, until)| {
            let mut figures = Figures::default();
            for sale in sales.iter().filter(|sale| *after < sale.at && sale.at <= *until) {
                figures.add_all(&sale.figures);
            }
            figures
        });
        Ok(windows.collect())
    }

    fn settings(&self) -> Result<Settings, StoreError> {
        Ok(self.0.settings.unwrap_or_default())
    }

    fn scan_while(
        &self,
        table: Table,
        visit: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let tables = &*self.0;
        let mut flow = ControlFlow::Continue(());
        let visit = &mut |record| {
            if flow.is_continue() {
                flow = visit(record);
            }
        };
        let digested = |record: Record| {
            let digest = record.hashed().and_then(|(of, _)| tables.digests.get(&of).copied());
            let _ = visit_with_digest(record, digest, &mut |record| {
                visit(record);
                ControlFlow::Continue(())
            });
        };
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
                let rows = tables.owned_coupons.values().cloned();
                rows.map(Record::OwnedCoupon).for_each(digested);
            }
            Table::Orders => tables.orders.values().cloned().map(Record::Order).for_each(digested),
            Table::Purchases => {
                tables.purchases.values().copied().map(Record::Purchase).for_each(visit);
            }
            Table::Charges => {
                tables.charges.values().cloned().map(Record::Charge).for_each(digested);
            }
            Table::Refunds => {
                tables.refunds.values().cloned().map(Record::Refund).for_each(digested);
            }
            Table::Ledger => {
                let rows = tables.ledger.values().cloned();
                rows.map(Record::LedgerEntry).for_each(digested);
            }
            Table::Events => tables.events.values().cloned().map(Record::Event).for_each(visit),
            Table::Epochs => tables.epochs.values().cloned().map(Record::Epoch).for_each(visit),
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
                for (&(start, of), &count) in &tables.sales {
                    visit(Record::SalesCount(SalesCount { seconds: 1, start, of, count }));
                }
            }
            Table::Credentials => {
                tables.credentials.values().cloned().map(Record::Credentials).for_each(visit);
            }
            Table::Settings => visit(Record::Settings(tables.settings.unwrap_or_default())),
            Table::Tokens => tables.tokens.values().cloned().map(Record::Token).for_each(visit),
            Table::AuditTrail => {
                tables.audit_trail.values().cloned().map(Record::AuditEntry).for_each(visit);
            }
            Table::Sessions => {
                tables.sessions.values().copied().map(Record::Session).for_each(visit);
            }
        }
        Ok(())
    }

    fn sales_levels(&self) -> Result<Vec<SalesLevel>, StoreError> {
        let until = Timestamp::MAX;
        Ok(vec![SalesLevel { seconds: 1, until, has_products: true, has_totals: true }])
    }
}
