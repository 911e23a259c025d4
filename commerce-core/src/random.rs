//! The one place of the library that draws randomness: rules are handed what was drawn.

use crate::StoreError;

/// So many random bytes of the system, as hexadecimal digits.
pub(crate) fn hex<const BYTES: usize>() -> Result<String, StoreError> {
    let mut bytes = [0; BYTES];
    let drawn = getrandom::fill(&mut bytes);
    drawn.map_err(|error| StoreError::Unavailable(format!("no random numbers: {error}")))?;
    Ok(bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")))
}
