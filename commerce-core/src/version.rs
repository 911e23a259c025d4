//! Versions of response bodies (`ETag`), for optimistic concurrency.

use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The version of a body: the first half of the SHA-256 digest of its JSON. It is computed and never stored, so that it
/// cannot disagree with the row it describes.
///
/// ```
/// use commerce_core::Version;
/// let version = Version::of(&[1, 2]);
/// assert_eq!(version.to_string().parse(), Ok(version));
/// assert_ne!(version, Version::of(&[1, 3]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(u128);

/// A text that is not a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version is 32 lower-case hexadecimal digits: take it from an ETag")]
pub struct ParseVersionError;

impl Version {
    /// Returns the version of a body that is serialized as JSON.
    #[must_use]
    pub fn of(body: &impl Serialize) -> Self {
        // Plain structs with string keys can always be written.
        Self::of_bytes(&serde_json::to_vec(body).unwrap_or_default())
    }

    /// Returns the version of a body that is already serialized.
    #[must_use]
    pub fn of_bytes(body: &[u8]) -> Self {
        let digest = Sha256::digest(body);
        Self(digest.iter().take(16).fold(0, |half, byte| half << 8 | u128::from(*byte)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, ParseVersionError> {
        let version = u128::from_str_radix(text, 16).map(Self).map_err(|_| ParseVersionError)?;
        if version.to_string() == text { Ok(version) } else { Err(ParseVersionError) }
    }
}
