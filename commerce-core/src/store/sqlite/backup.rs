//! Online backup: a consistent copy while the store is in use. It is written under a temporary name, checked and synced,
//! and then renamed in one step.

use super::connection::{ConnectionManager, ConnectionRole};
use super::schema;
use crate::entropy;
use crate::error::StoreError;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Pages copied between two progress reports: 4 MiB.
const STEP: i32 = 1_024;

/// The number of polls for a lock and their interval: five seconds in all. SQLite has no notification for a free lock.
const MAX_POLLS: u32 = 500;
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The progress of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupProgress {
    /// Pages copied.
    pub copied_pages: u64,
    /// Pages in all.
    pub total_pages: u64,
}

pub(super) fn backup(
    connections: &ConnectionManager,
    to: &Path,
    progress: &mut dyn FnMut(BackupProgress),
) -> Result<(), StoreError> {
    if to.symlink_metadata().is_ok() {
        return Err(StoreError::Copy(format!("{} exists already: name a new file", to.display())));
    }
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    // Only the backup that created the file continues: two backups to one name would overwrite each other.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part) {
        Ok(file) => drop(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(StoreError::Copy(format!(
                "{} exists: another backup is running, or one was killed and the file can be removed",
                part.display()
            )));
        }
        Err(error) => return Err(failed(&part, &error)),
    }
    copy(connections, &part, progress)
        .and_then(|()| check(&part).map_err(|error| of_copy(&part, error)))
        .and_then(|()| publish(&part, to))
        .map_err(|error| remove_failed(&part, error))
}

fn copy(
    connections: &ConnectionManager,
    part: &Path,
    progress: &mut dyn FnMut(BackupProgress),
) -> Result<(), StoreError> {
    let from = connections.open(ConnectionRole::Reader)?;
    // One read transaction over all steps: a write of another process does not restart the backup.
    from.execute_batch("BEGIN; SELECT id FROM store;")?;
    let mut to = open_part(part).map_err(|error| of_copy(part, error))?;
    let backup = Backup::new(&from, &mut to)?;
    let mut polls = 0_u32;
    loop {
        // A full disk and a failed write are errors of the copy: the store is only read.
        let step = backup.step(STEP).map_err(|error| of_copy(part, error.into()))?;
        let state = backup.progress();
        let total_pages = u64::try_from(state.pagecount).unwrap_or(0);
        let left = u64::try_from(state.remaining).unwrap_or(0);
        progress(BackupProgress { copied_pages: total_pages.saturating_sub(left), total_pages });
        if step == StepResult::Done {
            drop(backup);
            return rename(&to);
        }
        if matches!(step, StepResult::Busy | StepResult::Locked) {
            polls = polls.saturating_add(1);
            if polls > MAX_POLLS {
                return Err(StoreError::Busy(None));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Gives the copy a name of its own and clears its recorded file, so that its first opening begins a new epoch of events:
/// a log of the source never matches it, and no two restored copies publish the same event ids.
fn rename(copy: &Connection) -> Result<(), StoreError> {
    copy.execute("UPDATE store SET place = '', name = ?1", [entropy::hex::<8>()?])?;
    Ok(())
}

fn check(part: &Path) -> Result<(), StoreError> {
    let copy = open_part(part)?;
    let finding: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if finding != "ok" {
        return Err(StoreError::Corrupt(format!("the copy: {finding}")));
    }
    if schema::identify_now(&copy)? != schema::VERSION {
        return Err(StoreError::Incompatible("the copy has another schema version".to_owned()));
    }
    Ok(())
}

/// Opens the copy, without creating a file.
fn open_part(part: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(part, flags)?)
}

/// Syncs the copy, renames it, and syncs its folder. A failure after the rename removes the file: a copy exists if and only
/// if its success is reported.
fn publish(part: &Path, to: &Path) -> Result<(), StoreError> {
    let synced = File::open(part).and_then(|file| file.sync_all());
    synced.map_err(|error| failed(part, &error))?;
    rename_new(part, to).map_err(|error| failed(to, &error))?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder_synced =
        File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
    folder_synced.map_err(|error| remove_failed(to, failed(to, &error)))
}

/// Renames a file without replacing another one. On a filesystem that cannot do that in one step, a check precedes the
/// rename; neither way has a second call that could fail and leave the copy with two names.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if to.symlink_metadata().is_err() => {
            fs::rename(from, to)
        }
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Err(Errno::EXIST.into()),
        renamed => Ok(renamed?),
    }
}

/// Removes the remains of a failed copy and returns its error; if the removal fails too, the error names the file.
fn remove_failed(rest: &Path, error: StoreError) -> StoreError {
    let removed = fs::remove_file(rest);
    match (removed, error) {
        (Err(reason), StoreError::Copy(text)) if reason.kind() != io::ErrorKind::NotFound => {
            let rest = rest.display();
            StoreError::Copy(format!(
                "{text}; {rest} is left over and useless ({reason}): remove it"
            ))
        }
        (_, error) => error,
    }
}

/// Converts an error of writing or checking the copy.
fn of_copy(part: &Path, error: StoreError) -> StoreError {
    let part = part.display();
    if let StoreError::Full(_) = error {
        return StoreError::Copy(format!(
            "there is no room for {part}: free some space, or name a file on another disk, and try again"
        ));
    }
    if let StoreError::Unavailable(text)
    | StoreError::Corrupt(text)
    | StoreError::Incompatible(text) = error
    {
        return StoreError::Copy(format!("{part}: {text}"));
    }
    error
}

fn failed(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Copy(format!("{}: {error}: name a file where one can be written", path.display()))
}
