//! The audit: checks the invariants of a store on one snapshot, and reports the rows that violate one.
//!
//! Each check has one concern and keeps only the facts that it needs, so that all checks together audit a store of
//! some million orders in one pass and little memory.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each check visits the rows of its concern and ignores the others"
)]

use crate::error::StoreError;
use crate::store::{Record, SalesLevel, Snapshot, Table};
use serde::Serialize;
use std::collections::BTreeMap;

mod audit_trail;
mod buckets;
mod by_id;
mod cancellations;
mod carts;
mod coupons;
mod customers;
mod deliveries;
mod digests;
mod events;
mod first_orders;
mod keys;
mod orders;
mod payments;
mod problems;
mod purchases;
mod recount;
mod sales;
mod stock;
#[cfg(test)]
mod tests;
mod tokens;
mod wallet;

pub use problems::Problem;
use problems::Problems;

/// The result of an audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditReport {
    /// True if there are no problems.
    pub ok: bool,
    /// The number of rows that were checked, by table.
    pub checked: BTreeMap<&'static str, u64>,
    /// The violated invariants. When one check finds more than ten thousand problems, the first ones are listed and the
    /// others counted.
    pub problems: Vec<Problem>,
}

/// One concern of the audit.
trait Check {
    /// Checks a row. Rows come table by table in the order of [`Table::ALL`], each table in the order of its key.
    fn visit(&mut self, record: &Record, problems: &mut Problems);

    /// Reports the problems that are known only after the last row.
    fn finish(&mut self, _problems: &mut Problems) {}

    /// Returns a check for a second pass over [`SECOND_PASS`], which locates the problems that this one detected.
    fn second_pass(&self) -> Option<Box<dyn Check>> {
        None
    }
}

/// The tables that are read a second time when a check asks for it.
const SECOND_PASS: [Table; 2] = [Table::Orders, Table::Sales];

type Scan<'a> = dyn Fn(Table, &mut dyn FnMut(Record)) -> Result<(), StoreError> + 'a;
type Counts = BTreeMap<&'static str, u64>;

fn checks(sales_levels: Vec<SalesLevel>) -> Vec<Box<dyn Check>> {
    vec![
        Box::new(wallet::Wallet::default()),
        Box::new(stock::StockLevels::default()),
        Box::new(carts::Carts::default()),
        Box::new(coupons::Coupons::default()),
        Box::new(orders::Orders::default()),
        Box::new(cancellations::Cancellations::default()),
        Box::new(purchases::Purchases::default()),
        Box::new(first_orders::FirstOrders::default()),
        Box::new(payments::Payments::default()),
        Box::new(events::Events::default()),
        Box::new(deliveries::Deliveries::default()),
        Box::new(keys::Keys::default()),
        Box::new(digests::Digests::default()),
        Box::new(tokens::Tokens::default()),
        Box::new(audit_trail::AuditTrail::default()),
        Box::new(customers::Customers::default()),
        Box::new(sales::Sales::new(sales_levels)),
    ]
}

/// Runs all checks on a snapshot.
pub(crate) fn audit(snapshot: &dyn Snapshot) -> Result<AuditReport, StoreError> {
    let mut problems = Problems::default();
    let mut checked = Counts::new();
    match run_checks(snapshot, &mut problems, &mut checked) {
        // An unreadable store is a problem like others; the audit ends there.
        Err(StoreError::Corrupt(detail)) => {
            problems.add("integrity", "store".to_owned(), detail);
        }
        result => result?,
    }
    let problems = problems.into_list();
    Ok(AuditReport { ok: problems.is_empty(), checked, problems })
}

fn run_checks(
    snapshot: &dyn Snapshot,
    problems: &mut Problems,
    checked: &mut Counts,
) -> Result<(), StoreError> {
    for message in snapshot.integrity()? {
        problems.add("integrity", "store".to_owned(), message);
    }
    let scan = |table: Table, visit: &mut dyn FnMut(Record)| snapshot.scan(table, visit);
    *checked = check_tables(&scan, snapshot.sales_levels()?, problems)?;
    Ok(())
}

fn check_tables(
    scan: &Scan<'_>,
    sales_levels: Vec<SalesLevel>,
    problems: &mut Problems,
) -> Result<Counts, StoreError> {
    let mut first = checks(sales_levels);
    let mut checked = Counts::new();
    if !run_pass(scan, &Table::ALL, &mut first, problems, &mut checked)? {
        return Ok(checked);
    }
    let mut second: Vec<_> = first.iter().filter_map(|check| check.second_pass()).collect();
    drop(first);
    if !second.is_empty() {
        run_pass(scan, &SECOND_PASS, &mut second, problems, &mut Counts::new())?;
    }
    Ok(checked)
}

/// Passes every row of the tables to the checks. Returns false if a row could not be read: that is a problem like
/// others, but the checks then know too little to report more.
fn run_pass(
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
                check.visit(&record, problems);
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
