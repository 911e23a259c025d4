//! Authentication: credentials, sessions, and counts of failed login attempts.

use crate::clock::Timestamp;
use crate::id::CustomerId;
use crate::limits::{LOGIN_MEMORY, MAX_CLOCK_SKEW};
use crate::model::audit_trail::Actor;
use crate::model::wallet::Role;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::{self, Write};

/// A password hash: Argon2id in PHC string format, which contains its own parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Wraps a PHC string.
    #[must_use]
    pub fn new(phc: impl Into<String>) -> Self {
        Self(phc.into())
    }

    /// Returns the PHC string to store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Prints no part of the hash: hashes do not belong in logs.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// A customer's login and password hash, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The customer.
    pub customer_id: CustomerId,
    /// The login name; unique among customers.
    pub login: String,
    /// The hash of the password.
    pub password: PasswordHash,
}

macro_rules! hashes {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps the bytes of a hash.
            #[must_use]
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Returns the hash of a text.
            #[must_use]
            pub fn of(text: &str) -> Self {
                Self(Sha256::digest(text.as_bytes()).into())
            }

            /// Returns the hash in hexadecimal digits.
            #[must_use]
            pub fn to_hex(&self) -> String {
                self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
                    // Writing to a string cannot fail.
                    let _ = write!(hex, "{byte:02x}");
                    hex
                })
            }

            /// Returns the bytes to store.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }
    )+};
}

impl TokenHash {
    /// Returns the first 64 bits.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        let bytes = self.0.first_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(bytes)
    }

    /// Returns the smallest hash with these first 64 bits.
    #[must_use]
    pub fn with_prefix(prefix: u64) -> Self {
        let mut bytes = [0; 32];
        for (byte, of_prefix) in bytes.iter_mut().zip(prefix.to_be_bytes()) {
            *byte = of_prefix;
        }
        Self(bytes)
    }
}

hashes! {
    /// The SHA-256 of a session token. Every bit of a token is random, so a slow password hash is not needed.
    TokenHash;
    /// The SHA-256 of a login name, which may be of any length and need not exist.
    LoginHash;
}

/// A session, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The hash of the session's token.
    pub token: TokenHash,
    /// The customer that opened it.
    pub customer_id: CustomerId,
    /// The instant it was opened.
    pub created_at: Timestamp,
    /// Expiry time: the session is invalid from this instant on.
    pub expires_at: Timestamp,
}

impl SessionRow {
    /// Returns the public id: the first 16 hexadecimal digits of the hash of the token. It names the session and opens
    /// nothing.
    #[must_use]
    pub fn public_id(&self) -> String {
        format!("{:016x}", self.token.prefix())
    }

    /// Returns true if the session is valid at `now`: it has not expired, and it was opened before `now` or by
    /// a clock that is ahead by at most [`MAX_CLOCK_SKEW`].
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.created_at <= now.plus_seconds(MAX_CLOCK_SKEW) && now < self.expires_at
    }
}

/// An open session as a list shows it, without its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The public id ([`SessionRow::public_id`]).
    pub id: String,
    /// The customer that opened it.
    pub customer_id: CustomerId,
    /// The instant it was opened.
    pub created_at: Timestamp,
    /// Expiry time: the session is invalid from this instant on.
    pub expires_at: Timestamp,
    /// True for the session that asks for the list.
    pub current: bool,
}

/// A newly opened session, with its token. Only the hash of the token is stored, so it is shown only here.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Session {
    /// The bearer token that authenticates each request.
    pub token: String,
    /// The customer that opened it.
    pub customer_id: CustomerId,
    /// Expiry time: the session is invalid from this instant on.
    pub expires_at: Timestamp,
}

/// Omits the token.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("customer_id", &self.customer_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// The authenticated caller of a request: a customer with a session, or a program with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The author of the changes that the caller makes.
    pub actor: Actor,
    /// The role at this moment.
    pub role: Role,
}

/// An open session, looked up by its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OpenedSession {
    /// The customer.
    pub customer_id: CustomerId,
    /// The customer's role at this moment.
    pub role: Role,
    /// Expiry time: the session is invalid from this instant on.
    pub expires_at: Timestamp,
}

impl OpenedSession {
    /// Returns the customer as the caller of a request.
    #[must_use]
    pub const fn caller(&self) -> Caller {
        Caller { actor: Actor::Customer(self.customer_id), role: self.role }
    }
}

impl Caller {
    /// Returns the customer that calls; `None` for a program.
    #[must_use]
    pub const fn customer_id(self) -> Option<CustomerId> {
        match self.actor {
            Actor::Customer(id) => Some(id),
            Actor::Cli | Actor::Token(_) => None,
        }
    }

    /// Returns true if the role includes what `least` may do. Each role includes those before it.
    #[must_use]
    pub fn is_at_least(self, least: Role) -> bool {
        self.role >= least
    }

    /// Returns true if the caller is that customer, or staff of at least that role.
    #[must_use]
    pub fn is_customer_or(self, customer: CustomerId, least: Role) -> bool {
        self.customer_id() == Some(customer) || self.is_at_least(least)
    }
}

/// The recent failed login attempts for a login name, whether or not the login exists. Old ones are deleted,
/// so that guessed names do not fill the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginAttempts {
    /// The hash of the login name.
    pub login: LoginHash,
    /// The number of failures since the last success.
    pub failures: i64,
    /// The instant of the last failure.
    pub last_at: Timestamp,
}

impl LoginAttempts {
    /// Returns true if the attempts count at `now`: the last one is at most [`LOGIN_MEMORY`] old, and at most
    /// [`MAX_CLOCK_SKEW`] ahead, as happens after a clock was set back.
    #[must_use]
    pub fn counts_at(&self, now: Timestamp) -> bool {
        let oldest = now.plus_seconds(LOGIN_MEMORY.saturating_neg());
        (oldest..=now.plus_seconds(MAX_CLOCK_SKEW)).contains(&self.last_at)
    }
}
