//! Requests for reads: keyset pagination of lists, their filters, and the window of best sellers.

use crate::clock::{DAY_SECONDS, Timestamp};
use crate::digest::Fnv;
use crate::error::{Error, Refusal};
use crate::id::{CustomerId, EventId, ProductId};
use crate::limits::{DEFAULT_PAGE, MAX_PAGE, MAX_PAGE_BYTES, MAX_WINDOW_DAYS};
use crate::model::product::ProductStatus;
use crate::money::Money;
use serde::{Deserialize, Serialize};
use std::cell::Cell;

pub(crate) mod filter;

/// The number of rows to read first where rows may be large. The number of further rows depends on their size.
const FIRST_ROWS: usize = 8;

/// The number of rows of a read that filters them in memory.
const CHUNK: usize = 500;

/// A list with pages. Its name, owner and filter are part of its cursors, so that another list refuses them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    name: &'static str,
    owner: Option<i64>,
    /// The hash of the filter; `None` without one.
    filter: Option<i64>,
}

impl List {
    pub(crate) const EVENTS: Self = Self::of_shop("events");

    /// Returns a list of the whole shop.
    pub(crate) const fn of_shop(name: &'static str) -> Self {
        Self { name, owner: None, filter: None }
    }

    /// Returns a list of one customer.
    pub(crate) const fn of_customer(name: &'static str, owner: CustomerId) -> Self {
        Self::of_row(name, owner.get())
    }

    /// Returns a list of the row with that id.
    pub(crate) const fn of_row(name: &'static str, id: i64) -> Self {
        Self { name, owner: Some(id), filter: None }
    }

    /// Returns the list with a filter. The default filter is none.
    pub(crate) fn filtered<F: Serialize + Default + PartialEq>(self, filter: &F) -> Self {
        if *filter == F::default() {
            return self;
        }
        let mut hash = Fnv::default();
        // The sink cannot fail, and plain structs with string keys can always be written.
        let _ = serde_json::to_writer(&mut hash, filter);
        Self { filter: Some(hash.all()), ..self }
    }

    /// The cursor of the row at that position.
    fn cursor(self, position: &[i64]) -> String {
        let mut cursor = self.name.to_owned();
        cursor.extend(self.filter.map(|filter| format!("-{filter:x}")));
        for number in self.owner.iter().chain(position) {
            cursor.push('-');
            cursor.push_str(&number.to_string());
        }
        cursor
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
        Self { limit, cursor: Some(List::EVENTS.cursor(&[from.get()])) }
    }

    /// The first row of the page: the cursor's, or `beginning` without a cursor.
    pub(crate) fn start(&self, list: List, beginning: i64) -> Result<i64, Refusal> {
        Ok(self.position(list)?.map_or(beginning, |[start]| start))
    }

    /// The position of the cursor, whose numbers are 1 or more; `None` without a cursor.
    pub(crate) fn position<const N: usize>(&self, list: List) -> Result<Option<[i64; N]>, Refusal> {
        if !(1..=MAX_PAGE).contains(&self.limit) {
            let detail = format!("limit is {} and must be from 1 to {MAX_PAGE}", self.limit);
            return Err(Refusal::invalid("/limit", detail));
        }
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let numbers = cursor.rsplitn(N.saturating_add(1), '-').take(N);
        let mut numbers: Vec<i64> = numbers.filter_map(|number| number.parse().ok()).collect();
        numbers.reverse();
        let position = <[i64; N]>::try_from(numbers).ok();
        let is_own = |position: &[i64; N]| {
            position.iter().all(|number| *number > 0) && list.cursor(position) == *cursor
        };
        position.filter(is_own).map(Some).ok_or_else(|| {
            let detail = "cursor is not one of this list and its filter: send the next_cursor of its page before, \
                          or none to begin with its first page";
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
        let next_cursor = rows.get(request.limit).map(|row| list.cursor(&[id(row)]));
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
                    return Ok(Self { items, next_cursor: Some(list.cursor(&[id(&row)])) });
                }
                bytes = bytes.saturating_add(size);
                items.push(row);
            }
            // As many rows as fit if they have the average size of the previous ones.
            let left = MAX_PAGE_BYTES.saturating_sub(bytes);
            let fit = left.saturating_mul(items.len()).checked_div(bytes).unwrap_or(MAX_PAGE);
            count = fit.clamp(1, MAX_PAGE);
        }
        Ok(Self { items, next_cursor: next.map(|row| list.cursor(&[row])) })
    }

    /// Reads a page of a list with a filter, as [`Page::read`] does: `read` returns the matching rows only, and stops when
    /// the budget is spent. The page then has fewer items, and its cursor leads to the rows that were not examined.
    pub(crate) fn search(
        request: &PageRequest,
        list: List,
        start: i64,
        budget: &Budget,
        read: impl Fn(i64, usize) -> Result<Vec<T>, Error>,
        id: impl Fn(&T) -> i64,
    ) -> Result<Self, Error>
    where
        T: Serialize,
    {
        let page = Self::read(request, list, start, read, id)?;
        let rest = budget.stopped_at().map(|row| list.cursor(&[row]));
        Ok(Self { next_cursor: page.next_cursor.or(rest), ..page })
    }

    /// Returns a page with its items, and the position of the next one.
    pub(crate) fn at<const N: usize>(list: List, items: Vec<T>, next: Option<[i64; N]>) -> Self {
        Self { items, next_cursor: next.map(|next| list.cursor(&next)) }
    }

    /// Returns the page with each item converted.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(convert).collect(), next_cursor: self.next_cursor }
    }
}

/// The rows that a page may still examine.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Cell<usize>,
    /// The first row that was not examined, if the budget was spent.
    stopped_at: Cell<Option<i64>>,
}

impl Budget {
    /// Returns a budget of that many rows.
    pub(crate) fn of(rows: usize) -> Self {
        Self { left: Cell::new(rows), stopped_at: Cell::new(None) }
    }

    /// Returns the number of rows to examine next, `wanted` or fewer; `None` if the budget is spent, for `next` to be the
    /// first row that is not examined.
    pub(crate) fn take(&self, wanted: usize, next: i64) -> Option<usize> {
        let left = self.left.get();
        let taken = wanted.min(left);
        self.left.set(left.saturating_sub(taken));
        if taken == 0 {
            self.stopped_at.set(Some(next));
        }
        (taken > 0).then_some(taken)
    }

    /// Returns the first row that was not examined, if the budget was spent.
    pub(crate) fn stopped_at(&self) -> Option<i64> {
        self.stopped_at.get()
    }

    /// Returns rows that were taken and not examined.
    fn give_back(&self, rows: usize) {
        self.left.set(self.left.get().saturating_add(rows));
    }

    /// Returns up to `count` rows that match, newest first, of a list whose ids have no gaps. `read` is called with the
    /// greatest and the smallest id of a range and a limit, and returns the rows of the range that match.
    pub(crate) fn windows<R>(
        &self,
        from: i64,
        count: usize,
        read: impl Fn(i64, i64, usize) -> Result<Vec<R>, Error>,
        id: impl Fn(&R) -> i64,
    ) -> Result<Vec<R>, Error> {
        let oldest = |newest: i64, rows| {
            let more = i64::try_from(rows).unwrap_or(i64::MAX).saturating_sub(1);
            Ok(Some(newest.saturating_sub(more)))
        };
        self.spans(from, count, oldest, read, id)
    }

    /// Does the same as [`Budget::windows`] for rows that are found along an index: `oldest` returns the smallest id of a
    /// number of index entries, or `None` if there are fewer.
    pub(crate) fn spans<R>(
        &self,
        from: i64,
        count: usize,
        oldest: impl Fn(i64, usize) -> Result<Option<i64>, Error>,
        read: impl Fn(i64, i64, usize) -> Result<Vec<R>, Error>,
        id: impl Fn(&R) -> i64,
    ) -> Result<Vec<R>, Error> {
        let (mut found, mut newest, mut span) = (Vec::new(), from, CHUNK);
        while newest >= 1
            && let Some(rows) = self.take(span, newest)
        {
            let end = oldest(newest, rows)?.unwrap_or(1).max(1);
            let wanted = count.saturating_sub(found.len());
            found.extend(read(newest, end, wanted)?);
            if found.len() >= count {
                let examined = found.last().map_or(newest, &id);
                let unread = examined.saturating_sub(end);
                // Along an index there are fewer rows than ids: what was not read counts as read there.
                let unread = usize::try_from(unread).unwrap_or(0);
                self.give_back(if unread < rows { unread } else { 0 });
                break;
            }
            newest = end.saturating_sub(1);
            span = span.saturating_mul(4);
        }
        Ok(found)
    }

    /// Returns up to `count` rows that match, from row `start` on. `read` is called with a first row and a count.
    pub(crate) fn matching<R>(
        &self,
        start: i64,
        count: usize,
        read: impl Fn(i64, usize) -> Result<Vec<R>, Error>,
        id: impl Fn(&R) -> i64,
        matches: impl Fn(&R) -> bool,
    ) -> Result<Vec<R>, Error> {
        let (mut found, mut next) = (Vec::new(), Some(start));
        while let Some(from) = next
            && let Some(rows) = self.take(CHUNK, from)
        {
            let mut chunk = read(from, rows.saturating_add(1))?;
            next = chunk.get(rows).map(&id);
            chunk.truncate(rows);
            let mut unread = chunk.len();
            for row in chunk {
                unread = unread.saturating_sub(1);
                if matches(&row) {
                    found.push(row);
                }
                if found.len() >= count {
                    self.give_back(unread);
                    return Ok(found);
                }
            }
        }
        Ok(found)
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
        Ok(until.plus_seconds(self.days.saturating_mul(-DAY_SECONDS)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// A list of the numbers from 1 to `rows`, newest first, of which every `step`-th one matches.
    fn page(rows: i64, step: i64, budget: usize, request: &PageRequest) -> Page<i64> {
        let (list, budget) = (List::of_shop("numbers"), Budget::of(budget));
        let read = |from, count| {
            let read = |newest: i64, oldest: i64, limit| {
                let range = (oldest..=newest).rev().filter(|number| number % step == 0);
                Ok(range.take(limit).collect())
            };
            budget.windows(from, count, read, |number| *number)
        };
        let start = request.start(list, rows).unwrap();
        Page::search(request, list, start, &budget, read, |number| *number).unwrap()
    }

    #[test]
    fn page_examines_as_many_rows_as_its_budget_and_leads_to_the_rest() {
        let mut request = PageRequest::first(3);
        let (mut found, mut empty) = (Vec::new(), 0);
        loop {
            let page = page(10_000, 2_500, 1_000, &request);
            assert!(page.items.len() <= 1, "a thousand rows hold one match at most");
            empty += usize::from(page.items.is_empty());
            found.extend(page.items);
            request.cursor = page.next_cursor;
            if request.cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, [10_000, 7_500, 5_000, 2_500]);
        assert!(empty > 4, "{empty}");
    }

    #[test]
    fn page_of_frequent_matches_ends_at_its_limit_and_examines_few_rows() {
        let first = page(10_000, 3, 1_000, &PageRequest::first(100));
        assert_eq!((first.items[0], first.items.len()), (9_999, 100));
        let next = PageRequest { limit: 100, cursor: first.next_cursor };
        assert_eq!(page(10_000, 3, 1_000, &next).items[0], 9_999 - 300);
    }

    #[test]
    fn last_page_has_no_cursor() {
        assert_eq!(page(9, 3, 100, &PageRequest::first(3)).next_cursor, None);
        assert_eq!(
            page(0, 3, 100, &PageRequest::first(3)),
            Page { items: vec![], next_cursor: None }
        );
    }

    #[rstest]
    #[case::another_filter("numbers-a-7", false)]
    #[case::no_filter("numbers-7", false)]
    #[case::another_list("names-7", false)]
    #[case::below_one("numbers-0", false)]
    #[case::no_number("numbers-x", false)]
    #[case::empty("", false)]
    #[case::own("", true)]
    fn cursor_belongs_to_its_list_and_filter(#[case] cursor: &str, #[case] is_own: bool) {
        let list = List::of_shop("numbers").filtered(&Some("tea"));
        let cursor = if is_own { list.cursor(&[7]) } else { cursor.to_owned() };
        let request = PageRequest { limit: 1, cursor: Some(cursor) };
        assert_eq!(request.start(list, 1).ok(), is_own.then_some(7));
    }
}
