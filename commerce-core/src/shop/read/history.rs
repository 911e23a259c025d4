//! The history of a product: every change of its stock, by hand and by orders, newest first.
//!
//! Orders have no row of their own for a change of stock. The history merges four streams, each along its key: manual
//! changes, orders with the product, parts of orders that were cancelled, and orders that gave the rest of its units back.
//! The next change is the latest of the four heads.
//! Stock runs backwards from the present one, and was never negative: among heads of one second, and with orders imported
//! under earlier instants than the stock that they took, a return that the stock does not cover yet waits for an order.

use crate::clock::Timestamp;
use crate::error::{Error, Refusal};
use crate::id::{OrderId, ProductId, StockMovementId};
use crate::limits::{MAX_EXAMINED, MAX_PAGE};
use crate::model::audit_trail::{Action, Actor, AuditEntry, Subject};
use crate::model::order::{LineCancellation, Order, OrderStatus, PartPosition};
use crate::model::product::StockMovement;
use crate::model::stock_change::{RETURN_OF_PART, StockChange};
use crate::query::filter::OrderFilter;
use crate::query::{Budget, List, Page, PageRequest};
use crate::shop::Shop;
use crate::store::{Direction, IdRange, Snapshot};
use std::collections::{HashMap, VecDeque};

/// The most cancelled and expired orders that a page examines, with their lines.
const MAX_RELEASED: usize = 2_000;

/// The number of rows of one read of a stream.
const CHUNK: usize = 50;

/// The number of released orders of one read.
const RELEASED_CHUNK: usize = 250;

/// The history of products. Errors are those of all reads.
#[expect(clippy::missing_errors_doc, reason = "documented once, at the reads of a shop")]
impl Shop {
    /// Every change of a product's stock, newest first: adjustments and orders alike. A page may have fewer items than its
    /// limit, even none, and a cursor that leads to the rest.
    ///
    /// Refused as `product_not_found`.
    pub fn product_history(
        &self,
        id: ProductId,
        page: &PageRequest,
    ) -> Result<Page<StockChange>, Error> {
        let list = List::of_row("movements", id.get());
        let position = page.position(list)?.map(Position::from_numbers);
        let snapshot = self.swept_snapshot()?;
        let product = snapshot.product(id)?;
        let product = product.ok_or_else(|| Refusal::ProductNotFound { product_ids: vec![id] })?;
        let newest = snapshot.last_order()?.unwrap_or(OrderId::new(0));
        let position = position.unwrap_or_else(|| Position::newest(newest, product.stock));
        let mut history = History::new(&*snapshot, id, position);
        let mut items = history.take(page.limit)?;
        add_actors(&*snapshot, &mut items)?;
        Ok(Page::at(list, items, history.rest()?.map(Position::numbers)))
    }
}

/// Adds the authors of orders and cancellations that the audit trail records.
fn add_actors(snapshot: &dyn Snapshot, items: &mut [StockChange]) -> Result<(), Error> {
    let orders: Vec<OrderId> = items.iter().filter_map(|item| item.order_id).collect();
    if orders.is_empty() {
        return Ok(());
    }
    let entries = snapshot.audit_trail_of_orders(&orders)?;
    let mut actors: HashMap<Subject, Vec<&AuditEntry>> = HashMap::new();
    for entry in &entries {
        actors.entry(entry.subject).or_default().push(entry);
    }
    for item in items {
        let Some(order) = item.order_id else { continue };
        let entries = actors.get(&Subject::Order(order)).map_or(&[][..], Vec::as_slice);
        item.actor = actor(item, entries);
    }
    Ok(())
}

/// Returns the author of a change by an order, from the entries of the order in the audit trail. Parts are cancelled any
/// number of times: those of one second have an author if all of them have the same.
fn actor(item: &StockChange, entries: &[&AuditEntry]) -> Option<Actor> {
    let is_of_part = item.reason == RETURN_OF_PART;
    let action = match item.delta {
        ..0 => Action::OrderPlaced,
        _ if is_of_part => Action::OrderPartiallyCancelled,
        _ => Action::OrderCancelled,
    };
    let of_action = entries.iter().filter(|entry| entry.action == action);
    let mut own = of_action.filter(|entry| !is_of_part || entry.created_at == item.created_at);
    let first = own.next()?.actor;
    own.all(|entry| entry.actor == first).then_some(first)
}

/// A position in the history of a product: the first row of each stream that is not shown yet, and the stock before it was
/// undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    order: OrderId,
    movement: StockMovementId,
    released: (Timestamp, OrderId),
    part: PartPosition,
    stock: i64,
}

/// Greater than every id, and small enough to be incremented.
const AFTER_ALL: i64 = i64::MAX / 2;

impl Position {
    fn newest(order: OrderId, stock: i64) -> Self {
        let released = (Timestamp::MAX, OrderId::new(AFTER_ALL));
        let part = (Timestamp::MAX, OrderId::new(AFTER_ALL), AFTER_ALL);
        Self { order, movement: StockMovementId::new(AFTER_ALL), released, part, stock }
    }

    /// The numbers of a cursor, which are 1 or more.
    fn numbers(self) -> [i64; 8] {
        let Self { order, movement, released: (at, released), part, stock } = self;
        let (part_at, part, number) = part;
        let (at, part_at) = (at.unix(), part_at.unix());
        [order.get(), movement.get(), at, released.get(), part_at, part.get(), number, stock]
            .map(|number| number.max(0).saturating_add(1))
    }

    fn from_numbers(numbers: [i64; 8]) -> Self {
        let [order, movement, at, released, part_at, part, number, stock] =
            numbers.map(|number| number.saturating_sub(1));
        Self {
            order: OrderId::new(order),
            movement: StockMovementId::new(movement),
            released: (Timestamp::from_unix(at), OrderId::new(released)),
            part: (Timestamp::from_unix(part_at), OrderId::new(part), number),
            stock,
        }
    }
}

/// The head of a stream.
enum Head<T> {
    Row(T),
    /// The stream has ended.
    End,
    /// The budget was spent before the next row was found.
    Unknown,
}

/// A change without the stock after it.
#[derive(Clone, Debug)]
struct Change {
    at: Timestamp,
    delta: i64,
    stream: Stream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Movements,
    Orders,
    Parts,
    Releases,
}

struct History<'a> {
    snapshot: &'a dyn Snapshot,
    product: ProductId,
    /// The first rows that were not read.
    next: Position,
    movements: VecDeque<StockMovement>,
    orders: VecDeque<Order>,
    parts: VecDeque<LineCancellation>,
    releases: VecDeque<Order>,
    order_budget: Budget,
    release_budget: Budget,
    stock: i64,
}

impl<'a> History<'a> {
    fn new(snapshot: &'a dyn Snapshot, product: ProductId, position: Position) -> Self {
        Self {
            snapshot,
            product,
            next: position,
            movements: VecDeque::new(),
            orders: VecDeque::new(),
            parts: VecDeque::new(),
            releases: VecDeque::new(),
            order_budget: Budget::of(MAX_EXAMINED),
            release_budget: Budget::of(MAX_RELEASED),
            stock: position.stock,
        }
    }

    /// Returns up to that many changes; fewer at the end, and if a budget is spent.
    fn take(&mut self, limit: usize) -> Result<Vec<StockChange>, Error> {
        let mut changes = Vec::new();
        while changes.len() < limit.min(MAX_PAGE)
            && let Some(heads) = self.heads()?
            && let Some(change) = self.latest(&heads)
        {
            changes.extend(self.show(&change));
        }
        Ok(changes)
    }

    /// Returns the position of the next change; `None` at the end.
    fn rest(&mut self) -> Result<Option<Position>, Error> {
        if self.heads()?.is_some_and(|heads| heads.is_empty()) {
            return Ok(None);
        }
        let released = self.releases.front();
        let released = released.and_then(|order| Some((order.released_at()?, order.id)));
        Ok(Some(Position {
            order: self.orders.front().map_or(self.next.order, |order| order.id),
            movement: self.movements.front().map_or(self.next.movement, |row| row.id),
            released: released.unwrap_or(self.next.released),
            part: self.parts.front().map_or(self.next.part, LineCancellation::position),
            stock: self.stock,
        }))
    }

    /// Returns the heads of the streams that have not ended; `None` if one is unknown.
    fn heads(&mut self) -> Result<Option<Vec<Change>>, Error> {
        let mut heads = Vec::new();
        for head in [self.release()?, self.part()?, self.movement()?, self.order()?] {
            match head {
                Head::Row(change) => heads.push(change),
                Head::End => {}
                Head::Unknown => return Ok(None),
            }
        }
        Ok(Some(heads))
    }

    /// The latest of the heads that the stock covers. In one second, returns come before orders.
    fn latest(&self, heads: &[Change]) -> Option<Change> {
        let latest = |heads: &mut dyn Iterator<Item = &Change>| {
            // The first one among equals.
            heads.fold(None::<Change>, |latest, head| match latest {
                Some(latest) if latest.at >= head.at => Some(latest),
                _ => Some(head.clone()),
            })
        };
        let covered = latest(&mut heads.iter().filter(|head| head.delta <= self.stock));
        covered.or_else(|| latest(&mut heads.iter()))
    }

    /// Removes a head from its stream, and returns its change.
    fn show(&mut self, change: &Change) -> Option<StockChange> {
        let (reason, order_id, actor) = match change.stream {
            Stream::Movements => {
                let movement = self.movements.pop_front()?;
                (movement.reason, None, movement.actor)
            }
            Stream::Orders => ("ordered".to_owned(), Some(self.orders.pop_front()?.id), None),
            Stream::Parts => {
                (RETURN_OF_PART.to_owned(), Some(self.parts.pop_front()?.order_id), None)
            }
            Stream::Releases => {
                let order = self.releases.pop_front()?;
                (release_reason(&order).to_owned(), Some(order.id), None)
            }
        };
        let stock_after = self.stock;
        self.stock = self.stock.saturating_sub(change.delta);
        let Change { at: created_at, delta, .. } = *change;
        Some(StockChange { created_at, delta, stock_after, reason, order_id, actor })
    }

    fn movement(&mut self) -> Result<Head<Change>, Error> {
        if self.movements.is_empty() && self.next.movement.get() >= 1 {
            let start = self.next.movement;
            let rows =
                self.snapshot.stock_movements(self.product, start, Direction::Back, CHUNK)?;
            let last = rows.last().filter(|_| rows.len() >= CHUNK).map_or(0, |row| row.id.get());
            self.next.movement = StockMovementId::new(last.saturating_sub(1).max(0));
            self.movements = rows.into();
        }
        Ok(self.movements.front().map_or(Head::End, |row| {
            Head::Row(Change { at: row.created_at, delta: row.delta, stream: Stream::Movements })
        }))
    }

    fn part(&mut self) -> Result<Head<Change>, Error> {
        if self.parts.is_empty() && self.next.part.1.get() >= 1 {
            let start = self.next.part;
            let rows =
                self.snapshot.restocked_parts(self.product, start, Direction::Back, CHUNK)?;
            let last = rows.last().filter(|_| rows.len() >= CHUNK);
            // The numbers begin with 1, so that the one before the first of an order is after those of the order before.
            let before =
                last.map(|row| (row.created_at, row.order_id, row.number.saturating_sub(1)));
            self.next.part = before.unwrap_or((Timestamp::MIN, OrderId::new(0), 0));
            self.parts = rows.into();
        }
        Ok(self.parts.front().map_or(Head::End, |row| {
            Head::Row(Change { at: row.created_at, delta: row.units, stream: Stream::Parts })
        }))
    }

    fn order(&mut self) -> Result<Head<Change>, Error> {
        if self.orders.is_empty() && self.next.order.get() >= 1 {
            let filter = OrderFilter { product_id: Some(self.product), ..OrderFilter::default() };
            let read = |newest, oldest, limit| {
                let range = IdRange { newest: OrderId::new(newest), oldest: OrderId::new(oldest) };
                Ok(self.snapshot.orders_in(range, &filter, limit)?)
            };
            let start = self.next.order.get();
            let rows = self.order_budget.windows(start, CHUNK, read, |order| order.id.get())?;
            let last = rows.last().map_or(0, |order| order.id.get().saturating_sub(1));
            let next =
                if rows.len() >= CHUNK { Some(last) } else { self.order_budget.stopped_at() };
            self.next.order = OrderId::new(next.unwrap_or(0));
            self.orders = rows.into();
        }
        let Some(order) = self.orders.front() else {
            return Ok(if self.next.order.get() >= 1 { Head::Unknown } else { Head::End });
        };
        let lines = order.lines.iter().filter(|line| line.product_id == self.product);
        let units = lines.fold(0_i64, |sum, line| sum.saturating_add(line.quantity));
        let delta = units.saturating_neg();
        Ok(Head::Row(Change { at: order.created_at, delta, stream: Stream::Orders }))
    }

    fn release(&mut self) -> Result<Head<Change>, Error> {
        while self.releases.is_empty()
            && self.next.released.1.get() >= 1
            && self.release_budget.take(RELEASED_CHUNK, 1).is_some()
        {
            let start = self.next.released;
            let rows = self.snapshot.released_orders(start, Direction::Back, RELEASED_CHUNK)?;
            let last = rows.last().filter(|_| rows.len() >= RELEASED_CHUNK);
            let last = last.and_then(|order| Some((order.released_at()?, order.id)));
            self.next.released = last.map_or((Timestamp::MIN, OrderId::new(0)), before);
            let has_units = |order: &Order| released_units(order, self.product) > 0;
            self.releases = rows.into_iter().filter(has_units).collect();
        }
        let Some(order) = self.releases.front() else {
            let has_more = self.next.released.1.get() >= 1;
            return Ok(if has_more { Head::Unknown } else { Head::End });
        };
        let at = order.released_at().unwrap_or(order.created_at);
        let delta = released_units(order, self.product);
        Ok(Head::Row(Change { at, delta, stream: Stream::Releases }))
    }
}

/// Returns the units of a product that a cancelled or expired order gave back in its end: those that no cancellation of a
/// part has taken before.
pub(super) fn released_units(order: &Order, product: ProductId) -> i64 {
    let left = order.remainders().into_iter().filter(|left| left.line.product_id == product);
    left.fold(0_i64, |sum, left| sum.saturating_add(left.units))
}

/// The key right before that of a released order.
fn before((at, id): (Timestamp, OrderId)) -> (Timestamp, OrderId) {
    match id.get().saturating_sub(1) {
        0 if at == Timestamp::MIN => (at, OrderId::new(0)),
        0 => (at.plus_seconds(-1), OrderId::new(AFTER_ALL)),
        id => (at, OrderId::new(id)),
    }
}

pub(super) fn release_reason(order: &Order) -> &'static str {
    match order.status {
        OrderStatus::Cancelled => "order cancelled",
        OrderStatus::Expired => "order expired",
        OrderStatus::Pending | OrderStatus::Paid => "order kept",
    }
}
