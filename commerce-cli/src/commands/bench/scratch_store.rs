//! The temporary store of `bench`: of the same kind and in the same location as the database.

use crate::database::Database;
use crate::error::CliError;
use crate::unique;
use commerce_core::{Currency, SqliteStore, Store};
use commerce_postgres::PostgresStore;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// A temporary store, removed on drop.
pub(super) enum ScratchStore {
    /// A directory on the disk of the database.
    Directory { _directory: TempDir },
    /// A schema in the database.
    Schema { url: String, name: String },
}

impl ScratchStore {
    pub(super) fn create(database: &Database) -> Result<(Arc<dyn Store>, Self), CliError> {
        match database {
            Database::File(path) => {
                let directory = directory_beside(path)?;
                let store = SqliteStore::open(&directory.path().join("bench.db"))?;
                Ok((Arc::new(store), Self::Directory { _directory: directory }))
            }
            Database::Server { url, .. } => {
                let name = format!("commerce_bench_{}", unique::random()?.simple());
                let scratch = Self::Schema { url: url.clone(), name: name.clone() };
                let store = PostgresStore::create_scratch_schema(url, &name, Currency::KRW)?;
                Ok((Arc::new(store), scratch))
            }
        }
    }
}

impl Drop for ScratchStore {
    fn drop(&mut self) {
        if let Self::Schema { url, name } = self {
            // An unreachable server keeps the schema; its name shows its origin.
            let _ = PostgresStore::drop_scratch_schema(url, name);
        }
    }
}

fn directory_beside(path: &Path) -> Result<TempDir, CliError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    tempfile::Builder::new().prefix("commerce-bench-").tempdir_in(parent).map_err(|error| {
        CliError::storage(format!("cannot create a directory in {}: {error}", parent.display()))
    })
}
