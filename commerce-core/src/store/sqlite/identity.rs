//! The identity of the files of a store: whether the paths still lead to the files that were opened, and
//! whether a log belongs to the store beside it.
//!
//! SQLite binds neither. It continues to write to a file that was deleted or replaced, and it plays a log onto
//! whatever file stands beside it. So the lock file keeps the name of the store and the number of each file,
//! and both are compared.

use super::read_only::uri;
use crate::error::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fmt;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::UNIX_EPOCH;

/// The path of a file that belongs to the store at `path`, like its log with `-wal`.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The device and the number of a file, which no other file has while this one is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file that a path leads to; `None` when there is none.
    fn at(path: &Path) -> Result<Option<Self>, StoreError> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self::from(&metadata))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::Unavailable(format!("{}: {error}", path.display()))),
        }
    }
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// The file at a path as text, different from every file that was there before. The number of a file that
/// was removed is given out again, so the time of its creation counts as well, where the system keeps it.
pub(super) fn index(path: &Path) -> Result<String, StoreError> {
    let metadata = fs::metadata(path)
        .map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))?;
    let created = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let FileId { device, inode } = FileId::from(&metadata);
    Ok(format!("{device}:{inode}:{}", created.map_or(0, |age| age.as_nanos())))
}

/// The files of a store as they were when it was opened. They stay as long as one connection is open.
#[derive(Debug, Default)]
pub(super) struct OpenFiles(Vec<(PathBuf, FileId)>);

impl OpenFiles {
    /// The files that a connection to the store at `path` has just opened.
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let mut files = Vec::new();
        for ending in ["", "-wal", "-shm", "-lock"] {
            let file = beside(path, ending);
            let id = FileId::at(&file)?;
            files.extend(id.map(|id| (file, id)));
        }
        Ok(Self(files))
    }

    /// Compares them with what their paths lead to now. What is written to a file without a name is lost when
    /// the process ends, and two processes with two indexes of one log overwrite each other's orders.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for (file, id) in &self.0 {
            if FileId::at(file)? != Some(*id) {
                return Err(StoreError::Replaced(format!("{}", file.display())));
            }
        }
        Ok(())
    }
}

/// The store that a log belongs to, as the lock file keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    /// The random name of the store.
    name: String,
    /// The [`place`] of its file, and that of its log.
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
    /// The binding of the store of that name at `path`; `None` when it has no log.
    pub(super) fn of(path: &Path, name: &str) -> Result<Option<Self>, StoreError> {
        let log = beside(path, "-wal");
        if FileId::at(&log)?.is_none() {
            return Ok(None);
        }
        Ok(Some(Self { name: name.to_owned(), store: index(path)?, log: index(&log)? }))
    }

    /// Whether both are of one file of one store, with whichever log.
    pub(super) fn is_of_same_store(&self, other: &Self) -> bool {
        (&self.name, &self.store) == (&other.name, &other.store)
    }
}

/// Refuses a log that belongs to another file than the one at `path`: the one that was there before a backup
/// was put in its place, or that was deleted.
///
/// All files may have been moved or copied together. Then the name is the same, and either the file or the log
/// has kept its number, or neither has.
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
            index(path)? != bound.store && index(&log)? == bound.log
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

/// Whether the file of a store holds that name by itself.
pub(super) fn holds_name(path: &Path, name: &str) -> bool {
    matches!(name_in(path), NameInFile::Is(found) if found == name)
}

/// The name that the file of a store holds by itself, whatever its log says.
#[derive(Debug, PartialEq, Eq)]
enum NameInFile {
    Is(String),
    /// The file is missing or empty, or is of a version without names.
    None,
    /// The file cannot be read right now, which proves nothing.
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
