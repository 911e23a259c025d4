//! Requests for reads: keyset pagination of lists, and the window of best sellers.

use crate::clock::Timestamp;
use crate::error::{Error, Refusal};
use crate::id::{CustomerId, EventId, ProductId};
use crate::limits::{DEFAULT_PAGE, MAX_PAGE, MAX_PAGE_BYTES, MAX_WINDOW_DAYS};
use crate::model::product::ProductStatus;
use crate::money::Money;
use serde::{Deserialize, Serialize};

/// The number of rows to read first where rows may be large. The number of further rows depends on their size.
const FIRST_ROWS: usize = 8;

/// A list with pages. Its name is part of its cursors, so that another list refuses them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    name: &'static str,
    owner: Option<CustomerId>,
}

impl List {
    pub(crate) const EVENTS: Self = Self::of_shop("events");

    /// Returns a list of the whole shop.
    pub(crate) const fn of_shop(name: &'static str) -> Self {
        Self { name, owner: None }
    }

    /// Returns a list of one customer.
    pub(crate) const fn of_customer(name: &'static str, owner: CustomerId) -> Self {
        Self { name, owner: Some(owner) }
    }

    /// The cursor of the row with that number.
    fn cursor(self, row: i64) -> String {
        match self.owner {
            Some(owner) => format!("{}-{owner}-{row}", self.name),
            None => format!("{}-{row}", self.name),
        }
    }
}

/// A request for a page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The number of items, 1 to [`MAX_PAGE`].
    pub limit: usize,
    /// The start of the page: [`Page::next_cursor`] of the previous one.
    pub cursor: Option<String>,
}

/// The first [`DEFAULT_PAGE`] items.
impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: DEFAULT_PAGE, cursor: None }
    }
}

impl PageRequest {
    /// Returns a request for the first `limit` items.
    #[must_use]
    pub fn first(limit: usize) -> Self {
        Self { limit, cursor: None }
    }

    /// Returns a request for a page of events from the given one on.
    #[must_use]
    pub fn of_events(limit: usize, from: EventId) -> Self {
        Self { limit, cursor: Some(List::EVENTS.cursor(from.get())) }
    }

    /// The first row of the page: the cursor's, or `beginning` without a cursor.
    pub(crate) fn start(&self, list: List, beginning: i64) -> Result<i64, Refusal> {
        if !(1..=MAX_PAGE).contains(&self.limit) {
            let detail = format!("limit is {} and must be from 1 to {MAX_PAGE}", self.limit);
            return Err(Refusal::invalid("/limit", detail));
        }
        let Some(cursor) = &self.cursor else { return Ok(beginning) };
        let number = cursor.rsplit('-').next().and_then(|number| number.parse().ok());
        let number = number.filter(|number: &i64| *number > 0 && list.cursor(*number) == *cursor);
        number.ok_or_else(|| {
            let detail = "cursor is not one of this list: send the next_cursor of its page before, or none to \
                          begin with its first page";
            Refusal::invalid("/cursor", detail)
        })
    }

    /// The number of rows to read: one more than the page holds, to see whether there is a next page.
    pub(crate) fn rows(&self) -> usize {
        self.limit.saturating_add(1)
    }
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` on the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Returns the page of rows that were read with [`PageRequest::rows`]. `id` is the number of a row for the cursor.
    pub(crate) fn of(
        mut rows: Vec<T>,
        request: &PageRequest,
        list: List,
        id: impl Fn(&T) -> i64,
    ) -> Self {
        let next_cursor = rows.get(request.limit).map(|row| list.cursor(id(row)));
        rows.truncate(request.limit);
        Self { items: rows, next_cursor }
    }

    /// Reads the page from row `start` on, of at most [`MAX_PAGE_BYTES`] unless its first item is larger. `read` is
    /// called with a first row and a count, repeatedly while more rows fit, so that memory holds no more than a page.
    pub(crate) fn read(
        request: &PageRequest,
        list: List,
        start: i64,
        read: impl Fn(i64, usize) -> Result<Vec<T>, Error>,
        id: impl Fn(&T) -> i64,
    ) -> Result<Self, Error>
    where
        T: Serialize,
    {
        let (mut items, mut bytes, mut next) = (Vec::new(), 0_usize, Some(start));
        let mut count = FIRST_ROWS;
        while let Some(from) = next
            && items.len() < request.limit
        {
            let count_here = count.min(request.limit.saturating_sub(items.len()));
            let mut rows = read(from, count_here.saturating_add(1))?;
            next = rows.get(count_here).map(&id);
            rows.truncate(count_here);
            for row in rows {
                let size = json_length(&row);
                if !items.is_empty() && bytes.saturating_add(size) > MAX_PAGE_BYTES {
                    return Ok(Self { items, next_cursor: Some(list.cursor(id(&row))) });
                }
                bytes = bytes.saturating_add(size);
                items.push(row);
            }
            // As many rows as fit if they have the average size of the previous ones.
            let left = MAX_PAGE_BYTES.saturating_sub(bytes);
            let fit = left.saturating_mul(items.len()).checked_div(bytes).unwrap_or(MAX_PAGE);
            count = fit.clamp(1, MAX_PAGE);
        }
        Ok(Self { items, next_cursor: next.map(|row| list.cursor(row)) })
    }

    /// Returns the page with each item converted.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(convert).collect(), next_cursor: self.next_cursor }
    }
}

/// The length of a body as JSON, in bytes.
fn json_length(body: &impl Serialize) -> usize {
    struct Length(usize);
    impl std::io::Write for Length {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    // The sink cannot fail, and plain structs with string keys can always be written.
    let _ = serde_json::to_writer(&mut length, body);
    length.0
}

/// A request for best sellers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BestSellersRequest {
    /// The length of the window in days of 24 hours, 1 to [`MAX_WINDOW_DAYS`].
    pub days: i64,
    /// The number of ranks, 1 to [`MAX_PAGE`].
    pub limit: usize,
    /// The last second of the window. Default: now.
    pub at: Option<Timestamp>,
    /// The order of the ranking.
    pub by: BestSellersBy,
}

/// The order of best sellers; ties by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BestSellersBy {
    /// Most units first.
    #[default]
    Units,
    /// Most money first, after discounts.
    Net,
}

/// Requests the five best sellers of the last three days.
impl Default for BestSellersRequest {
    fn default() -> Self {
        Self { days: 3, limit: 5, at: None, by: BestSellersBy::Units }
    }
}

impl BestSellersRequest {
    /// The instant right before the window.
    pub(crate) fn after(&self, until: Timestamp) -> Result<Timestamp, Refusal> {
        if !(1..=MAX_WINDOW_DAYS).contains(&self.days) {
            let detail = format!("days is {} and must be from 1 to {MAX_WINDOW_DAYS}", self.days);
            return Err(Refusal::invalid("/days", detail));
        }
        if !(1..=MAX_PAGE).contains(&self.limit) {
            let detail = format!("limit is {} and must be from 1 to {MAX_PAGE}", self.limit);
            return Err(Refusal::invalid("/limit", detail));
        }
        Ok(until.plus_seconds(self.days.saturating_mul(-24 * 60 * 60)))
    }
}

/// Products ranked by what was paid for in a window of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BestSellers {
    /// The instant right before the window.
    pub from: Timestamp,
    /// The last instant of the window.
    pub to: Timestamp,
    /// The ranking.
    pub items: Vec<BestSeller>,
}

/// One rank of the best sellers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BestSeller {
    /// The rank: 1 for the product that sold most.
    pub rank: usize,
    /// The product.
    pub product_id: ProductId,
    /// The product's current name.
    pub name: String,
    /// The product's current price.
    pub price: Money,
    /// Units in stock now.
    pub stock: i64,
    /// The product's current status.
    pub status: ProductStatus,
    /// Units paid for in the window, without cancelled orders.
    pub units_sold: i64,
    /// The amount paid for them, less their share of discounts; only in a ranking by money.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net: Option<Money>,
}
