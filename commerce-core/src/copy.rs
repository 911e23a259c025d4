//! Copying a store into another of any kind: every row as it is, in one commit, or nothing.
//!
//! The source is read from one snapshot, table by table, and written a thousand rows at a time through what
//! saves batches of commands too. So a store of one's own can be copied without more ado.

use crate::error::StoreError;
use crate::id::{CustomerId, EventId, Key};
use crate::model::event::Epoch;
use crate::model::wallet::{Account, Customer, Role};
use crate::money::Money;
use crate::state::{Needs, NextIds, Sale, SessionChange, State};
use crate::store::{Record, Snapshot, Store, Table, Transaction};
use std::collections::{BTreeMap, HashMap};

/// Rows written at a time.
const CHUNK: usize = 1_000;

/// The tables, those first that others refer to. Coupons come once more after the orders that use them.
const ORDER: [Table; 18] = [
    Table::Accounts,
    Table::Products,
    Table::StockMovements,
    Table::Carts,
    Table::Coupons,
    Table::OwnedCoupons,
    Table::Orders,
    Table::OwnedCoupons,
    Table::Charges,
    Table::Ledger,
    Table::Events,
    Table::Epochs,
    Table::Relay,
    Table::Deliveries,
    Table::Keys,
    Table::Sales,
    Table::Credentials,
    Table::Sessions,
];

/// Copies all that `from` has into `to`, which must be empty and of the same currency, and counts the rows
/// of each table. Failed logins are forgotten.
///
/// `progress` is told how many rows were written so far.
///
/// # Errors
///
/// [`StoreError::Incompatible`] when `to` is not empty or of another currency, or when `from` holds what no
/// store can; whatever else is wrong with either store. Nothing is written then, unless the outcome is
/// [`StoreError::CommitUnknown`].
pub fn copy(
    from: &dyn Store,
    to: &dyn Store,
    progress: &mut dyn FnMut(u64),
) -> Result<BTreeMap<&'static str, u64>, StoreError> {
    if from.currency() != to.currency() {
        let (from, to) = (from.currency(), to.currency());
        return Err(StoreError::Incompatible(format!(
            "a store in {from} cannot become one in {to}"
        )));
    }
    let snapshot = from.snapshot()?;
    let mut writer = Writer::begin(to, progress)?;
    let mut counts = BTreeMap::new();
    let mut seen_coupons = false;
    for table in ORDER {
        writer.again = seen_coupons && table == Table::OwnedCoupons;
        let rows = writer.table(&*snapshot, table)?;
        seen_coupons |= table == Table::OwnedCoupons;
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
    /// Rows in the state that are not written yet.
    waiting: usize,
    written: u64,
    /// What customers with a login may do: they are written before their logins.
    roles: HashMap<CustomerId, Role>,
    /// The number of the first event that the copy will write itself.
    next_event: EventId,
    /// Coupons are there already, and are handed to their orders.
    again: bool,
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
        transaction.expect_pauses()?;
        let (waiting, written, again) = (0, 0, false);
        Ok(Self {
            transaction,
            to,
            state,
            waiting,
            written,
            roles: HashMap::new(),
            next_event: EventId::new(1),
            again,
            progress,
        })
    }

    fn table(&mut self, from: &dyn Snapshot, table: Table) -> Result<u64, StoreError> {
        let mut rows = 0_u64;
        let mut failed = Ok(());
        from.scan(table, &mut |record| {
            let is_row = !matches!(record, Record::Digest { .. });
            rows = rows.saturating_add(u64::from(is_row));
            if failed.is_ok() {
                failed = self.take(record);
            }
        })?;
        failed?;
        self.write()?;
        Ok(rows)
    }

    fn take(&mut self, record: Record) -> Result<(), StoreError> {
        // A cart is written whole, in place of the one that was there.
        let goes_on = matches!(&record, Record::CartLine { customer_id, .. }
                               if self.state.carts.is_loaded(*customer_id));
        if self.waiting >= CHUNK && !goes_on {
            self.write()?;
        }
        // A digest is written with the row that comes next.
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

    /// Keeps the events of the copy apart from those that its source writes from now on.
    fn begin_epoch(&mut self) -> Result<(), StoreError> {
        self.take(Record::Epoch(Epoch::begin(self.next_event)?))?;
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
            Record::OwnedCoupon(owned) if self.again => {
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
            Record::Order(order) => state.orders.insert(order.id, order),
            Record::Charge(charge) => state.charges.insert(charge.id, charge),
            Record::LedgerEntry(entry) => state.ledger.push(entry),
            Record::Event(event) => {
                self.next_event = EventId::new(event.id.get().saturating_add(1));
                state.events.push(event);
            }
            Record::Epoch(epoch) => state.epochs.push(epoch),
            Record::NextEvent(next) => state.deliveries.move_to(next),
            // Who sends it knows nothing of the copy, but may be sending it still.
            Record::Delivery(row) => state.deliveries.keep(row.without_lease()),
            Record::Key { key, owner, record } => {
                let key: Key = key;
                state.provide_key(key.clone(), owner, None);
                state.add_key(key, owner, record);
            }
            // What minutes, hours and days hold follows from their seconds.
            Record::SalesCount(count) if count.seconds == 1 => state.sales.push(Sale {
                paid_at: count.start,
                product_id: count.product_id,
                units: count.units,
            }),
            Record::SalesCount(_) => {}
            Record::Credentials(row) => {
                let role = self.roles.get(&row.customer_id).copied().unwrap_or(Role::Customer);
                state.accounts.provide(row.customer_id, Some(known(row.customer_id, role)));
                state.credentials.push(row);
            }
            Record::Digest { of, digest } => state.copy_digest(of, digest),
            Record::Session(row) => state.sessions.push(SessionChange::Opened(row)),
        }
    }

    fn put_cart_line(
        &mut self,
        customer: CustomerId,
        product: crate::id::ProductId,
        quantity: i64,
    ) {
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

/// As much of a customer as saving their login asks for; the customer is there already.
fn known(id: CustomerId, role: Role) -> Account {
    let created_at = crate::clock::Timestamp::from_unix(0);
    let customer = Customer { id, name: String::new(), login: None, role, created_at };
    Account { customer, balance: Money::ZERO, last_entry: None, last_order: None }
}
