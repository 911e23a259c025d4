//! Groups rows into orders: consecutive rows with the same order name are one order.

use super::rows::{CsvRow, CsvRows};
use crate::error::CliError;
use crate::pipeline::Submission;
use commerce_core::limits::{MAX_ORDER_LINES, MAX_TEXT};
use commerce_core::{
    Export, Key, Money, OrderItems, OrderStatus, PastLine, PastTerms, PlaceOrder, ProductId,
    Timestamp,
};
use std::cell::Cell;

/// The number of columns that a file must have: order, customer, instant, product and quantity.
pub(super) const REQUIRED: usize = 5;

/// Reads orders. It keeps one order and the first row of the next in memory, whatever the length of the file.
pub(super) struct OrderReader<'a> {
    /// The order that further rows may belong to.
    partial: Option<Partial>,
    /// The error of the row after a complete order, returned after that order.
    error: Option<CliError>,
    /// The number of exported orders that hold neither money nor stock, and are not placed.
    left_out: &'a Cell<u64>,
}

/// An order with the rows read so far.
struct Partial {
    submission: Submission<PlaceOrder>,
    placed_at: Timestamp,
    is_left_out: bool,
}

/// The values of a row.
struct Line {
    key: Key,
    customer: i64,
    at: Timestamp,
    item: (ProductId, i64),
    past: PastLine,
}

impl<'a> OrderReader<'a> {
    pub(super) fn new(left_out: &'a Cell<u64>) -> Self {
        Self { partial: None, error: None, left_out }
    }

    /// The next order; `None` at the end.
    pub(super) fn next(
        &mut self,
        rows: &mut CsvRows,
    ) -> Result<Option<Submission<PlaceOrder>>, CliError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        while let Some(row) = rows.next()? {
            match &mut self.partial {
                Some(partial) if partial.continues_in(&row) => {
                    partial.join(&row, line(&row)?)?;
                }
                partial => {
                    let complete = partial.take();
                    match line(&row).and_then(|line| Partial::begin(&row, line)) {
                        Ok(next) => *partial = Some(next),
                        // The complete order before the invalid row is returned first.
                        Err(error) if complete.is_some() => self.error = Some(error),
                        Err(error) => return Err(error),
                    }
                    if let Some(order) = self.placed(complete) {
                        return Ok(Some(order));
                    }
                    if let Some(error) = self.error.take() {
                        return Err(error);
                    }
                }
            }
        }
        let last = self.partial.take();
        Ok(self.placed(last))
    }

    /// Returns the order to place, unless it is left out.
    fn placed(&self, complete: Option<Partial>) -> Option<Submission<PlaceOrder>> {
        let complete = complete?;
        if complete.is_left_out {
            self.left_out.set(self.left_out.get().saturating_add(1));
            return None;
        }
        Some(complete.submission)
    }
}

fn line(row: &CsvRow<'_>) -> Result<Line, CliError> {
    let order = row.text(0);
    let key = Some(order).filter(|order| (1..=MAX_TEXT).contains(&order.len()));
    // A file may name two orders of a customer alike: each with an id is an order of its own.
    let id = row.given_text("id").map(|id| format!(":{id}")).unwrap_or_default();
    let key = key.and_then(|order| Key::new(&format!("import:{order}{id}")));
    let key = key.ok_or_else(|| {
        row.invalid(0, &format!("must have 1 to {MAX_TEXT} visible ASCII characters and no spaces"))
    })?;
    let item = (ProductId::new(row.number(3)?), row.number(4)?);
    let unit_price = amount(row, "unit_price")?;
    // Said only of a sale, since it is the unit price otherwise.
    let regular_price = amount(row, "regular_price")?.filter(|price| Some(*price) != unit_price);
    let name = row.given_text("name").map(str::to_owned);
    let past = PastLine { name, unit_price, regular_price };
    Ok(Line { key, customer: row.number(1)?, at: row.instant(2)?, item, past })
}

fn amount(row: &CsvRow<'_>, column: &str) -> Result<Option<Money>, CliError> {
    let column = row.given(column);
    column.map(|column| row.number(column).map(Money::from_minor)).transpose()
}

/// Returns true for an exported order that holds neither money nor stock.
fn is_left_out(row: &CsvRow<'_>) -> Result<bool, CliError> {
    let Some(column) = row.given("status") else { return Ok(false) };
    match OrderStatus::from_word(row.text(column)) {
        Some(OrderStatus::Paid) => Ok(false),
        Some(OrderStatus::Pending | OrderStatus::Cancelled | OrderStatus::Expired) => Ok(true),
        None => Err(row.invalid(column, "must be paid, pending, cancelled or expired")),
    }
}

impl Partial {
    fn begin(row: &CsvRow<'_>, line: Line) -> Result<Self, CliError> {
        let order = row.text(0);
        let paid_at = row.given("paid_at").map(|column| row.instant(column)).transpose()?;
        let reference = row.given_text("reference");
        // Such a reference has the id of another store, which another order of this export may have.
        let reference = reference.filter(|reference| !Export::is_name_by_id(reference));
        let mut request = PlaceOrder {
            reference: Some(reference.unwrap_or(order).to_owned()),
            ..PlaceOrder::new(line.customer.into(), [line.item])
        };
        let discount = amount(row, "discount")?.filter(|discount| *discount != Money::ZERO);
        if let Some(discount) = discount {
            request.past = Some(PastTerms { discount, ..PastTerms::default() });
        }
        add_terms(&mut request, row, line.item.0, line.past)?;
        let mut location = row.location(Some(order));
        location.items.push((line.item.0, row.line(3)));
        let at = Some(paid_at.unwrap_or(line.at));
        let submission = Submission { request, at, key: Some(line.key), location };
        Ok(Self { submission, placed_at: line.at, is_left_out: is_left_out(row)? })
    }

    /// Returns true if a row belongs to this order: it has the same name, and no id, which only first rows have.
    fn continues_in(&self, row: &CsvRow<'_>) -> bool {
        self.submission.location.order.as_deref() == Some(row.text(0)) && row.given("id").is_none()
    }

    fn join(&mut self, row: &CsvRow<'_>, line: Line) -> Result<(), CliError> {
        let submission = &mut self.submission;
        if submission.request.customer_id.get() != line.customer {
            return Err(row.invalid(1, "must be the same for all rows of an order"));
        }
        if self.placed_at != line.at {
            return Err(row.invalid(2, "must be the same for all rows of an order"));
        }
        let OrderItems::Listed(items) = &mut submission.request.items else { return Ok(()) };
        if items.len() >= MAX_ORDER_LINES {
            let message = format!("an order has {MAX_ORDER_LINES} rows at most");
            return Err(row.invalid(0, &message));
        }
        items.push(line.item);
        submission.location.items.push((line.item.0, row.line(3)));
        add_terms(&mut submission.request, row, line.item.0, line.past)
    }
}

/// Adds the name and the price of a product at the time of the order, if the file has them.
fn add_terms(
    request: &mut PlaceOrder,
    row: &CsvRow<'_>,
    product: ProductId,
    line: PastLine,
) -> Result<(), CliError> {
    let known = request.past.as_ref().and_then(|past| past.lines.get(&product));
    if known.is_some_and(|known| *known != line) {
        return Err(row.invalid(3, "has another name or price in a row before: add up its units"));
    }
    if line != PastLine::default() {
        request.past.get_or_insert_default().lines.insert(product, line);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use commerce_core::ExportKind;
    use std::io::Write;

    const HEADER: &str = "order,customer_id,placed_at,product_id,quantity";
    const AT: &str = "2026-01-31T12:00:00Z";

    /// The orders with their products, or the error message.
    fn orders(rows: &[&str]) -> Result<Vec<(String, Vec<i64>)>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{HEADER}").unwrap();
        for row in rows {
            writeln!(file, "{row}").unwrap();
        }
        let mut rows = CsvRows::open(file.path(), ExportKind::Orders, REQUIRED).unwrap();
        let left_out = Cell::new(0);
        let mut reader = OrderReader::new(&left_out);
        let mut orders = Vec::new();
        while let Some(submission) = reader.next(&mut rows).map_err(|error| error.sentence())? {
            let OrderItems::Listed(items) = submission.request.items else { continue };
            let products = items.iter().map(|(product, _)| product.get());
            orders.push((submission.request.reference.unwrap(), products.collect()));
        }
        Ok(orders)
    }

    fn row(order: &str, product: i64) -> String {
        format!("{order},7,{AT},{product},1")
    }

    #[test]
    fn consecutive_rows_of_a_name_are_one_order() {
        let rows = [row("a", 1), row("a", 2), row("b", 3), row("c", 4), row("c", 4), row("a", 5)];
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let actual = orders(&rows).unwrap();
        let actual: Vec<_> =
            actual.iter().map(|(order, items)| (order.as_str(), items.as_slice())).collect();
        let expected: [(&str, &[i64]); 4] =
            [("a", &[1, 2]), ("b", &[3]), ("c", &[4, 4]), ("a", &[5])];
        assert_eq!(actual, expected);
        assert_eq!(orders(&[]), Ok(vec![]));
    }

    #[test]
    fn rows_of_an_order_must_agree() {
        let first = row("a", 1);
        let other_customer = format!("a,8,{AT},1,1");
        assert!(
            orders(&[&first, &other_customer])
                .unwrap_err()
                .contains("line 3: customer_id is \"8\"")
        );
        let other_time = "a,7,2026-01-31T12:00:01Z,1,1";
        assert!(orders(&[&first, other_time]).unwrap_err().contains("line 3: placed_at is"));
        assert!(orders(&[",7,2026-01-31T12:00:00Z,1,1"]).unwrap_err().contains("order is \"\""));
        assert!(orders(&["a,7,noon,1,1"]).unwrap_err().contains("placed_at is \"noon\""));
    }

    #[test]
    fn complete_order_precedes_the_error_of_the_next_row() {
        let read = |bad: &str| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            write!(file, "{HEADER}\n{}\n{bad}\n", row("a", 1)).unwrap();
            let mut rows = CsvRows::open(file.path(), ExportKind::Orders, REQUIRED).unwrap();
            let left_out = Cell::new(0);
            let mut reader = OrderReader::new(&left_out);
            let mut next = || {
                let submission = reader.next(&mut rows);
                submission
                    .map(|submission| submission.unwrap().location.line)
                    .map_err(|error| error.sentence())
            };
            [next(), next()]
        };
        let [order, error] = read("b,7,noon,1,1");
        assert_eq!(order, Ok(Some(2)));
        assert!(error.unwrap_err().contains("line 3: placed_at is \"noon\""));
        assert!(read("a,7,noon,1,1")[0].is_err());
        for name in ["a b", "\u{c0}", &"x".repeat(201)] {
            let [order, error] = read(&row(name, 1));
            assert!(order.is_ok() && error.unwrap_err().contains("line 3: order is "), "{name}");
        }
    }

    #[test]
    fn order_size_is_limited() {
        let rows = vec![row("a", 1); MAX_ORDER_LINES + 1];
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        assert_eq!(orders(&rows[1..]).unwrap()[0].1.len(), MAX_ORDER_LINES);
        assert!(orders(&rows).unwrap_err().contains("line 1002"));
    }
}
