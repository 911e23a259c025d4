//! `commerce backup`: a consistent copy of an SQLite store while it is in use.

use crate::database::Database;
use crate::error::CliError;
use crate::output::Output;
use crate::progress;
use commerce_core::SqliteStore;
use commerce_postgres::PostgresStore;
use serde::Serialize;
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
pub(crate) struct BackupCommand {
    /// File to create. An existing file is never overwritten.
    file: PathBuf,
}

#[derive(Serialize)]
struct BackupReport {
    file: String,
    pages: u64,
}

impl BackupCommand {
    pub(crate) fn run(&self, database: &Database, output: Output) -> Result<(), CliError> {
        let file = self.file.display();
        let path = match database {
            Database::File(path) => path,
            // An unreachable server has no say in it: the usual program is named then.
            Database::Server { url, .. } if PostgresStore::is_distributed(url).unwrap_or(false) => {
                return Err(CliError::usage(format!(
                    "a dump of a distributed store would be restored without its distribution and some of its \
                     constraints: copy it with `commerce copy --from URL --to {file}`, and back in the same way"
                )));
            }
            Database::Server { .. } => {
                return Err(CliError::usage(format!(
                    "a PostgreSQL database is backed up with its own program, also while it is in use: \
                     pg_dump --format=custom --file={file} and the same URL; restore it with pg_restore"
                )));
            }
        };
        let store = SqliteStore::find(path)?.ok_or_else(|| database.missing())?;
        if database.owns(&self.file) {
            let message = format!("{file} is part of the store itself: name another file");
            return Err(CliError::usage(message));
        }
        if self.file.symlink_metadata().is_ok() {
            return Err(CliError::usage(format!("{file} exists already: name a new file")));
        }
        let bar = progress::items("pages", 0);
        let mut pages = 0;
        store.backup(&self.file, &mut |at| {
            pages = at.total_pages;
            bar.set_length(at.total_pages);
            bar.set_position(at.copied_pages);
        })?;
        bar.finish_and_clear();
        output
            .print(&BackupReport { file: file.to_string(), pages }, |_| format!("copied to {file}"))
    }
}
