//! Scratch stores for benchmarks: a store in a schema of its own, beside the one of the database.

use crate::PostgresStore;
use crate::connect_options::ConnectOptions;
use crate::connection::ConnectionRole;
use crate::connection_manager::ConnectionManager;
use crate::layout::Layout;
use commerce_core::{Currency, StoreError};

impl PostgresStore {
    /// Creates a new and empty store in a new schema of the database, with the layout of the store there. It exists
    /// until [`PostgresStore::drop_scratch_schema`] removes it. For benchmarks.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::open`], and when the schema exists or the user may not create it.
    #[doc(hidden)]
    pub fn create_scratch_schema(
        url: &str,
        schema: &str,
        currency: Currency,
    ) -> Result<Self, StoreError> {
        let mut options = ConnectOptions::at(url)?;
        let connection = ConnectionManager::new(options.clone()).open(ConnectionRole::Reader);
        let layout = connection
            .and_then(|mut connection| {
                let layout = Layout::find(&mut connection)?;
                // It may have to be chosen first.
                Layout::of_new(layout, &connection)?;
                connection.run(&format!("CREATE SCHEMA {}", quoted(schema)))?;
                Ok(layout)
            })
            .map_err(|failure| failure.error)?;
        let before = options.config.get_options().unwrap_or_default();
        let search_path = format!("{before} -c search_path={}", quoted(schema));
        options.config.options(search_path.trim_start());
        Self::open_by(ConnectionManager::new(options), Some(currency), layout)
    }

    /// Drops a schema with all its tables. For benchmarks.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::open`], and when it is in use.
    #[doc(hidden)]
    pub fn drop_scratch_schema(url: &str, schema: &str) -> Result<(), StoreError> {
        let connections = ConnectionManager::new(ConnectOptions::at(url)?);
        let sql = format!("DROP SCHEMA IF EXISTS {} CASCADE", quoted(schema));
        let connection = connections.open(ConnectionRole::Reader);
        let dropped = connection.and_then(|mut connection| connection.run(&sql));
        dropped.map_err(|failure| failure.error)
    }
}

/// Quotes a name as an identifier, without all characters but lower-case letters, digits and `_`.
fn quoted(name: &str) -> String {
    let is_plain =
        |letter: &char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || *letter == '_';
    format!("\"{}\"", name.chars().filter(is_plain).collect::<String>())
}
