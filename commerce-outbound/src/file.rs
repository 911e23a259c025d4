//! A file as a destination: a line of JSON an event, on disk before it counts as delivered.
//!
//! The file may be rotated from outside at any time, by renaming or by truncating: before each write it
//! is opened anew when the name leads elsewhere, and all writes append. Several relays may share it; each
//! holds its advisory lock while it writes, and so may who rotates it. A crash or a full disk may leave half
//! a line of ours, whose event was not delivered then: it is cut off before the next line is written.

use crate::cloud_event::Form;
use crate::cloud_event::MAX_EVENT_BYTES;
use crate::destination::LINES_AT_ONCE;
use crate::http::sentence;
use commerce_core::{DeliveryResult, Destination, Event};
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What every line of ours begins with; what else ends the file is somebody else's, and kept.
const BEGINNING: &[u8] = br#"{"specversion":"1.0","id":""#;

/// How long other relays' turns are waited for, far longer than such a turn takes, and how often it is
/// looked whether they are over.
const TIMEOUT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(2);

/// How often in a row the file may be moved away before it is our turn. Waiting for all of them stays below
/// [`MAX_DELIVERY`](commerce_core::limits::MAX_DELIVERY).
const TURNS: u32 = 2;

/// A file that lines are appended to.
pub(crate) struct FileDestination {
    form: Form,
    path: PathBuf,
    open: Mutex<Option<File>>,
    /// How long the turns of others are waited for.
    timeout: Duration,
}

impl FileDestination {
    pub(crate) fn new(path: PathBuf, form: Form) -> Self {
        Self { form, path, open: Mutex::new(None), timeout: TIMEOUT }
    }

    /// Appends the lines and waits for the disk. After an error the file is opened anew.
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = turn(&self.path, open.take(), |file| lock(file, self.timeout))?;
        mend(&mut file)?;
        file.write_all(lines)?;
        file.sync_data()?;
        file.unlock()?;
        *open = Some(file);
        Ok(())
    }
}

impl Destination for FileDestination {
    fn max_batch_size(&self) -> usize {
        LINES_AT_ONCE
    }

    fn max_concurrency(&self) -> usize {
        1
    }

    fn deliver(&self, events: &[Event]) -> DeliveryResult {
        let lines = match self.form.lines(events) {
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

/// The file that the name leads to, once `wait` has waited for the turn to write to it. Meanwhile it may have
/// been moved away: whoever rotates it with its lock held does so.
fn turn(
    path: &Path,
    mut open: Option<File>,
    wait: impl Fn(&File) -> io::Result<()>,
) -> io::Result<File> {
    for _ in 0..TURNS {
        let file = match open.take() {
            Some(file) if leads_to(path, &file)? => file,
            _ => open_file(path)?,
        };
        wait(&file)?;
        if leads_to(path, &file)? {
            return Ok(file);
        }
    }
    Err(io::Error::new(ErrorKind::ResourceBusy, "the file is moved again and again"))
}

/// Waits for the turn to write. The system's own wait has no end: whoever has the lock may be stopped.
fn lock(file: &File, timeout: Duration) -> io::Result<()> {
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if started.elapsed() < timeout => thread::sleep(LOOK),
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(ErrorKind::TimedOut, "the file is locked by another"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
}

fn leads_to(path: &Path, file: &File) -> io::Result<bool> {
    let same = |a: &Metadata, b: &Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    match path.metadata() {
        Ok(named) => Ok(same(&named, &file.metadata()?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens the file, or makes it, readable by the owner and their group.
fn open_file(path: &Path) -> io::Result<File> {
    let is_new = !path.try_exists()?;
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "events are written to plain files"));
    }
    if is_new {
        // The name of the file has to survive a crash as well.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(file)
}

/// Sees to it that the next line begins a line.
fn mend(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let last = read_from(file, length.saturating_sub(1), length)?;
    if last.is_empty() || last == b"\n" {
        return Ok(());
    }
    let reach = u64::try_from(MAX_EVENT_BYTES).unwrap_or(u64::MAX);
    let tail = read_from(file, length.saturating_sub(reach), length)?;
    let half = tail.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    if half.starts_with(BEGINNING) || BEGINNING.starts_with(half) {
        let half = u64::try_from(half.len()).unwrap_or(u64::MAX);
        return file.set_len(length.saturating_sub(half));
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
