//! `commerce settings`: the settings of the shop.

use crate::context::CommandContext;
use crate::error::CliError;
use crate::table::properties;
use commerce_core::{ChangeSettings, Settings, Zone};

#[derive(clap::Args, Debug)]
pub(crate) struct SettingsCommand {
    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(clap::Subcommand, Debug)]
enum Change {
    /// Changes the zone of days, weeks and months in reports. Nothing that was counted depends on it.
    Zone {
        /// IANA name, like Asia/Seoul.
        zone: Zone,
    },
}

impl SettingsCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), CliError> {
        let settings = match self.change {
            None => context.shop.settings()?,
            Some(Change::Zone { zone }) => context.shop.call(ChangeSettings { zone }).run()?,
        };
        context.print(settings, |settings: &Settings| {
            let currency = context.shop.currency().to_string();
            properties([("currency", currency), ("zone", settings.zone.to_string())])
        })
    }
}
