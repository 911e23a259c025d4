//! Statements that are built from the column tables of commerce-core. Each reads or writes a set of rows.

use crate::query::Query;
use commerce_core::store::State;
use commerce_core::store::columns::{Column, ColumnRole, Entity};
use commerce_core::store::values::{ColumnType, Value};
use commerce_core::sync::Mutex;
use std::any::type_name;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Selects the rows of an entity, with the rest of the statement.
pub(crate) fn select<T: Entity>(rest: &str) -> Query<'static> {
    Query::new(format!("SELECT {} FROM {} {rest}", T::SELECT, T::TABLE))
}

/// Selects the rows of an entity with some ids.
pub(crate) fn select_by_ids<T: Entity>(ids: Vec<i64>) -> Query<'static> {
    let build = || format!("SELECT {} FROM {} WHERE id = ANY($1::bigint[])", T::SELECT, T::TABLE);
    Query::new(text_of::<T>(Kind::SelectByIds, build)).with(ids)
}

/// The kinds of statements that are built for an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Insert,
    InsertFixed,
    Upsert,
    Update,
    UpdateEdited,
    SelectByIds,
}

/// Returns the text of a statement. Each is built once: building them for every batch took a tenth of this side's time.
fn text_of<T: Entity>(kind: Kind, build: impl FnOnce() -> String) -> &'static str {
    static TEXTS: LazyLock<Mutex<HashMap<(&str, Kind), &str>>> = LazyLock::new(Mutex::default);
    let key = (type_name::<T>(), kind);
    TEXTS.lock().entry(key).or_insert_with(|| String::leak(build()))
}

/// Inserts rows.
pub(crate) fn insert<T: Entity>(rows: &[&T], state: &State) -> Query<'static> {
    let columns = with_role(|role| role != ColumnRole::Loaded);
    insert_columns(rows, state, &columns, Kind::Insert, String::new)
}

/// Inserts rows without their mutable columns, which an update writes later.
pub(crate) fn insert_fixed<T: Entity>(rows: &[&T], state: &State) -> Query<'static> {
    let is_fixed = |role| !matches!(role, ColumnRole::Loaded | ColumnRole::Mutable);
    insert_columns(rows, state, &with_role(is_fixed), Kind::InsertFixed, String::new)
}

/// Inserts rows, or updates those that exist.
pub(crate) fn upsert<T: Entity>(rows: &[&T], state: &State) -> Query<'static> {
    let columns = with_role(|role| role != ColumnRole::Loaded);
    insert_columns(rows, state, &columns, Kind::Upsert, || {
        let key = names::<T>(&with_role(|role| role == ColumnRole::Key));
        let changed: Vec<&Column<T>> = with_role(|role| role == ColumnRole::Mutable);
        let set = joined(&changed, ", ", |name| format!("{name} = excluded.{name}"));
        format!("ON CONFLICT ({key}) DO UPDATE SET {set}")
    })
}

/// Updates the mutable columns of rows.
pub(crate) fn update<T: Entity>(rows: &[&T], state: &State) -> Query<'static> {
    update_columns(rows, state, &with_role(|role| role == ColumnRole::Mutable), Kind::Update)
}

/// Updates the mutable and the rare columns of rows.
pub(crate) fn update_edited<T: Entity>(rows: &[&T], state: &State) -> Query<'static> {
    let columns = with_role(|role| matches!(role, ColumnRole::Mutable | ColumnRole::Rare));
    update_columns(rows, state, &columns, Kind::UpdateEdited)
}

fn update_columns<T: Entity>(
    rows: &[&T],
    state: &State,
    changed: &[&Column<T>],
    kind: Kind,
) -> Query<'static> {
    let key: Vec<&Column<T>> =
        with_role(|role| matches!(role, ColumnRole::Key | ColumnRole::Owner));
    let table = T::TABLE;
    let columns = [&key[..], changed].concat();
    let sql = text_of::<T>(kind, || {
        let set = joined(changed, ", ", |name| format!("{name} = new.{name}"));
        let same = joined(&key, " AND ", |name| format!("{table}.{name} = new.{name}"));
        // The key comes first: `$1` has all keys, so that the rows are found by index.
        let id = key.first().map(|column| column.name).unwrap_or_default();
        format!(
            "UPDATE {table} SET {set} FROM {} AS new ({}) WHERE {same} AND {table}.{id} = ANY($1)",
            unnest(&columns),
            names(&columns)
        )
    });
    with_values(Query::new(sql), &columns, rows, state).writing(table).changing(rows.len())
}

fn insert_columns<T: Entity>(
    rows: &[&T],
    state: &State,
    columns: &[&Column<T>],
    kind: Kind,
    conflict: impl FnOnce() -> String,
) -> Query<'static> {
    let table = T::TABLE;
    let sql = text_of::<T>(kind, || {
        let (names, values, conflict) = (names(columns), values(columns), conflict());
        format!("INSERT INTO {table} ({names}) SELECT {values} {conflict}")
    });
    let query = with_values(Query::new(sql), columns, rows, state).writing(table);
    let key = columns.iter().find(|column| column.role == ColumnRole::Key);
    let ids = rows.iter().filter_map(|row| key.and_then(|key| integer((key.value)(row, state))));
    Query { newest: ids.max().map(|id| (table, id)), ..query }.inserting(rows.len())
}

/// Adds the values of each column as a parameter.
pub(crate) fn with_values<T>(
    query: Query<'static>,
    columns: &[&Column<T>],
    rows: &[&T],
    state: &State,
) -> Query<'static> {
    columns.iter().fold(query, |query, column| {
        let values = rows.iter().map(|row| (column.value)(row, state));
        match column.kind {
            ColumnType::Integer => query.with(values.map(integer).collect::<Vec<_>>()),
            ColumnType::Text => query.with(values.map(text).collect::<Vec<_>>()),
        }
    })
}

fn integer(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Integer(value) => value,
        Value::Text(_) => None,
    }
}

fn text(value: Value<'_>) -> Option<String> {
    match value {
        Value::Text(value) => value.map(str::to_owned),
        Value::Integer(_) => None,
    }
}

/// The parameters from `$1` on as a set of rows, for a `FROM`.
pub(crate) fn unnest<T>(columns: &[&Column<T>]) -> String {
    format!("unnest({})", arrays(columns).collect::<Vec<_>>().join(", "))
}

/// The parameters from `$1` on as columns of rows, for a `SELECT` without `FROM`. It takes the server two thirds of the time
/// of inserting from one with `unnest` in its `FROM`, which keeps the values of each column before it makes rows of them.
pub(crate) fn values<T>(columns: &[&Column<T>]) -> String {
    let values = arrays(columns).map(|array| format!("unnest({array})"));
    values.collect::<Vec<_>>().join(", ")
}

fn arrays<T>(columns: &[&Column<T>]) -> impl Iterator<Item = String> {
    (1..).zip(columns).map(|(number, column): (usize, _)| match column.kind {
        ColumnType::Integer => format!("${number}::bigint[]"),
        ColumnType::Text => format!("${number}::text[]"),
    })
}

/// The names, separated by commas.
pub(crate) fn names<T>(columns: &[&Column<T>]) -> String {
    joined(columns, ", ", str::to_owned)
}

pub(crate) fn joined<T>(
    columns: &[&Column<T>],
    separator: &str,
    part: impl Fn(&str) -> String,
) -> String {
    let parts: Vec<String> = columns.iter().map(|column| part(column.name)).collect();
    parts.join(separator)
}

fn with_role<T: Entity>(is_wanted: impl Fn(ColumnRole) -> bool) -> Vec<&'static Column<T>> {
    T::COLUMNS.iter().filter(|column| is_wanted(column.role)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use commerce_core::store::{DeliveryRow, RefundRow};
    use commerce_core::{Currency, OwnedCoupon};

    fn sql<T>(build: fn(&[&T], &State) -> Query<'static>) -> String {
        build(&[], &State::new(Currency::KRW)).sql.into_owned()
    }

    #[test]
    fn update_finds_rows_by_key_and_owner() {
        let expected = "UPDATE refunds SET status = new.status, failure = new.failure, settled_at = new.settled_at \
                        FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[]) AS new (id, \
                        customer_id, status, failure, settled_at) WHERE refunds.id = new.id \
                        AND refunds.customer_id = new.customer_id AND refunds.id = ANY($1)";
        assert_eq!(sql::<RefundRow>(update), expected);
    }

    #[test]
    fn insert_of_fixed_columns_leaves_out_the_order_of_a_coupon() {
        let expected = "INSERT INTO owned_coupons (id, coupon_id, customer_id, rank, claimed_at, digest) SELECT \
                        unnest($1::bigint[]), unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::bigint[]), \
                        unnest($5::bigint[]), unnest($6::bigint[]) ";
        assert_eq!(sql::<OwnedCoupon>(insert_fixed), expected);
    }

    #[test]
    fn upsert_updates_mutable_columns_on_conflict() {
        let conflict = "ON CONFLICT (event_id) DO UPDATE SET status = excluded.status, attempts = excluded.attempts, \
                        due_at = excluded.due_at, token = excluded.token, error = excluded.error, \
                        updated_at = excluded.updated_at";
        let sql = sql::<DeliveryRow>(upsert);
        assert!(sql.ends_with(conflict), "{sql}");
    }
}
