//! What is asked of a store without changing it: pages of lists, and the window of best sellers.

use crate::clock::Timestamp;
use crate::error::{Error, Refusal};
use crate::id::{CustomerId, EventId, ProductId};
use crate::limits::{DEFAULT_PAGE, MAX_PAGE, MAX_PAGE_BYTES, MAX_WINDOW_DAYS};
use crate::model::product::ProductStatus;
use crate::money::Money;
use serde::Serialize;

/// How many rows are read first where rows may be large; how many follow depends on their size.
const FIRST_ROWS: usize = 8;

/// A list that pages are cut from. Its cursors name it, so that another list refuses them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    name: &'static str,
    owner: Option<CustomerId>,
}

impl List {
    pub(crate) const EVENTS: Self = Self::of_shop("events");

    /// A list of the whole shop.
    pub(crate) const fn of_shop(name: &'static str) -> Self {
        Self { name, owner: None }
    }

    /// A list of one customer.
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

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// How many items, 1 to [`MAX_PAGE`].
    pub limit: usize,
    /// Where to go on: [`Page::next_cursor`] of the page before.
    pub cursor: Option<String>,
}

/// The first [`DEFAULT_PAGE`] items.
impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: DEFAULT_PAGE, cursor: None }
    }
}

impl PageRequest {
    /// The first `limit` items.
    #[must_use]
    pub fn first(limit: usize) -> Self {
        Self { limit, cursor: None }
    }

    /// One page of events, from that event on.
    #[must_use]
    pub fn of_events(limit: usize, from: EventId) -> Self {
        Self { limit, cursor: Some(List::EVENTS.cursor(from.get())) }
    }

    /// The row to start from: where the cursor points, else `beginning`.
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

    /// How many rows to read: one more than is shown tells whether there are more.
    pub(crate) fn rows(&self) -> usize {
        self.limit.saturating_add(1)
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to ask for to get the items after these; `None` at the end.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The page of rows read with [`PageRequest::rows`]; `id` numbers a row for the cursor.
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

    /// The page from row `start` on, of at most [`MAX_PAGE_BYTES`] unless its first item has more. `read` gives so
    /// many rows from that one on; it is called again as long as more fit, so that no more than a page is held.
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
            let wanted = count.min(request.limit.saturating_sub(items.len()));
            let mut rows = read(from, wanted.saturating_add(1))?;
            next = rows.get(wanted).map(&id);
            rows.truncate(wanted);
            for row in rows {
                let size = json_length(&row);
                if !items.is_empty() && bytes.saturating_add(size) > MAX_PAGE_BYTES {
                    return Ok(Self { items, next_cursor: Some(list.cursor(id(&row))) });
                }
                bytes = bytes.saturating_add(size);
                items.push(row);
            }
            // As many more as fit if they are like those before.
            let left = MAX_PAGE_BYTES.saturating_sub(bytes);
            let fit = left.saturating_mul(items.len()).checked_div(bytes).unwrap_or(MAX_PAGE);
            count = fit.clamp(1, MAX_PAGE);
        }
        Ok(Self { items, next_cursor: next.map(|row| list.cursor(row)) })
    }

    /// The page with each item shown in another way.
    pub fn map<U>(self, show: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(show).collect(), next_cursor: self.next_cursor }
    }
}

/// How many bytes a body has as JSON.
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
    // Neither the sink nor plain structs with string keys can fail to be written.
    let _ = serde_json::to_writer(&mut length, body);
    length.0
}

/// Which best sellers are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BestSellersRequest {
    /// How many days of 24 hours the window is long, 1 to [`MAX_WINDOW_DAYS`].
    pub days: i64,
    /// How many ranks, 1 to [`MAX_PAGE`].
    pub limit: usize,
    /// When the window ends, that second included; now when absent.
    pub at: Option<Timestamp>,
}

/// The five best sellers of the last three days.
impl Default for BestSellersRequest {
    fn default() -> Self {
        Self { days: 3, limit: 5, at: None }
    }
}

impl BestSellersRequest {
    /// The instant after which the window begins.
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

/// Products ranked by units paid for in a window of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BestSellers {
    /// The window begins right after this instant.
    pub from: Timestamp,
    /// The window ends with this instant, which is inside.
    pub to: Timestamp,
    /// The ranking.
    pub items: Vec<BestSeller>,
}

/// One rank of the best sellers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BestSeller {
    /// 1 for the product that sold most.
    pub rank: usize,
    /// The product.
    pub product_id: ProductId,
    /// Its name today.
    pub name: String,
    /// Its price today.
    pub price: Money,
    /// Units that can be sold right now.
    pub stock: i64,
    /// Whether it is still sold.
    pub status: ProductStatus,
    /// Units paid for in the window, cancelled orders taken out.
    pub units_sold: i64,
}
