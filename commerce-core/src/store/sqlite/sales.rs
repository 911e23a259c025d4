//! The sales roll-up in SQLite: reading and writing the rows of [`sales_rollup`].

use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::ProductId;
use crate::state::Sale;
use crate::store::sales_rollup::{self, Buckets, Ranking, RollupWatermarks};
use crate::store::{Record, SalesLevel};
use rusqlite::{Connection, OptionalExtension, params};
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

/// Adds units sold, and subtracts units returned.
pub(super) fn apply(db: &Connection, sales: &[Sale]) -> Result<(), StoreError> {
    if sales.is_empty() {
        return Ok(());
    }
    let watermarks = watermarks(db)?;
    let affected = sales_rollup::affected(watermarks, sales);
    let mut buckets = Buckets::new();
    let mut select = db.prepare_cached("SELECT counts FROM sales WHERE id = ?1")?;
    for id in affected.rows {
        let counts: Option<Vec<u8>> = select.query_row([id], |row| row.get(0)).optional()?;
        buckets.extend(counts.map(|counts| (id, counts)));
    }
    each(db, &affected.ranges, |id, counts| {
        buckets.insert(id, counts.to_owned());
        Ok(())
    })?;
    let changes = sales_rollup::count(watermarks, sales, buckets)?;
    for (id, counts) in changes.rows {
        write(db, id, &counts)?;
    }
    if let Some(watermarks) = changes.watermarks {
        db.prepare_cached("UPDATE sales_closed SET minutes = ?1, hours = ?2, days = ?3")?
            .execute(watermarks)?;
    }
    Ok(())
}

fn write(db: &Connection, id: i64, counts: &[u8]) -> Result<(), StoreError> {
    if counts.is_empty() {
        db.prepare_cached("DELETE FROM sales WHERE id = ?1")?.execute([id])?;
    } else {
        let sql = "INSERT INTO sales (id, counts) VALUES (?1, ?2)
                   ON CONFLICT DO UPDATE SET counts = excluded.counts";
        db.prepare_cached(sql)?.execute(params![id, counts])?;
    }
    Ok(())
}

/// Visits the rows in some ranges of ids.
fn each(
    db: &Connection,
    ranges: &[Range<i64>],
    mut visit: impl FnMut(i64, &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    if ranges.is_empty() {
        return Ok(());
    }
    let sql = "SELECT id, counts FROM sales WHERE id >= ?1 AND id < ?2 ORDER BY id";
    let mut select = db.prepare_cached(sql)?;
    for range in ranges {
        let mut rows = select.query([range.start, range.end])?;
        while let Some(row) = rows.next()? {
            let counts = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            visit(row.get(0)?, counts)?;
        }
    }
    Ok(())
}

/// Returns the best-selling products of `(after, until]`: most units first, ties by id.
pub(super) fn best_sellers(
    db: &Connection,
    after: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<(ProductId, i64)>, StoreError> {
    let seconds = sales_rollup::seconds_rows();
    let mut select = db.prepare_cached("SELECT max(id) FROM sales WHERE id < ?1")?;
    let newest: Option<i64> = select.query_row([seconds.end], |row| row.get(0))?;
    let mut ranking = Ranking::default();
    let ranges = sales_rollup::window(after, until, newest, watermarks(db)?);
    each(db, &ranges, |_, counts| ranking.add(counts))?;
    Ok(ranking.top(limit))
}

/// Visits every count of every bucket, for the audit.
pub(super) fn scan(db: &Connection, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
    let all = Range { start: 0, end: i64::MAX };
    each(db, &[all], |id, counts| sales_rollup::visit_counts(id, counts, visit))
}
