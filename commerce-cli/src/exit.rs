//! Exit statuses of commands that did not fail. The status of an error follows from its code.

use std::process::ExitCode;

/// The status after Ctrl-C: 128 + SIGINT, as shells report a process that a signal ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// The status of an audit that found problems, a report whose proof found differences, and a refund that the gateway
/// declined.
const REFUSED: u8 = 3;

/// The end of a command that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitKind {
    /// The command is complete.
    Success,
    /// The command is complete, and the audit of a store or the proof of a report found problems.
    AuditFailed,
    /// The command is complete, and the gateway declined the refund.
    Declined,
    /// The command stopped early on Ctrl-C, after the work it had begun.
    Interrupted,
}

impl From<ExitKind> for ExitCode {
    fn from(kind: ExitKind) -> Self {
        match kind {
            ExitKind::Success => Self::SUCCESS,
            ExitKind::AuditFailed | ExitKind::Declined => Self::from(REFUSED),
            ExitKind::Interrupted => Self::from(INTERRUPTED),
        }
    }
}
