//! Lists of the whole shop with filters. A page examines a bounded number of rows.

use super::account;
use crate::clock::Timestamp;
use crate::error::{Error, Refusal};
use crate::id::{ChargeId, CouponId, CustomerId, OrderId, ProductId};
use crate::limits::MAX_EXAMINED;
use crate::model::coupon::OwnedCoupon;
use crate::model::order::{Order, OrderStatus};
use crate::model::product::Product;
use crate::model::wallet::{Charge, ChargeRow, Customer};
use crate::query::filter::{ChargeFilter, OrderFilter, ProductFilter, Search};
use crate::query::{Budget, List, Page, PageRequest};
use crate::shop::Shop;
use crate::store::{IdRange, Snapshot};

/// The most orders of one customer that a page examines: they lie apart, and each is a read of its own.
const MAX_CHAINED: usize = 1_000;

/// The most orders that a page examines if their own rows decide. The store examines ten of them in the time of one with
/// its lines: 100,000 take 7 ms on SQLite.
const MAX_SCANNED: usize = 100_000;

/// Lists with filters. A page may have fewer items than its limit, even none, and a cursor that leads to the rest. Errors
/// are those of all reads.
#[expect(clippy::missing_errors_doc, reason = "documented once, at the reads of a shop")]
impl Shop {
    /// The orders that match a filter, newest first.
    ///
    /// ```
    /// use commerce_core::{Currency, MemoryStore, OrderFilter, OrderStatus, PageRequest, Shop};
    /// let shop = Shop::open(MemoryStore::new(Currency::KRW));
    /// let filter = OrderFilter { status: Some(OrderStatus::Pending), ..OrderFilter::default() };
    /// assert!(shop.list_orders(&filter, &PageRequest::default())?.items.is_empty());
    /// # Ok::<(), commerce_core::Error>(())
    /// ```
    ///
    /// Refused as `customer_not_found` if the customer of the filter does not exist.
    pub fn list_orders(
        &self,
        filter: &OrderFilter,
        page: &PageRequest,
    ) -> Result<Page<Order>, Error> {
        filter.check()?;
        let list = List::of_shop("orders").filtered(filter);
        let snapshot = self.swept_snapshot()?;
        let orders = Orders { snapshot: &*snapshot, filter, now: self.now() };
        let id = |order: &Order| order.id.get();
        if let Some(customer) = filter.customer_id {
            let newest = account(&*snapshot, customer)?.last_order;
            let start = page.start(list, newest.map_or(0, OrderId::get))?;
            let budget = Budget::of(MAX_CHAINED);
            let read = |from, count| orders.of_customer(customer, from, count, &budget);
            return Page::search(page, list, start, &budget, read, id);
        }
        let newest = snapshot.last_order()?.map_or(0, OrderId::get);
        let start = page.start(list, newest)?;
        let has_lines = filter.product_id.is_some() || filter.coupon_id.is_some();
        let budget = Budget::of(if has_lines { MAX_EXAMINED } else { MAX_SCANNED });
        let read = |from, count| orders.of_shop(from, count, &budget);
        Page::search(page, list, start, &budget, read, id)
    }

    /// The charges that match a filter, newest first.
    ///
    /// Refused as `customer_not_found` if the customer of the filter does not exist.
    pub fn list_charges(
        &self,
        filter: &ChargeFilter,
        page: &PageRequest,
    ) -> Result<Page<Charge>, Error> {
        let list = List::of_shop("charges").filtered(filter);
        let snapshot = self.store.snapshot()?;
        if let Some(customer) = filter.customer_id {
            account(&*snapshot, customer)?;
        }
        let start = page.start(list, snapshot.last_charge()?.map_or(0, ChargeId::get))?;
        let budget = Budget::of(MAX_EXAMINED);
        let read = |from, count| {
            budget.windows(
                from,
                count,
                |newest, oldest, limit| {
                    let range =
                        IdRange { newest: ChargeId::new(newest), oldest: ChargeId::new(oldest) };
                    let rows = snapshot.charges_in(range, *filter, limit)?.into_iter();
                    rows.map(|row| self.with_balance(&*snapshot, &row)).collect()
                },
                |charge: &Charge| charge.id.get(),
            )
        };
        Page::search(page, list, start, &budget, read, |charge| charge.id.get())
    }

    fn with_balance(&self, snapshot: &dyn Snapshot, row: &ChargeRow) -> Result<Charge, Error> {
        let balance = account(snapshot, row.customer_id)?.balance;
        Ok(row.to_charge(balance, self.currency()))
    }

    /// The products that match a filter, by id.
    pub fn list_products(
        &self,
        filter: &ProductFilter,
        page: &PageRequest,
    ) -> Result<Page<Product>, Error> {
        let list = List::of_shop("products").filtered(filter);
        let start = page.start(list, 1)?;
        let snapshot = self.swept_snapshot()?;
        let (search, budget) = (Search::of(filter.search.as_deref()), Budget::of(MAX_EXAMINED));
        let id = |product: &Product| product.id.get();
        let read = |from, count| {
            let read = |from, rows| Ok(snapshot.all_products(ProductId::new(from), rows)?);
            let matches = |product: &Product| search.selects_product(filter, product);
            let found = budget.matching(from, count, read, id, matches)?;
            Ok(found.into_iter().map(|product| product.at(self.now())).collect())
        };
        Page::search(page, list, start, &budget, read, id)
    }

    /// The customers with that text in their names or logins, in upper or lower case, by id.
    pub fn search_customers(
        &self,
        text: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Customer>, Error> {
        let list = List::of_shop("customers").filtered(&text);
        let start = page.start(list, 1)?;
        let snapshot = self.store.snapshot()?;
        let (search, budget) = (Search::of(text), Budget::of(MAX_EXAMINED));
        let id = |customer: &Customer| customer.id.get();
        let read = |from, count| {
            let read = |from, rows| Ok(snapshot.customers(CustomerId::new(from), rows)?);
            budget.matching(from, count, read, id, |row| search.selects_customer(row))
        };
        Page::search(page, list, start, &budget, read, id)
    }

    /// The claims of a coupon campaign by rank, with their present status.
    pub fn claims(&self, id: CouponId, page: &PageRequest) -> Result<Page<OwnedCoupon>, Error> {
        let snapshot = self.swept_snapshot()?;
        let unknown = Refusal::CouponNotFound { coupon_id: Some(id), owned_coupon_id: None };
        let coupon = snapshot.coupon(id)?.ok_or(unknown)?;
        let list = List::of_row("claims", id.get());
        let rows = snapshot.claims(id, page.start(list, 1)?, page.rows())?.into_iter();
        let rows = rows.map(|owned| owned.at(self.now(), &coupon)).collect();
        Ok(Page::of(rows, page, list, |owned| owned.rank))
    }
}

/// The orders of a snapshot that match a filter.
struct Orders<'a> {
    snapshot: &'a dyn Snapshot,
    filter: &'a OrderFilter,
    now: Timestamp,
}

impl Orders<'_> {
    /// Reads the orders of a customer along their chain.
    fn of_customer(
        &self,
        customer: CustomerId,
        from: i64,
        count: usize,
        budget: &Budget,
    ) -> Result<Vec<Order>, Error> {
        let read = |from, rows| {
            let orders = self.snapshot.orders(customer, OrderId::new(from), rows)?.into_iter();
            orders.map(|order| self.with_campaign(customer, order)).collect()
        };
        let id = |(order, _): &(Order, _)| order.id.get();
        let matches = |(order, coupon): &(Order, _)| self.filter.matches(order, *coupon);
        let found = budget.matching(from, count, read, id, matches)?;
        Ok(found.into_iter().map(|(order, _)| order).collect())
    }

    /// Returns an order as of now, with the campaign of its coupon if the filter asks for one.
    fn with_campaign(
        &self,
        customer: CustomerId,
        order: Order,
    ) -> Result<(Order, Option<CouponId>), Error> {
        let owned = order.owned_coupon_id.filter(|_| self.filter.coupon_id.is_some());
        let owned = owned.map(|id| self.snapshot.owned_coupon(customer, id)).transpose()?.flatten();
        Ok((order.at(self.now), owned.map(|owned| owned.coupon_id)))
    }

    /// Reads the orders of the shop: by reference or status along an index, or else along their ids.
    fn of_shop(&self, from: i64, count: usize, budget: &Budget) -> Result<Vec<Order>, Error> {
        let read = |newest, oldest, limit| self.in_range(newest, oldest, limit);
        if self.filter.reference.is_some() {
            return read(from, 1, count);
        }
        let id = |order: &Order| order.id.get();
        match self.filter.status.filter(|status| *status != OrderStatus::Paid) {
            None => budget.windows(from, count, read, id),
            Some(status) => {
                let oldest = |newest, rows| {
                    let newest = OrderId::new(newest);
                    Ok(self.snapshot.oldest_of_status(status, newest, rows)?.map(OrderId::get))
                };
                budget.spans(from, count, oldest, read, id)
            }
        }
    }

    /// Reads the orders of a range with their present status. An overdue order that could not be released is pending in the
    /// store, and does not match then.
    fn in_range(&self, newest: i64, oldest: i64, limit: usize) -> Result<Vec<Order>, Error> {
        let (mut found, mut newest) = (Vec::new(), newest);
        loop {
            let range = IdRange { newest: OrderId::new(newest), oldest: OrderId::new(oldest) };
            let wanted = limit.saturating_sub(found.len());
            let orders = self.snapshot.orders_in(range, self.filter, wanted)?;
            let is_last = orders.len() < wanted;
            newest = orders.last().map_or(0, |order| order.id.get().saturating_sub(1));
            let orders = orders.into_iter().map(|order| order.at(self.now));
            let is_current =
                |order: &Order| self.filter.status.is_none_or(|status| order.status == status);
            found.extend(orders.filter(is_current));
            if is_last || found.len() >= limit {
                return Ok(found);
            }
        }
    }
}
