//! The sales roll-up in PostgreSQL: reading and writing the rows of [`sales_rollup`].

use crate::connection::Connection;
use crate::error::Failure;
use crate::query::Query;
use crate::rows::Row;
use commerce_core::store::Sale;
use commerce_core::store::sales_rollup::{
    self, AffectedBuckets, Buckets, Ranking, RollupWatermarks,
};
use commerce_core::{ProductId, StoreError, Timestamp};

pub(crate) fn select_watermarks() -> Query<'static> {
    Query::new("SELECT minutes, hours, days FROM sales_closed WHERE id = 1")
}

pub(crate) fn watermarks(rows: &[Row]) -> Result<RollupWatermarks, StoreError> {
    let missing = || StoreError::Corrupt("the row of sales_closed is missing".to_owned());
    let row = rows.first().ok_or_else(missing)?;
    let column = |column| row.try_get(column).map_err(|error| corrupt(&error));
    Ok(sales_rollup::watermarks([column(0)?, column(1)?, column(2)?]))
}

fn corrupt(error: &tokio_postgres::Error) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

/// Selects the rows that counting sales needs, in at most two statements.
pub(crate) fn select_affected(buckets: &AffectedBuckets) -> Vec<Query<'static>> {
    let sql = "SELECT id, counts FROM sales WHERE id = ANY($1::bigint[])";
    let mut queries = vec![Query::new(sql).with(buckets.rows.clone())];
    if !buckets.ranges.is_empty() {
        queries.push(select_ranges(buckets.ranges.clone()));
    }
    queries
}

fn select_ranges(ranges: Vec<std::ops::Range<i64>>) -> Query<'static> {
    let (from, to): (Vec<i64>, Vec<i64>) =
        ranges.into_iter().map(|range| (range.start, range.end)).unzip();
    let sql = "SELECT part.* FROM unnest($1::bigint[], $2::bigint[]) AS wanted (first, until)
               CROSS JOIN LATERAL (
                   SELECT id, counts FROM sales WHERE id >= first AND id < until OFFSET 0
               ) AS part";
    Query::new(sql).with(from).with(to)
}

/// Returns the statements that count sales, given the rows that were read, and the new watermarks.
pub(crate) fn count(
    watermarks: RollupWatermarks,
    sales: &[Sale],
    read: &[Vec<Row>],
) -> Result<(Vec<Query<'static>>, RollupWatermarks), StoreError> {
    let mut buckets = Buckets::new();
    for row in read.iter().flatten() {
        let id = row.try_get(0).map_err(|error| corrupt(&error))?;
        buckets.insert(id, row.try_get(1).map_err(|error| corrupt(&error))?);
    }
    let changed = sales_rollup::count(watermarks, sales, buckets)?;
    let (empty, kept): (Vec<_>, Vec<_>) =
        changed.rows.into_iter().partition(|(_, counts)| counts.is_empty());
    let mut queries = Vec::new();
    if !kept.is_empty() {
        let (ids, counts): (Vec<i64>, Vec<Vec<u8>>) = kept.into_iter().unzip();
        let sql = "INSERT INTO sales (id, counts) SELECT * FROM unnest($1::bigint[], $2::bytea[])
                   ON CONFLICT (id) DO UPDATE SET counts = excluded.counts";
        let rows = ids.len();
        queries.push(Query::new(sql).with(ids).with(counts).changing(rows));
    }
    if !empty.is_empty() {
        let ids: Vec<i64> = empty.into_iter().map(|(id, _)| id).collect();
        queries.push(Query::new("DELETE FROM sales WHERE id = ANY($1::bigint[])").with(ids));
    }
    let mut new_watermarks = watermarks;
    if let Some([minutes, hours, days]) = changed.watermarks {
        new_watermarks = sales_rollup::watermarks([minutes, hours, days]);
        let sql = "UPDATE sales_closed SET minutes = $1, hours = $2, days = $3 WHERE id = 1";
        queries.push(Query::new(sql).with(minutes).with(hours).with(days).changing(1));
    }
    Ok((queries, new_watermarks))
}

/// Returns the best-selling products of `(after, until]`: most units first, ties by id.
pub(crate) fn best_sellers(
    connection: &mut Connection,
    after: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<(ProductId, i64)>, StoreError> {
    let newest = Query::new("SELECT id FROM sales WHERE id < $1 ORDER BY id DESC LIMIT 1");
    let newest = newest.with(sales_rollup::seconds_rows().end);
    let rows =
        connection.execute(&[select_watermarks(), newest]).map_err(Failure::before_commit)?;
    let watermarks = watermarks(rows.first().map(Vec::as_slice).unwrap_or_default())?;
    let newest = rows.get(1).and_then(|rows| rows.first());
    let newest = newest.map(|row| row.try_get(0).map_err(|error| corrupt(&error))).transpose()?;
    let ranges = sales_rollup::window(after, until, newest, watermarks);
    let read = connection.execute(&[select_ranges(ranges)]).map_err(Failure::before_commit)?;
    let mut ranking = Ranking::default();
    for row in read.iter().flatten() {
        ranking.add(row.try_get(1).map_err(|error| corrupt(&error))?)?;
    }
    Ok(ranking.top(limit))
}
