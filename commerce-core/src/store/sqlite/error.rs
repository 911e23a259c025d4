//! Maps errors of SQLite to [`StoreError`]. Only result codes decide; messages are for people.

use crate::error::StoreError;
use rusqlite::{ErrorCode, ffi};

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // The index beside the log could not grow: the only cause of this code is a full disk.
        let extended = error.sqlite_error().map(|error| error.extended_code);
        if extended == Some(ffi::SQLITE_IOERR_SHMSIZE) {
            return Self::Full(error.to_string());
        }
        let text = described(&error);
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(None),
            Some(ErrorCode::DiskFull) => Self::Full(text),
            Some(ErrorCode::ConstraintViolation) => Self::ConstraintViolation(text),
            Some(ErrorCode::CannotOpen) => Self::Unavailable(format!(
                "{text}: check its path, its permissions and the limit on open files (ulimit -n)"
            )),
            Some(ErrorCode::NotADatabase) => Self::Corrupt(format!(
                "{text}, or its first page is damaged: name a store, or restore a backup"
            )),
            // Without a code, a column holds an invalid value.
            Some(ErrorCode::DatabaseCorrupt) | None => Self::Corrupt(text),
            Some(_) => Self::Unavailable(text),
        }
    }
}

/// Describes an error. SQLite reports every failed system call as "disk I/O error": the call that failed and the
/// next step are added.
fn described(error: &rusqlite::Error) -> String {
    let Some(code) = error.sqlite_error().map(|error| error.extended_code) else {
        return error.to_string();
    };
    if code & 0xff != ffi::SQLITE_IOERR {
        return error.to_string();
    }
    let call = match code {
        ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ => "a read",
        ffi::SQLITE_IOERR_WRITE => "a write",
        ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC => "a sync to the disk",
        ffi::SQLITE_IOERR_LOCK
        | ffi::SQLITE_IOERR_UNLOCK
        | ffi::SQLITE_IOERR_RDLOCK
        | ffi::SQLITE_IOERR_SHMLOCK
        | ffi::SQLITE_IOERR_CHECKRESERVEDLOCK => "a lock",
        _ => "a system call",
    };
    let limit =
        if code == ffi::SQLITE_IOERR_WRITE { ", its limit on file sizes (ulimit -f)" } else { "" };
    format!(
        "{call} failed ({error}, code {code}): check the disk{limit} and the log of the system, then try again"
    )
}

/// Returns true if a sync to the disk failed: writes since the last sync may be lost, however often the sync is
/// repeated.
pub(super) fn is_failed_sync(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_FSYNC)
}

/// Returns the failed read behind a finding of `PRAGMA integrity_check`: the check lists a page that could not be read
/// among its findings, although that proves no damage.
pub(super) fn failed_read(finding: &str) -> Option<StoreError> {
    let is_damage = |code: i32| matches!(code & 0xff, ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB);
    let code = match finding.rsplit_once("error code=") {
        Some((_, code)) => code.trim().parse().ok().filter(|code| !is_damage(*code))?,
        // Pages of the free list are fetched only once their number is known to be in range.
        None if finding.contains("failed to get page") => ffi::SQLITE_IOERR_READ,
        None => return None,
    };
    Some(rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(finding.to_owned())).into())
}

/// Maps the error of a `COMMIT`: unless SQLite refused it, the changes may be on disk.
pub(super) fn of_commit(error: rusqlite::Error) -> StoreError {
    let error = StoreError::from(error);
    let refused = matches!(error, StoreError::ConstraintViolation(_) | StoreError::Busy(_));
    if refused { error } else { StoreError::CommitUnknown(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[rstest]
    #[case::busy(ffi::SQLITE_BUSY, "busy", "busy")]
    #[case::busy_snapshot(ffi::SQLITE_BUSY_SNAPSHOT, "busy", "busy")]
    #[case::full(ffi::SQLITE_FULL, "full", "unknown")]
    #[case::no_room_for_the_index(ffi::SQLITE_IOERR_SHMSIZE, "full", "unknown")]
    #[case::write_error(ffi::SQLITE_IOERR_WRITE, "unavailable", "unknown")]
    #[case::sync_error(ffi::SQLITE_IOERR_FSYNC, "unavailable", "unknown")]
    #[case::check_constraint(ffi::SQLITE_CONSTRAINT_CHECK, "constraint", "constraint")]
    #[case::foreign_key(ffi::SQLITE_CONSTRAINT_FOREIGNKEY, "constraint", "constraint")]
    #[case::damaged(ffi::SQLITE_CORRUPT, "corrupt", "unknown")]
    fn result_code_maps_to_store_error(
        #[case] code: i32,
        #[case] before: &str,
        #[case] at_commit: &str,
    ) {
        let name = |error: StoreError| match error {
            StoreError::Busy(_) => "busy",
            StoreError::Overloaded => "overloaded",
            StoreError::OutOfMemory => "out of memory",
            StoreError::Full(_) => "full",
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Replaced(_) => "replaced",
            StoreError::Corrupt(_) => "corrupt",
            StoreError::Incompatible(_) => "incompatible",
            StoreError::ConstraintViolation(_) => "constraint",
            StoreError::CommitUnknown(_) => "unknown",
            StoreError::NotAttempted => "not attempted",
            StoreError::Copy(_) => "copy",
        };
        assert_eq!(name(failure(code).into()), before);
        assert_eq!(name(of_commit(failure(code))), at_commit);
    }

    #[rstest]
    #[case::read("Tree 5 page 7: unable to get the page. error code=266", Some("a read failed"))]
    #[case::memory("Tree 5 page 7: unable to get the page. error code=7", Some("out of memory"))]
    #[case::free_list("Freelist: failed to get page 9", Some("a read failed"))]
    #[case::damage("Tree 5 page 7: unable to get the page. error code=11", None)]
    #[case::other_damage("row 3 missing from index customers_by_login", None)]
    fn integrity_findings_separate_failed_reads_from_damage(
        #[case] finding: &str,
        #[case] reported: Option<&str>,
    ) {
        let failure = failed_read(finding).map(|error| error.to_string().to_lowercase());
        let matches = match (&failure, reported) {
            (Some(failure), Some(reported)) => {
                failure.contains(reported) || failure.contains("page 7")
            }
            (failure, reported) => failure.is_none() && reported.is_none(),
        };
        assert!(matches, "{failure:?}");
        assert!(!matches!(failed_read(finding), Some(StoreError::Corrupt(_))));
    }
}
