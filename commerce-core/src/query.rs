//! What is asked of a store without changing it: pages of lists, and the window of best sellers.

use crate::limits::{DEFAULT_PAGE, MAX_PAGE, MAX_WINDOW_DAYS};
use crate::{Money, ProductId, ProductStatus, Refusal, Timestamp};
use serde::Serialize;

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

    /// The row to start from: where the cursor points, else `beginning`.
    pub(crate) fn start(&self, beginning: i64) -> Result<i64, Refusal> {
        if !(1..=MAX_PAGE).contains(&self.limit) {
            let detail = format!("limit is {} and must be from 1 to {MAX_PAGE}", self.limit);
            return Err(Refusal::invalid("/limit", detail));
        }
        let Some(cursor) = &self.cursor else { return Ok(beginning) };
        let number = cursor.parse().ok();
        let number = number.filter(|number: &i64| *number > 0 && number.to_string() == *cursor);
        number.ok_or_else(|| Refusal::invalid("/cursor", "cursor is not one that a list gave out"))
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
    pub(crate) fn of(mut rows: Vec<T>, request: &PageRequest, id: impl Fn(&T) -> i64) -> Self {
        let next_cursor = rows.get(request.limit).map(|row| id(row).to_string());
        rows.truncate(request.limit);
        Self { items: rows, next_cursor }
    }
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
