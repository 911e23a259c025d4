//! The variables of the environment that this program reads, all of which begin alike.

use crate::error::CliError;

/// The beginning of their names.
const PREFIX: &str = "COMMERCE_";

/// Refuses a variable that is set to nothing: a deployment that lost a value must not run without it, as one
/// that loses the secret of its events would send them unsigned.
pub(crate) fn check() -> Result<(), CliError> {
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && value.to_str().is_some_and(|value| value.trim().is_empty()) {
            return Err(CliError::usage(format!(
                "{name} is set and empty: give it a value or unset it"
            )));
        }
    }
    Ok(())
}
