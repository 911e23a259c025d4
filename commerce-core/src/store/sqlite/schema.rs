//! The schema, its version and its migrations.

use super::query::upsert;
use super::recount;
use crate::entropy;
use crate::error::StoreError;
use crate::id::EventId;
use crate::model::event::Epoch;
use crate::money::Currency;
use crate::state::State;
use crate::text;
use rusqlite::{Connection, Row};

/// Marks a file as a store of this program: "COMM".
const APPLICATION_ID: i64 = 0x434f_4d4d;

/// The migrations: each leads from one version to the next, the first from an empty file.
const MIGRATIONS: [&str; 13] = [
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
];

/// The version after the last migration.
pub(super) const VERSION: i64 = 13;
const _: () = assert!(MIGRATIONS.len() == 13, "VERSION counts the migrations");

/// The first version whose logins are all canonical.
const CANONICAL_LOGINS: i64 = 6;

/// The first version that counts the figures of orders and the money of products.
const STATISTICS: i64 = 8;

/// The contents of a file that belongs to this program.
#[derive(Debug)]
pub(super) enum Contents {
    Nothing,
    /// A store of an older version.
    Older,
    Store(Description),
}

/// The row of a store that describes it.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) currency: Currency,
    /// The random name of the store.
    pub(super) name: String,
    /// The identity of the file in which the newest epoch of events began.
    pub(super) place: String,
}

/// Migrates the file to [`VERSION`] in one transaction, begins an epoch if it is another file than before, and returns
/// the description of the store. A new store gets `currency`.
pub(super) fn migrate(
    connection: &Connection,
    currency: Currency,
    place: &str,
) -> Result<Description, StoreError> {
    // A referenced table can only be replaced without foreign keys; `migrate_locked` checks them afterwards.
    connection.execute_batch("PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE")?;
    let result = migrate_locked(connection, currency, place).and_then(|description| {
        connection.execute_batch("COMMIT").map_err(super::error::of_commit)?;
        Ok(description)
    });
    if result.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    connection.execute_batch("PRAGMA foreign_keys = ON")?;
    result
}

fn migrate_locked(
    connection: &Connection,
    currency: Currency,
    place: &str,
) -> Result<Description, StoreError> {
    let found = identify(connection)?;
    let todo = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..));
    for migration in todo.unwrap_or_default() {
        connection.execute_batch(migration)?;
    }
    if found < CANONICAL_LOGINS {
        canonicalize_logins(connection)?;
    }
    if found < STATISTICS {
        recount::recount(connection)?;
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
    let description = describe(connection)?;
    if description.place == place {
        return Ok(description);
    }
    begin_epoch(connection, description.currency, place)?;
    describe(connection)
}

/// Begins an epoch of events: the file is new, or was restored from a copy, which lacks the events that its source has
/// written since.
fn begin_epoch(connection: &Connection, currency: Currency, place: &str) -> Result<(), StoreError> {
    let sql = "SELECT coalesce(max(id), 0) + 1 FROM events";
    let next: EventId = connection.query_row(sql, [], |row| row.get(0))?;
    upsert(connection, &State::new(currency), [&Epoch::begin(next)?])?;
    let sql = "UPDATE store SET place = ?1, name = CASE name WHEN '' THEN ?2 ELSE name END";
    connection.execute(sql, [place, &entropy::hex::<8>()?])?;
    Ok(())
}

/// Replaces logins that were kept as typed by their canonical form, by which they are looked up. If two become equal, the
/// one that is canonical already stays, or else the first; the other customer needs a new login.
fn canonicalize_logins(connection: &Connection) -> Result<(), StoreError> {
    let sql = "SELECT id, login FROM customers WHERE login IS NOT NULL ORDER BY id";
    let mut select = connection.prepare(sql)?;
    let logins = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let logins: Vec<(i64, String)> = logins.collect::<Result<_, _>>()?;
    let mut update =
        connection.prepare("UPDATE OR IGNORE customers SET login = ?2 WHERE id = ?1")?;
    for (id, login) in logins {
        if let Some(canonical) = text::login(&login).filter(|canonical| *canonical != login) {
            update.execute((id, canonical))?;
        }
    }
    Ok(())
}

fn describe(connection: &Connection) -> Result<Description, StoreError> {
    let row = |row: &Row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?));
    let sql = "SELECT currency, name, place FROM store";
    let (code, name, place) = connection.query_row(sql, [], row)?;
    let currency = Currency::from_code(&code).ok_or_else(|| {
        StoreError::Incompatible(format!("its currency {code} is not one of ISO 4217"))
    })?;
    Ok(Description { currency, name, place })
}

/// Returns the contents of a file. They are read in one transaction, because another process may be creating the store.
pub(super) fn inspect(connection: &Connection) -> Result<Contents, StoreError> {
    in_transaction(connection, || {
        Ok(match identify(connection)? {
            0 => Contents::Nothing,
            VERSION => Contents::Store(describe(connection)?),
            _ => Contents::Older,
        })
    })
}

/// Returns the version of a file that belongs to this program or is empty.
pub(super) fn identify_now(connection: &Connection) -> Result<i64, StoreError> {
    in_transaction(connection, || identify(connection))
}

/// Reads in a transaction.
fn in_transaction<T>(
    connection: &Connection,
    read: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.execute_batch("BEGIN")?;
    let found = read();
    // After some failures SQLite has ended the transaction by itself; the failure is returned.
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    found
}

/// Returns the version as [`identify_now`] does, within a transaction.
fn identify(connection: &Connection) -> Result<i64, StoreError> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    match (application, version, tables) {
        (0, 0, 0) => Ok(0),
        (APPLICATION_ID, 1..=VERSION, _) => Ok(version),
        (APPLICATION_ID, _, _) => Err(StoreError::Incompatible(format!(
            "its schema has version {version} and this program knows versions up to {VERSION}: use a newer program"
        ))),
        _ => Err(StoreError::Incompatible("the file belongs to another program".to_owned())),
    }
}
