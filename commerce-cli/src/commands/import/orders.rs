//! Groups rows into orders: consecutive rows with the same order name are one order.

use super::rows::{CsvRow, CsvRows};
use crate::error::CliError;
use crate::pipeline::Submission;
use commerce_core::limits::{MAX_ORDER_LINES, MAX_TEXT};
use commerce_core::{Key, OrderItems, PlaceOrder, ProductId, Timestamp};

pub(super) const COLUMNS: [&str; 5] =
    ["order", "customer_id", "placed_at", "product_id", "quantity"];

/// Reads orders. It keeps one order and the first row of the next in memory, whatever the length of the file.
#[derive(Default)]
pub(super) struct OrderReader {
    /// The order that further rows may belong to.
    partial: Option<Submission<PlaceOrder>>,
    /// The error of the row after a complete order, returned after that order.
    error: Option<CliError>,
}

/// The values of a row.
struct Line {
    key: Key,
    customer: i64,
    at: Timestamp,
    item: (ProductId, i64),
}

impl OrderReader {
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
                Some(submission) if submission.location.order.as_deref() == Some(row.text(0)) => {
                    join(submission, &row, &line(&row)?)?;
                }
                partial => {
                    let complete = partial.take();
                    match line(&row) {
                        Ok(line) => *partial = Some(begin(&row, line)),
                        // The complete order before the invalid row is returned first.
                        Err(error) if complete.is_some() => self.error = Some(error),
                        Err(error) => return Err(error),
                    }
                    if complete.is_some() {
                        return Ok(complete);
                    }
                }
            }
        }
        Ok(self.partial.take())
    }
}

fn line(row: &CsvRow<'_>) -> Result<Line, CliError> {
    let order = row.text(0);
    let key = Some(order).filter(|order| (1..=MAX_TEXT).contains(&order.len()));
    let key = key.and_then(|order| Key::new(&format!("import:{order}")));
    let key = key.ok_or_else(|| {
        row.invalid(0, &format!("must have 1 to {MAX_TEXT} visible ASCII characters and no spaces"))
    })?;
    let item = (ProductId::new(row.number(3)?), row.number(4)?);
    Ok(Line { key, customer: row.number(1)?, at: row.instant(2)?, item })
}

fn begin(row: &CsvRow<'_>, line: Line) -> Submission<PlaceOrder> {
    let order = row.text(0);
    let request = PlaceOrder {
        reference: Some(order.to_owned()),
        ..PlaceOrder::new(line.customer.into(), [line.item])
    };
    let mut location = row.location(Some(order));
    location.items.push((line.item.0, row.line(3)));
    Submission { request, at: Some(line.at), key: Some(line.key), location }
}

fn join(
    submission: &mut Submission<PlaceOrder>,
    row: &CsvRow<'_>,
    line: &Line,
) -> Result<(), CliError> {
    if submission.request.customer_id.get() != line.customer {
        return Err(row.invalid(1, "must be the same for all rows of an order"));
    }
    if submission.at != Some(line.at) {
        return Err(row.invalid(2, "must be the same for all rows of an order"));
    }
    let OrderItems::Listed(items) = &mut submission.request.items else { return Ok(()) };
    if items.len() >= MAX_ORDER_LINES {
        let message = format!("an order has {MAX_ORDER_LINES} rows at most");
        return Err(row.invalid(0, &message));
    }
    items.push(line.item);
    submission.location.items.push((line.item.0, row.line(3)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const AT: &str = "2026-01-31T12:00:00Z";

    /// The orders with their products, or the error message.
    fn orders(rows: &[&str]) -> Result<Vec<(String, Vec<i64>)>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{}", COLUMNS.join(",")).unwrap();
        for row in rows {
            writeln!(file, "{row}").unwrap();
        }
        let mut rows = CsvRows::open(file.path(), &COLUMNS).unwrap();
        let mut reader = OrderReader::default();
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
            write!(file, "{}\n{}\n{bad}\n", COLUMNS.join(","), row("a", 1)).unwrap();
            let mut rows = CsvRows::open(file.path(), &COLUMNS).unwrap();
            let mut reader = OrderReader::default();
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
