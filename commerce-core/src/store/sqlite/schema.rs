//! The schema, its version, and how an older file becomes a newer one.

use crate::{Currency, StoreError};
use rusqlite::Connection;

/// Marks a file as a store of this program: "COMM".
const APPLICATION_ID: i64 = 0x434f_4d4d;

/// What leads from each version to the next, from an empty file on.
const MIGRATIONS: [&str; 4] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
];

/// The version after the last migration.
pub(super) const VERSION: i64 = 4;
const _: () = assert!(MIGRATIONS.len() == 4, "VERSION counts the migrations");

/// Brings the file to [`VERSION`] in one transaction, and answers the store's currency; `currency` is
/// what a new store gets.
pub(super) fn migrate(connection: &Connection, currency: Currency) -> Result<Currency, StoreError> {
    // A table that others refer to can only be replaced while nobody watches; `bring_up` looks after it.
    connection.execute_batch("PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE")?;
    let done = bring_up(connection, currency).and_then(|found| {
        connection.execute_batch("COMMIT").map_err(super::error::of_commit)?;
        Ok(found)
    });
    if done.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    connection.execute_batch("PRAGMA foreign_keys = ON")?;
    done
}

/// The connection back with the store's currency, when the file is of [`VERSION`] already.
pub(super) fn ready(connection: Connection) -> Result<Option<(Connection, Currency)>, StoreError> {
    if identify_now(&connection)? < VERSION {
        return Ok(None);
    }
    let currency = currency_of(&connection)?;
    Ok(Some((connection, currency)))
}

fn bring_up(connection: &Connection, currency: Currency) -> Result<Currency, StoreError> {
    let found = identify(connection)?;
    let todo = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..));
    for migration in todo.unwrap_or_default() {
        connection.execute_batch(migration)?;
    }
    if found == 0 {
        connection.execute("INSERT INTO store (id, currency) VALUES (1, ?1)", [currency.code()])?;
    }
    if found < VERSION {
        if connection.prepare("PRAGMA foreign_key_check")?.exists([])? {
            let text = "rows refer to rows that are not there: mend them with the version before";
            return Err(StoreError::Unsound(text.to_owned()));
        }
        connection.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
        ))?;
    }
    currency_of(connection)
}

fn currency_of(connection: &Connection) -> Result<Currency, StoreError> {
    let code: String = connection.query_row("SELECT currency FROM store", [], |row| row.get(0))?;
    Currency::from_code(&code)
        .ok_or_else(|| StoreError::Unsound(format!("its currency {code} is not one of ISO 4217")))
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
        (APPLICATION_ID, _, _) => Err(StoreError::Unsound(format!(
            "it has version {version} and this program knows versions up to {VERSION}: use a newer one"
        ))),
        _ => Err(StoreError::Unsound("the file belongs to another program".to_owned())),
    }
}
