//! Read-only stores: on a read-only mount, or in a folder that this user cannot write, such as a mounted backup.
//!
//! SQLite needs two files beside a store in WAL mode to read it, which cannot be created there. A store without a log
//! is complete in its one file and is read as `immutable`, without locks and without those files. That is correct as
//! long as the file is not written, which is checked before and after each read.

use super::paths::{beside, uri};
use crate::error::StoreError;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, access};
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The state of a read-only file when it was opened.
#[derive(Clone, Debug)]
pub(super) struct ReadOnly {
    stamp: Option<Stamp>,
}

/// The metadata that changes with every write to a file.
type Stamp = (u64, u64, u64, i64, i64);

impl ReadOnly {
    /// Returns the state of the file if it or its folder cannot be written.
    pub(super) fn find(path: &Path) -> Option<Self> {
        let folder = path.parent()?;
        let can_write = |path: &Path| access(path, Access::WRITE_OK).is_ok();
        let stamp = path.metadata().ok().map(|metadata| stamp_of(&metadata));
        (!can_write(path) || !can_write(folder)).then_some(Self { stamp })
    }

    /// Opens the file for reading, without creating a file beside it.
    pub(super) fn open(&self, path: &Path) -> Result<Connection, StoreError> {
        self.check_unchanged(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        Ok(Connection::open_with_flags(uri(path), flags)?)
    }

    /// Fails if the file was written, or has a log.
    pub(super) fn check_unchanged(&self, path: &Path) -> Result<(), StoreError> {
        let log = beside(path, "-wal");
        let logged = match log.metadata() {
            Ok(metadata) => metadata.len() > 0,
            Err(error) => error.kind() != ErrorKind::NotFound,
        };
        if logged {
            return Err(StoreError::Unavailable(format!(
                "{} can only be read and {} beside it holds changes: copy both files to a folder that can be \
                 written to and open the copy, or open the store as the user that writes it",
                path.display(),
                log.display()
            )));
        }
        if path.metadata().ok().map(|metadata| stamp_of(&metadata)) != self.stamp {
            return Err(StoreError::Unavailable(format!(
                "{} was written to while it was read: try again, or open the store as the user that writes it",
                path.display()
            )));
        }
        Ok(())
    }
}

/// The error of a write.
pub(super) fn refusal(path: &Path) -> StoreError {
    StoreError::Unavailable(format!(
        "{} can only be read: copy it to a folder that can be written to, or run this as the user that owns it",
        path.display()
    ))
}

/// The error of a store that needs a migration first.
pub(super) fn refusal_of_older(path: &Path) -> StoreError {
    StoreError::Unavailable(format!(
        "{} has an older version and can only be read here: copy it to a folder that can be written to, where \
         opening it migrates it",
        path.display()
    ))
}

fn stamp_of(metadata: &Metadata) -> Stamp {
    (metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec())
}
