//! Unique names: generated keys and passwords, and names of scratch stores.
//!
//! The constructors of `uuid` that use the system's random numbers and clock are avoided: they panic if
//! random numbers are unavailable or the clock is before 1970.

use crate::error::CliError;
use commerce_core::{Clock, SystemClock};
use uuid::{Builder, Uuid};

/// A time-ordered UUID (version 7, resolution 1 s), so that keys are appended at one end of their index.
pub(crate) fn time_ordered() -> Result<Uuid, CliError> {
    let seconds = u64::try_from(SystemClock.now().unix()).unwrap_or_default();
    let [random @ .., _, _, _, _, _, _] = random_bytes()?;
    Ok(Builder::from_unix_timestamp_millis(seconds.saturating_mul(1_000), &random).into_uuid())
}

/// A random UUID (version 4, 122 random bits).
pub(crate) fn random() -> Result<Uuid, CliError> {
    Ok(Builder::from_random_bytes(random_bytes()?).into_uuid())
}

fn random_bytes() -> Result<[u8; 16], CliError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        CliError::storage(format!(
            "the system's random numbers are unavailable ({error}): check that /dev/urandom is readable"
        ))
    })?;
    Ok(bytes)
}
