//! The part of the audit that the server does: every index must contain the rows of its table, and what is kept
//! beside the writer lock must agree with the tables.

use crate::connection::Connection;
use crate::error::Failure;
use crate::layout;
use crate::load::select_first_expiry;
use crate::query::Query;
use crate::references;
use crate::rows::Row;
use crate::schema::select_newest_ids;
use commerce_core::StoreError;
use commerce_core::store::columns::{TABLES_WITH_IDS, wrong_payment, wrong_payments};
use commerce_core::store::values::get;
use std::time::Duration;

/// The timeout of counting a table: enough for any that a server holds, but bounded.
const TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Selects the B-tree indexes with their tables, predicates and columns.
const INDEXES: &str = "
    SELECT index.oid::regclass::text, indrelid::regclass::text,
           coalesce(pg_get_expr(indpred, indrelid), 'true'),
           (SELECT string_agg(quote_ident(attname), ', ' ORDER BY position)
            FROM unnest(indkey) WITH ORDINALITY AS part (number, position)
            JOIN pg_attribute ON attrelid = indrelid AND attnum = number)
    FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid
    JOIN pg_class AS kept ON kept.oid = indrelid JOIN pg_am ON pg_am.oid = index.relam
    WHERE kept.relnamespace = current_schema()::regnamespace AND kept.relkind = 'r'
      AND amname = 'btree' AND 0 <> ALL (indkey)
    ORDER BY 1";

/// Finds the tables of a distributed store by a constraint that it cannot have.
const WITHOUT_UNIQUE_LOGINS: &str = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('customers_by_login') AND NOT indisunique";

const WAS_DISTRIBUTED: &str = "the tables were distributed over a cluster and are on one machine now, as after a restore of a \
     dump: constraints are missing. Create a store in an empty database with `commerce init`, and copy this one into it with \
     `commerce copy`";

/// Returns the damage that reading rows does not show.
pub(crate) fn check(connection: &mut Connection) -> Result<Vec<String>, StoreError> {
    try_check(connection).map_err(Failure::before_commit)?
}

fn try_check(connection: &mut Connection) -> Result<Result<Vec<String>, StoreError>, Failure> {
    connection.run("SET LOCAL statement_timeout = 0")?;
    let rows = connection.execute_with_timeout(TIMEOUT, &[Query::new(wrong_payments())])?;
    let payments = rows.iter().flatten().map(|row| get(row, 0).map(wrong_payment));
    let mut wrong: Vec<String> = match payments.collect() {
        Ok(wrong) => wrong,
        Err(error) => return Ok(Err(error)),
    };
    wrong.extend(ids_behind(connection)?);
    wrong.extend(expiry_ahead(connection)?);
    let is_distributed = layout::is_distributed(connection)?;
    wrong.extend(references::find_dangling(connection, is_distributed)?);
    // The tables of a cluster, and their indexes, are on other machines.
    if is_distributed {
        return Ok(Ok(wrong));
    }
    let was_distributed = connection.execute(&[Query::new(WITHOUT_UNIQUE_LOGINS)])?;
    if was_distributed.iter().any(|rows| !rows.is_empty()) {
        wrong.push(WAS_DISTRIBUTED.to_owned());
    }
    let indexes = connection.execute(&[Query::new(INDEXES)])?;
    for row in indexes.iter().flatten() {
        let (name, rows) = (text(row, 0), select_rows(row));
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
                "index {name} has {} rows and its table has {}: run REINDEX INDEX {name}",
                by_index.0, by_table.0
            ));
        }
    }
    Ok(Ok(wrong))
}

/// Compares the greatest ids beside the writer lock with those of the tables. An id that is behind is given again.
fn ids_behind(connection: &mut Connection) -> Result<Vec<String>, Failure> {
    let kept = TABLES_WITH_IDS.map(|table| format!("last_{table}")).join(", ");
    let kept = Query::new(format!("SELECT ARRAY[{kept}] FROM store WHERE id = 1"));
    let rows = connection.execute_with_timeout(TIMEOUT, &[kept, select_newest_ids()])?;
    let mut ids = rows.iter().flatten().map(|row| row.try_get(0).unwrap_or_default());
    let (kept, newest): (Vec<i64>, Vec<i64>) =
        (ids.next().unwrap_or_default(), ids.next().unwrap_or_default());
    let pairs = TABLES_WITH_IDS.iter().zip(kept.into_iter().zip(newest));
    let behind = pairs.filter(|(_, (kept, newest))| kept < newest);
    let problem = |(table, (kept, newest))| {
        format!(
            "store.last_{table} is {kept} and {table} has id {newest}: run \
             UPDATE store SET last_{table} = {newest}"
        )
    };
    Ok(behind.map(problem).collect())
}

/// Compares the time before which no order expires with the first that does. An order that expires before it is not
/// found.
fn expiry_ahead(connection: &mut Connection) -> Result<Option<String>, Failure> {
    let kept = Query::new("SELECT next_expiry FROM store WHERE id = 1");
    let rows = connection.execute_with_timeout(TIMEOUT, &[kept, select_first_expiry()])?;
    let number = |rows: &Vec<Row>| rows.first().and_then(|row| row.try_get::<i64>(0).ok());
    let (kept, first) = (rows.first().and_then(number), rows.get(1).and_then(number));
    let ahead = kept.zip(first).filter(|(kept, first)| kept > first);
    Ok(ahead.map(|(kept, first)| {
        format!(
            "store.next_expiry is {kept} and an order expires at {first}: run \
             UPDATE store SET next_expiry = 0"
        )
    }))
}

/// Selects the rows of an index in an order that needs a sort without the index.
fn select_rows(row: &Row) -> String {
    let (table, rows, columns) = (text(row, 1), text(row, 2), text(row, 3));
    format!("SELECT ctid FROM {table} WHERE {rows} ORDER BY {columns}")
}

/// Returns the number of rows and the sum of the hashes of their addresses.
fn count(connection: &mut Connection, rows: &str) -> Result<(i64, i64), Failure> {
    let sql = format!(
        "SELECT count(*), coalesce(sum(hashtext(ctid::text)), 0)::bigint FROM ({rows}) AS rows"
    );
    let counted = connection.execute_with_timeout(TIMEOUT, &[Query::new(sql).unprepared()])?;
    let number = |row: &Row, column| row.try_get(column).unwrap_or_default();
    let counted = counted.iter().flatten().next();
    Ok(counted.map_or((0, 0), |row| (number(row, 0), number(row, 1))))
}

fn text(row: &Row, column: usize) -> &str {
    row.try_get(column).unwrap_or_default()
}
