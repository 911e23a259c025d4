//! The sales roll-up in SQLite: reading and writing the rows of [`sales_rollup`].

use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::ProductId;
use crate::model::sale::{Figures, Sale, Sold};
use crate::store::sales_rollup::{
    self, BucketRow, Buckets, ProductSums, Ranking, RollupWatermarks, Totals,
};
use crate::store::{Record, SalesLevel};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::ops::Range;

fn watermarks(db: &Connection) -> Result<RollupWatermarks, StoreError> {
    let mut select = db.prepare_cached("SELECT minutes, hours, days FROM sales_closed")?;
    let kept = select.query_row([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))?;
    Ok(sales_rollup::watermarks(kept))
}

/// Returns the levels for the audit.
pub(super) fn levels(db: &Connection) -> Result<Vec<SalesLevel>, StoreError> {
    watermarks(db).map(sales_rollup::levels)
}

/// Counts sales.
pub(super) fn apply(db: &Connection, sales: &[Sale]) -> Result<(), StoreError> {
    if sales.is_empty() {
        return Ok(());
    }
    let watermarks = watermarks(db)?;
    let affected = sales_rollup::affected(watermarks, sales);
    let mut buckets = Buckets::new();
    let mut select = db.prepare_cached("SELECT id, totals, units, net FROM sales WHERE id = ?1")?;
    for id in affected.rows {
        buckets.extend(select.query_row([id], bucket).optional()?);
    }
    each(db, "totals, units, net", &affected.ranges, |row| {
        buckets.extend([bucket(row)?]);
        Ok(())
    })?;
    let changes = sales_rollup::count(watermarks, sales, buckets)?;
    for (id, row) in changes.rows {
        write(db, id, &row)?;
    }
    if let Some(watermarks) = changes.watermarks {
        db.prepare_cached("UPDATE sales_closed SET minutes = ?1, hours = ?2, days = ?3")?
            .execute(watermarks)?;
    }
    Ok(())
}

fn bucket(row: &Row<'_>) -> rusqlite::Result<(i64, BucketRow)> {
    let (totals, units, net) = (row.get(1)?, row.get(2)?, row.get(3)?);
    Ok((row.get(0)?, BucketRow { totals, units, net }))
}

fn write(db: &Connection, id: i64, row: &BucketRow) -> Result<(), StoreError> {
    if row.is_empty() {
        db.prepare_cached("DELETE FROM sales WHERE id = ?1")?.execute([id])?;
    } else {
        let sql = "INSERT INTO sales (id, totals, units, net) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT DO UPDATE
                   SET totals = excluded.totals, units = excluded.units, net = excluded.net";
        db.prepare_cached(sql)?.execute(params![id, row.totals, row.units, row.net])?;
    }
    Ok(())
}

/// Visits the rows in some ranges of ids: the id and these columns.
fn each(
    db: &Connection,
    columns: &str,
    ranges: &[Range<i64>],
    mut visit: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    if ranges.is_empty() {
        return Ok(());
    }
    let sql = format!("SELECT id, {columns} FROM sales WHERE id >= ?1 AND id < ?2 ORDER BY id");
    let mut select = db.prepare_cached(&sql)?;
    for range in ranges {
        let mut rows = select.query([range.start, range.end])?;
        while let Some(row) = rows.next()? {
            visit(row)?;
        }
    }
    Ok(())
}

/// Returns the counts in a column.
fn blob<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a [u8], StoreError> {
    Ok(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)
}

/// Returns the rows that add up to the products sold in `(after, until]`.
fn window(
    db: &Connection,
    after: Timestamp,
    until: Timestamp,
) -> Result<Vec<Range<i64>>, StoreError> {
    let seconds = sales_rollup::seconds_rows();
    let mut select = db.prepare_cached("SELECT max(id) FROM sales WHERE id < ?1")?;
    let newest: Option<i64> = select.query_row([seconds.end], |row| row.get(0))?;
    Ok(sales_rollup::window(after, until, newest, watermarks(db)?))
}

/// Returns the best-selling products of `(after, until]`: most units first, ties by id.
pub(super) fn best_sellers(
    db: &Connection,
    after: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<(ProductId, i64)>, StoreError> {
    let mut ranking = Ranking::default();
    each(db, "units", &window(db, after, until)?, |row| ranking.add(blob(row, 1)?))?;
    Ok(ranking.top(limit))
}

/// Returns the products sold in `(after, until]`.
pub(super) fn products(
    db: &Connection,
    after: Timestamp,
    until: Timestamp,
) -> Result<Vec<(ProductId, Sold)>, StoreError> {
    let mut sums = ProductSums::default();
    let ranges = window(db, after, until)?;
    each(db, "units, net", &ranges, |row| sums.add(blob(row, 1)?, blob(row, 2)?))?;
    Ok(sums.into_products())
}

/// Returns the figures of each `(edges[i], edges[i + 1]]`.
pub(super) fn totals(db: &Connection, edges: &[Timestamp]) -> Result<Vec<Figures>, StoreError> {
    let mut totals = Totals::new(edges, watermarks(db)?);
    let ranges = totals.ranges();
    each(db, "totals", &ranges, |row| totals.add(row.get(0)?, blob(row, 1)?))?;
    Ok(totals.into_figures())
}

/// Visits every count of every bucket, for the audit.
pub(super) fn scan(db: &Connection, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
    let all = Range { start: 0, end: i64::MAX };
    each(db, "totals, units, net", &[all], |row| {
        let (id, row) = bucket(row)?;
        sales_rollup::visit_counts(id, &row, visit)
    })
}
