//! The reads of a shop, each from a snapshot of its own.

use crate::audit::{AuditReport, audit};
use crate::clock::Timestamp;
use crate::engine::Stats;
use crate::error::{Error, Refusal, StoreError};
use crate::export::{Export, ExportError, Exporter};
use crate::id::{CouponId, CustomerId, LedgerEntryId, OrderId, OwnedCouponId, ProductId};
use crate::model::cart::Cart;
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::delivery::Outbox;
use crate::model::order::Order;
use crate::model::product::Product;
use crate::model::settings::Settings;
use crate::model::wallet::{
    Account, Balance, ChargeStatus, Customer, Debit, EntryKind, LedgerEntry, Payment,
};
use crate::money::{Currency, InCurrency};
use crate::query::{List, Page, PageRequest};
use crate::shop::{SWEEP_PAUSE, SWEEP_TIMEOUT, Shop};
use crate::store::{LedgerFilter, Snapshot, StoreSize};
use std::io::Write;
use std::time::Instant;

mod events;
mod history;
mod lists;
mod log;
mod reports;
mod why;

pub use why::{ExplainedRefusal, ExplainedShortage, KeyExplanation, Removal, Return, Taker};

pub use log::LogFilter;

/// Reads.
///
/// # Errors
///
/// Each fails with [`Error::Store`] if the service fails, with the `_not_found` code of a missing row, and lists with
/// `invalid_request` if the limit or the cursor is invalid.
#[expect(clippy::missing_errors_doc, reason = "documented once, above")]
impl Shop {
    /// Releases overdue orders, then returns a snapshot, in which none of them holds stock or coupons. If they cannot be
    /// released now (other processes write, the disk is full), the read goes on without, and so do those that follow
    /// within [`SWEEP_PAUSE`]: they would all wait for the same.
    fn swept_snapshot(&self) -> Result<Box<dyn Snapshot + '_>, Error> {
        let snapshot = self.store.snapshot()?;
        if !snapshot.has_due_orders(self.now())? {
            return Ok(snapshot);
        }
        let failed = *self.failed_sweep.lock();
        if failed.is_some_and(|failed| failed.elapsed() < SWEEP_PAUSE) {
            return Ok(snapshot);
        }
        drop(snapshot);
        *self.failed_sweep.lock() = self.sweep(SWEEP_TIMEOUT).is_err().then(Instant::now);
        Ok(self.store.snapshot()?)
    }

    /// Returns true if reads never wait for another machine: an async program may then read on the threads of its
    /// executor.
    #[must_use]
    pub fn reads_locally(&self) -> bool {
        self.store.reads_locally()
    }

    /// The store's currency.
    #[must_use]
    pub fn currency(&self) -> Currency {
        self.store.currency()
    }

    /// Adds the currency of its amounts to a body, as clients receive it.
    pub fn in_currency<T>(&self, body: T) -> InCurrency<T> {
        InCurrency { body, currency: self.currency() }
    }

    /// The current instant of the shop's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The settings of the shop.
    pub fn settings(&self) -> Result<Settings, Error> {
        Ok(self.store.snapshot()?.settings()?)
    }

    /// Statistics of the engine.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// The size of the store.
    pub fn size(&self) -> Result<StoreSize, Error> {
        Ok(self.store.snapshot()?.size()?)
    }

    /// Texts about the machines behind the store that do not answer.
    pub fn unreachable_machines(&self) -> Result<Vec<String>, Error> {
        Ok(self.store.unreachable_machines()?)
    }

    /// Checks that the store is readable on all its machines, and that it is writable if the last write failed.
    pub fn ready(&self) -> Result<(), Error> {
        if let Some(machine) = self.store.unreachable_machines()?.into_iter().next() {
            return Err(StoreError::Unavailable(machine).into());
        }
        self.store.snapshot()?.product(ProductId::new(0))?;
        Ok(self.engine.can_write()?)
    }

    /// Returns true if there is an event that may be sent now.
    pub fn has_due_events(&self) -> Result<bool, Error> {
        Ok(self.store.snapshot()?.has_due_events(self.now())?)
    }

    /// The number and the age of undelivered events.
    pub fn outbox(&self) -> Result<Outbox, Error> {
        Ok(self.store.snapshot()?.outbox()?)
    }

    /// One customer.
    pub fn customer(&self, id: CustomerId) -> Result<Customer, Error> {
        Ok(account(&*self.store.snapshot()?, id)?.customer)
    }

    /// Customers by id.
    pub fn customers(&self, page: &PageRequest) -> Result<Page<Customer>, Error> {
        const LIST: List = List::of_shop("customers");
        let start = CustomerId::new(page.start(LIST, 1)?);
        let rows = self.store.snapshot()?.customers(start, page.rows())?;
        Ok(Page::of(rows, page, LIST, |customer| customer.id.get()))
    }

    /// A customer's balance.
    pub fn balance(&self, id: CustomerId) -> Result<Balance, Error> {
        let Account { balance, debt, .. } = account(&*self.store.snapshot()?, id)?;
        Ok(Balance { customer_id: id, balance, debt, currency: self.currency() })
    }

    /// A customer's ledger, newest first.
    pub fn ledger(&self, id: CustomerId, page: &PageRequest) -> Result<Page<LedgerEntry>, Error> {
        self.ledger_page(id, page, "ledger", LedgerFilter::All)
    }

    /// A customer's payments and refunds, newest first.
    pub fn payments(&self, id: CustomerId, page: &PageRequest) -> Result<Page<Payment>, Error> {
        let entries = self.ledger_page(id, page, "payments", LedgerFilter::Payments)?;
        let next_cursor = entries.next_cursor;
        let items = entries.items.iter().filter_map(LedgerEntry::as_payment).collect();
        Ok(Page { items, next_cursor })
    }

    fn ledger_page(
        &self,
        id: CustomerId,
        page: &PageRequest,
        name: &'static str,
        filter: LedgerFilter,
    ) -> Result<Page<LedgerEntry>, Error> {
        let snapshot = self.store.snapshot()?;
        let newest = account(&*snapshot, id)?.last_entry.map_or(0, LedgerEntryId::get);
        let list = List::of_customer(name, id);
        let start = LedgerEntryId::new(page.start(list, newest)?);
        let rows = snapshot.ledger(id, start, page.rows(), filter)?;
        Ok(Page::of(rows, page, list, |entry| entry.id.get()))
    }

    /// A customer's debit, by the id of its ledger entry. Refused as `debit_not_found` if it is another customer's.
    pub fn debit_of(&self, customer: CustomerId, id: LedgerEntryId) -> Result<Debit, Error> {
        let entries = self.store.snapshot()?.ledger(customer, id, 1, LedgerFilter::All)?;
        let is_it = |entry: &LedgerEntry| entry.id == id && entry.kind == EntryKind::Debit;
        let entry =
            entries.into_iter().find(is_it).ok_or(Refusal::DebitNotFound { debit_id: id })?;
        Ok(Debit {
            id,
            customer_id: customer,
            amount: entry.amount.negated(),
            status: ChargeStatus::Succeeded,
            balance: entry.balance_after,
            currency: self.currency(),
            created_at: entry.created_at,
        })
    }

    /// One product.
    pub fn product(&self, id: ProductId) -> Result<Product, Error> {
        let product = self.swept_snapshot()?.product(id)?.map(|product| product.at(self.now()));
        product.ok_or_else(|| Refusal::ProductNotFound { product_ids: vec![id] }.into())
    }

    /// Active products by id.
    pub fn products(&self, page: &PageRequest) -> Result<Page<Product>, Error> {
        const LIST: List = List::of_shop("products");
        let start = ProductId::new(page.start(LIST, 1)?);
        let rows = self.swept_snapshot()?.products(start, page.rows())?;
        let rows = rows.into_iter().map(|product| product.at(self.now())).collect();
        Ok(Page::of(rows, page, LIST, |product| product.id.get()))
    }

    /// A customer's cart at current prices.
    pub fn cart(&self, id: CustomerId) -> Result<Cart, Error> {
        let snapshot = self.swept_snapshot()?;
        account(&*snapshot, id)?;
        let mut items = Vec::new();
        for (product, quantity) in snapshot.cart(id)? {
            let product = snapshot.product(product)?.map(|product| product.at(self.now()));
            items.extend(product.map(|product| (product, quantity)));
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
        const LIST: List = List::of_shop("coupons");
        let start = CouponId::new(page.start(LIST, 1)?);
        let rows = self.store.snapshot()?.coupons(start, page.rows())?;
        Ok(Page::of(rows, page, LIST, |coupon| coupon.id.get()))
    }

    /// A customer's coupons by campaign, with their current status.
    pub fn owned_coupons(
        &self,
        id: CustomerId,
        page: &PageRequest,
    ) -> Result<Page<OwnedCoupon>, Error> {
        let snapshot = self.swept_snapshot()?;
        account(&*snapshot, id)?;
        let list = List::of_customer("owned-coupons", id);
        let start = CouponId::new(page.start(list, 1)?);
        let mut rows = Vec::new();
        for owned in snapshot.owned_coupons(id, start, page.rows())? {
            rows.extend(
                snapshot.coupon(owned.coupon_id)?.map(|coupon| owned.at(self.now(), &coupon)),
            );
        }
        Ok(Page::of(rows, page, list, |owned| owned.coupon_id.get()))
    }

    /// A customer's coupon with its current status. Refused as `coupon_not_found` if it is another customer's.
    pub fn owned_coupon_of(
        &self,
        customer: CustomerId,
        id: OwnedCouponId,
    ) -> Result<OwnedCoupon, Error> {
        let snapshot = self.swept_snapshot()?;
        let unknown = Refusal::CouponNotFound { coupon_id: None, owned_coupon_id: Some(id) };
        let owned = snapshot.owned_coupon(customer, id)?.ok_or_else(|| unknown.clone())?;
        let coupon = snapshot.coupon(owned.coupon_id)?.ok_or(unknown)?;
        Ok(owned.at(self.now(), &coupon))
    }

    /// One order.
    pub fn order(&self, id: OrderId) -> Result<Order, Error> {
        let order = self.swept_snapshot()?.order(id)?.map(|order| order.at(self.now()));
        order.ok_or_else(|| Refusal::OrderNotFound { order_id: id }.into())
    }

    /// A customer's orders, newest first.
    pub fn orders(&self, id: CustomerId, page: &PageRequest) -> Result<Page<Order>, Error> {
        let snapshot = self.swept_snapshot()?;
        let newest = account(&*snapshot, id)?.last_order.map_or(0, OrderId::get);
        let list = List::of_customer("orders", id);
        let start = page.start(list, newest)?;
        let read = |from, count| {
            let orders = snapshot.orders(id, OrderId::new(from), count)?;
            Ok(orders.into_iter().map(|order| order.at(self.now())).collect())
        };
        Page::read(page, list, start, read, |order: &Order| order.id.get())
    }

    /// Writes the rows of one kind, as CSV or JSON, and returns their number. The memory does not grow with the orders.
    ///
    /// ```
    /// use commerce_core::{AddProduct, Currency, Export, ExportKind, MemoryStore, Money, Shop};
    /// let shop = Shop::open(MemoryStore::new(Currency::KRW));
    /// shop.call(AddProduct::new("Tea", Money::from_minor(4_500), 10)).run()?;
    /// let mut csv = Vec::new();
    /// let rows = shop.export(&Export::new(ExportKind::Products), &mut csv)?;
    /// assert_eq!(rows, 1);
    /// assert!(String::from_utf8(csv)?.contains("\r\n1,Tea,4500,10,active,"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn export(&self, export: &Export, out: &mut dyn Write) -> Result<u64, ExportError> {
        self.exporter()?.write(export, out)
    }

    /// An exporter, for several exports of one snapshot: they agree with each other. It holds the snapshot until it is
    /// dropped: a store in a file cannot reuse the space of its log meanwhile, and one in memory cannot be written.
    pub fn exporter(&self) -> Result<Exporter<'_>, Error> {
        Ok(Exporter::new(self.swept_snapshot()?, self.currency(), self.now())?)
    }

    /// Checks every invariant of the store on one snapshot, and reports each violation with its row.
    pub fn audit(&self) -> Result<AuditReport, Error> {
        Ok(audit(&*self.store.snapshot()?)?)
    }
}

pub(crate) fn account(snapshot: &dyn Snapshot, id: CustomerId) -> Result<Account, Error> {
    snapshot.account(id)?.ok_or_else(|| Refusal::CustomerNotFound { customer_id: id }.into())
}
