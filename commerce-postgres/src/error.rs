//! Maps errors of the server and the connection to [`StoreError`]. Only SQLSTATE codes decide; messages are
//! for people.

use commerce_core::StoreError;
use std::error::Error as _;
use std::io::{self, ErrorKind};
use tokio_postgres::Error;

const POOLER: &str = "a pooler in transaction mode is between this program and the server, which loses settings and \
                      prepared statements: use its session mode, or connect to the server itself";

/// A failed statement or connection.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) error: StoreError,
    /// The connection, or the server behind it, is gone.
    pub(crate) lost: bool,
    /// The server itself refused a statement; it skips all later statements of the transaction.
    pub(crate) refused: bool,
    /// The index of the failed statement among those that were pipelined together.
    pub(crate) index: usize,
}

impl Failure {
    /// The server did not respond in time.
    pub(crate) fn timed_out() -> Self {
        Self::gone("the server does not respond".to_owned())
    }

    fn gone(text: String) -> Self {
        Self::unavailable(StoreError::Unavailable(text))
    }

    /// A failure of the operating system.
    pub(crate) fn local(error: &io::Error) -> Self {
        Self::gone(without_number(&error.to_string()))
    }

    /// No connection, because this machine lacks a resource for it.
    pub(crate) fn unavailable(error: StoreError) -> Self {
        Self { error, lost: true, refused: false, index: 0 }
    }

    /// Connecting to the server at `address` failed.
    pub(crate) fn to_connect(error: &Error, address: &str) -> Self {
        if error.as_db_error().is_some() {
            return Self::of(error);
        }
        // A server without a valid certificate is running, and so is one that accepts no writes.
        let kind = error.source().and_then(|source| source.downcast_ref()).map(io::Error::kind);
        let is_running = kind.is_none_or(|kind| {
            matches!(kind, ErrorKind::InvalidData | ErrorKind::PermissionDenied)
        });
        Self::unconnected(&reason(error), address, is_running)
    }

    /// The server at `address` did not respond in time.
    pub(crate) fn timed_out_at(address: &str) -> Self {
        Self::unconnected("it does not respond", address, false)
    }

    fn unconnected(reason: &str, address: &str, is_running: bool) -> Self {
        let hint = if is_running { "" } else { ". Check that a PostgreSQL server runs there" };
        Self::gone(format!("no connection to {address}: {reason}{hint}"))
    }

    /// A check of this crate failed. The server still executes the statements after it.
    pub(crate) fn constraint_violation(text: String) -> Self {
        let error = StoreError::ConstraintViolation(text);
        Self { error, lost: false, refused: false, index: 0 }
    }

    /// The server, its settings or its contents cannot be used by this program.
    pub(crate) fn incompatible(text: String) -> Self {
        Self::rejected(StoreError::Incompatible(text))
    }

    /// A pooler gives each transaction another process of the server.
    pub(crate) fn pooler() -> Self {
        Self::incompatible(POOLER.to_owned())
    }

    /// An error that leaves the connection usable.
    pub(crate) fn rejected(error: StoreError) -> Self {
        Self { error, lost: false, refused: true, index: 0 }
    }

    /// Maps an error of the driver.
    pub(crate) fn of(error: &Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            return Self::gone(reason(error));
        };
        let code = refusal.code().code();
        let text = format!("{} ({code})", refusal.message());
        let lost = is_lost(code, refusal.routine());
        Self { error: store_error(code, text), lost, refused: true, index: 0 }
    }

    pub(crate) fn at(self, index: usize) -> Self {
        Self { index, ..self }
    }

    /// The error before `COMMIT` was sent: nothing was changed. A lost connection is `Busy`, so that callers
    /// wait up to their timeout while the server comes back.
    pub(crate) fn before_commit(self) -> StoreError {
        if let (true, StoreError::Unavailable(cause)) = (self.lost, &self.error) {
            return StoreError::Busy(Some(cause.clone()));
        }
        self.error
    }

    /// The error of a transaction with its `COMMIT` as the statement at index `commit`.
    /// A failure of a later statement leaves open whether the commit is durable.
    pub(crate) fn of_commit(self, commit: usize) -> StoreError {
        if self.index > commit {
            return StoreError::CommitUnknown(self.error.to_string());
        }
        let is_decided =
            matches!(self.error, StoreError::ConstraintViolation(_) | StoreError::Busy(_))
                && !self.lost;
        // After a refused statement the server turns the commit into a rollback.
        if self.refused && (is_decided || self.index < commit && !self.lost) {
            return self.error;
        }
        StoreError::CommitUnknown(self.error.to_string())
    }
}

/// The reason of a connection error: the driver reports "error connecting" and keeps the reason in `source`.
fn reason(error: &Error) -> String {
    without_number(&error.source().map_or_else(|| error.to_string(), ToString::to_string))
}

/// The message of an operating system error without its number.
fn without_number(text: &str) -> String {
    text.split(" (os error ").next().unwrap_or_default().to_owned()
}

/// Returns true if the server ends the connection with that code, or accepts no more writes.
fn is_lost(code: &str, routine: Option<&str>) -> bool {
    // 25006: a former primary that is a standby now. 25P03: idle in a transaction for too long. 0A000 from this
    // routine: the tables changed under a prepared statement, which a new connection prepares again. Any other 0A000 is
    // a statement that Citus or a compatible server refuses.
    let is_stale_plan = code == "0A000" && routine == Some("RevalidateCachedQuery");
    let is_gone = code.starts_with("08") || code.starts_with("57P");
    is_gone || is_stale_plan || ["25006", "25P03"].contains(&code)
}

fn store_error(code: &str, text: String) -> StoreError {
    match code {
        // Serialization failure, deadlock, lock timeout, statement timeout, too many connections, shutdown or
        // startup, standby.
        "40001" | "40P01" | "55P03" | "57014" | "53300" | "57P01" | "57P02" | "57P03" | "25006"
        | "25P03" => StoreError::Busy(Some(text)),
        "53100" => StoreError::Full(text),
        // A prepared statement is missing or exists already.
        "26000" | "42P05" => StoreError::Incompatible(POOLER.to_owned()),
        // Only creating the tables of a new store can find that they exist.
        "42P07" => StoreError::Incompatible(format!(
            "{text}: it belongs to another program. Give the store a database or a schema of its own"
        )),
        "XX001" | "XX002" => StoreError::Corrupt(text),
        code if code.starts_with("23") || code.starts_with("22") => {
            StoreError::ConstraintViolation(text)
        }
        code if code.starts_with("08") => StoreError::Busy(Some(text)),
        _ => StoreError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum may grow")]
    fn name(error: &StoreError) -> &'static str {
        match error {
            StoreError::Busy(_) => "busy",
            StoreError::Overloaded => "overloaded",
            StoreError::OutOfMemory => "out of memory",
            StoreError::Full(_) => "full",
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Corrupt(_) => "corrupt",
            StoreError::ConstraintViolation(_) => "constraint",
            StoreError::CommitUnknown(_) => "unknown",
            StoreError::NotAttempted => "not attempted",
            StoreError::Replaced(_) => "replaced",
            StoreError::Copy(_) => "copy",
            _ => "other",
        }
    }

    /// The error of each code: before `COMMIT` was sent, for a statement pipelined with it, for `COMMIT` itself.
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
    #[case::idle_in_transaction("25P03", ["busy", "unknown", "unknown"])]
    #[case::check("23514", ["constraint", "constraint", "constraint"])]
    #[case::foreign_key("23503", ["constraint", "constraint", "constraint"])]
    #[case::out_of_range("22003", ["constraint", "constraint", "constraint"])]
    #[case::disk_full("53100", ["full", "full", "unknown"])]
    #[case::password("28P01", ["unavailable", "unavailable", "unknown"])]
    #[case::damaged("XX001", ["corrupt", "corrupt", "unknown"])]
    #[case::refused_by_citus("0A000", ["unavailable", "unavailable", "unknown"])]
    fn sqlstate_maps_to_store_error(#[case] code: &str, #[case] expected: [&str; 3]) {
        let failure = |index| Failure {
            error: store_error(code, String::new()),
            lost: is_lost(code, None),
            refused: true,
            index,
        };
        let errors = [failure(0).before_commit(), failure(0).of_commit(1), failure(1).of_commit(1)];
        assert_eq!(errors.each_ref().map(name), expected);
        assert_eq!(name(&failure(2).of_commit(1)), "unknown", "the flush after the commit failed");
    }

    #[test]
    fn own_constraint_check_leaves_the_commit_unknown() {
        let failure = || Failure::constraint_violation(String::new());
        assert_eq!(name(&failure().before_commit()), "constraint");
        assert_eq!(name(&failure().of_commit(1)), "unknown");
    }

    #[test]
    fn timeout_is_busy_before_commit_and_unknown_after() {
        assert_eq!(name(&Failure::timed_out().before_commit()), "busy");
        assert_eq!(name(&Failure::timed_out().of_commit(0)), "unknown");
    }
}
