//! The schema, its version, and how an older one becomes a newer one, however many start at once.
//!
//! The table `store` comes first, and its one row is the lane of all who write: whoever migrates holds it,
//! so that migrations of several instances take turns, and no order is placed meanwhile.

use crate::apply::put_epochs;
use crate::connection::{Connection, Query};
use crate::distribute::{self, Layout};
use crate::error::Failure;
use crate::rows::Row;
use commerce_core::store::canonical_login;
use commerce_core::{Currency, Epoch, EventId};
use std::time::Duration;

/// What leads from each version to the next, from an empty database on.
const MIGRATIONS: [&str; 6] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
];

/// The version after the last migration.
pub(crate) const VERSION: i64 = 6;
const _: () = assert!(MIGRATIONS.len() == 6, "VERSION counts the migrations");

/// The first version whose logins are all in one form.
const LOGINS_IN_ONE_FORM: usize = 5;

/// What spreads the tables of a new store over several machines.
pub(crate) const DISTRIBUTED: &str = include_str!("schema/distributed.sql");

/// How long each migration may take, which may have to change every row of a big store: long enough for any,
/// and not for ever.
const TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// What there is before the first version.
const STORE: &str = "CREATE TABLE IF NOT EXISTS store (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    currency TEXT NOT NULL,
    schema_version BIGINT NOT NULL
) WITH (fillfactor = 10)";

/// What is known of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SchemaState {
    /// It has no store.
    Nothing,
    /// Its store is of an older version.
    Older,
    /// Its store is of [`VERSION`] and has that currency.
    Ready(Currency),
}

/// Where a store is: the place that its newest epoch was begun in, and the one it is in now. A standby that
/// was promoted and a server that was recovered to an earlier time are on another timeline, and a table that
/// was restored from a dump is another table.
const PLACES: &str = "SELECT place, concat_ws('/', system_identifier,
        CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        'store'::regclass::oid, pg_relation_filenode('store'))
    FROM store, pg_control_system() WHERE id = 1";

/// Begins an epoch of events where the store is in a new place: what was lost there, or what its source has
/// written since, may have been sent under the numbers that come next.
pub(crate) fn settle(connection: &mut Connection) -> Result<(), Failure> {
    if is_settled(connection)? {
        return Ok(());
    }
    connection.run("BEGIN; SELECT id FROM store WHERE id = 1 FOR UPDATE")?;
    let done = begin_epoch(connection).and_then(|()| connection.run("COMMIT"));
    if done.is_err() && !connection.is_lost() {
        connection.run("ROLLBACK")?;
    }
    done
}

fn is_settled(connection: &mut Connection) -> Result<bool, Failure> {
    let rows = connection.execute(&[Query::new(PLACES)])?;
    let row = rows.iter().flatten().next();
    let text = |column| row.and_then(|row| row.try_get::<String>(column).ok());
    Ok(text(0).is_some() && text(0) == text(1))
}

fn begin_epoch(connection: &mut Connection) -> Result<(), Failure> {
    // Another instance may have been first.
    if is_settled(connection)? {
        return Ok(());
    }
    let newest = Query::new("SELECT id FROM events ORDER BY id DESC LIMIT 1");
    let next = number(&connection.execute(&[newest])?).saturating_add(1);
    let epoch = Epoch::begin(EventId::new(next)).map_err(Failure::rejected)?;
    let update = format!(
        "UPDATE store SET place = places.now FROM ({PLACES}) AS places (place, now) WHERE id = 1"
    );
    connection.execute(&[put_epochs(&[epoch]), Query::new(update).changing(1)]).map(drop)
}

/// Looks at the database, and changes nothing.
pub(crate) fn inspect(connection: &mut Connection) -> Result<SchemaState, Failure> {
    let there = connection.execute(&[Query::new(
        // Not information_schema, which hides what one may not read.
        "SELECT count(*) FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
         WHERE relname = 'store' AND relnamespace = current_schema()::regnamespace
           AND attname IN ('id', 'currency', 'schema_version')",
    )])?;
    match number(&there) {
        0 => return Ok(SchemaState::Nothing),
        3 => {}
        _ => {
            let text = "the database has a table `store` of another program";
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
            "it has version {version} and this program knows versions up to {VERSION}: use a newer one"
        )));
    }
    let code = rows.iter().flatten().next().and_then(|row| row.try_get(1).ok()).unwrap_or_default();
    let unknown = || Failure::incompatible(format!("its currency {code} is not one of ISO 4217"));
    Currency::from_code(code).map(SchemaState::Ready).ok_or_else(unknown)
}

/// The number in the first column of the first row; 0 when there is none.
fn number(rows: &[Vec<Row>]) -> i64 {
    rows.iter().flatten().next().and_then(|row| row.try_get(0).ok()).unwrap_or(0)
}

/// Brings the database to [`VERSION`] in one transaction; a new store gets that currency and layout.
pub(crate) fn migrate(
    connection: &mut Connection,
    currency: Currency,
    layout: Layout,
) -> Result<(), Failure> {
    connection.run("BEGIN")?;
    let done = bring_up(connection, currency, layout).and_then(|()| {
        connection.run("COMMIT").map_err(|failure| {
            let error = failure.clone().of_commit(0);
            Failure { error, ..failure }
        })
    });
    if done.is_err() && !connection.is_lost() {
        connection.run("ROLLBACK")?;
    }
    done
}

fn bring_up(
    connection: &mut Connection,
    currency: Currency,
    layout: Layout,
) -> Result<(), Failure> {
    connection.run(STORE)?;
    // Whoever comes second waits here for the first, and finds its row.
    let insert = Query::new(
        "INSERT INTO store (id, currency, schema_version) VALUES (1, $1, 0) ON CONFLICT DO NOTHING",
    );
    connection.execute(&[insert.with(currency.code())])?;
    connection.run("SELECT id FROM store WHERE id = 1 FOR UPDATE")?;
    let found =
        connection.execute(&[Query::new("SELECT schema_version FROM store WHERE id = 1")])?;
    let found = usize::try_from(number(&found)).unwrap_or(usize::MAX);
    if found == 0 {
        holds_every_text(connection)?;
    }
    // Every row of a table may have to be looked at.
    connection.run("SET LOCAL statement_timeout = 0")?;
    for migration in MIGRATIONS.get(found..).unwrap_or_default() {
        connection.run_within(TIMEOUT, migration)?;
    }
    if found < LOGINS_IN_ONE_FORM {
        bring_logins_into_form(connection)?;
    }
    if found == 0 && layout == Layout::Distributed {
        distribute::distribute(connection)?;
    }
    if found < MIGRATIONS.len() {
        let update = Query::new("UPDATE store SET schema_version = $1 WHERE id = 1");
        connection.execute(&[update.with(VERSION).changing(1)])?;
    }
    Ok(())
}

/// Brings logins that were kept as they were typed into the form in which they are looked for. Of two that
/// become the same, the one that has the form already, or else the first, stays; the other customer needs a
/// new login.
fn bring_logins_into_form(connection: &mut Connection) -> Result<(), Failure> {
    // Most logins have the form: lower case and ASCII.
    let select = "SELECT id, login FROM customers
                  WHERE login ~ '[A-Z]' OR octet_length(login) <> char_length(login) ORDER BY id";
    let rows = connection.execute(&[Query::new(select)])?;
    for row in rows.iter().flatten() {
        let (Ok(id), Ok(login)) = (row.try_get::<i64>(0), row.try_get::<&str>(1)) else {
            continue;
        };
        let Some(form) = canonical_login(login).filter(|form| form != login) else { continue };
        let taken =
            Query::new("SELECT count(*) FROM customers WHERE login = $1").with(form.clone());
        if number(&connection.execute(&[taken])?) == 0 {
            let update = Query::new("UPDATE customers SET login = $2 WHERE id = $1");
            connection.execute(&[update.with(id).with(form).changing(1)])?;
        }
    }
    Ok(())
}

/// Refuses a database for a new store that could not hold the names of all customers.
fn holds_every_text(connection: &mut Connection) -> Result<(), Failure> {
    let encoding =
        connection.execute(&[Query::new("SELECT current_setting('server_encoding')")])?;
    let encoding = encoding.iter().flatten().next().and_then(|row| row.try_get(0).ok());
    match encoding {
        // The second keeps what it is given, byte by byte.
        Some("UTF8" | "SQL_ASCII") | None => Ok(()),
        Some(other) => Err(Failure::incompatible(format!(
            "the database keeps text as {other}, which has no room for all there is: make one with \
             CREATE DATABASE ... ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0"
        ))),
    }
}
