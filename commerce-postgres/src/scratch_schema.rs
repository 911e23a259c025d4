//! A store beside the one of a database, in a schema of its own: to be measured and thrown away.

use crate::PostgresStore;
use crate::connect_options::ConnectOptions;
use crate::connection::ConnectionRole;
use crate::connection_manager::ConnectionManager;
use crate::distribute::Layout;
use commerce_core::{Currency, StoreError};

impl PostgresStore {
    /// A new and empty store on the server of that URL, in a new schema of the database. It stays until
    /// [`PostgresStore::drop_scratch_schema`] removes it.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::open`], and when the schema is there already or may not be made.
    pub fn create_scratch_schema(
        url: &str,
        schema: &str,
        currency: Currency,
    ) -> Result<Self, StoreError> {
        let mut target = run(url, &format!("CREATE SCHEMA {}", quoted(schema)))?;
        let before = target.config.get_options().unwrap_or_default();
        let options = format!("{before} -c search_path={}", quoted(schema));
        target.config.options(options.trim_start());
        Self::opened_by(ConnectionManager::new(target), Some(currency), Layout::OneMachine)
    }

    /// Removes a schema and all that is in it.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::open`], and when it is in use.
    pub fn drop_scratch_schema(url: &str, schema: &str) -> Result<(), StoreError> {
        run(url, &format!("DROP SCHEMA IF EXISTS {} CASCADE", quoted(schema))).map(drop)
    }
}

fn run(url: &str, sql: &str) -> Result<ConnectOptions, StoreError> {
    let target = ConnectOptions::at(url)?;
    let connection_manager = ConnectionManager::new(target.clone());
    let ran = connection_manager
        .open(ConnectionRole::Reader)
        .and_then(|mut connection| connection.run(sql));
    ran.map(|()| target).map_err(|failure| failure.error)
}

/// The name as an identifier: of anything but small letters, digits and `_` nothing stays.
fn quoted(name: &str) -> String {
    let plain =
        |letter: &char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || *letter == '_';
    format!("\"{}\"", name.chars().filter(plain).collect::<String>())
}
