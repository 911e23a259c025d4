//! The one place of the library that draws randomness: rules are handed what was drawn.

use crate::error::StoreError;
use std::fmt::Write;

/// So many random bytes of the system.
pub(crate) fn bytes<const BYTES: usize>() -> Result<[u8; BYTES], StoreError> {
    let mut bytes = [0; BYTES];
    let drawn = getrandom::fill(&mut bytes);
    drawn.map_err(|error| {
        StoreError::Unavailable(format!(
            "the system gives no random numbers ({error}): check that /dev/urandom can be read"
        ))
    })?;
    Ok(bytes)
}

/// So many random bytes of the system, as hexadecimal digits.
pub(crate) fn hex<const BYTES: usize>() -> Result<String, StoreError> {
    let mut text = String::new();
    for byte in bytes::<BYTES>()? {
        // Writing to memory does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// A number that spreads things out in time or place; without random numbers nothing is spread.
pub(crate) fn random_byte() -> u8 {
    bytes().map_or(0, |[byte]| byte)
}
