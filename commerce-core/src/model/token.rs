//! Tokens of programs.

use crate::clock::{DAY_SECONDS, Timestamp};
use crate::id::TokenId;
use crate::model::wallet::Role;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// A token of a program, which acts for the shop with a role of staff. It stays after its end, since the audit trail
/// names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The token's id.
    pub id: TokenId,
    /// The name of the program.
    pub name: String,
    /// The role: reader, clerk or admin.
    pub role: Role,
    /// The instant the token was created.
    pub created_at: Timestamp,
    /// Expiry time: the token is invalid from this instant on. `None` if it does not expire.
    pub expires_at: Option<Timestamp>,
    /// The instant the token was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The first second of the day (in UTC) on which the token was used last; shown as a date.
    #[serde(rename = "last_used_on", serialize_with = "date", skip_deserializing)]
    pub last_used_at: Option<Timestamp>,
    /// The SHA-256 of the token in hexadecimal digits; empty in the stored answer of a key.
    #[serde(skip)]
    pub hash: String,
}

impl Token {
    /// Returns true if requests with the token are accepted at `now`.
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Returns true if no use on the day of `now`, or on a later one, was recorded.
    #[must_use]
    pub fn is_unused_on(&self, now: Timestamp) -> bool {
        self.last_used_at.is_none_or(|last| last < day_of(now))
    }

    /// Returns the day of the last use, like `2026-01-31`.
    #[must_use]
    pub fn last_used_on(&self) -> Option<String> {
        self.last_used_at.map(date_of)
    }

    /// Records a use on the day of `now`.
    pub(crate) fn record_use(&mut self, now: Timestamp) {
        self.last_used_at = Some(day_of(now));
    }
}

/// A newly created token, with its secret. Only the hash of the secret is stored, so it is shown only here.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CreatedToken {
    /// The token.
    #[serde(flatten)]
    pub row: Token,
    /// The bearer token to send with each request; `None` in the answer to a repeated request with the same key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// Omits the secret.
impl fmt::Debug for CreatedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedToken").field("row", &self.row).finish_non_exhaustive()
    }
}

/// Returns the first second of the day in UTC.
pub(crate) fn day_of(instant: Timestamp) -> Timestamp {
    instant.plus_seconds(instant.unix().rem_euclid(DAY_SECONDS).saturating_neg())
}

fn date_of(instant: Timestamp) -> String {
    let text = instant.to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

#[expect(clippy::ref_option, reason = "the signature that serde demands")]
fn date<S: Serializer>(instant: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    instant.map(date_of).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn token(last_used_at: Option<i64>) -> Token {
        Token {
            id: TokenId::new(1),
            name: "till".to_owned(),
            role: Role::Clerk,
            created_at: Timestamp::from_unix(0),
            expires_at: None,
            revoked_at: None,
            last_used_at: last_used_at.map(Timestamp::from_unix),
            hash: String::new(),
        }
    }

    #[rstest]
    #[case::never(None, true)]
    #[case::same_day(Some(DAY_SECONDS), false)]
    #[case::day_before(Some(0), true)]
    #[case::clock_was_ahead(Some(2 * DAY_SECONDS), false)]
    fn use_is_recorded_once_a_day(#[case] last: Option<i64>, #[case] is_unused: bool) {
        let now = Timestamp::from_unix(DAY_SECONDS + 5_000);
        let mut token = token(last);
        assert_eq!(token.is_unused_on(now), is_unused);
        if is_unused {
            token.record_use(now);
        }
        assert!(!token.is_unused_on(now));
    }

    #[test]
    fn last_use_is_shown_as_a_date_and_the_hash_never() {
        let mut token = token(None);
        token.hash = "secret".to_owned();
        token.record_use(Timestamp::from_unix(DAY_SECONDS + 5_000));
        let json = serde_json::to_string(&token).unwrap();
        assert!(json.contains(r#""last_used_on":"1970-01-02""#), "{json}");
        assert!(!json.contains("secret"), "{json}");
    }
}
