//! `commerce import`: CSV files, streamed. What is there already is skipped, so that an import which
//! was stopped, or refused halfway, is simply run again.

use crate::args::Ending;
use crate::desk::Desk;
use crate::failure::Failure;
use crate::interrupt;
use crate::pipeline::{Entry, Pipeline, Tally};
use commerce_core::{AddCustomer, AddProduct, Money, Request};
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
    pub(crate) fn run(&self, desk: &Desk) -> Result<Ending, Failure> {
        interrupt::watch()?;
        match self.kind {
            Kind::Products => {
                let rows = Rows::open(&self.file, &["id", "name", "price", "stock"])?;
                feed(desk, rows, "products", product)
            }
            Kind::Customers => {
                let rows = Rows::open(&self.file, &["id", "name", "balance"])?;
                feed(desk, rows, "customers", customer)
            }
            Kind::Orders => {
                let rows = Rows::open(&self.file, &orders::COLUMNS)?;
                let mut reader = OrderReader::default();
                feed(desk, rows, "orders", |rows| reader.next(rows))
            }
        }
    }
}

fn product(rows: &mut Rows) -> Result<Option<Entry<AddProduct>>, Failure> {
    let Some(row) = rows.next()? else { return Ok(None) };
    let request = AddProduct {
        id: Some(row.number(0)?.into()),
        name: row.text(1).to_owned(),
        price: Money::from_minor(row.number(2)?),
        stock: row.number(3)?,
    };
    Ok(Some(Entry { request, at: None, key: None, place: row.place(None) }))
}

fn customer(rows: &mut Rows) -> Result<Option<Entry<AddCustomer>>, Failure> {
    let Some(row) = rows.next()? else { return Ok(None) };
    let request = AddCustomer {
        id: Some(row.number(0)?.into()),
        balance: Money::from_minor(row.number(2)?),
        ..AddCustomer::new(row.text(1))
    };
    Ok(Some(Entry { request, at: None, key: None, place: row.place(None) }))
}

/// Hands in what `next` makes of the rows, until they end, one is refused, or Ctrl-C is pressed.
fn feed<R: Request + Clone>(
    desk: &Desk,
    mut rows: Rows,
    what: &str,
    mut next: impl FnMut(&mut Rows) -> Result<Option<Entry<R>>, Failure>,
) -> Result<Ending, Failure> {
    let mut pipeline = Pipeline::new(&desk.shop);
    let ending = loop {
        let read = next(&mut rows);
        // Asked after reading: Ctrl-C also stops the program that writes our input, and what ended
        // there may be half an order.
        if interrupt::requested() {
            break Ok(Ending::Interrupted);
        }
        match read {
            Ok(Some(entry)) => {
                if !pipeline.push(entry) {
                    break Ok(Ending::Done);
                }
            }
            Ok(None) => break Ok(Ending::Done),
            Err(failure) => break Err(failure),
        }
    };
    let (tally, refused) = pipeline.finish();
    let read = rows.finish();
    // A row that was refused stands before one that could not be read.
    match refused.map_or(ending, Err) {
        Ok(ending) => report(desk, what, read, tally, ending),
        Err(failure) => Err(stopped(failure, what, read, tally)),
    }
}

fn report(
    desk: &Desk,
    what: &str,
    rows: u64,
    tally: Tally,
    ending: Ending,
) -> Result<Ending, Failure> {
    let body = Summary { rows, imported: tally.done, skipped: tally.skipped };
    desk.output.give(&body, |body| {
        let Summary { rows, imported, skipped } = body;
        format!("{what} imported: {imported}, there already: {skipped}, rows read: {rows}")
    })?;
    if ending == Ending::Interrupted {
        desk.output.note("stopped before the end: run it again to go on");
    }
    Ok(ending)
}

/// What stopped the import, and how far it came.
fn stopped(failure: Failure, what: &str, rows: u64, tally: Tally) -> Failure {
    let Tally { done, skipped } = tally;
    let progress =
        format!("{what} imported: {done}, there already: {skipped}; run it again to go on");
    failure.and(&progress).with("rows", rows).with("imported", done).with("skipped", skipped)
}
