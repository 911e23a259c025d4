//! Random numbers of the system. No other file of the library draws any; rules get them as values.

use crate::error::StoreError;
use std::fmt::Write;

/// Random bytes of a reference at a gateway: 128 bits, so that references are unique across stores.
pub(crate) const REFERENCE_BYTES: usize = 16;

/// Returns random bytes of the system.
pub(crate) fn bytes<const BYTES: usize>() -> Result<[u8; BYTES], StoreError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        StoreError::Unavailable(format!(
            "the system gives no random numbers ({error}): check that /dev/urandom can be read"
        ))
    })?;
    Ok(bytes)
}

/// Returns random bytes of the system as hexadecimal digits.
pub(crate) fn hex<const BYTES: usize>() -> Result<String, StoreError> {
    let mut text = String::new();
    for byte in bytes::<BYTES>()? {
        // Writing to memory does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// Returns a random byte for jitter, or 0 when the system has no random numbers.
pub(crate) fn random_byte() -> u8 {
    bytes().map_or(0, |[byte]| byte)
}
