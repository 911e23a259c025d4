//! A store on a read-only mount, or in a folder that this user cannot write to: a mounted backup.
//!
//! SQLite reads a store in WAL mode with the help of two files beside it, which cannot be made there. A store without
//! a log is complete in its one file and is read as `immutable`, without locks and without those files. That is right
//! as long as the file is not written to, which is checked before and after each read.

use super::identity::beside;
use crate::error::StoreError;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, access};
use std::ffi::OsString;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The state of a store's file that can only be read, as it was found.
#[derive(Clone, Debug)]
pub(super) struct ReadOnly {
    found: Option<Stamp>,
}

/// What changes with every write to a file.
type Stamp = (u64, u64, u64, i64, i64);

impl ReadOnly {
    /// The state of the file, when it or its folder cannot be written to.
    pub(super) fn find(path: &Path) -> Option<Self> {
        let folder = path.parent()?;
        let can_write = |path: &Path| access(path, Access::WRITE_OK).is_ok();
        let found = path.metadata().ok().map(|metadata| stamp(&metadata));
        (!can_write(path) || !can_write(folder)).then_some(Self { found })
    }

    /// Opens the file for reading only, and makes no file beside it.
    pub(super) fn open(&self, path: &Path) -> Result<Connection, StoreError> {
        self.check_unchanged(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        Ok(Connection::open_with_flags(uri(path), flags)?)
    }

    /// Fails when the file has been written to, or has a log.
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
        if path.metadata().ok().map(|metadata| stamp(&metadata)) != self.found {
            return Err(StoreError::Unavailable(format!(
                "{} was written to while it was read: try again, or open the store as the user that writes it",
                path.display()
            )));
        }
        Ok(())
    }
}

/// The refusal of a write.
pub(super) fn refusal(path: &Path) -> StoreError {
    StoreError::Unavailable(format!(
        "{} can only be read: copy it to a folder that can be written to, or run this as the user that owns it",
        path.display()
    ))
}

/// The refusal of a store that would have to be migrated first.
pub(super) fn refusal_of_older(path: &Path) -> StoreError {
    StoreError::Unavailable(format!(
        "{} is of an older version and can only be read here: copy it to a folder that can be written to, where \
         opening it brings it up to date",
        path.display()
    ))
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec())
}

/// The file as a URI that SQLite reads without its log and without any lock: `?`, `#` and `%` have a meaning in it.
pub(super) fn uri(path: &Path) -> OsString {
    let mut uri = b"file:".to_vec();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'?' => uri.extend(b"%3f"),
            b'#' => uri.extend(b"%23"),
            b'%' => uri.extend(b"%25"),
            byte => uri.push(byte),
        }
    }
    uri.extend(b"?immutable=1");
    OsString::from_vec(uri)
}
