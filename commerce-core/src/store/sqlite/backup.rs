//! A consistent copy while the store is in use: under another name first, checked and synced, then
//! given its name in one step.

use super::connection::{Opener, Role};
use super::schema;
use crate::{StoreError, random};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
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
    opener: &Opener,
    to: &Path,
    progress: &mut dyn FnMut(BackupProgress),
) -> Result<(), StoreError> {
    if to.exists() {
        let text = format!("{} is there already: name a new file", to.display());
        return Err(StoreError::Unavailable(text));
    }
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    // Only who has made it may go on: two backups to one name would spoil each other's copy.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part) {
        Ok(file) => drop(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(StoreError::Unavailable(format!(
                "{} is there: another backup is at work, or one was killed and it can be removed",
                part.display()
            )));
        }
        Err(error) => return Err(unavailable(&part, &error)),
    }
    let done = copy(opener, &part, progress)
        .and_then(|()| check(&part))
        .and_then(|()| publish(&part, to).map_err(|error| unavailable(to, &error)));
    if done.is_err() {
        // What is left of a failed copy is of no use; that it is gone matters less than why.
        let _ = fs::remove_file(&part);
    }
    done
}

fn copy(
    opener: &Opener,
    part: &Path,
    progress: &mut dyn FnMut(BackupProgress),
) -> Result<(), StoreError> {
    let from = opener.open(Role::Reader)?;
    // One read transaction over all steps: other processes may write meanwhile and nothing starts anew.
    from.execute_batch("BEGIN; SELECT id FROM store;")?;
    let mut to = open_part(part)?;
    let backup = Backup::new(&from, &mut to)?;
    let mut waited = 0_u32;
    loop {
        let step = backup.step(STEP)?;
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
    copy.execute("UPDATE store SET place = '', name = ?1", [random::hex::<8>()?])?;
    Ok(())
}

fn check(part: &Path) -> Result<(), StoreError> {
    let copy = open_part(part)?;
    let found: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(StoreError::Unsound(format!("the copy: {found}")));
    }
    if schema::identify_now(&copy)? != schema::VERSION {
        return Err(StoreError::Unsound("the copy is of another version".to_owned()));
    }
    Ok(())
}

/// Opens the copy, and never makes one.
fn open_part(part: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(part, flags)?)
}

/// On disk first, then by its name, then the name on disk.
fn publish(part: &Path, to: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()?;
    // Unlike a rename, a link never takes the place of a file that has come meanwhile.
    fs::hard_link(part, to)?;
    fs::remove_file(part)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}
