//! Copying a store into another of any kind: all rows as they are, in one commit.
//!
//! The source is read from one snapshot, table by table, and written a thousand rows at a time through
//! [`Transaction::apply`], which saves batches of commands as well. Therefore a store of your own can be copied
//! without further code.

use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::{CustomerId, EventId, ProductId};
use crate::model::event::Epoch;
use crate::model::wallet::{Account, Customer, CustomerStatus, Role};
use crate::money::Money;
use crate::state::{Needs, NextIds, SessionChange, State};
use crate::store::{Record, Sale, SalesCount, Snapshot, Store, Table, Transaction};
use std::collections::{BTreeMap, HashMap};

/// The number of rows in one write.
const CHUNK: usize = 1_000;

/// The tables, referenced ones first. Owned coupons come a second time, after the orders that use them.
const ORDER: [Table; 23] = [
    Table::Accounts,
    Table::Products,
    Table::StockMovements,
    Table::Carts,
    Table::Coupons,
    Table::OwnedCoupons,
    Table::Orders,
    Table::Purchases,
    Table::OwnedCoupons,
    Table::Charges,
    Table::Refunds,
    Table::Ledger,
    Table::Events,
    Table::Epochs,
    Table::Relay,
    Table::Deliveries,
    Table::Keys,
    Table::Sales,
    Table::Credentials,
    Table::Sessions,
    Table::Settings,
    Table::Tokens,
    Table::AuditTrail,
];

/// Copies all rows of `from` into `to`, which must be empty and of the same currency, and returns the number of rows
/// of each table. Failed logins are not copied.
///
/// `progress` gets the number of rows written so far.
///
/// # Errors
///
/// [`StoreError::Incompatible`] when `to` is not empty or has another currency, or when `from` holds a row that no store
/// can hold; any other error of either store. No row is written then, unless the error is
/// [`StoreError::CommitUnknown`].
pub fn copy(
    from: &dyn Store,
    to: &dyn Store,
    progress: &mut dyn FnMut(u64),
) -> Result<BTreeMap<&'static str, u64>, StoreError> {
    if from.currency() != to.currency() {
        let (from, to) = (from.currency(), to.currency());
        let text = format!("a store in {from} cannot be copied into a store in {to}");
        return Err(StoreError::Incompatible(text));
    }
    let snapshot = from.snapshot()?;
    let mut writer = Writer::begin(to, progress)?;
    let mut counts = BTreeMap::new();
    let mut has_coupons = false;
    for table in ORDER {
        writer.assigns_coupons = has_coupons && table == Table::OwnedCoupons;
        let rows = writer.copy_table(&*snapshot, table)?;
        has_coupons |= table == Table::OwnedCoupons;
        counts.insert(table.name(), rows);
    }
    writer.begin_epoch()?;
    writer.transaction.commit()?;
    Ok(counts)
}

struct Writer<'a> {
    transaction: Box<dyn Transaction + 'a>,
    to: &'a dyn Store,
    state: State,
    /// The number of rows in the state that are not written yet.
    waiting: usize,
    written: u64,
    /// The roles of customers with a login: customers are written before their logins.
    roles: HashMap<CustomerId, Role>,
    /// The number of the first event that the copy will write by itself.
    next_event: EventId,
    /// Owned coupons are written already and are assigned to their orders now.
    assigns_coupons: bool,
    progress: &'a mut dyn FnMut(u64),
}

impl<'a> Writer<'a> {
    fn begin(to: &'a dyn Store, progress: &'a mut dyn FnMut(u64)) -> Result<Self, StoreError> {
        let mut transaction = to.begin()?;
        let mut state = State::new(to.currency());
        transaction.load(&Needs { ids: true, ..Needs::default() }, &mut state)?;
        if state.ids != Some(NextIds::FIRST) {
            let text = "there are rows in it already: only a new store can be copied into";
            return Err(StoreError::Incompatible(text.to_owned()));
        }
        transaction.expect_copy()?;
        Ok(Self {
            transaction,
            to,
            state,
            waiting: 0,
            written: 0,
            roles: HashMap::new(),
            next_event: EventId::new(1),
            assigns_coupons: false,
            progress,
        })
    }

    fn copy_table(&mut self, from: &dyn Snapshot, table: Table) -> Result<u64, StoreError> {
        let mut rows = 0_u64;
        let mut result = Ok(());
        from.scan(table, &mut |record| {
            let is_row = !matches!(record, Record::Digest { .. });
            rows = rows.saturating_add(u64::from(is_row));
            if result.is_ok() {
                result = self.add(record);
            }
        })?;
        result?;
        self.write()?;
        Ok(rows)
    }

    fn add(&mut self, record: Record) -> Result<(), StoreError> {
        // A write replaces the whole cart, so all its lines belong in one.
        let is_same_cart = matches!(&record, Record::CartLine { customer_id, .. }
                               if self.state.carts.is_loaded(*customer_id));
        if self.waiting >= CHUNK && !is_same_cart {
            self.write()?;
        }
        // A digest is written with the row that follows it.
        let is_row = !matches!(record, Record::Digest { .. });
        self.put(record);
        self.waiting = self.waiting.saturating_add(usize::from(is_row));
        Ok(())
    }

    fn write(&mut self) -> Result<(), StoreError> {
        if self.waiting == 0 {
            return Ok(());
        }
        let state = std::mem::replace(&mut self.state, State::new(self.to.currency()));
        self.transaction.apply(&state)?;
        let rows = u64::try_from(std::mem::take(&mut self.waiting)).unwrap_or(u64::MAX);
        self.written = self.written.saturating_add(rows);
        (self.progress)(self.written);
        Ok(())
    }

    /// Begins a new epoch, so that the copy's next events get other public ids than the source's.
    fn begin_epoch(&mut self) -> Result<(), StoreError> {
        self.add(Record::Epoch(Epoch::begin(self.next_event)?))?;
        self.write()
    }

    fn put(&mut self, record: Record) {
        let state = &mut self.state;
        match record {
            Record::Account(account) => {
                let customer = &account.customer;
                if customer.login.is_some() {
                    self.roles.insert(customer.id, customer.role);
                }
                state.accounts.insert(customer.id, account);
            }
            Record::Product(product) => state.products.insert(product.id, product),
            Record::StockMovement(movement) => state.stock_movements.push(movement),
            Record::CartLine { customer_id, product_id, quantity } => {
                self.put_cart_line(customer_id, product_id, quantity);
            }
            Record::Coupon(coupon) => state.coupons.insert(coupon.id, coupon),
            Record::OwnedCoupon(owned) if self.assigns_coupons => {
                let (id, order) = (owned.id, owned.order_id);
                state.owned_coupons.provide(id, Some(owned));
                if let Some(row) = order.and_then(|_| state.owned_coupons.get_mut(id)) {
                    row.assign_order(order);
                }
            }
            Record::OwnedCoupon(mut owned) => {
                owned.assign_order(None);
                state.owned_coupons.insert(owned.id, owned);
            }
            Record::Order(order) => {
                state.cancellations.extend(order.cancellations.iter().cloned());
                state.orders.insert(order.id, order);
            }
            Record::Purchase(row) => state.purchases.insert(row),
            Record::Charge(charge) => state.charges.insert(charge.id, charge),
            Record::Refund(refund) => state.refunds.insert(refund.id, refund),
            Record::LedgerEntry(entry) => state.ledger.push(entry),
            Record::Event(event) => {
                self.next_event = EventId::new(event.id.get().saturating_add(1));
                state.events.push(event);
            }
            Record::Epoch(epoch) => state.epochs.push(epoch),
            Record::NextEvent(next) => state.deliveries.move_to(next),
            // The relay that holds the lease does not know the copy, but may still be delivering the event.
            Record::Delivery(row) => state.deliveries.keep(row.without_lease()),
            Record::Key { key, owner, record } => {
                state.provide_key(key.clone(), owner, None);
                state.add_key(key, owner, record);
            }
            // The roll-ups by minute, hour and day follow from the seconds.
            Record::SalesCount(SalesCount { seconds: 1, start, of, count }) => {
                state.sales.push(Sale::of_count(start, of, count));
            }
            Record::SalesCount(_) => {}
            Record::Credentials(row) => {
                let role = self.roles.get(&row.customer_id).copied().unwrap_or(Role::Customer);
                state.accounts.provide(row.customer_id, Some(placeholder(row.customer_id, role)));
                state.credentials.push(row);
            }
            Record::Digest { of, digest } => state.copy_digest(of, digest),
            Record::Session(row) => state.sessions.push(SessionChange::Opened(row)),
            Record::Settings(settings) => state.settings = Some(settings),
            Record::Token(token) => state.tokens.insert(token.id, token),
            Record::AuditEntry(entry) => state.audit_trail.push(entry),
        }
    }

    fn put_cart_line(&mut self, customer: CustomerId, product: ProductId, quantity: i64) {
        let carts = &mut self.state.carts;
        carts.provide(customer, None);
        if carts.get(customer).is_none() {
            carts.insert(customer, (customer, BTreeMap::new()));
        }
        if let Some((_, lines)) = carts.get_mut(customer) {
            lines.insert(product, quantity);
        }
    }
}

/// The fields of a customer that saving a login reads; the customer itself is written already.
fn placeholder(id: CustomerId, role: Role) -> Account {
    let (created_at, status) = (Timestamp::from_unix(0), CustomerStatus::Active);
    let customer = Customer { id, name: String::new(), login: None, role, status, created_at };
    Account {
        customer,
        balance: Money::ZERO,
        debt: Money::ZERO,
        last_entry: None,
        last_order: None,
        first_order: None,
    }
}
