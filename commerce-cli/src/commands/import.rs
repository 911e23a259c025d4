//! `commerce import`: streams CSV files into the store. Existing rows are skipped, so that an import that
//! stopped halfway continues when it is run again.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::exit::ExitKind;
use crate::interrupt;
use crate::pipeline::{ImportCounts, Pipeline, Submission};
use commerce_core::{AddCustomer, AddProduct, Code, ExportKind, Money, Operation};
use orders::OrderReader;
use rows::CsvRows;
use serde::Serialize;
use std::cell::Cell;
use std::path::PathBuf;

mod orders;
mod records;
mod rows;

#[derive(clap::Args, Debug)]
pub(crate) struct ImportCommand {
    /// Kind of rows in the file, with its columns.
    kind: ImportKind,
    /// File to import; - is standard input.
    file: PathBuf,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum ImportKind {
    #[value(help = "id,name,price,stock")]
    Products,
    #[value(help = "id,name,balance: the balance is recorded as a charge")]
    Customers,
    #[value(
        help = "order,customer_id,placed_at,product_id,quantity: one row a line, the rows of an order \
                    together, orders in time order; every business rule applies, at the time of the order"
    )]
    Orders,
}

#[derive(Serialize)]
struct ImportReport {
    rows: u64,
    imported: u64,
    skipped: u64,
    /// Orders of an export that are not paid.
    #[serde(skip_serializing_if = "is_zero")]
    left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl ImportCommand {
    pub(crate) fn run(&self, context: &CommandContext) -> Result<ExitKind, CliError> {
        interrupt::watch()?;
        match self.kind {
            ImportKind::Products => {
                let rows = CsvRows::open(&self.file, ExportKind::Products, 4)?;
                feed(context, rows, "products", &Cell::default(), product)
            }
            ImportKind::Customers => {
                let rows = CsvRows::open(&self.file, ExportKind::Customers, 3)?;
                feed(context, rows, "customers", &Cell::default(), customer)
            }
            ImportKind::Orders => {
                let rows = CsvRows::open(&self.file, ExportKind::Orders, orders::REQUIRED)?;
                let left_out = Cell::new(0);
                let mut reader = OrderReader::new(&left_out);
                feed(context, rows, "orders", &left_out, |rows| reader.next(rows))
            }
        }
    }
}

fn product(rows: &mut CsvRows) -> Result<Option<Submission<AddProduct>>, CliError> {
    let Some(row) = rows.next()? else { return Ok(None) };
    let request = AddProduct {
        id: Some(row.number(0)?.into()),
        name: row.text(1).to_owned(),
        price: Money::from_minor(row.number(2)?),
        stock: row.number(3)?,
    };
    Ok(Some(Submission { request, at: None, key: None, location: row.location(None) }))
}

fn customer(rows: &mut CsvRows) -> Result<Option<Submission<AddCustomer>>, CliError> {
    let Some(row) = rows.next()? else { return Ok(None) };
    let request = AddCustomer {
        id: Some(row.number(0)?.into()),
        balance: Money::from_minor(row.number(2)?),
        ..AddCustomer::new(row.text(1))
    };
    let at = row.given("created_at").map(|column| row.instant(column)).transpose()?;
    Ok(Some(Submission { request, at, key: None, location: row.location(None) }))
}

/// Submits the calls that `next` makes of the rows, until the rows end, a call is refused, or Ctrl-C is pressed.
fn feed<R: Operation + Clone>(
    context: &CommandContext,
    mut rows: CsvRows,
    what: &str,
    left_out: &Cell<u64>,
    mut next: impl FnMut(&mut CsvRows) -> Result<Option<Submission<R>>, CliError>,
) -> Result<ExitKind, CliError> {
    let mut pipeline = Pipeline::new(&context.shop);
    let result = loop {
        let read = next(&mut rows);
        // Checked after the read: Ctrl-C also stops the program that writes this input, and its last rows may then
        // be half an order.
        if interrupt::requested() {
            break Ok(ExitKind::Interrupted);
        }
        match read {
            Ok(Some(submission)) => {
                if !pipeline.push(submission) {
                    break Ok(ExitKind::Success);
                }
            }
            Ok(None) => break Ok(ExitKind::Success),
            Err(error) => break Err(error),
        }
    };
    let (counts, refused) = pipeline.finish();
    let is_export = rows.is_export();
    let read = rows.finish();
    // A refused row comes before an unreadable one in the file.
    match refused.map_or(result, Err) {
        Ok(exit) => {
            let body = ImportReport {
                rows: read,
                imported: counts.done,
                skipped: counts.skipped,
                left_out: left_out.get(),
            };
            report(context, what, &body, exit)
        }
        Err(error) => {
            let lacks = matches!(error.code(), Code::InsufficientStock | Code::InsufficientBalance);
            let error = if is_export && lacks {
                error.with_hint(
                    "an export of products and customers with --before-orders has the stock and the balances that its \
                     orders need",
                )
            } else {
                error
            };
            Err(with_progress(error, what, read, counts))
        }
    }
}

fn report(
    context: &CommandContext,
    what: &str,
    body: &ImportReport,
    exit: ExitKind,
) -> Result<ExitKind, CliError> {
    context.output.print(body, |body| {
        let ImportReport { rows, imported, skipped, .. } = body;
        format!("{what} imported: {imported}, skipped: {skipped}, rows read: {rows}")
    })?;
    if body.left_out > 0 {
        let count = body.left_out;
        context.output.note(format_args!("(left out, since they are not paid: {count})"));
    }
    if exit == ExitKind::Interrupted {
        context.output.note("stopped early: run it again to continue");
    }
    Ok(exit)
}

/// Adds the progress of the import to the error that stopped it.
fn with_progress(error: CliError, what: &str, rows: u64, counts: ImportCounts) -> CliError {
    let ImportCounts { done, skipped } = counts;
    let next = if error.is_retryable() { "run it again" } else { "correct it and run it again" };
    let progress = format!("{what} imported: {done}, skipped: {skipped}; {next} to continue");
    error
        .with_hint(&progress)
        .with_field("rows", rows)
        .with_field("imported", done)
        .with_field("skipped", skipped)
}
