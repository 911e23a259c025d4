//! The identity of the files of a store, as the file system knows them.

use crate::StoreError;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// The device and the number of a file, which no other file has while this one is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// The file at a path as text, different from every file that was there before. The number of a file that
/// was removed is given out again, so the time of its creation counts as well, where the system keeps it.
pub(super) fn place(path: &Path) -> Result<String, StoreError> {
    let metadata = fs::metadata(path)
        .map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))?;
    let FileId { device, inode } = FileId::from(&metadata);
    let created = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Ok(format!("{device}:{inode}:{}", created.map_or(0, |age| age.as_nanos())))
}
