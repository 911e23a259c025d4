//! Statements: reading rows, and writing those of an entity from its column table.

use crate::error::StoreError;
use crate::state::{Change, State};
use crate::store::columns::{Column, ColumnRole, Entity};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row, params_from_iter};

/// Reads a row of [`Entity::SELECT`].
pub(super) fn read<T: Entity>(row: &Row<'_>) -> rusqlite::Result<T> {
    T::read(row)
}

/// Returns the first row of a query.
pub(super) fn one<T>(
    db: &Connection,
    sql: &str,
    parameters: impl Params,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreError> {
    Ok(db.prepare_cached(sql)?.query_row(parameters, read).optional()?)
}

/// Returns all rows of a query.
pub(super) fn many<T>(
    db: &Connection,
    sql: &str,
    parameters: impl Params,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map(parameters, read)?.collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

/// Converts a number of rows to a parameter of `LIMIT`.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// Selects the rows of an entity, with the rest of the statement.
pub(super) fn select<T: Entity>(rest: &str) -> String {
    format!("SELECT {} FROM {} {rest}", T::SELECT, T::TABLE)
}

/// Inserts the new rows, and updates the others.
pub(super) fn save<T: Entity>(
    db: &Connection,
    state: &State,
    rows: &[(&T, Change)],
) -> Result<(), StoreError> {
    let of = |wanted| rows.iter().filter(move |(_, change)| *change == wanted).map(|(row, _)| *row);
    insert(db, state, of(Change::Inserted))?;
    update(db, state, of(Change::Updated), |role| role == ColumnRole::Mutable)?;
    update(db, state, of(Change::Edited), |role| {
        matches!(role, ColumnRole::Mutable | ColumnRole::Rare)
    })
}

fn update<'a, T: Entity>(
    db: &Connection,
    state: &State,
    rows: impl Iterator<Item = &'a T>,
    is_changed: fn(ColumnRole) -> bool,
) -> Result<(), StoreError> {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let changed: Vec<&Column<T>> = with_role(is_changed);
    let key: Vec<&Column<T>> = with_role(|role| role == ColumnRole::Key);
    let (set, condition) = (joined(&changed, " = ?"), joined(&key, " = ?"));
    let sql = format!("UPDATE {} SET {set} WHERE {condition}", T::TABLE);
    let mut update = db.prepare_cached(&sql)?;
    let columns = [changed, key].concat();
    rows.try_for_each(|row| execute(&mut update, &columns, row, state))
}

/// Inserts rows.
pub(super) fn insert<'a, T: Entity>(
    db: &Connection,
    state: &State,
    rows: impl IntoIterator<Item = &'a T>,
) -> Result<(), StoreError> {
    write(db, state, rows, "")
}

/// Inserts rows, or updates those that exist.
pub(super) fn upsert<'a, T: Entity>(
    db: &Connection,
    state: &State,
    rows: impl IntoIterator<Item = &'a T>,
) -> Result<(), StoreError> {
    let key = joined::<T>(&with_role(|role| role == ColumnRole::Key), "");
    let changed: Vec<&Column<T>> = with_role(|role| role == ColumnRole::Mutable);
    let set: Vec<String> =
        changed.iter().map(|column| format!("{0} = excluded.{0}", column.name)).collect();
    write(db, state, rows, &format!("ON CONFLICT ({key}) DO UPDATE SET {}", set.join(", ")))
}

fn write<'a, T: Entity>(
    db: &Connection,
    state: &State,
    rows: impl IntoIterator<Item = &'a T>,
    conflict: &str,
) -> Result<(), StoreError> {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let columns: Vec<&Column<T>> = with_role(|role| role != ColumnRole::Loaded);
    let (table, names) = (T::TABLE, joined(&columns, ""));
    let values = vec!["?"; columns.len()].join(", ");
    let sql = format!("INSERT INTO {table} ({names}) VALUES ({values}) {conflict}");
    let mut insert = db.prepare_cached(&sql)?;
    rows.try_for_each(|row| execute(&mut insert, &columns, row, state))
}

fn execute<T>(
    statement: &mut CachedStatement<'_>,
    columns: &[&Column<T>],
    row: &T,
    state: &State,
) -> Result<(), StoreError> {
    let values = columns.iter().map(|column| (column.value)(row, state));
    statement.execute(params_from_iter(values))?;
    Ok(())
}

fn with_role<T: Entity>(is_wanted: fn(ColumnRole) -> bool) -> Vec<&'static Column<T>> {
    T::COLUMNS.iter().filter(|column| is_wanted(column.role)).collect()
}

/// Joins the names, each followed by `suffix`.
fn joined<T>(columns: &[&Column<T>], suffix: &str) -> String {
    let names: Vec<String> =
        columns.iter().map(|column| format!("{}{suffix}", column.name)).collect();
    names.join(", ")
}
