//! A file as a destination: one line of JSON for each event, synced to disk before the event counts as delivered.
//!
//! The file may be rotated at any time, by renaming or by truncating: before each write it is reopened if its path
//! leads to another file, and all writes append. Several relays may share it; each holds its advisory lock while it
//! writes, and a rotating program may hold it too. A crash or a full disk may leave a partial line, whose event was
//! not delivered: it is truncated before the next write.

use crate::cloud_event::EventEncoder;
use crate::http::sentence;
use crate::limits::{MAX_EVENT_BYTES, MAX_LINES_PER_WRITE};
use commerce_core::sync::Mutex;
use commerce_core::{DeliveryResult, Destination, Event};
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// The start of every line of this destination; other text at the end of the file is foreign, and kept.
const LINE_START: &[u8] = br#"{"specversion":"1.0","id":""#;

/// The longest wait for the lock, far longer than another relay holds it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The interval between two attempts to lock the file.
const LOCK_INTERVAL: Duration = Duration::from_millis(2);

/// The attempts to lock the file when it is moved away meanwhile. The waits for all of them stay below
/// [`MAX_DELIVERY`](commerce_core::limits::MAX_DELIVERY).
const MAX_REOPENS: u32 = 2;

/// A file that lines are appended to.
pub(crate) struct FileDestination {
    encoder: EventEncoder,
    path: PathBuf,
    open: Mutex<Option<File>>,
    /// The longest wait for the lock.
    timeout: Duration,
}

impl FileDestination {
    pub(crate) fn new(path: PathBuf, encoder: EventEncoder) -> Self {
        Self { encoder, path, open: Mutex::new(None), timeout: TIMEOUT }
    }

    /// Appends the lines and syncs them to disk. After an error the next call reopens the file.
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock();
        let mut file = open_locked(&self.path, open.take(), |file| lock(file, self.timeout))?;
        truncate_partial_line(&mut file)?;
        file.write_all(lines)?;
        file.sync_data()?;
        file.unlock()?;
        *open = Some(file);
        Ok(())
    }
}

impl Destination for FileDestination {
    fn max_batch_size(&self) -> usize {
        MAX_LINES_PER_WRITE
    }

    fn max_concurrency(&self) -> usize {
        1
    }

    fn deliver(&self, events: &[Event]) -> DeliveryResult {
        let lines = match self.encoder.lines(events) {
            Ok(lines) => lines,
            Err(error) => {
                return DeliveryResult::Failed { error: error.to_string(), retry_after: None };
            }
        };
        match self.append(&lines) {
            Ok(()) => DeliveryResult::Done,
            Err(error) => DeliveryResult::Failed { error: sentence(&error), retry_after: None },
        }
    }
}

/// Returns the file at the path, locked by `lock`. A program that rotates the file with its lock held may have moved it
/// away meanwhile: then the new file is opened and locked.
fn open_locked(
    path: &Path,
    mut open: Option<File>,
    lock: impl Fn(&File) -> io::Result<()>,
) -> io::Result<File> {
    for _ in 0..MAX_REOPENS {
        let file = match open.take() {
            Some(file) if is_at(path, &file)? => file,
            _ => open_file(path)?,
        };
        lock(&file)?;
        if is_at(path, &file)? {
            return Ok(file);
        }
    }
    Err(io::Error::new(ErrorKind::ResourceBusy, "the file is moved repeatedly"))
}

/// Waits for the lock. The system's own blocking lock has no timeout, and the process that holds the lock may be
/// stopped.
fn lock(file: &File, timeout: Duration) -> io::Result<()> {
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if started.elapsed() < timeout => {
                thread::sleep(LOCK_INTERVAL);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    ErrorKind::TimedOut,
                    "the file is locked by another process",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
}

/// Returns true if the path leads to this file.
fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    let same = |a: &Metadata, b: &Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    match path.metadata() {
        Ok(named) => Ok(same(&named, &file.metadata()?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens the file, or creates it, readable by its owner and group.
fn open_file(path: &Path) -> io::Result<File> {
    let is_new = !path.try_exists()?;
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "events are written to plain files"));
    }
    if is_new {
        // Sync the directory: the name of the file has to survive a crash as well.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(file)
}

/// Makes the file end with a complete line: truncates a partial line of this destination, and ends a foreign one.
fn truncate_partial_line(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let last = read_from(file, length.saturating_sub(1), length)?;
    if last.is_empty() || last == b"\n" {
        return Ok(());
    }
    let reach = u64::try_from(MAX_EVENT_BYTES).unwrap_or(u64::MAX);
    let tail = read_from(file, length.saturating_sub(reach), length)?;
    let partial = tail.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    if partial.starts_with(LINE_START) || LINE_START.starts_with(partial) {
        let partial = u64::try_from(partial.len()).unwrap_or(u64::MAX);
        return file.set_len(length.saturating_sub(partial));
    }
    file.write_all(b"\n")
}

fn read_from(file: &mut File, start: u64, end: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(end.saturating_sub(start)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
