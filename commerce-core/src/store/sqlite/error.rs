//! What SQLite's result codes mean to a caller. Messages are for people; only codes are looked at.

use crate::StoreError;
use rusqlite::ErrorCode;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        // The index beside the log could not grow: SQLite has no other cause for it than want of space.
        let extended = error.sqlite_error().map(|error| error.extended_code);
        if extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) {
            return Self::Full(text);
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::Full(text),
            Some(ErrorCode::ConstraintViolation) => Self::Guard(text),
            Some(ErrorCode::CannotOpen) => Self::Unavailable(format!(
                "{text}: check its path, its permissions and the limit on open files (ulimit -n)"
            )),
            // Without a code, a row could not be read as what it should be.
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None => {
                Self::Unsound(text)
            }
            Some(_) => Self::Unavailable(text),
        }
    }
}

/// What a failed `COMMIT` means: unless SQLite says that it refused, the change may be on disk.
pub(super) fn of_commit(error: rusqlite::Error) -> StoreError {
    let error = StoreError::from(error);
    let refused = matches!(error, StoreError::Guard(_) | StoreError::Busy);
    if refused { error } else { StoreError::Unknown(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use rusqlite::ffi;

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
    #[case::guard(ffi::SQLITE_CONSTRAINT_CHECK, "guard", "guard")]
    #[case::foreign_key(ffi::SQLITE_CONSTRAINT_FOREIGNKEY, "guard", "guard")]
    #[case::damaged(ffi::SQLITE_CORRUPT, "unsound", "unknown")]
    fn codes(#[case] code: i32, #[case] before: &str, #[case] at_commit: &str) {
        let name = |error: StoreError| match error {
            StoreError::Busy => "busy",
            StoreError::Full(_) => "full",
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Unsound(_) => "unsound",
            StoreError::Guard(_) => "guard",
            StoreError::Unknown(_) => "unknown",
            StoreError::NotAttempted => "not attempted",
        };
        assert_eq!(name(failure(code).into()), before);
        assert_eq!(name(of_commit(failure(code))), at_commit);
    }
}
