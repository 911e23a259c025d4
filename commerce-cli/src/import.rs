//! `commerce import`: CSV files, streamed. What is there already is skipped, so that an import which
//! was stopped, or refused halfway, is simply run again.

use crate::args::ExitKind;
use crate::context::CommandContext;
use crate::error::CliError;
use crate::interrupt;
use crate::pipeline::{Entry, ImportCounts, Pipeline};
use commerce_core::{AddCustomer, AddProduct, Money, Operation};
use orders::OrderReader;
use rows::Rows;
use serde::Serialize;
use std::path::PathBuf;

mod orders;
mod records;
mod rows;

/// Imports a CSV file, skipping what is there already.
///
/// The first line of the file names its columns, exactly as below.
///
/// An import that is refused or stopped by Ctrl-C says how far it came; run again, it goes on.
#[derive(clap::Args, Debug)]
pub(crate) struct Import {
    /// What the file holds, and its columns.
    kind: Kind,
    /// The file; - is standard input.
    file: PathBuf,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Kind {
    #[value(help = "id,name,price,stock")]
    Products,
    #[value(help = "id,name,balance: the balance is charged")]
    Customers,
    #[value(
        help = "order,customer_id,placed_at,product_id,quantity: a row for each line, the rows of \
                    an order together, in time order; an order obeys every rule at its own time"
    )]
    Orders,
}

#[derive(Serialize)]
struct Summary {
    rows: u64,
    imported: u64,
    skipped: u64,
}

impl Import {
    pub(crate) fn run(&self, context: &CommandContext) -> Result<ExitKind, CliError> {
        interrupt::watch()?;
        match self.kind {
            Kind::Products => {
                let rows = Rows::open(&self.file, &["id", "name", "price", "stock"])?;
                feed(context, rows, "products", product)
            }
            Kind::Customers => {
                let rows = Rows::open(&self.file, &["id", "name", "balance"])?;
                feed(context, rows, "customers", customer)
            }
            Kind::Orders => {
                let rows = Rows::open(&self.file, &orders::COLUMNS)?;
                let mut reader = OrderReader::default();
                feed(context, rows, "orders", |rows| reader.next(rows))
            }
        }
    }
}

fn product(rows: &mut Rows) -> Result<Option<Entry<AddProduct>>, CliError> {
    let Some(row) = rows.next()? else { return Ok(None) };
    let request = AddProduct {
        id: Some(row.number(0)?.into()),
        name: row.text(1).to_owned(),
        price: Money::from_minor(row.number(2)?),
        stock: row.number(3)?,
    };
    Ok(Some(Entry { request, at: None, key: None, location: row.location(None) }))
}

fn customer(rows: &mut Rows) -> Result<Option<Entry<AddCustomer>>, CliError> {
    let Some(row) = rows.next()? else { return Ok(None) };
    let request = AddCustomer {
        id: Some(row.number(0)?.into()),
        balance: Money::from_minor(row.number(2)?),
        ..AddCustomer::new(row.text(1))
    };
    Ok(Some(Entry { request, at: None, key: None, location: row.location(None) }))
}

/// Hands in what `next` makes of the rows, until they end, one is refused, or Ctrl-C is pressed.
fn feed<R: Operation + Clone>(
    context: &CommandContext,
    mut rows: Rows,
    what: &str,
    mut next: impl FnMut(&mut Rows) -> Result<Option<Entry<R>>, CliError>,
) -> Result<ExitKind, CliError> {
    let mut pipeline = Pipeline::new(&context.shop);
    let ending = loop {
        let read = next(&mut rows);
        // Asked after reading: Ctrl-C also stops the program that writes our input, and what ended
        // there may be half an order.
        if interrupt::requested() {
            break Ok(ExitKind::Interrupted);
        }
        match read {
            Ok(Some(entry)) => {
                if !pipeline.push(entry) {
                    break Ok(ExitKind::Success);
                }
            }
            Ok(None) => break Ok(ExitKind::Success),
            Err(error) => break Err(error),
        }
    };
    let (counts, refused) = pipeline.finish();
    let read = rows.finish();
    // A row that was refused stands before one that could not be read.
    match refused.map_or(ending, Err) {
        Ok(ending) => report(context, what, read, counts, ending),
        Err(error) => Err(stopped(error, what, read, counts)),
    }
}

fn report(
    context: &CommandContext,
    what: &str,
    rows: u64,
    counts: ImportCounts,
    ending: ExitKind,
) -> Result<ExitKind, CliError> {
    let body = Summary { rows, imported: counts.done, skipped: counts.skipped };
    context.output.print(&body, |body| {
        let Summary { rows, imported, skipped } = body;
        format!("{what} imported: {imported}, there already: {skipped}, rows read: {rows}")
    })?;
    if ending == ExitKind::Interrupted {
        context.output.note("stopped before the end: run it again to go on");
    }
    Ok(ending)
}

/// What stopped the import, and how far it came.
fn stopped(error: CliError, what: &str, rows: u64, counts: ImportCounts) -> CliError {
    let ImportCounts { done, skipped } = counts;
    let progress =
        format!("{what} imported: {done}, there already: {skipped}; run it again to go on");
    error.and(&progress).with("rows", rows).with("imported", done).with("skipped", skipped)
}
