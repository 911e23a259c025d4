//! The audit: proves on one snapshot that the rows of a store agree with each other, or names those
//! that do not.
//!
//! Each check has one concern and keeps only the facts it needs for it, so that all of them together
//! go through a store of some million orders in one pass and little memory.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each check looks at the rows of its concern and passes the others by"
)]

use crate::error::StoreError;
use crate::store::{Record, SalesLevel, Snapshot, Table};
use serde::Serialize;
use std::collections::BTreeMap;

mod by_id;
mod carts;
mod coupons;
mod deliveries;
mod digests;
mod events;
mod keys;
mod orders;
mod payments;
mod problems;
mod recount;
mod sales;
mod stock;
#[cfg(test)]
mod tests;
mod wallet;

pub use problems::Problem;
use problems::Problems;

/// What the audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// How many rows were looked at, by table.
    pub checked: BTreeMap<&'static str, u64>,
    /// What is wrong. When one check finds more than ten thousand problems, its first ones are named
    /// and the others counted.
    pub problems: Vec<Problem>,
}

/// One concern of the audit.
trait Check {
    /// Looks at a row. Rows come table by table in the order of [`Table::ALL`], each table in the
    /// order of its key.
    fn see(&mut self, record: &Record, problems: &mut Problems);

    /// Says what can be said only after the last row.
    fn finish(&mut self, _problems: &mut Problems) {}

    /// A check that goes once more through [`SECOND_LOOK`] to name what this one only suspects.
    fn second_look(&self) -> Option<Box<dyn Check>> {
        None
    }
}

/// The tables that are read twice when a check asks for it.
const SECOND_LOOK: [Table; 2] = [Table::Orders, Table::Sales];

type Scan<'a> = dyn Fn(Table, &mut dyn FnMut(Record)) -> Result<(), StoreError> + 'a;
type Counts = BTreeMap<&'static str, u64>;

fn checks(sales_levels: Vec<SalesLevel>) -> Vec<Box<dyn Check>> {
    vec![
        Box::new(wallet::Wallet::default()),
        Box::new(stock::StockLevels::default()),
        Box::new(carts::Carts::default()),
        Box::new(coupons::Coupons::default()),
        Box::new(orders::Orders::default()),
        Box::new(payments::Payments::default()),
        Box::new(events::Events::default()),
        Box::new(deliveries::Deliveries::default()),
        Box::new(keys::Keys::default()),
        Box::new(digests::Digests::default()),
        Box::new(sales::Sales::new(sales_levels)),
    ]
}

/// Checks everything there is to check on a snapshot.
pub(crate) fn audit(snapshot: &dyn Snapshot) -> Result<AuditReport, StoreError> {
    let mut problems = Problems::default();
    let mut checked = Counts::new();
    match look(snapshot, &mut problems, &mut checked) {
        // What cannot be read at all is a problem like others; what else is wrong is then left open.
        Err(StoreError::Corrupt(detail)) => {
            problems.add("integrity", "store".to_owned(), detail);
        }
        looked => looked?,
    }
    let problems = problems.into_list();
    Ok(AuditReport { ok: problems.is_empty(), checked, problems })
}

fn look(
    snapshot: &dyn Snapshot,
    problems: &mut Problems,
    checked: &mut Counts,
) -> Result<(), StoreError> {
    for message in snapshot.integrity()? {
        problems.add("integrity", "store".to_owned(), message);
    }
    let scan = |table: Table, visit: &mut dyn FnMut(Record)| snapshot.scan(table, visit);
    *checked = prove(&scan, snapshot.sales_levels()?, problems)?;
    Ok(())
}

fn prove(
    scan: &Scan<'_>,
    sales_levels: Vec<SalesLevel>,
    problems: &mut Problems,
) -> Result<Counts, StoreError> {
    let mut first = checks(sales_levels);
    let mut checked = Counts::new();
    if !pass(scan, &Table::ALL, &mut first, problems, &mut checked)? {
        return Ok(checked);
    }
    let mut second: Vec<_> = first.iter().filter_map(|check| check.second_look()).collect();
    drop(first);
    if !second.is_empty() {
        pass(scan, &SECOND_LOOK, &mut second, problems, &mut Counts::new())?;
    }
    Ok(checked)
}

/// Shows every row of the tables to the checks. False when a row could not be read at all: that is a
/// problem like others, but what the checks know then is too little to judge by.
fn pass(
    scan: &Scan<'_>,
    tables: &[Table],
    checks: &mut [Box<dyn Check>],
    problems: &mut Problems,
    checked: &mut Counts,
) -> Result<bool, StoreError> {
    for &table in tables {
        let mut rows = 0_u64;
        let end = scan(table, &mut |record| {
            let is_row = !matches!(record, Record::Digest { .. });
            rows = rows.saturating_add(u64::from(is_row));
            for check in checks.iter_mut() {
                check.see(&record, problems);
            }
        });
        checked.insert(table.name(), rows);
        match end {
            Err(StoreError::Corrupt(detail)) => {
                problems.add("integrity", format!("table {}", table.name()), detail);
                return Ok(false);
            }
            end => end?,
        }
    }
    for check in checks {
        check.finish(problems);
    }
    Ok(true)
}
