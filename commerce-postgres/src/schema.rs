//! The schema, its version and its migrations.
//!
//! The table `store` is created first, and its one row is the writer lock. A migration holds it, so that
//! instances that start at once migrate one after the other, and no order is placed meanwhile.

use crate::connection::Connection;
use crate::error::Failure;
use crate::layout::{Layout, distribute, is_distributed, recover};
use crate::query::Query;
use crate::rows::Row;
use crate::sales;
use crate::statements::upsert;
use commerce_core::store::Epoch;
use commerce_core::store::columns::TABLES_WITH_IDS;
use commerce_core::store::{State, canonical_login};
use commerce_core::{Currency, EventId};
use std::time::Duration;

/// The migrations: each leads from one version to the next, the first from an empty database.
const MIGRATIONS: [&str; 15] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
    include_str!("schema/8.sql"),
    include_str!("schema/9.sql"),
    include_str!("schema/10.sql"),
    include_str!("schema/11.sql"),
    include_str!("schema/12.sql"),
    include_str!("schema/13.sql"),
    include_str!("schema/14.sql"),
    include_str!("schema/15.sql"),
];

/// The version after the last migration.
pub(crate) const VERSION: i64 = 15;
const _: () = assert!(MIGRATIONS.len() == 15, "VERSION counts the migrations");

/// The first version whose logins are all canonical.
const CANONICAL_LOGINS: usize = 5;

/// The first version that counts the figures of orders and the money of products.
const STATISTICS: usize = 7;

/// The first version that keeps the greatest ids beside the writer lock.
const KEPT_IDS: usize = 8;

/// The first version that counts what customers have bought of products with a limit.
const PURCHASES: usize = 10;

/// The first version with refunds, and with cancellations of parts of orders.
const REFUNDS: usize = 14;

/// Distributes that table of a store that was distributed before.
const DISTRIBUTE_PURCHASES: &str =
    "SELECT create_distributed_table('purchases', 'customer_id', colocate_with => 'customers')";

/// Distributes those tables.
const DISTRIBUTE_REFUNDS: &str = "
    SELECT create_distributed_table('line_cancellations', 'customer_id', colocate_with => 'customers');
    SELECT create_distributed_table('refunds', 'customer_id', colocate_with => 'customers')";

/// The timeout of a migration, which may have to change every row of a big store: enough for any, but bounded.
const TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Creates the table that exists before the first version.
const STORE: &str = "CREATE TABLE IF NOT EXISTS store (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    currency TEXT NOT NULL,
    schema_version BIGINT NOT NULL
) WITH (fillfactor = 10)";

/// The state of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SchemaState {
    /// It has no store.
    Nothing,
    /// Its store is of an older version.
    Older,
    /// Its store is of [`VERSION`] and has that currency.
    Ready(Currency),
}

/// Selects the location in which the newest epoch of the store began, and the present one. A promoted standby
/// and a server after point-in-time recovery are on another timeline, and a table restored from a dump has
/// another object id.
const LOCATIONS: &str = "SELECT place, concat_ws('/', system_identifier,
        CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        'store'::regclass::oid, pg_relation_filenode('store'))
    FROM store, pg_control_system() WHERE id = 1";

/// Begins an epoch of events if the location of the store has changed: lost events, or events that the source
/// has written since, may have been sent under the next numbers already.
pub(crate) fn ensure_epoch(connection: &mut Connection) -> Result<(), Failure> {
    if is_location_known(connection)? {
        return Ok(());
    }
    if is_distributed(connection)? {
        // The newest event may be on a worker that has not completed its transaction.
        recover(connection)?;
    }
    connection.run("BEGIN; SELECT id FROM store WHERE id = 1 FOR UPDATE")?;
    let result = begin_epoch(connection).and_then(|()| connection.run("COMMIT"));
    if result.is_err() && !connection.is_lost() {
        connection.run("ROLLBACK")?;
    }
    result
}

fn is_location_known(connection: &mut Connection) -> Result<bool, Failure> {
    let rows = connection.execute(&[Query::new(LOCATIONS)])?;
    let row = rows.iter().flatten().next();
    let text = |column| row.and_then(|row| row.try_get::<String>(column).ok());
    Ok(text(0).is_some() && text(0) == text(1))
}

fn begin_epoch(connection: &mut Connection) -> Result<(), Failure> {
    // Another instance may have begun the epoch while this one waited for the lock.
    if is_location_known(connection)? {
        return Ok(());
    }
    let newest = Query::new("SELECT id FROM events ORDER BY id DESC LIMIT 1");
    let next = number(&connection.execute(&[newest])?).saturating_add(1);
    let epoch = Epoch::begin(EventId::new(next)).map_err(Failure::rejected)?;
    let update = format!(
        "UPDATE store SET place = location.now FROM ({LOCATIONS}) AS location (place, now) WHERE id = 1"
    );
    // An epoch has no digest, so that the state does not matter.
    let insert = upsert(&[&epoch], &State::new(Currency::KRW));
    connection.execute(&[insert, Query::new(update).changing(1)]).map(drop)
}

/// Determines the state of the database; changes nothing.
pub(crate) fn inspect(connection: &mut Connection) -> Result<SchemaState, Failure> {
    let columns = connection.execute(&[Query::new(
        // Not information_schema, which hides tables without privileges.
        "SELECT count(*) FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
         WHERE relname = 'store' AND relnamespace = current_schema()::regnamespace
           AND attname IN ('id', 'currency', 'schema_version')",
    )])?;
    match number(&columns) {
        0 => return Ok(SchemaState::Nothing),
        3 => {}
        _ => {
            let text = "the database has a table `store` that belongs to another program";
            return Err(Failure::incompatible(text.to_owned()));
        }
    }
    let rows = connection
        .execute(&[Query::new("SELECT schema_version, currency FROM store WHERE id = 1")])?;
    let version = number(&rows);
    if version < VERSION {
        return Ok(if version == 0 { SchemaState::Nothing } else { SchemaState::Older });
    }
    if version > VERSION {
        return Err(Failure::incompatible(format!(
            "its schema has version {version} and this program knows versions up to {VERSION}: use a newer \
             program"
        )));
    }
    let code = rows.iter().flatten().next().and_then(|row| row.try_get(1).ok()).unwrap_or_default();
    let unknown = || Failure::incompatible(format!("its currency {code} is not one of ISO 4217"));
    Currency::from_code(code).map(SchemaState::Ready).ok_or_else(unknown)
}

/// Returns the number in the first column of the first row; 0 without one.
fn number(rows: &[Vec<Row>]) -> i64 {
    rows.iter().flatten().next().and_then(|row| row.try_get(0).ok()).unwrap_or(0)
}

/// Migrates the database to [`VERSION`] in one transaction. A new store gets this currency and layout.
pub(crate) fn migrate(
    connection: &mut Connection,
    currency: Currency,
    layout: Layout,
) -> Result<(), Failure> {
    connection.run("BEGIN")?;
    let result = migrate_locked(connection, currency, layout).and_then(|()| {
        connection.run("COMMIT").map_err(|failure| {
            let error = failure.clone().of_commit(0);
            Failure { error, ..failure }
        })
    });
    if result.is_err() && !connection.is_lost() {
        connection.run("ROLLBACK")?;
    }
    result
}

fn migrate_locked(
    connection: &mut Connection,
    currency: Currency,
    layout: Layout,
) -> Result<(), Failure> {
    connection.run(STORE)?;
    // A concurrent migration waits here for the first one, and finds its row.
    let insert = Query::new(
        "INSERT INTO store (id, currency, schema_version) VALUES (1, $1, 0) ON CONFLICT DO NOTHING",
    );
    connection.execute(&[insert.with(currency.code())])?;
    connection.run("SELECT id FROM store WHERE id = 1 FOR UPDATE")?;
    let found =
        connection.execute(&[Query::new("SELECT schema_version FROM store WHERE id = 1")])?;
    let found = usize::try_from(number(&found)).unwrap_or(usize::MAX);
    if found == 0 {
        check_encoding(connection)?;
    }
    // A migration may have to change every row of a table. The steps in Rust know the tables of the newest version, and
    // so come after the statements of all versions.
    connection.run("SET LOCAL statement_timeout = 0")?;
    for migration in MIGRATIONS.get(found..).unwrap_or_default() {
        connection.run_within(TIMEOUT, migration)?;
    }
    // A new store is distributed as a whole, below.
    if (1..PURCHASES).contains(&found) && is_distributed(connection)? {
        connection.run_within(TIMEOUT, DISTRIBUTE_PURCHASES)?;
    }
    if (1..REFUNDS).contains(&found) && is_distributed(connection)? {
        connection.run_within(TIMEOUT, DISTRIBUTE_REFUNDS)?;
    }
    if found < CANONICAL_LOGINS {
        canonicalize_logins(connection)?;
    }
    if found < STATISTICS {
        sales::recount(connection).map_err(Failure::rejected)?;
    }
    if found < KEPT_IDS {
        keep_ids(connection)?;
    }
    if found == 0
        && let Layout::Distributed(shards) = layout
    {
        distribute(connection, shards)?;
    }
    if found < MIGRATIONS.len() {
        let update = Query::new("UPDATE store SET schema_version = $1 WHERE id = 1");
        connection.execute(&[update.with(VERSION).changing(1)])?;
    }
    Ok(())
}

/// Selects the greatest id of each table, in one array.
pub(crate) fn select_newest_ids() -> Query<'static> {
    let newest = |table| format!("coalesce((SELECT id FROM {table} ORDER BY id DESC LIMIT 1), 0)");
    Query::new(format!("SELECT ARRAY[{}]", TABLES_WITH_IDS.map(newest).join(", ")))
}

/// Writes the greatest id of each table beside the writer lock. It is two statements, since a cluster does not read other
/// machines in an update of the coordinator.
fn keep_ids(connection: &mut Connection) -> Result<(), Failure> {
    let rows = connection.execute(&[select_newest_ids()])?;
    let newest = rows.iter().flatten().next().and_then(|row| row.try_get(0).ok());
    let newest: Vec<i64> = newest.unwrap_or_default();
    let set = (1_usize..).zip(TABLES_WITH_IDS);
    let set: Vec<_> = set.map(|(n, table)| format!("last_{table} = $1[{n}]")).collect();
    let sql = format!("UPDATE store SET {} WHERE id = 1", set.join(", "));
    let update = Query::new(sql.replace("$1[", "($1::bigint[])[")).with(newest);
    connection.execute(&[update.changing(1)]).map(drop)
}

/// Replaces logins that were kept as typed by their canonical form, by which they are looked up. If two become
/// equal, the one that is canonical already stays, or else the first; the other customer needs a new login.
fn canonicalize_logins(connection: &mut Connection) -> Result<(), Failure> {
    // Most logins are canonical: lower case and ASCII.
    let select = "SELECT id, login FROM customers
                  WHERE login ~ '[A-Z]' OR octet_length(login) <> char_length(login) ORDER BY id";
    let rows = connection.execute(&[Query::new(select)])?;
    for row in rows.iter().flatten() {
        let (Ok(id), Ok(login)) = (row.try_get::<i64>(0), row.try_get::<&str>(1)) else {
            continue;
        };
        let Some(canonical) = canonical_login(login).filter(|canonical| canonical != login) else {
            continue;
        };
        let taken =
            Query::new("SELECT count(*) FROM customers WHERE login = $1").with(canonical.clone());
        if number(&connection.execute(&[taken])?) == 0 {
            let update = Query::new("UPDATE customers SET login = $2 WHERE id = $1");
            connection.execute(&[update.with(id).with(canonical).changing(1)])?;
        }
    }
    Ok(())
}

/// Refuses a database whose encoding cannot hold all names.
fn check_encoding(connection: &mut Connection) -> Result<(), Failure> {
    let encoding =
        connection.execute(&[Query::new("SELECT current_setting('server_encoding')")])?;
    let encoding = encoding.iter().flatten().next().and_then(|row| row.try_get(0).ok());
    match encoding {
        // SQL_ASCII keeps the bytes as they are.
        Some("UTF8" | "SQL_ASCII") | None => Ok(()),
        Some(other) => Err(Failure::incompatible(format!(
            "the database has the encoding {other}, which cannot hold every text: create one with \
             CREATE DATABASE ... ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0"
        ))),
    }
}
