//! The errors of the library: a [`Refusal`] by a rule, or a [`StoreError`].

use crate::clock::InvalidClock;

pub use crate::codes::{Code, ErrorClass, Invalid, OverLimit, Refusal, Shortage};

/// A failure of the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store was locked, or its server unreachable, for longer than the timeout. Nothing was changed. It has the last
    /// cause, unless others were writing.
    #[error("the store is busy: try again in a moment, with the same key{}", because(.0.as_deref()))]
    Busy(Option<String>),
    /// Too many logins and sign-ups wait for the hashing of passwords (load shedding). Nothing was changed.
    #[error("too many logins and sign-ups are waiting: try again in a moment")]
    Overloaded,
    /// An earlier call of the same [`Sequence`](crate::sequence::Sequence) failed. Nothing was changed.
    #[error(
        "not attempted, since an earlier call of its sequence failed: repeat it after that one"
    )]
    NotAttempted,
    /// There is not enough memory for the call. Nothing was changed.
    #[error("there is not enough memory: try again in a moment, or allow the program more of it")]
    OutOfMemory,
    /// The disk is full. Nothing was changed.
    #[error("the disk of the store is full: free some space and try again ({0})")]
    Full(String),
    /// The store cannot be reached, opened or read. Nothing was changed.
    #[error("the store cannot be used: {0}")]
    Unavailable(String),
    /// A copy of the store could not be made; the store itself is intact and in use.
    #[error("the copy was not made: {0}")]
    Copy(String),
    /// A file of the store was removed or replaced while it was open. Nothing was changed.
    #[error(
        "{0} was removed or replaced while this process had it open: put the file back, or end this process \
         and start it again on the file that is there now"
    )]
    Replaced(String),
    /// The contents of the store are damaged.
    #[error("the store is corrupt: {0}")]
    Corrupt(String),
    /// The store, or its server, cannot be used by this program: another program's tables, a newer version,
    /// another currency, a missing extension or an unsafe setting. Nothing was changed.
    #[error("the store is incompatible: {0}")]
    Incompatible(String),
    /// A constraint of the store was violated: a defect of this program. Nothing was changed.
    #[error("the store refused a change that the rules allowed, please report it: {0}")]
    ConstraintViolation(String),
    /// The commit failed in a way that leaves its outcome unknown.
    #[error(
        "it is not known whether the change was saved: repeat it with the same key to learn it ({0})"
    )]
    CommitUnknown(String),
}

impl From<InvalidClock> for StoreError {
    fn from(error: InvalidClock) -> Self {
        Self::Unavailable(error.to_string())
    }
}

fn because(cause: Option<&str>) -> String {
    cause.map(|cause| format!(" ({cause})")).unwrap_or_default()
}

/// The error of a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A rule refused the call.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The service failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl Error {
    /// The error's code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Store(
                StoreError::Busy(_)
                | StoreError::Overloaded
                | StoreError::NotAttempted
                | StoreError::OutOfMemory,
            ) => Code::Busy,
            Self::Store(_) => Code::Storage,
        }
    }

    /// Example errors of a code, for documentation: more than one if not all have the same fields.
    #[must_use]
    pub fn examples(code: Code) -> Vec<Self> {
        match Refusal::examples(code) {
            Some(refusals) => refusals.into_iter().map(Self::from).collect(),
            None if code == Code::Busy => vec![StoreError::Busy(None).into()],
            None => vec![StoreError::Unavailable(String::new()).into()],
        }
    }
}
