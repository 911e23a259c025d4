//! The schema, its version, and how an older file becomes a newer one.

use super::apply::put_epoch;
use crate::entropy;
use crate::error::StoreError;
use crate::id::EventId;
use crate::model::event::Epoch;
use crate::money::Currency;
use crate::text;
use rusqlite::Connection;

/// Marks a file as a store of this program: "COMM".
const APPLICATION_ID: i64 = 0x434f_4d4d;

/// What leads from each version to the next, from an empty file on.
const MIGRATIONS: [&str; 7] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
];

/// The version after the last migration.
pub(super) const VERSION: i64 = 7;
const _: () = assert!(MIGRATIONS.len() == 7, "VERSION counts the migrations");

/// The first version whose logins are all in one form.
const LOGINS_IN_ONE_FORM: i64 = 6;

/// Brings the file to [`VERSION`] in one transaction, begins an epoch where the file is in a new place, and
/// answers the store's currency; `currency` is what a new store gets.
pub(super) fn migrate(
    connection: &Connection,
    currency: Currency,
    index: &str,
) -> Result<Currency, StoreError> {
    // A table that others refer to can only be replaced while nobody watches; `bring_up` looks after it.
    connection.execute_batch("PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE")?;
    let done = bring_up(connection, currency, index).and_then(|found| {
        connection.execute_batch("COMMIT").map_err(super::error::of_commit)?;
        Ok(found)
    });
    if done.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    connection.execute_batch("PRAGMA foreign_keys = ON")?;
    done
}

/// The connection back with the store's currency, when the file is of [`VERSION`] already and where its
/// newest epoch was begun.
pub(super) fn ready(
    connection: Connection,
    index: &str,
) -> Result<Option<(Connection, Currency)>, StoreError> {
    if identify_now(&connection)? < VERSION || redacted_url(&connection)? != index {
        return Ok(None);
    }
    let currency = currency_of(&connection)?;
    Ok(Some((connection, currency)))
}

/// The store's currency, when the file is of [`VERSION`]. A file that is only read begins no epoch: it makes no event.
pub(super) fn readable(connection: &Connection) -> Result<Option<Currency>, StoreError> {
    if identify_now(connection)? < VERSION {
        return Ok(None);
    }
    currency_of(connection).map(Some)
}

fn bring_up(
    connection: &Connection,
    currency: Currency,
    index: &str,
) -> Result<Currency, StoreError> {
    let found = identify(connection)?;
    let todo = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..));
    for migration in todo.unwrap_or_default() {
        connection.execute_batch(migration)?;
    }
    if found < LOGINS_IN_ONE_FORM {
        bring_logins_into_form(connection)?;
    }
    if found == 0 {
        connection.execute("INSERT INTO store (id, currency) VALUES (1, ?1)", [currency.code()])?;
    }
    if found < VERSION {
        if connection.prepare("PRAGMA foreign_key_check")?.exists([])? {
            let text = "foreign key violations found: repair them with the previous version of this program first";
            return Err(StoreError::Corrupt(text.to_owned()));
        }
        connection.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
        ))?;
    }
    if redacted_url(connection)? != index {
        settle(connection, index)?;
    }
    currency_of(connection)
}

/// Begins an epoch of events: the file is new, or was restored from a copy that knows nothing of the events
/// its source has written since.
fn settle(connection: &Connection, index: &str) -> Result<(), StoreError> {
    let sql = "SELECT coalesce(max(id), 0) + 1 FROM events";
    let next: EventId = connection.query_row(sql, [], |row| row.get(0))?;
    put_epoch(connection, &Epoch::begin(next)?)?;
    let sql = "UPDATE store SET place = ?1, name = CASE name WHEN '' THEN ?2 ELSE name END";
    connection.execute(sql, [index, &entropy::hex::<8>()?])?;
    Ok(())
}

/// The random name of the store.
pub(super) fn name_of(connection: &Connection) -> Result<String, StoreError> {
    Ok(connection.query_row("SELECT name FROM store", [], |row| row.get(0))?)
}

fn redacted_url(connection: &Connection) -> Result<String, StoreError> {
    Ok(connection.query_row("SELECT place FROM store", [], |row| row.get(0))?)
}

/// Brings logins that were kept as they were typed into the form in which they are looked for. Of two that
/// become the same, the one that has the form already, or else the first, stays; the other customer needs a
/// new login.
fn bring_logins_into_form(connection: &Connection) -> Result<(), StoreError> {
    let sql = "SELECT id, login FROM customers WHERE login IS NOT NULL ORDER BY id";
    let mut select = connection.prepare(sql)?;
    let logins = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let logins: Vec<(i64, String)> = logins.collect::<Result<_, _>>()?;
    let mut update =
        connection.prepare("UPDATE OR IGNORE customers SET login = ?2 WHERE id = ?1")?;
    for (id, login) in logins {
        if let Some(form) = text::login(&login).filter(|form| *form != login) {
            update.execute((id, form))?;
        }
    }
    Ok(())
}

fn currency_of(connection: &Connection) -> Result<Currency, StoreError> {
    let code: String = connection.query_row("SELECT currency FROM store", [], |row| row.get(0))?;
    Currency::from_code(&code).ok_or_else(|| {
        StoreError::Incompatible(format!("its currency {code} is not one of ISO 4217"))
    })
}

/// The version of a file that is ours or empty, as it is at one instant: another process may be making it.
pub(super) fn identify_now(connection: &Connection) -> Result<i64, StoreError> {
    connection.execute_batch("BEGIN")?;
    let found = identify(connection);
    // After some failures SQLite has ended the transaction by itself, and the failure is to be told.
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    found
}

/// As [`identify_now`], within a transaction.
fn identify(connection: &Connection) -> Result<i64, StoreError> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    match (application, version, tables) {
        (0, 0, 0) => Ok(0),
        (APPLICATION_ID, 1..=VERSION, _) => Ok(version),
        (APPLICATION_ID, _, _) => Err(StoreError::Incompatible(format!(
            "it has version {version} and this program knows versions up to {VERSION}: use a newer one"
        ))),
        _ => Err(StoreError::Incompatible("the file belongs to another program".to_owned())),
    }
}
