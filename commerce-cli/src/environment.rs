//! The environment variables of this program, all of which begin with `COMMERCE_`.

use crate::error::CliError;

const PREFIX: &str = "COMMERCE_";

/// Rejects empty variables: a deployment that lost a value must not run without it. If it lost the secret
/// of its events, for example, it would send them unsigned.
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
