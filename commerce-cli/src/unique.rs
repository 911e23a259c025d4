//! Names that are used once: keys for calls that were given none, passwords, names of throw-away stores.
//!
//! The constructors of `uuid` that draw by themselves panic without random numbers, and on a clock before
//! 1970.

use crate::error::CliError;
use commerce_core::{Clock, SystemClock};
use uuid::{Builder, Uuid};

/// A UUID that sorts after those of earlier seconds (version 7), so that keys are added at one end of
/// their index.
pub(crate) fn in_order() -> Result<Uuid, CliError> {
    let seconds = u64::try_from(SystemClock.now().unix()).unwrap_or_default();
    let [random @ .., _, _, _, _, _, _] = random()?;
    Ok(Builder::from_unix_timestamp_millis(seconds.saturating_mul(1_000), &random).into_uuid())
}

/// A UUID of 122 random bits (version 4).
pub(crate) fn at_random() -> Result<Uuid, CliError> {
    Ok(Builder::from_random_bytes(random()?).into_uuid())
}

fn random() -> Result<[u8; 16], CliError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        CliError::storage(format!(
            "the system gives no random numbers ({error}): check that /dev/urandom can be read"
        ))
    })?;
    Ok(bytes)
}
