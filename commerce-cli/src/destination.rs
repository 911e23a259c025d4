//! The destination of events, from the options of `events relay` and `serve`.

use crate::database::Database;
use crate::error::CliError;
use crate::{output, secret};
use commerce_core::{Currency, Destination};
use commerce_outbound::{DestinationOptions, OutboundError};
use std::path::{Path, PathBuf};

/// The variable with the signing secret, used if no file is named.
const SECRET: &str = "COMMERCE_EVENTS_SECRET";

/// The options of a destination, before they are checked.
#[derive(Debug, Default)]
pub(crate) struct DestinationArgs {
    pub(crate) to: String,
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) batch: Option<usize>,
    pub(crate) allow_private: bool,
    pub(crate) source: Option<String>,
    /// The name of the flag that allows private addresses, for error messages.
    pub(crate) allow_flag: &'static str,
}

impl DestinationArgs {
    /// Opens the destination. A file that belongs to the store is rejected.
    pub(crate) fn open(
        self,
        database: &Database,
        currency: Currency,
    ) -> Result<Box<dyn Destination>, CliError> {
        if self.to.strip_prefix("file:").is_some_and(|path| database.owns(Path::new(path))) {
            let message = "that file is part of the store itself: name another file for events";
            return Err(CliError::usage(message));
        }
        if self.to == "-" && output::is_discarded() {
            let message = "standard output is closed or /dev/null, and events written there would be lost: \
                           redirect it to a program or a file, or name another destination";
            return Err(CliError::storage(message));
        }
        let defaults = DestinationOptions::default();
        let options = DestinationOptions {
            secret: secret::source(self.secret_file.as_deref(), SECRET)?,
            batch: self.batch.unwrap_or(defaults.batch),
            allow_private: self.allow_private,
            source: self.source.unwrap_or(defaults.source),
            currency: Some(currency),
        };
        let flag = self.allow_flag;
        commerce_outbound::destination(&self.to, options).map_err(|error| {
            let is_private = matches!(error, OutboundError::PrivateAddress);
            let hint = if is_private { format!(" ({flag})") } else { String::new() };
            CliError::usage(format!("{error}{hint}"))
        })
    }
}
