//! What the server's codes mean to a caller. Messages are for people; only codes are looked at.

use crate::error::StoreError;
use std::error::Error as _;
use std::io::{self, ErrorKind};
use tokio_postgres::Error;

/// What went wrong, and whether the connection is of any use after it.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: StoreError,
    /// The connection, or the server behind it, is gone.
    pub(super) lost: bool,
    /// The server itself refused a statement: it says so, and nothing after it in the transaction counts.
    pub(super) refused: bool,
    /// Which of the statements that were sent together.
    pub(super) target: usize,
}

impl Failure {
    /// No answer came, and none will be waited for.
    pub(super) fn timed_out() -> Self {
        Self::gone("the server does not answer".to_owned())
    }

    fn gone(text: String) -> Self {
        Self { error: StoreError::Unavailable(text), lost: true, refused: false, target: 0 }
    }

    /// Something of this machine failed.
    pub(super) fn local(error: &io::Error) -> Self {
        Self::gone(without_number(&error.to_string()))
    }

    /// Something that this machine was to give could not be had.
    pub(super) fn unavailable(error: StoreError) -> Self {
        Self { error, lost: true, refused: false, target: 0 }
    }

    /// No connection came about to the server at that target.
    pub(super) fn to_connect(error: &Error, target: &str) -> Self {
        if error.as_db_error().is_some() {
            return Self::of(error);
        }
        // A server that cannot prove itself is there, and so is one that may not be written to.
        let kind = error.source().and_then(|source| source.downcast_ref()).map(io::Error::kind);
        let is_there = kind.is_none_or(|kind| {
            matches!(kind, ErrorKind::InvalidData | ErrorKind::PermissionDenied)
        });
        Self::unconnected(&reason(error), target, is_there)
    }

    /// The server at that target says nothing.
    pub(super) fn timed_out_at(target: &str) -> Self {
        Self::unconnected("it does not answer", target, false)
    }

    fn unconnected(reason: &str, target: &str, is_there: bool) -> Self {
        let then = if is_there { "" } else { ". Check that a PostgreSQL server runs there" };
        Self::gone(format!("no connection to {target}: {reason}{then}"))
    }

    /// A guard of this store's own fired. The server knows nothing of it: what was said after it was done.
    pub(super) fn constraint_violation(text: String) -> Self {
        Self {
            error: StoreError::ConstraintViolation(text),
            lost: false,
            refused: false,
            target: 0,
        }
    }

    /// The server, or what is on it, is not what this program can use.
    pub(super) fn corrupt(text: String) -> Self {
        Self { error: StoreError::Corrupt(text), lost: false, refused: true, target: 0 }
    }

    pub(super) fn of(error: &Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            return Self::gone(reason(error));
        };
        let code = refusal.code().code();
        let text = format!("{} ({code})", refusal.message());
        let lost = is_lost(code);
        Self { error: meaning(code, text), lost, refused: true, target: 0 }
    }

    pub(super) fn at(self, target: usize) -> Self {
        Self { target, ..self }
    }

    /// What it means before `COMMIT` was sent: nothing has happened, and who waits may wait on while the
    /// server comes back.
    pub(super) fn before_commit(self) -> StoreError {
        if self.lost { StoreError::Busy } else { self.error }
    }

    /// What it means of a transaction whose `COMMIT` was the statement at `commit`.
    pub(super) fn of_commit(self, commit: usize) -> StoreError {
        let decided = matches!(self.error, StoreError::ConstraintViolation(_) | StoreError::Busy)
            && !self.lost;
        // A statement before it was refused: then the server has turned the commit into a rollback.
        if self.refused && (decided || self.target < commit && !self.lost) {
            return self.error;
        }
        StoreError::CommitUnknown(self.error.to_string())
    }
}

/// Why there was no answer: the driver says "error connecting" and keeps the reason behind it.
fn reason(error: &Error) -> String {
    without_number(&error.source().map_or_else(|| error.to_string(), ToString::to_string))
}

/// What a system says of a failure, without the failure's number.
fn without_number(text: &str) -> String {
    text.split(" (os error ").next().unwrap_or_default().to_owned()
}

/// Whether the server ends the connection with that code, or is one that cannot be written to any more.
fn is_lost(code: &str) -> bool {
    // 25006: a standby that was a primary. 25P03: stood still in a transaction. 0A000: the tables have
    // changed under a prepared statement, which a new connection prepares anew.
    code.starts_with("08") || code.starts_with("57P") || ["25006", "25P03", "0A000"].contains(&code)
}

fn meaning(code: &str, text: String) -> StoreError {
    match code {
        // Serialization failure, deadlock, a lock or a statement that took too long, no connection left,
        // shutting down or starting, a standby.
        "40001" | "40P01" | "55P03" | "57014" | "53300" | "57P01" | "57P02" | "57P03" | "25006"
        | "25P03" => StoreError::Busy,
        "53100" => StoreError::Full(text),
        // Only who makes the tables of a new store can be told that they are there.
        "42P07" => StoreError::Corrupt(format!(
            "{text}: it is of another program. Give the store a database or a schema of its own"
        )),
        "XX001" | "XX002" => StoreError::Corrupt(text),
        code if code.starts_with("23") || code.starts_with("22") => {
            StoreError::ConstraintViolation(text)
        }
        code if code.starts_with("08") => StoreError::Busy,
        _ => StoreError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn name(error: &StoreError) -> &'static str {
        match error {
            StoreError::Busy => "busy",
            StoreError::OutOfMemory => "out of memory",
            StoreError::Full(_) => "full",
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Corrupt(_) => "unsound",
            StoreError::ConstraintViolation(_) => "guard",
            StoreError::CommitUnknown(_) => "unknown",
            StoreError::NotAttempted => "not attempted",
            StoreError::Replaced(_) => "replaced",
            StoreError::Copy(_) => "copy",
        }
    }

    /// What each code becomes: before `COMMIT` was sent; said of a statement sent together with it; said of
    /// `COMMIT` itself.
    #[rstest]
    #[case::serialization("40001", ["busy", "busy", "busy"])]
    #[case::deadlock("40P01", ["busy", "busy", "busy"])]
    #[case::lock_timeout("55P03", ["busy", "busy", "busy"])]
    #[case::statement_timeout("57014", ["busy", "busy", "busy"])]
    #[case::terminated("57P01", ["busy", "unknown", "unknown"])]
    #[case::crashed("57P02", ["busy", "unknown", "unknown"])]
    #[case::starting("57P03", ["busy", "unknown", "unknown"])]
    #[case::connection("08006", ["busy", "unknown", "unknown"])]
    #[case::standby("25006", ["busy", "unknown", "unknown"])]
    #[case::stood_still("25P03", ["busy", "unknown", "unknown"])]
    #[case::check("23514", ["guard", "guard", "guard"])]
    #[case::foreign_key("23503", ["guard", "guard", "guard"])]
    #[case::out_of_range("22003", ["guard", "guard", "guard"])]
    #[case::disk_full("53100", ["full", "full", "unknown"])]
    #[case::password("28P01", ["unavailable", "unavailable", "unknown"])]
    #[case::damaged("XX001", ["unsound", "unsound", "unknown"])]
    fn codes(#[case] code: &str, #[case] becomes: [&str; 3]) {
        let failure = |target| Failure {
            error: meaning(code, String::new()),
            lost: is_lost(code),
            refused: true,
            target,
        };
        let found = [failure(0).before_commit(), failure(0).of_commit(1), failure(1).of_commit(1)];
        assert_eq!(found.each_ref().map(name), becomes);
    }

    #[test]
    fn a_guard_of_our_own_does_not_keep_the_server_from_committing() {
        let failure = || Failure::constraint_violation(String::new());
        assert_eq!(name(&failure().before_commit()), "guard");
        assert_eq!(name(&failure().of_commit(1)), "unknown");
    }

    #[test]
    fn an_answer_that_never_comes_is_busy_before_and_unknown_after_commit() {
        assert_eq!(name(&Failure::timed_out().before_commit()), "busy");
        assert_eq!(name(&Failure::timed_out().of_commit(0)), "unknown");
    }
}
