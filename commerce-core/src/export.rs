//! Exports: the rows of a store as comma-separated values or JSON.
//!
//! All exports of an [`Exporter`] are of one snapshot, so that they agree with each other. Rows are written as they are
//! read: the memory does not grow with orders, lines, entries and events. Claims keep all campaigns, and
//! [`Export::before_orders`] keeps one number for each product or customer.

use crate::clock::Timestamp;
use crate::error::{Error, Refusal, StoreError};
use crate::id::{CouponId, CustomerId, EventId, OrderId, ProductId};
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::event::EventRow;
use crate::model::export::{ExportFormat, ExportKind};
use crate::model::order::{Order, OrderStatus};
use crate::model::product::Product;
use crate::model::wallet::LedgerEntry;
use crate::money::{Currency, Money};
use crate::store::{Record, Snapshot, Table};
use columns::ExportRow;
use rows::{CustomerRow, EventLine, LineRow, MovementRow, OrderRow};
use sink::Sink;
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::ops::ControlFlow;

mod columns;
mod rows;
mod sink;

/// The number of events that are read at once, with their orders: enough that round trips do not matter, few enough to hold in memory.
const EVENTS: usize = 500;

/// The result of a visit after which the scan goes on.
const NEXT: ControlFlow<()> = ControlFlow::Continue(());

/// An export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Export {
    /// The kind of rows.
    pub kind: ExportKind,
    /// The format.
    pub format: ExportFormat,
    /// The rows by the instant they were written. Products, customers and coupons are complete whatever the window.
    pub window: ExportWindow,
    /// True to write texts that a spreadsheet would run as formulas as they are, for programs. Otherwise they begin with
    /// an apostrophe in CSV.
    pub raw: bool,
    /// True to begin CSV with a byte order mark, by which spreadsheets recognize UTF-8.
    pub bom: bool,
    /// True to give products the stock, and customers the balance, that they need before the paid orders of the window
    /// are imported: afterwards both are as they are now. Only for products and customers.
    pub before_orders: bool,
}

impl Export {
    /// Creates an export of all rows of a kind, as CSV.
    #[must_use]
    pub fn new(kind: ExportKind) -> Self {
        Self {
            kind,
            format: ExportFormat::default(),
            window: ExportWindow::default(),
            raw: false,
            bom: false,
            before_orders: false,
        }
    }
}

impl ExportKind {
    /// Returns the columns in CSV.
    #[must_use]
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Products => Product::NAMES,
            Self::Customers => CustomerRow::NAMES,
            Self::Orders => OrderRow::NAMES,
            Self::Lines => LineRow::NAMES,
            Self::Ledger => LedgerEntry::NAMES,
            Self::Movements => MovementRow::NAMES,
            Self::Coupons => Coupon::NAMES,
            Self::Claims => OwnedCoupon::NAMES,
            Self::Events => EventLine::NAMES,
        }
    }

    /// Returns true if a window leaves rows out. Products, customers and coupons are lists of what there is now.
    #[must_use]
    pub fn has_window(self) -> bool {
        !matches!(self, Self::Products | Self::Customers | Self::Coupons)
    }
}

/// A window of time, as that of a report: after one instant, up to and including another one. An end that is absent
/// does not limit it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportWindow {
    /// The instant right before the window.
    pub from: Option<Timestamp>,
    /// The last second of the window.
    pub to: Option<Timestamp>,
}

impl ExportWindow {
    fn contains(self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from < at) && self.to.is_none_or(|to| at <= to)
    }

    fn check(self) -> Result<(), Refusal> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from >= to => {
                let detail = format!("from is {from} and must be before to, which is {to}");
                Err(Refusal::invalid("/from", detail))
            }
            _ => Ok(()),
        }
    }
}

/// The error of an export.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The export was refused, or the store failed.
    #[error("{0}")]
    Shop(#[from] Error),
    /// A row could not be written. The rows before it are incomplete.
    #[error("cannot write the export: {0}")]
    Write(#[source] io::Error),
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::Shop(error.into())
    }
}

impl From<Refusal> for ExportError {
    fn from(error: Refusal) -> Self {
        Self::Shop(error.into())
    }
}

/// Writes exports of one snapshot.
pub struct Exporter<'a> {
    snapshot: Box<dyn Snapshot + 'a>,
    currency: Currency,
    now: Timestamp,
}

impl<'a> Exporter<'a> {
    pub(crate) fn new(
        snapshot: Box<dyn Snapshot + 'a>,
        currency: Currency,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        snapshot.expect_pauses()?;
        Ok(Self { snapshot, currency, now })
    }

    /// Writes an export, and returns the number of its rows.
    ///
    /// # Errors
    ///
    /// Refused as `invalid_request` before the first byte is written, unless `out` or the store fails later.
    pub fn write(&self, export: &Export, out: &mut dyn Write) -> Result<u64, ExportError> {
        export.window.check()?;
        if export.before_orders
            && !matches!(export.kind, ExportKind::Products | ExportKind::Customers)
        {
            let detail = "only products and customers have a stock or balance before orders";
            return Err(Refusal::invalid("/before_orders", detail).into());
        }
        let mut sink = Sink::new(export, self.currency, out);
        sink.begin(export.kind.columns());
        match export.kind {
            ExportKind::Products => self.products(export, &mut sink)?,
            ExportKind::Customers => self.customers(export, &mut sink)?,
            ExportKind::Orders => self.orders(export, |order| {
                let order = order.at(self.now);
                sink.object(&order, &OrderRow::all_of(&order))
            })?,
            ExportKind::Lines => self.orders(export, |order| {
                let order = order.at(self.now);
                LineRow::all_of(&order).try_for_each(|line| sink.row(&line))
            })?,
            ExportKind::Ledger => self.scan(Table::Ledger, |record| {
                let Record::LedgerEntry(row) = record else { return NEXT };
                if export.window.contains(row.created_at) { sink.row(&row) } else { NEXT }
            })?,
            ExportKind::Movements => self.movements(export, &mut sink)?,
            ExportKind::Coupons => self.scan(Table::Coupons, |record| {
                let Record::Coupon(row) = record else { return NEXT };
                sink.row(&row)
            })?,
            ExportKind::Claims => self.claims(export, &mut sink)?,
            ExportKind::Events => self.events(export, &mut sink)?,
        }
        sink.finish()
    }

    fn scan(
        &self,
        table: Table,
        mut visit: impl FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.snapshot.scan_while(table, &mut visit)
    }

    /// Visits the orders that were placed in the window.
    fn orders(
        &self,
        export: &Export,
        mut visit: impl FnMut(Order) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.scan(Table::Orders, |record| {
            let Record::Order(order) = record else { return NEXT };
            if export.window.contains(order.created_at) { visit(order) } else { NEXT }
        })
    }

    /// Visits the orders without which stock and balances are those before an import: paid ones of the window, which it
    /// places as they were placed, parts included that were cancelled, and pending ones, which it does not, so that they hold
    /// no stock any more.
    fn undone(&self, export: &Export, mut visit: impl FnMut(Order)) -> Result<(), StoreError> {
        if !export.before_orders {
            return Ok(());
        }
        self.scan(Table::Orders, |record| {
            let Record::Order(order) = record else { return NEXT };
            let is_undone = match order.status {
                OrderStatus::Paid => export.window.contains(order.created_at),
                OrderStatus::Pending => true,
                OrderStatus::Cancelled | OrderStatus::Expired => false,
            };
            if is_undone {
                visit(order);
            }
            NEXT
        })
    }

    fn products(&self, export: &Export, sink: &mut Sink<'_>) -> Result<(), StoreError> {
        let mut taken: HashMap<ProductId, i64> = HashMap::new();
        self.undone(export, |order| {
            let is_placed = order.paid_at.is_some();
            for left in order.remainders() {
                let sum = taken.entry(left.line.product_id).or_default();
                let units = if is_placed { left.line.quantity } else { left.units };
                *sum = sum.saturating_add(units);
            }
        })?;
        self.scan(Table::Products, |record| {
            let Record::Product(mut row) = record else { return NEXT };
            row.stock = row.stock.saturating_add(taken.get(&row.id).copied().unwrap_or(0));
            let row = row.at(self.now);
            sink.row(&row)
        })
    }

    fn customers(&self, export: &Export, sink: &mut Sink<'_>) -> Result<(), StoreError> {
        let mut paid: HashMap<CustomerId, i64> = HashMap::new();
        self.undone(export, |order| {
            if order.paid_at.is_none() {
                return;
            }
            let sum = paid.entry(order.customer_id).or_default();
            *sum = sum.saturating_add(order.total.minor());
        })?;
        self.scan(Table::Accounts, |record| {
            let Record::Account(account) = record else { return NEXT };
            let before = paid.get(&account.customer.id).copied().unwrap_or(0);
            let balance = Money::from_minor(account.balance.minor().saturating_add(before));
            sink.row(&CustomerRow { customer: account.customer, balance })
        })
    }

    /// Writes the adjustments, and then for each order the units that it took, and those that it gave back.
    fn movements(&self, export: &Export, sink: &mut Sink<'_>) -> Result<(), StoreError> {
        let is_wanted = |row: &MovementRow<'_>| export.window.contains(row.created_at);
        self.scan(Table::StockMovements, |record| {
            let Record::StockMovement(row) = record else { return NEXT };
            let row = MovementRow::of_adjustment(&row);
            if is_wanted(&row) { sink.row(&row) } else { NEXT }
        })?;
        if sink.has_failed() {
            return Ok(());
        }
        self.scan(Table::Orders, |record| {
            let Record::Order(order) = record else { return NEXT };
            let mut rows = MovementRow::all_of_order(&order).filter(is_wanted);
            rows.try_for_each(|row| sink.row(&row))
        })
    }

    /// Writes the claimed coupons with their present status, for which it keeps all campaigns.
    fn claims(&self, export: &Export, sink: &mut Sink<'_>) -> Result<(), StoreError> {
        let mut coupons: HashMap<CouponId, Coupon> = HashMap::new();
        self.scan(Table::Coupons, |record| {
            if let Record::Coupon(coupon) = record {
                coupons.insert(coupon.id, coupon);
            }
            NEXT
        })?;
        self.scan(Table::OwnedCoupons, |record| {
            let Record::OwnedCoupon(row) = record else { return NEXT };
            if !export.window.contains(row.claimed_at) {
                return NEXT;
            }
            match coupons.get(&row.coupon_id) {
                Some(coupon) => sink.row(&row.at(self.now, coupon)),
                None => sink.row(&row),
            }
        })
    }

    /// Writes the events, in JSON with the order as of each.
    fn events(&self, export: &Export, sink: &mut Sink<'_>) -> Result<(), StoreError> {
        let epochs = self.snapshot.epochs()?;
        let mut start = EventId::new(1);
        loop {
            let rows = self.snapshot.events(start, EVENTS)?;
            let is_last = rows.len() < EVENTS;
            let Some(last) = rows.last() else { return Ok(()) };
            start = EventId::new(last.id.get().saturating_add(1));
            let rows = rows.into_iter().filter(|row| export.window.contains(row.created_at));
            let rows: Vec<_> = rows.collect();
            let orders = match export.format {
                ExportFormat::Csv => HashMap::new(),
                ExportFormat::Ndjson => self.orders_of(&rows)?,
            };
            for event in rows {
                let order = orders.get(&event.order_id);
                let row = EventLine::new(event, &epochs);
                let full = order.map(|order| row.event.clone().with(order, &epochs));
                if sink.object(&full, [&row]).is_break() {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Returns the orders of events.
    fn orders_of(&self, events: &[EventRow]) -> Result<HashMap<OrderId, Order>, StoreError> {
        let ids: BTreeSet<OrderId> = events.iter().map(|event| event.order_id).collect();
        let ids: Vec<OrderId> = ids.into_iter().collect();
        let orders = self.snapshot.orders_by_id(&ids)?;
        if orders.len() < ids.len() {
            let detail = "an event has an order that does not exist: see the audit";
            return Err(StoreError::Corrupt(detail.to_owned()));
        }
        Ok(orders.into_iter().map(|order| (order.id, order)).collect())
    }
}
