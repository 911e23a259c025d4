//! The server's part of the audit: every index leads to the rows of its table.

use crate::connection::{Connection, Query};
use crate::error::Failure;
use crate::rows::Row;
use commerce_core::StoreError;
use commerce_core::store::columns::{WRONG_PAYMENTS, get, wrong_payment};
use std::time::Duration;

/// How long a table may take to be counted: any that a server holds, and not for ever.
const TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// The indexes with their tables, their columns, and the rows they hold.
const INDEXES: &str = "
    SELECT index.oid::regclass::text, indrelid::regclass::text,
           coalesce(pg_get_expr(indpred, indrelid), 'true'),
           (SELECT string_agg(quote_ident(attname), ', ' ORDER BY target)
            FROM unnest(indkey) WITH ORDINALITY AS part (number, target)
            JOIN pg_attribute ON attrelid = indrelid AND attnum = number)
    FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid
    JOIN pg_class AS kept ON kept.oid = indrelid JOIN pg_am ON pg_am.oid = index.relam
    WHERE kept.relnamespace = current_schema()::regnamespace AND kept.relkind = 'r'
      AND amname = 'btree' AND 0 <> ALL (indkey)
    ORDER BY 1";

/// What the server's files have wrong that no row shows.
pub(crate) fn check(connection: &mut Connection) -> Result<Vec<String>, StoreError> {
    find(connection).map_err(Failure::before_commit)?
}

fn find(connection: &mut Connection) -> Result<Result<Vec<String>, StoreError>, Failure> {
    connection.run("SET LOCAL statement_timeout = 0")?;
    let payments = connection.execute_with_timeout(TIMEOUT, &[Query::new(WRONG_PAYMENTS)])?;
    let payments = payments.iter().flatten().map(|row| get(row, 0).map(wrong_payment));
    let mut wrong: Vec<String> = match payments.collect() {
        Ok(wrong) => wrong,
        Err(error) => return Ok(Err(error)),
    };
    // The tables of a cluster are on other machines, which have no such index here.
    if connection.is_cluster() {
        return Ok(Ok(wrong));
    }
    let indexes = connection.execute(&[Query::new(INDEXES)])?;
    for row in indexes.iter().flatten() {
        let (name, rows) = (text(row, 0), rows_of(row));
        connection.run(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off",
        )?;
        let by_index = count(connection, &rows)?;
        connection.run(
            "SET LOCAL enable_seqscan = on; SET LOCAL enable_sort = on; SET LOCAL enable_indexscan = off;
             SET LOCAL enable_indexonlyscan = off",
        )?;
        let by_table = count(connection, &rows)?;
        connection.run(
            "SET LOCAL enable_indexscan = on; SET LOCAL enable_indexonlyscan = on;
             SET LOCAL enable_bitmapscan = on",
        )?;
        if by_index != by_table {
            wrong.push(format!(
                "index {name} leads to {} rows and its table has {}: run REINDEX INDEX {name}",
                by_index.0, by_table.0
            ));
        }
    }
    Ok(Ok(wrong))
}

/// The rows of an index, in an order that only the index gives without sorting.
fn rows_of(row: &Row) -> String {
    let (table, rows, columns) = (text(row, 1), text(row, 2), text(row, 3));
    format!("SELECT ctid FROM {table} WHERE {rows} ORDER BY {columns}")
}

/// How many rows these are, and the sum of the hashes of their places.
fn count(connection: &mut Connection, rows: &str) -> Result<(i64, i64), Failure> {
    let sql = format!(
        "SELECT count(*), coalesce(sum(hashtext(ctid::text)), 0)::bigint FROM ({rows}) AS found"
    );
    let counted = connection.execute_with_timeout(TIMEOUT, &[Query::new(sql).unprepared()])?;
    let number = |row: &Row, column| row.try_get(column).unwrap_or_default();
    let counted = counted.iter().flatten().next();
    Ok(counted.map_or((0, 0), |row| (number(row, 0), number(row, 1))))
}

fn text(row: &Row, column: usize) -> &str {
    row.try_get(column).unwrap_or_default()
}
