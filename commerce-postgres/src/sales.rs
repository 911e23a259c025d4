//! Units sold: what `store::sales` says of their rows, in PostgreSQL.

use crate::connection::{Connection, Query};
use crate::error::Failure;
use crate::rows::Row;
use commerce_core::store::Sale;
use commerce_core::store::sales_rollup::{
    self, AffectedBuckets, Buckets, Ranking, RollupWatermarks,
};
use commerce_core::{ProductId, StoreError, Timestamp};

pub(crate) fn select_closed() -> Query<'static> {
    Query::new("SELECT minutes, hours, days FROM sales_closed WHERE id = 1")
}

pub(crate) fn closed(rows: &[Row]) -> Result<RollupWatermarks, StoreError> {
    let missing = || StoreError::Corrupt("the row of sales_closed is missing".to_owned());
    let row = rows.first().ok_or_else(missing)?;
    let column = |column| row.try_get(column).map_err(|error| unread(&error));
    Ok(sales_rollup::closed([column(0)?, column(1)?, column(2)?]))
}

fn unread(error: &tokio_postgres::Error) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

/// What reads the rows that counting sales needs, in two statements at most.
pub(crate) fn select_touched(touched: &AffectedBuckets) -> Vec<Query<'static>> {
    let sql = "SELECT id, counts FROM sales WHERE id = ANY($1::bigint[])";
    let mut steps = vec![Query::new(sql).with(touched.rows.clone())];
    if !touched.ranges.is_empty() {
        steps.push(select_ranges(touched.ranges.clone()));
    }
    steps
}

fn select_ranges(ranges: Vec<std::ops::Range<i64>>) -> Query<'static> {
    let (from, to): (Vec<i64>, Vec<i64>) =
        ranges.into_iter().map(|range| (range.start, range.end)).unzip();
    let sql = "SELECT found.* FROM unnest($1::bigint[], $2::bigint[]) AS wanted (first, until)
               CROSS JOIN LATERAL (
                   SELECT id, counts FROM sales WHERE id >= first AND id < until OFFSET 0
               ) AS found";
    Query::new(sql).with(from).with(to)
}

/// What writes these sales, given the rows that were read, and how far sales are closed then.
pub(crate) fn count(
    closed: RollupWatermarks,
    sold: &[Sale],
    read: &[Vec<Row>],
) -> Result<(Vec<Query<'static>>, RollupWatermarks), StoreError> {
    let mut buckets = Buckets::new();
    for row in read.iter().flatten() {
        let id = row.try_get(0).map_err(|error| unread(&error))?;
        buckets.insert(id, row.try_get(1).map_err(|error| unread(&error))?);
    }
    let changed = sales_rollup::changed(closed, sold, buckets)?;
    let (gone, kept): (Vec<_>, Vec<_>) =
        changed.rows.into_iter().partition(|(_, counts)| counts.is_empty());
    let mut steps = Vec::new();
    if !kept.is_empty() {
        let (ids, counts): (Vec<i64>, Vec<Vec<u8>>) = kept.into_iter().unzip();
        let sql = "INSERT INTO sales (id, counts) SELECT * FROM unnest($1::bigint[], $2::bytea[])
                   ON CONFLICT (id) DO UPDATE SET counts = excluded.counts";
        let rows = ids.len();
        steps.push(Query::new(sql).with(ids).with(counts).changing(rows));
    }
    if !gone.is_empty() {
        let ids: Vec<i64> = gone.into_iter().map(|(id, _)| id).collect();
        steps.push(Query::new("DELETE FROM sales WHERE id = ANY($1::bigint[])").with(ids));
    }
    let mut now_closed = closed;
    if let Some([minutes, hours, days]) = changed.closed {
        now_closed = sales_rollup::closed([minutes, hours, days]);
        let sql = "UPDATE sales_closed SET minutes = $1, hours = $2, days = $3 WHERE id = 1";
        steps.push(Query::new(sql).with(minutes).with(hours).with(days).changing(1));
    }
    Ok((steps, now_closed))
}

/// The products that sold most in `(after, until]`: most units first, ties by id.
pub(crate) fn best_sellers(
    connection: &mut Connection,
    after: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<(ProductId, i64)>, StoreError> {
    let newest = Query::new("SELECT id FROM sales WHERE id < $1 ORDER BY id DESC LIMIT 1");
    let newest = newest.with(sales_rollup::seconds_rows().end);
    let rows = connection.execute(&[select_closed(), newest]).map_err(Failure::before_commit)?;
    let closed = closed(rows.first().map(Vec::as_slice).unwrap_or_default())?;
    let newest = rows.get(1).and_then(|rows| rows.first());
    let newest = newest.map(|row| row.try_get(0).map_err(|error| unread(&error))).transpose()?;
    let ranges = sales_rollup::window(after, until, newest, closed);
    let read = connection.execute(&[select_ranges(ranges)]).map_err(Failure::before_commit)?;
    let mut ranking = Ranking::default();
    for row in read.iter().flatten() {
        ranking.add(row.try_get(1).map_err(|error| unread(&error))?)?;
    }
    Ok(ranking.top(limit))
}
