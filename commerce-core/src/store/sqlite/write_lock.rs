//! The write lock of processes: an advisory lock on a file of its own, taken before `BEGIN IMMEDIATE`.
//!
//! Processes that poll for SQLite's own write lock can starve one another for seconds. The kernel hands the
//! advisory lock to the process that has waited longest. The lock file also keeps which store the log belongs to.

use super::identity::{self, Binding};
use super::paths::beside;
use crate::error::StoreError;
use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::time::{Duration, Instant};

/// The poll interval of waiting with a timeout.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The lock file of a store.
#[derive(Debug)]
pub(super) struct WriteLock(File);

/// The held write lock, released when dropped.
pub(super) struct WriteLockGuard<'a>(&'a File);

impl WriteLock {
    /// Opens or creates the lock file of the store at `path`: the file beside it with the ending `-lock`.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let name = beside(path, "-lock");
        let failed = |error: io::Error| {
            StoreError::Unavailable(format!(
                "{}: {error}: give that file, and the folder, to the user that owns the store",
                name.display()
            ))
        };
        let store = path.metadata().map_err(failed)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(store.mode() & 0o666);
        match options.clone().create_new(true).open(&name) {
            Ok(file) => {
                copy_ownership(&file, &store).map_err(failed)?;
                Ok(Self(file))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(Self(options.open(&name).map_err(failed)?))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Records which store the log belongs to, once the file of the store holds its name without the log. Syncs the
    /// disk if this is another store or file than before: a log survives a power failure, and must be matched to
    /// its store after it.
    pub(super) fn bind(&self, path: &Path, name: &str) -> Result<(), StoreError> {
        let failed = |error: io::Error| {
            StoreError::Unavailable(format!(
                "{}: {error}: check the disk and the owner of that file",
                beside(path, "-lock").display()
            ))
        };
        let mut bytes = Vec::new();
        (&self.0).read_to_end(&mut bytes).map_err(failed)?;
        let before = String::from_utf8_lossy(&bytes).parse::<Binding>().ok();
        let binding = match Binding::of(path, name)? {
            Some(binding) if before.as_ref() != Some(&binding) => binding,
            _ => return Ok(()),
        };
        // Without a log, the name was read from the file.
        let is_logged = beside(path, "-wal").metadata().is_ok_and(|log| log.len() > 0);
        if is_logged && !identity::holds_name(path, name) {
            return Ok(());
        }
        let text = format!("{binding}\n");
        self.0.write_all_at(text.as_bytes(), 0).map_err(failed)?;
        self.0.set_len(u64::try_from(text.len()).unwrap_or(u64::MAX)).map_err(failed)?;
        if before.is_some_and(|before| before.is_of_same_store(&binding)) {
            return Ok(());
        }
        self.0.sync_all().map_err(failed)
    }

    /// Waits for the lock without a timeout: callers with a timeout leave the queue instead.
    pub(super) fn lock(&self) -> Result<WriteLockGuard<'_>, StoreError> {
        loop {
            match self.0.lock() {
                Ok(()) => return Ok(WriteLockGuard(&self.0)),
                // A signal that the program handles interrupted the wait.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(lock_failed(&error)),
            }
        }
    }

    /// Waits for the lock up to a timeout: for opening a store, which happens outside of any queue.
    pub(super) fn lock_within(&self, timeout: Duration) -> Result<WriteLockGuard<'_>, StoreError> {
        let start = Instant::now();
        loop {
            if let Some(guard) = self.try_lock()? {
                return Ok(guard);
            }
            if start.elapsed() >= timeout {
                return Err(StoreError::Busy(None));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Takes the lock if it is free.
    pub(super) fn try_lock(&self) -> Result<Option<WriteLockGuard<'_>>, StoreError> {
        match self.0.try_lock() {
            Ok(()) => Ok(Some(WriteLockGuard(&self.0))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(lock_failed(&error)),
        }
    }
}

/// Gives a new file the mode and the owner of the store's file, as SQLite does with `-wal` and `-shm`: after a command
/// that an operator runs as root, the service must be able to open the file.
fn copy_ownership(file: &File, store: &Metadata) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(store.mode() & 0o666))?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (store.uid(), store.gid()) {
        // Only root may change the owner; a user of the store's group shares the file by its mode.
        let _ = fchown(file, Some(store.uid()), Some(store.gid()));
    }
    Ok(())
}

fn lock_failed(error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("the lock file: {error}"))
}

impl Drop for WriteLockGuard<'_> {
    fn drop(&mut self) {
        // If this fails, the lock is released when the process ends.
        let _ = self.0.unlock();
    }
}
