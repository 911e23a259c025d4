//! The store that `bench` works on: of the same kind and in the same place as the database, and gone
//! afterwards.

use crate::database::Database;
use crate::error::CliError;
use crate::unique;
use commerce_core::{Currency, SqliteStore, Store};
use commerce_postgres::PostgresStore;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// What is left to be removed; dropped, it is.
pub(super) enum ScratchStore {
    /// A folder on the disk of the database, which removes itself.
    Folder { _folder: TempDir },
    /// A schema in the database.
    Schema { url: String, name: String },
}

impl ScratchStore {
    pub(super) fn make(database: &Database) -> Result<(Arc<dyn Store>, Self), CliError> {
        match database {
            Database::File(path) => {
                let folder = beside(path)?;
                let store = SqliteStore::open(&folder.path().join("bench.db"))?;
                Ok((Arc::new(store), Self::Folder { _folder: folder }))
            }
            Database::Server { url, .. } => {
                let name = format!("commerce_bench_{}", unique::at_random()?.simple());
                let made = Self::Schema { url: url.clone(), name: name.clone() };
                let store = PostgresStore::create_scratch_schema(url, &name, Currency::KRW)?;
                Ok((Arc::new(store), made))
            }
        }
    }
}

impl Drop for ScratchStore {
    fn drop(&mut self) {
        if let Self::Schema { url, name } = self {
            // A server that is gone keeps it; its name says what it is.
            let _ = PostgresStore::drop_scratch_schema(url, name);
        }
    }
}

fn beside(path: &Path) -> Result<TempDir, CliError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    tempfile::Builder::new().prefix("commerce-bench-").tempdir_in(parent).map_err(|error| {
        CliError::storage(format!("cannot make a folder in {}: {error}", parent.display()))
    })
}
