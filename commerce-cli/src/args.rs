//! The commands there are, and which of them need a shop to be open.

use crate::context::CommandContext;
use crate::database::{Database, OpenMode};
use crate::error::CliError;
use crate::gateway::Gateway;
use crate::output::Output;
use crate::{
    admin, audit, backup, balance, bench, cart, charge, charges, copy, coupon, customer, events,
    import, init, interrupt, manual, order, orders, product, seed, serve, top,
};
use clap::{Parser, Subcommand};
use commerce_core::{PaymentGateway, SystemClock};
use std::sync::Arc;

/// An order service: balances, stock, coupons and orders that can be trusted with money.
///
/// Amounts are whole numbers in minor units of the store's currency: 1250 is 12.50 USD, and 1250 KRW.
/// Instants are RFC 3339, like 2026-01-31T12:00:00Z.
#[derive(Parser, Debug)]
#[command(name = "commerce", version, max_term_width = 100, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    /// The store: a path, sqlite:PATH, or the URL of a PostgreSQL server. A password is better kept in
    /// the environment, where other users do not see it.
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "URL",
        env = "COMMERCE_DATABASE",
        hide_env_values = true
    )]
    #[arg(default_value = "commerce.db")]
    database: String,
    /// Answers with one JSON document; errors too are JSON, on stderr.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    #[command(subcommand)]
    command: Command,
}

const GLOBAL: &str = "Global options";

const EXIT_STATUS: &str = "Exit status: 0 done; 1 the service failed; 2 wrong usage; 3 refused by a rule, \
     or an audit that found something; 130 stopped by Ctrl-C.";

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitKind {
    /// It did what was asked.
    Success,
    /// The store was examined and is not as it should be.
    AuditFailed,
    /// It was asked to stop, and did so tidily.
    Interrupted,
}

#[derive(Subcommand, Debug)]
enum Command {
    #[command(flatten)]
    WithShop(WithShop),
    #[command(flatten)]
    WithoutShop(WithoutShop),
}

/// Commands that open a shop.
#[derive(Subcommand, Debug)]
enum WithShop {
    Seed(seed::Seed),
    Import(import::Import),
    #[command(subcommand)]
    Customer(customer::Customer),
    Charge(charge::Charge),
    #[command(subcommand)]
    Charges(charges::Charges),
    Debit(charge::Debit),
    Balance(balance::Balance),
    Ledger(balance::Ledger),
    Payments(balance::Payments),
    #[command(subcommand)]
    Product(product::Product),
    #[command(subcommand)]
    Cart(cart::Cart),
    #[command(subcommand)]
    Coupon(coupon::Coupon),
    Order(order::Order),
    #[command(subcommand)]
    Orders(orders::Orders),
    Top(top::Top),
    #[command(subcommand)]
    Events(events::Events),
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Proves the store consistent, or says row by row what is not.
    ///
    /// When something is not, the exit status is 3.
    Audit,
}

/// Commands that work on the store's file, or on none.
#[derive(Subcommand, Debug)]
enum WithoutShop {
    #[command(display_order = 0)]
    Init(init::Init),
    Backup(backup::Backup),
    Copy(copy::CopyCommand),
    Bench(bench::Bench),
    Serve(Box<serve::Serve>),
    Completions(manual::Completions),
    Man(manual::Man),
}

impl Cli {
    pub(crate) fn run(self) -> Result<ExitKind, CliError> {
        let output = Output::new(self.json);
        interrupt::outlive_file_limit()?;
        if !matches!(
            self.command,
            Command::WithoutShop(WithoutShop::Completions(_) | WithoutShop::Man(_))
        ) {
            SystemClock.check()?;
        }
        match self.command {
            Command::WithoutShop(command) => command.run(&self.database, output),
            Command::WithShop(command) => {
                let database = Database::at(&self.database)?;
                let gateway = command.gateway()?;
                let context = CommandContext::open(&database, command.access(), gateway, output)?;
                let ending = command.run(&context);
                ending.map_err(|error| context.annotate(error))
            }
        }
    }
}

impl WithoutShop {
    fn run(self, url: &str, output: Output) -> Result<ExitKind, CliError> {
        match self {
            Self::Init(command) => command.run(&Database::at(url)?, output),
            Self::Backup(command) => command.run(&Database::at(url)?, output),
            Self::Copy(command) => return command.run(output),
            Self::Bench(command) => return command.run(&Database::at(url)?, output),
            Self::Serve(command) => return command.run(&Database::at(url)?, output),
            Self::Completions(command) => command.run(output),
            Self::Man(command) => command.run(output),
        }?;
        Ok(ExitKind::Success)
    }
}

impl WithShop {
    /// Commands that bring the first data into a store create it; the others do not.
    fn access(&self) -> OpenMode {
        let creating = matches!(
            self,
            Self::Seed(_)
                | Self::Import(_)
                | Self::Customer(customer::Customer::Add { .. })
                | Self::Product(product::Product::Add { .. })
                | Self::Coupon(coupon::Coupon::Add(_))
                | Self::Admin(_)
        );
        if creating { OpenMode::Creating } else { OpenMode::Existing }
    }

    /// What collects the money of charges; nothing unless it is named.
    fn gateway(&self) -> Result<Option<Arc<dyn PaymentGateway>>, CliError> {
        if let Self::Charge(charge::Charge { gateway, .. })
        | Self::Charges(charges::Charges::Settle { gateway }) = self
        {
            return gateway.open(Gateway::None);
        }
        Ok(None)
    }

    fn run(self, context: &CommandContext) -> Result<ExitKind, CliError> {
        match self {
            Self::Seed(command) => return command.run(context),
            Self::Import(command) => return command.run(context),
            Self::Audit => return audit::run(context),
            Self::Events(command) => return command.run(context),
            Self::Customer(command) => command.run(context),
            Self::Charge(command) => command.run(context),
            Self::Charges(command) => command.run(context),
            Self::Debit(command) => command.run(context),
            Self::Balance(command) => command.run(context),
            Self::Ledger(command) => command.run(context),
            Self::Payments(command) => command.run(context),
            Self::Product(command) => command.run(context),
            Self::Cart(command) => command.run(context),
            Self::Coupon(command) => command.run(context),
            Self::Order(command) => command.run(context),
            Self::Orders(command) => command.run(context),
            Self::Top(command) => command.run(context),
            Self::Admin(command) => command.run(context),
        }?;
        Ok(ExitKind::Success)
    }
}

/// Whether errors are wanted as JSON, asked when the command line itself could not be understood.
pub(crate) fn asks_for_json() -> bool {
    std::env::args_os().take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_made() {
        Cli::command().debug_assert();
    }
}
