//! A consistent copy while the store is in use: under another name first, checked and synced, then
//! given its name in one step.

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

/// Pages copied between two looks at the progress: 4 MiB.
const STEP: i32 = 1_024;

/// How often to wait for a lock before giving up, and how long each time: five seconds in all. Nobody tells
/// when it is free.
const TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// How far a backup has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupProgress {
    /// Pages copied.
    pub copied_pages: u64,
    /// Pages there are.
    pub total_pages: u64,
}

pub(super) fn backup(
    connections: &ConnectionManager,
    to: &Path,
    progress: &mut dyn FnMut(BackupProgress),
) -> Result<(), StoreError> {
    if to.symlink_metadata().is_ok() {
        return Err(StoreError::Copy(format!(
            "{} is there already: name a new file",
            to.display()
        )));
    }
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    // Only who has made it may go on: two backups to one name would spoil each other's copy.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part) {
        Ok(file) => drop(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(StoreError::Copy(format!(
                "{} is there: another backup is at work, or one was killed and it can be removed",
                part.display()
            )));
        }
        Err(error) => return Err(failed(&part, &error)),
    }
    copy(connections, &part, progress)
        .and_then(|()| check(&part).map_err(|error| of_copy(&part, error)))
        .and_then(|()| publish(&part, to))
        .map_err(|error| without_rest(&part, error))
}

fn copy(
    connections: &ConnectionManager,
    part: &Path,
    progress: &mut dyn FnMut(BackupProgress),
) -> Result<(), StoreError> {
    let from = connections.open(ConnectionRole::Reader)?;
    // One read transaction over all steps: other processes may write meanwhile and nothing starts anew.
    from.execute_batch("BEGIN; SELECT id FROM store;")?;
    let mut to = open_part(part).map_err(|error| of_copy(part, error))?;
    let backup = Backup::new(&from, &mut to)?;
    let mut waited = 0_u32;
    loop {
        // A full disk and a failed write are the copy's: the store is only read.
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
            waited = waited.saturating_add(1);
            if waited > TRIES {
                return Err(StoreError::Busy);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Gives the copy a name of its own and no place, so that its first opening begins a new epoch of events: a
/// log of the source never fits it, and no two restored copies give out the same event ids.
fn rename(copy: &Connection) -> Result<(), StoreError> {
    copy.execute("UPDATE store SET place = '', name = ?1", [entropy::hex::<8>()?])?;
    Ok(())
}

fn check(part: &Path) -> Result<(), StoreError> {
    let copy = open_part(part)?;
    let found: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(StoreError::Corrupt(format!("the copy: {found}")));
    }
    if schema::identify_now(&copy)? != schema::VERSION {
        return Err(StoreError::Incompatible("the copy has another schema version".to_owned()));
    }
    Ok(())
}

/// Opens the copy, and never makes one.
fn open_part(part: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(part, flags)?)
}

/// Puts the copy on disk, gives it its name, and puts the name on disk. What fails after the copy has its name takes the
/// name back: a copy is either reported and there, or neither.
fn publish(part: &Path, to: &Path) -> Result<(), StoreError> {
    let on_disk = File::open(part).and_then(|file| file.sync_all());
    on_disk.map_err(|error| failed(part, &error))?;
    rename_new(part, to).map_err(|error| failed(to, &error))?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    let named = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
    named.map_err(|error| without_rest(to, failed(to, &error)))
}

/// Renames a file, and never in place of another one. A filesystem that cannot do that in one step gets a check
/// before; neither way needs a second call that could fail and leave the copy with two names.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if to.symlink_metadata().is_err() => {
            fs::rename(from, to)
        }
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Err(Errno::EXIST.into()),
        renamed => Ok(renamed?),
    }
}

/// The error, once what is left of the failed copy is removed; when that fails as well, the error names the file.
fn without_rest(rest: &Path, error: StoreError) -> StoreError {
    let gone = fs::remove_file(rest);
    match (gone, error) {
        (Err(why), StoreError::Copy(text)) if why.kind() != io::ErrorKind::NotFound => {
            let rest = rest.display();
            StoreError::Copy(format!("{text}; {rest} is left and of no use ({why}): remove it"))
        }
        (_, error) => error,
    }
}

/// An error met while the copy was written or checked, as one of the copy.
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
