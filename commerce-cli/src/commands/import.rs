//! `commerce import`: streams CSV files into the store. Existing rows are skipped, so that an import that
//! stopped halfway continues when it is run again.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::exit::ExitKind;
use crate::interrupt;
use crate::pipeline::{ImportCounts, Pipeline, Submission};
use commerce_core::{AddCustomer, AddProduct, Money, Operation};
use orders::OrderReader;
use rows::CsvRows;
use serde::Serialize;
use std::path::PathBuf;

mod orders;
mod records;
mod rows;

/// Imports a CSV file, and skips rows that exist already.
///
/// The first line of the file must name the columns, exactly as below.
///
/// An import that is refused or stopped by Ctrl-C reports its progress, and continues when it is run again.
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
}

impl ImportCommand {
    pub(crate) fn run(&self, context: &CommandContext) -> Result<ExitKind, CliError> {
        interrupt::watch()?;
        match self.kind {
            ImportKind::Products => {
                let rows = CsvRows::open(&self.file, &["id", "name", "price", "stock"])?;
                feed(context, rows, "products", product)
            }
            ImportKind::Customers => {
                let rows = CsvRows::open(&self.file, &["id", "name", "balance"])?;
                feed(context, rows, "customers", customer)
            }
            ImportKind::Orders => {
                let rows = CsvRows::open(&self.file, &orders::COLUMNS)?;
                let mut reader = OrderReader::default();
                feed(context, rows, "orders", |rows| reader.next(rows))
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
    Ok(Some(Submission { request, at: None, key: None, location: row.location(None) }))
}

/// Submits the calls that `next` makes of the rows, until the rows end, a call is refused, or Ctrl-C is pressed.
fn feed<R: Operation + Clone>(
    context: &CommandContext,
    mut rows: CsvRows,
    what: &str,
    mut next: impl FnMut(&mut CsvRows) -> Result<Option<Submission<R>>, CliError>,
) -> Result<ExitKind, CliError> {
    let mut pipeline = Pipeline::new(&context.shop);
    let result = loop {
        let read = next(&mut rows);
        // Checked after the read: Ctrl-C also stops the program that writes this input, whose last rows may then
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
    let read = rows.finish();
    // A refused row comes before an unreadable one in the file.
    match refused.map_or(result, Err) {
        Ok(exit) => report(context, what, read, counts, exit),
        Err(error) => Err(with_progress(error, what, read, counts)),
    }
}

fn report(
    context: &CommandContext,
    what: &str,
    rows: u64,
    counts: ImportCounts,
    exit: ExitKind,
) -> Result<ExitKind, CliError> {
    let body = ImportReport { rows, imported: counts.done, skipped: counts.skipped };
    context.output.print(&body, |body| {
        let ImportReport { rows, imported, skipped } = body;
        format!("{what} imported: {imported}, skipped: {skipped}, rows read: {rows}")
    })?;
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
