//! Who may call: what a customer logs in with, the sessions that opens, and tries that were in vain.

use crate::clock::Timestamp;
use crate::id::CustomerId;
use crate::limits::{LOGIN_MEMORY, MAX_CLOCK_SKEW};
use crate::model::wallet::Role;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt;

/// What is kept of a password: an Argon2id hash in PHC form, which says itself how it was made.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The hash with that text.
    #[must_use]
    pub fn new(phc: impl Into<String>) -> Self {
        Self(phc.into())
    }

    /// The text to keep.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Shows nothing: no hash belongs into a log.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// What a customer logs in with, as stores keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Whose they are.
    pub customer_id: CustomerId,
    /// The name to log in with; no two customers have the same.
    pub login: String,
    /// What proves that it is them.
    pub password: PasswordHash,
}

macro_rules! hashes {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The hash with those bytes.
            #[must_use]
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The hash of that text.
            #[must_use]
            pub fn of(text: &str) -> Self {
                Self(Sha256::digest(text.as_bytes()).into())
            }

            /// The bytes to keep.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }
    )+};
}

hashes! {
    /// SHA-256 of a token. A token is random through and through, so no slower hash is needed.
    TokenHash;
    /// SHA-256 of a name to log in with: of names that nobody has as well, and of any length.
    LoginHash;
}

/// A session as stores keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// What its token hashes to.
    pub token: TokenHash,
    /// Who opened it.
    pub customer_id: CustomerId,
    /// When.
    pub created_at: Timestamp,
    /// From when it is good for nothing.
    pub expires_at: Timestamp,
}

impl SessionRow {
    /// Whether the session is valid at `now`: it has not expired, and it was opened before `now` or by a
    /// clock that is ahead by [`MAX_CLOCK_SKEW`] at most.
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.created_at <= now.plus_seconds(MAX_CLOCK_SKEW) && now < self.expires_at
    }
}

/// A session that was just opened, with the token that is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    /// What proves, with each request, who it is.
    pub token: String,
    /// Who opened it.
    pub customer_id: CustomerId,
    /// From when it is good for nothing.
    pub expires_at: Timestamp,
}

/// Leaves the token out.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("customer_id", &self.customer_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Who calls, as their token proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Caller {
    /// The customer.
    pub customer_id: CustomerId,
    /// What they may do.
    pub role: Role,
}

/// A session that is open, as its token proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OpenedSession {
    /// The customer, and what they may do.
    #[serde(flatten)]
    pub caller: Caller,
    /// From when it is good for nothing.
    pub expires_at: Timestamp,
}

impl Caller {
    /// Whether they may act for that customer: it is them, or they are an admin.
    #[must_use]
    pub fn may_act_for(self, customer: CustomerId) -> bool {
        self.customer_id == customer || self.role == Role::Admin
    }
}

/// Tries to log in by a name that were in vain of late, whether anybody has that name or not. Those that
/// are long ago are forgotten, so that guessed names do not fill the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginAttempts {
    /// The name.
    pub login: LoginHash,
    /// How many since the last success.
    pub failures: i64,
    /// When the last one was.
    pub last_at: Timestamp,
}

impl LoginAttempts {
    /// Whether the attempts count at `now`: the last one is no more than [`LOGIN_MEMORY`] old, and no more
    /// than [`MAX_CLOCK_SKEW`] ahead, as after a clock was set back.
    #[must_use]
    pub fn counts_at(&self, now: Timestamp) -> bool {
        let oldest = now.plus_seconds(LOGIN_MEMORY.saturating_neg());
        (oldest..=now.plus_seconds(MAX_CLOCK_SKEW)).contains(&self.last_at)
    }
}
