//! The identity of the files of a store: detects that an open file was replaced, and that a log belongs to another
//! store than the one beside it.
//!
//! SQLite checks neither. It continues to write to a file that was deleted or replaced, and it replays a log into any
//! file beside it. So the lock file records the name of the store and the identity of each file, and both are compared.

use super::paths::{beside, uri};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::StoreError;
use crate::sync::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags};
#[cfg(target_os = "linux")]
use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
use std::fmt;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::UNIX_EPOCH;

/// The device and the inode of a file, which no other file has while this one is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Returns the file at a path; `None` if there is none.
    fn at(path: &Path) -> Result<Option<Self>, StoreError> {
        match Self::query(path) {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::Unavailable(format!("{}: {error}", path.display()))),
        }
    }

    /// Asks for the inode and not for times. Since version 6.13 Linux gives a file a new time of change with the first
    /// write after the time was read, so that each sync of a log that is checked would write its inode too:
    /// a second wait for the disk in every commit.
    #[cfg(target_os = "linux")]
    fn query(path: &Path) -> io::Result<Self> {
        let file = statx(CWD, path, AtFlags::empty(), StatxFlags::INO)?;
        Ok(Self { device: makedev(file.stx_dev_major, file.stx_dev_minor), inode: file.stx_ino })
    }

    #[cfg(not(target_os = "linux"))]
    fn query(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Returns the identity of the file at a path as text, different from that of every earlier file. The inode of a removed
/// file is used again, so the time of creation is included, if the system keeps it.
pub(super) fn file_identity(path: &Path) -> Result<String, StoreError> {
    let metadata = fs::metadata(path)
        .map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))?;
    let created = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let FileId { device, inode } = FileId::from(&metadata);
    Ok(format!("{device}:{inode}:{}", created.map_or(0, |age| age.as_nanos())))
}

/// The files of a store when it was opened. They exist as long as one connection is open.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    files: Vec<(PathBuf, FileId)>,
    folder: PathBuf,
    /// The folder before the files were last found in it, if it had been unchanged for [`SETTLED`] then.
    checked: Mutex<Option<Folder>>,
}

/// The identity of a folder, and the time of its last change: a name was added, removed or replaced. No program can set that
/// time. Mounting something over one of the files is not seen, as it leaves the folder as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Folder {
    id: FileId,
    changed: (i64, i64),
}

/// The seconds after which two changes have different times. The coarsest common file systems count in steps of two.
const SETTLED: i64 = 3;

impl OpenFiles {
    /// Returns the files that a connection to the store at `path` has just opened.
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let mut files = Vec::new();
        for ending in ["", "-wal", "-shm", "-lock"] {
            let file = beside(path, ending);
            let id = FileId::at(&file)?;
            files.extend(id.map(|id| (file, id)));
        }
        let folder = path.parent().unwrap_or(path).to_owned();
        Ok(Self { files, folder, checked: Mutex::default() })
    }

    /// Fails if a path leads to another file now. Writes to a file without a name are lost when the process ends, and
    /// two processes with two indexes of one log overwrite each other's orders.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.check_at(SystemClock.now())
    }

    /// Compares each file only if their folder has changed: that saves three of four calls of the system.
    fn check_at(&self, now: Timestamp) -> Result<(), StoreError> {
        if self.files.is_empty() {
            return Ok(());
        }
        // Read before the files, so that the next check sees a change after it.
        let folder = fs::metadata(&self.folder).ok().map(|metadata| Folder {
            id: FileId::from(&metadata),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        });
        if folder.is_some() && *self.checked.lock() == folder {
            return Ok(());
        }
        for (file, id) in &self.files {
            if FileId::at(file)? != Some(*id) {
                return Err(StoreError::Replaced(format!("{}", file.display())));
            }
        }
        let settled = now.unix().saturating_sub(SETTLED);
        // Some folders have no times, like the root of a FAT file system.
        *self.checked.lock() = folder.filter(|folder| (1..settled).contains(&folder.changed.0));
        Ok(())
    }
}

/// The store that a log belongs to, as the lock file keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    /// The random name of the store.
    name: String,
    /// The [`file_identity`] of its file, and that of its log.
    store: String,
    log: String,
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.store, self.log)
    }
}

impl FromStr for Binding {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [name, store, log] = parts.as_slice() else { return Err(()) };
        let [name, store, log] = [name, store, log].map(|part| (*part).to_owned());
        Ok(Self { name, store, log })
    }
}

impl Binding {
    /// Returns the binding of the store of that name at `path`; `None` if it has no log.
    pub(super) fn of(path: &Path, name: &str) -> Result<Option<Self>, StoreError> {
        let log = beside(path, "-wal");
        if FileId::at(&log)?.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            name: name.to_owned(),
            store: file_identity(path)?,
            log: file_identity(&log)?,
        }))
    }

    /// Returns true if both have the same store in the same file; their logs may differ.
    pub(super) fn is_of_same_store(&self, other: &Self) -> bool {
        (&self.name, &self.store) == (&other.name, &other.store)
    }
}

/// Refuses a log that belongs to another file than the one at `path`: to a file that was deleted, or replaced by a
/// backup.
///
/// All files may have been moved or copied together. Then the name is the same, and if the log has kept its identity, the
/// file has kept it too.
pub(super) fn check_log(path: &Path) -> Result<(), StoreError> {
    let log = beside(path, "-wal");
    if !fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        return Ok(());
    }
    let lock = fs::read_to_string(beside(path, "-lock"));
    let Ok(bound) = lock.unwrap_or_default().parse::<Binding>() else { return Ok(()) };
    let is_foreign = match name_in(path) {
        NameInFile::Unreadable => false,
        NameInFile::Is(name) if name == bound.name => {
            file_identity(path)? != bound.store && file_identity(&log)? == bound.log
        }
        NameInFile::Is(_) | NameInFile::None => true,
    };
    if !is_foreign {
        return Ok(());
    }
    Err(StoreError::Incompatible(format!(
        "{log} is the log of another store than {path}, which was put in its place or has lost it. To use \
         {path} as it is, stop every process that has the old store open and remove {log} and {index}; to \
         get the old store back, put its file back beside its log",
        log = log.display(),
        path = path.display(),
        index = beside(path, "-shm").display(),
    )))
}

/// Returns true if the file of a store holds that name without its log.
pub(super) fn holds_name(path: &Path, name: &str) -> bool {
    matches!(name_in(path), NameInFile::Is(found) if found == name)
}

/// The name that the file of a store holds without its log.
#[derive(Debug, PartialEq, Eq)]
enum NameInFile {
    Is(String),
    /// The file does not exist, is empty, or has a version without names.
    None,
    /// The file cannot be read now, which proves neither.
    Unreadable,
}

fn name_in(path: &Path) -> NameInFile {
    if fs::metadata(path).is_ok_and(|store| store.len() == 0) || !path.exists() {
        return NameInFile::None;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let name = Connection::open_with_flags(uri(path), flags).and_then(|file| {
        file.query_row("SELECT name FROM store", [], |row| row.get::<_, String>(0))
    });
    match name {
        Ok(name) if name.is_empty() => NameInFile::None,
        Ok(name) => NameInFile::Is(name),
        // No such table or column.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => NameInFile::None,
        Err(_) => NameInFile::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until a change gets another time than those before.
    fn tick() {
        let before = tempfile::tempdir().unwrap();
        let time = |folder: &Path| fs::metadata(folder).unwrap().modified().unwrap();
        while time(tempfile::tempdir().unwrap().path()) <= time(before.path()) {}
    }

    #[test]
    fn replaced_file_is_noticed_also_after_checks_that_read_the_folder_only() {
        let folder = tempfile::tempdir().unwrap();
        let [store, other] = ["shop.db", "other.db"].map(|name| folder.path().join(name));
        fs::write(&store, "a").unwrap();
        let files = OpenFiles::of(&store).unwrap();
        for later in [0, 3_600] {
            let now = SystemClock.now().plus_seconds(later);
            tick();
            files.check_at(now).unwrap();
            files.check_at(now).unwrap();
            assert_eq!(files.checked.lock().is_some(), later > 0, "the folder has just changed");
        }
        fs::write(&other, "b").unwrap();
        files.check().unwrap();
        assert!(files.checked.lock().is_none());
        files.check_at(SystemClock.now().plus_seconds(3_600)).unwrap();
        tick();
        fs::rename(&other, &store).unwrap();
        assert!(matches!(files.check(), Err(StoreError::Replaced(_))));
        fs::remove_file(&store).unwrap();
        assert!(matches!(files.check(), Err(StoreError::Replaced(_))));
    }
}
