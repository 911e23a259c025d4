//! Reports: statistics of sales, products, stock, coupons and balances, each from one snapshot.
//!
//! A report is built from [facts](Facts). [`Counted`](counted::Counted) reads those that were counted in the commits
//! themselves, whatever the size of the history; [`Recounted`](recounted::Recounted) counts them again from orders,
//! lines, movements and ledger. A proof builds the report from both and compares them.

use crate::clock::Timestamp;
use crate::error::{Error, StoreError};
use crate::id::ProductId;
use crate::model::coupon::{Coupon, CouponUsage};
use crate::model::product::Product;
use crate::model::sale::{Figures, Sold};
use crate::store::{Record, Snapshot, Table};
use counted::Counted;
use recounted::Recounted;
use sealed::Build;
use serde::Serialize;
use serde_json::Value;

pub(crate) mod balances;
mod counted;
pub(crate) mod coupons;
pub(crate) mod csv;
pub(crate) mod products;
mod recounted;
pub(crate) mod sales;
mod sealed;
pub(crate) mod stock;
pub(crate) mod window;

/// A request for a report. Only the request types of this crate implement it.
pub trait ReportRequest: Build {}

impl<R: Build> ReportRequest for R {}

/// A report that was counted again from orders, lines, movements and ledger, on the same snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Proof<R> {
    /// The report.
    pub report: R,
    /// Each value that another count gives; empty if both agree.
    pub differences: Vec<Difference>,
}

/// A value of a report that another count does not give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The place of the value in the report (JSON pointer).
    pub pointer: String,
    /// The value in the report.
    pub reported: Value,
    /// The value counted again.
    pub recounted: Value,
}

/// A snapshot, with the instant and the zone that a report uses by default.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The snapshot.
    pub snapshot: &'a dyn Snapshot,
    /// The present instant.
    pub now: Timestamp,
}

/// The products sold in a window, by id.
type Products = Vec<(ProductId, Sold)>;

/// The sales of a product: nothing unless it is among the products.
fn sold(products: &[(ProductId, Sold)], product: ProductId) -> Sold {
    let found = products.binary_search_by_key(&product, |(id, _)| *id).ok();
    found.and_then(|index| products.get(index)).map(|(_, sold)| *sold).unwrap_or_default()
}

/// The counts that reports consist of.
pub trait Facts {
    /// Returns the figures of each `(edges[i], edges[i + 1]]`.
    fn totals(&self, edges: &[Timestamp]) -> Result<Vec<Figures>, StoreError>;
    /// Returns the products sold in `(after, until]`.
    fn products(&self, after: Timestamp, until: Timestamp) -> Result<Products, StoreError>;
    /// Returns the units of a product in stock.
    fn stock(&self, product: &Product) -> Result<i64, StoreError>;
    /// Returns the number of coupons that a campaign has issued.
    fn issued(&self, coupon: &Coupon) -> Result<i64, StoreError>;
    /// Returns the use of a campaign's coupons.
    fn coupon_usage(&self, coupon: &Coupon) -> Result<CouponUsage, StoreError>;
    /// Returns the sums of all balances at an instant.
    fn balances(&self, at: Timestamp) -> Result<balances::Sums, StoreError>;
}

/// Builds a report.
pub(crate) fn report<R: ReportRequest>(
    request: &R,
    source: Source<'_>,
) -> Result<R::Report, Error> {
    request.build(source, &Counted(source.snapshot))
}

/// Builds a report twice and compares both.
pub(crate) fn prove<R: ReportRequest>(
    request: &R,
    source: Source<'_>,
) -> Result<Proof<R::Report>, Error> {
    let report = request.build(source, &Counted(source.snapshot))?;
    let recounted = request.build(source, &Recounted::new(source.snapshot))?;
    let mut differences = Vec::new();
    compare("", &json(&report)?, &json(&recounted)?, &mut differences);
    Ok(Proof { report, differences })
}

fn json(report: &impl Serialize) -> Result<Value, StoreError> {
    serde_json::to_value(report).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Adds each difference between two values.
fn compare(pointer: &str, one: &Value, other: &Value, differences: &mut Vec<Difference>) {
    let null = &Value::Null;
    match (one, other) {
        (Value::Object(ones), Value::Object(others)) => {
            // Both are written from the same struct.
            for (name, one) in ones {
                let other = others.get(name).unwrap_or(null);
                compare(&format!("{pointer}/{name}"), one, other, differences);
            }
        }
        (Value::Array(ones), Value::Array(others)) => {
            for index in 0..ones.len().max(others.len()) {
                let one = ones.get(index).unwrap_or(null);
                let other = others.get(index).unwrap_or(null);
                compare(&format!("{pointer}/{index}"), one, other, differences);
            }
        }
        (one, other) if one != other => differences.push(Difference {
            pointer: pointer.to_owned(),
            reported: one.clone(),
            recounted: other.clone(),
        }),
        _ => {}
    }
}

/// Visits the rows of a table.
fn visit(
    snapshot: &dyn Snapshot,
    table: Table,
    mut each: impl FnMut(Record),
) -> Result<(), StoreError> {
    snapshot.scan(table, &mut each)
}

/// A part of a whole in basis points (hundredths of a percent), rounded down; zero of nothing.
fn basis_points(part: i64, whole: i64) -> i64 {
    let share = i128::from(part).saturating_mul(10_000).checked_div(i128::from(whole));
    i64::try_from(share.unwrap_or(0)).unwrap_or(0)
}
