//! `commerce backup`: a consistent copy of the store while it is in use.

use crate::database::Database;
use crate::error::CliError;
use crate::output::Output;
use crate::progress;
use commerce_core::SqliteStore;
use serde::Serialize;
use std::path::PathBuf;

/// Copies the store, as it is at one instant, while it is in use.
#[derive(clap::Args, Debug)]
pub(crate) struct Backup {
    /// The file to write. A file that is there already is left alone.
    file: PathBuf,
}

#[derive(Serialize)]
struct Copied {
    file: String,
    pages: u64,
}

impl Backup {
    pub(crate) fn run(&self, database: &Database, output: Output) -> Result<(), CliError> {
        let file = self.file.display();
        let path = match database {
            Database::File(path) => path,
            Database::Server { .. } => {
                return Err(CliError::usage(format!(
                    "a database on a server is copied by PostgreSQL's own program, while it is in \
                     use: pg_dump --format=custom --file={file} and the same URL; pg_restore brings \
                     it back"
                )));
            }
        };
        let store = SqliteStore::find(path)?.ok_or_else(|| database.is_missing())?;
        if database.holds(&self.file) {
            let told = format!("{file} is a part of the store itself: name another file");
            return Err(CliError::usage(told));
        }
        if self.file.symlink_metadata().is_ok() {
            return Err(CliError::usage(format!("{file} exists already: name a new file")));
        }
        let bar = progress::counted("pages", 0);
        let mut pages = 0;
        store.backup(&self.file, &mut |at| {
            pages = at.total_pages;
            bar.set_length(at.total_pages);
            bar.set_position(at.copied_pages);
        })?;
        bar.finish_and_clear();
        output.print(&Copied { file: file.to_string(), pages }, |_| format!("copied to {file}"))
    }
}
