//! The sales roll-up in PostgreSQL: reading and writing the rows of [`sales_rollup`].

use crate::connection::Connection;
use crate::error::Failure;
use crate::query::Query;
use crate::rows::{Row, lines, read, select_lines};
use commerce_core::store::columns::Entity;
use commerce_core::store::deliveries::no_store;
use commerce_core::store::sales_rollup::{
    self, AffectedBuckets, BucketRow, Buckets, ProductSums, Ranking, RollupWatermarks, Totals,
};
use commerce_core::store::values::get;
use commerce_core::store::{Figures, Sale, Sold};
use commerce_core::{Order, OrderId, OrderLine, ProductId, StoreError, Timestamp};
use std::collections::BTreeMap;
use std::ops::Range;

pub(crate) fn select_watermarks() -> Query<'static> {
    Query::new("SELECT minutes, hours, days FROM store WHERE id = 1")
}

pub(crate) fn watermarks(rows: &[Row]) -> Result<RollupWatermarks, StoreError> {
    read_watermarks(rows.first().ok_or_else(no_store)?, 0)
}

/// Reads the watermarks from a row, in which they begin at a column.
pub(crate) fn read_watermarks(row: &Row, first: usize) -> Result<RollupWatermarks, StoreError> {
    let column =
        |column: usize| row.try_get(first.saturating_add(column)).map_err(|error| corrupt(&error));
    Ok(sales_rollup::watermarks([column(0)?, column(1)?, column(2)?]))
}

fn corrupt(error: &tokio_postgres::Error) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

/// Selects the rows that counting sales needs, in at most two statements.
pub(crate) fn select_affected(buckets: &AffectedBuckets) -> Vec<Query<'static>> {
    let sql = format!("SELECT {BUCKET} FROM sales WHERE id = ANY($1::bigint[])");
    let mut queries = vec![Query::new(sql).with(buckets.rows.clone())];
    if !buckets.ranges.is_empty() {
        queries.push(select_ranges(BUCKET, buckets.ranges.clone()));
    }
    queries
}

/// The columns that [`bucket`] reads.
pub(crate) const BUCKET: &str = "id, totals, units, net";

/// Reads a row of [`BUCKET`].
pub(crate) fn bucket(row: &Row) -> Result<(i64, BucketRow), StoreError> {
    let id = row.try_get(0).map_err(|error| corrupt(&error))?;
    let (totals, units, net) = (bytes(row, 1)?, bytes(row, 2)?, bytes(row, 3)?);
    Ok((id, BucketRow { totals: totals.to_vec(), units: units.to_vec(), net: net.to_vec() }))
}

fn bytes(row: &Row, column: usize) -> Result<&[u8], StoreError> {
    row.try_get(column).map_err(|error| corrupt(&error))
}

/// Selects columns of the rows in some ranges.
fn select_ranges(columns: &str, ranges: Vec<Range<i64>>) -> Query<'static> {
    let (from, to): (Vec<i64>, Vec<i64>) =
        ranges.into_iter().map(|range| (range.start, range.end)).unzip();
    let sql = format!(
        "SELECT part.* FROM unnest($1::bigint[], $2::bigint[]) AS wanted (first, until)
         CROSS JOIN LATERAL (
             SELECT {columns} FROM sales WHERE id >= first AND id < until OFFSET 0
         ) AS part"
    );
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
        buckets.extend([bucket(row)?]);
    }
    let changed = sales_rollup::count(watermarks, sales, buckets)?;
    let (empty, kept): (Vec<_>, Vec<_>) =
        changed.rows.into_iter().partition(|(_, row)| row.is_empty());
    let mut queries = Vec::new();
    if !kept.is_empty() {
        let (ids, rows): (Vec<i64>, Vec<BucketRow>) = kept.into_iter().unzip();
        let sql = format!(
            "INSERT INTO sales ({BUCKET})
             SELECT unnest($1::bigint[]), unnest($2::bytea[]), unnest($3::bytea[]), unnest($4::bytea[])
             ON CONFLICT (id) DO UPDATE
             SET totals = excluded.totals, units = excluded.units, net = excluded.net"
        );
        let count = ids.len();
        let column = |of: fn(&BucketRow) -> &Vec<u8>| -> Vec<Vec<u8>> {
            rows.iter().map(|row| of(row).clone()).collect()
        };
        let query = Query::new(sql).with(ids).with(column(|row| &row.totals));
        let query = query.with(column(|row| &row.units)).with(column(|row| &row.net));
        queries.push(query.writing("sales").inserting(count));
    }
    if !empty.is_empty() {
        let ids: Vec<i64> = empty.into_iter().map(|(id, _)| id).collect();
        queries.push(Query::new("DELETE FROM sales WHERE id = ANY($1::bigint[])").with(ids));
    }
    let mut new_watermarks = watermarks;
    if let Some([minutes, hours, days]) = changed.watermarks {
        new_watermarks = sales_rollup::watermarks([minutes, hours, days]);
        let sql = "UPDATE store SET minutes = $1, hours = $2, days = $3 WHERE id = 1";
        let update = Query::new(sql).with(minutes).with(hours).with(days);
        queries.push(update.writing("store").changing(1));
    }
    Ok((queries, new_watermarks))
}

/// Selects these columns of the rows that add up to the products sold in `(after, until]`.
fn select_window(
    connection: &mut Connection,
    columns: &str,
    after: Timestamp,
    until: Timestamp,
) -> Result<Vec<Row>, StoreError> {
    let newest = Query::new("SELECT id FROM sales WHERE id < $1 ORDER BY id DESC LIMIT 1");
    let newest = newest.with(sales_rollup::seconds_rows().end);
    let rows =
        connection.execute(&[select_watermarks(), newest]).map_err(Failure::before_commit)?;
    let watermarks = watermarks(rows.first().map(Vec::as_slice).unwrap_or_default())?;
    let newest = rows.get(1).and_then(|rows| rows.first());
    let newest = newest.map(|row| row.try_get(0).map_err(|error| corrupt(&error))).transpose()?;
    let ranges = sales_rollup::window(after, until, newest, watermarks);
    select_rows(connection, columns, ranges)
}

fn select_rows(
    connection: &mut Connection,
    columns: &str,
    ranges: Vec<Range<i64>>,
) -> Result<Vec<Row>, StoreError> {
    let query = select_ranges(columns, ranges);
    let read = connection.execute(&[query]).map_err(Failure::before_commit)?;
    Ok(read.into_iter().flatten().collect())
}

/// Returns the best-selling products of `(after, until]`: most units first, ties by id.
pub(crate) fn best_sellers(
    connection: &mut Connection,
    after: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<(ProductId, i64)>, StoreError> {
    let mut ranking = Ranking::default();
    for row in select_window(connection, "units", after, until)? {
        ranking.add(bytes(&row, 0)?)?;
    }
    Ok(ranking.top(limit))
}

/// Returns the products sold in `(after, until]`.
pub(crate) fn products(
    connection: &mut Connection,
    after: Timestamp,
    until: Timestamp,
) -> Result<Vec<(ProductId, Sold)>, StoreError> {
    let mut sums = ProductSums::default();
    for row in select_window(connection, "units, net", after, until)? {
        sums.add(bytes(&row, 0)?, bytes(&row, 1)?)?;
    }
    Ok(sums.into_products())
}

/// Returns the figures of each `(edges[i], edges[i + 1]]`.
pub(crate) fn totals(
    connection: &mut Connection,
    edges: &[Timestamp],
) -> Result<Vec<Figures>, StoreError> {
    let rows = connection.execute(&[select_watermarks()]).map_err(Failure::before_commit)?;
    let watermarks = watermarks(rows.first().map(Vec::as_slice).unwrap_or_default())?;
    let mut totals = Totals::new(edges, watermarks);
    let ranges = totals.ranges();
    for row in select_rows(connection, "id, totals", ranges)? {
        let id = row.try_get(0).map_err(|error| corrupt(&error))?;
        totals.add(id, bytes(&row, 1)?)?;
    }
    Ok(totals.into_figures())
}

/// Counts the sales of all orders in an empty roll-up. Its watermarks stay, so that old sales count at every level.
pub(crate) fn recount(connection: &mut Connection) -> Result<(), StoreError> {
    let rows = connection.execute(&[select_watermarks()]).map_err(Failure::before_commit)?;
    let mut watermarks = watermarks(rows.first().map(Vec::as_slice).unwrap_or_default())?;
    let mut first = 1_i64;
    while let Some(next) = recount_orders(connection, first, &mut watermarks)? {
        first = next;
    }
    Ok(())
}

/// The number of orders that a migration counts at once.
const RECOUNT_ORDERS: i64 = 1_000;

/// Counts orders from one on, and returns the next one.
fn recount_orders(
    connection: &mut Connection,
    first: i64,
    watermarks: &mut RollupWatermarks,
) -> Result<Option<i64>, StoreError> {
    let columns: Vec<String> =
        Order::SELECT.split(", ").map(|column| format!("orders.{column}")).collect();
    let select = format!(
        "SELECT {}, coalesce(first_order = orders.id, false)::int::bigint
         FROM orders JOIN customers ON customers.id = customer_id
         WHERE orders.id >= $1 ORDER BY orders.id LIMIT $2",
        columns.join(", ")
    );
    let select = Query::new(select).with(first).with(RECOUNT_ORDERS);
    let rows = connection.execute(&[select]).map_err(Failure::before_commit)?;
    let mut orders = Vec::new();
    for row in rows.iter().flatten() {
        let is_first: i64 = get(row, row.0.len().saturating_sub(1))?;
        orders.push((read::<Order>(row)?, is_first == 1));
    }
    let Some((last, _)) = orders.last() else { return Ok(None) };
    let next = last.id.get().saturating_add(1);
    let ids: Vec<i64> = orders.iter().map(|(order, _)| order.id.get()).collect();
    let select = Query::new(select_lines()).with(ids);
    let rows = connection.execute(&[select]).map_err(Failure::before_commit)?;
    let mut by_id: BTreeMap<OrderId, Vec<OrderLine>> = BTreeMap::new();
    for rows in &rows {
        lines(rows, |id, line| by_id.entry(id).or_default().push(line))?;
    }
    let mut sales = Vec::new();
    for (mut order, is_first) in orders {
        order.lines = by_id.remove(&order.id).unwrap_or_default();
        sales.extend(Sale::all_of(&order, is_first));
    }
    if sales.is_empty() {
        return Ok(Some(next));
    }
    let affected = select_affected(&sales_rollup::affected(*watermarks, &sales));
    let rows = connection.execute(&affected).map_err(Failure::before_commit)?;
    let (queries, counted) = count(*watermarks, &sales, &rows)?;
    connection.execute(&queries).map_err(Failure::before_commit)?;
    *watermarks = counted;
    Ok(Some(next))
}
