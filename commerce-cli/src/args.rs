//! The commands there are, and which of them need a shop to be open.

use crate::database::{Access, Database};
use crate::desk::Desk;
use crate::failure::Failure;
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
pub(crate) enum Ending {
    /// It did what was asked.
    Done,
    /// The store was examined and is not as it should be.
    Unsound,
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
    Copy(copy::Copy),
    Bench(bench::Bench),
    Serve(Box<serve::Serve>),
    Completions(manual::Completions),
    Man(manual::Man),
}

impl Cli {
    pub(crate) fn run(self) -> Result<Ending, Failure> {
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
                let desk = Desk::open(&database, command.access(), gateway, output)?;
                let ending = command.run(&desk);
                ending.map_err(|failure| desk.told(failure))
            }
        }
    }
}

impl WithoutShop {
    fn run(self, url: &str, output: Output) -> Result<Ending, Failure> {
        match self {
            Self::Init(command) => command.run(&Database::at(url)?, output),
            Self::Backup(command) => command.run(&Database::at(url)?, output),
            Self::Copy(command) => return command.run(output),
            Self::Bench(command) => return command.run(&Database::at(url)?, output),
            Self::Serve(command) => return command.run(&Database::at(url)?, output),
            Self::Completions(command) => command.run(output),
            Self::Man(command) => command.run(output),
        }?;
        Ok(Ending::Done)
    }
}

impl WithShop {
    /// Commands that bring the first data into a store create it; the others do not.
    fn access(&self) -> Access {
        let creating = matches!(
            self,
            Self::Seed(_)
                | Self::Import(_)
                | Self::Customer(customer::Customer::Add { .. })
                | Self::Product(product::Product::Add { .. })
                | Self::Coupon(coupon::Coupon::Add(_))
                | Self::Admin(_)
        );
        if creating { Access::Creating } else { Access::Existing }
    }

    /// What collects the money of charges; nothing unless it is named.
    fn gateway(&self) -> Result<Option<Arc<dyn PaymentGateway>>, Failure> {
        if let Self::Charge(charge::Charge { gateway, .. })
        | Self::Charges(charges::Charges::Settle { gateway }) = self
        {
            return gateway.open(Gateway::None);
        }
        Ok(None)
    }

    fn run(self, desk: &Desk) -> Result<Ending, Failure> {
        match self {
            Self::Seed(command) => return command.run(desk),
            Self::Import(command) => return command.run(desk),
            Self::Audit => return audit::run(desk),
            Self::Events(command) => return command.run(desk),
            Self::Customer(command) => command.run(desk),
            Self::Charge(command) => command.run(desk),
            Self::Charges(command) => command.run(desk),
            Self::Debit(command) => command.run(desk),
            Self::Balance(command) => command.run(desk),
            Self::Ledger(command) => command.run(desk),
            Self::Payments(command) => command.run(desk),
            Self::Product(command) => command.run(desk),
            Self::Cart(command) => command.run(desk),
            Self::Coupon(command) => command.run(desk),
            Self::Order(command) => command.run(desk),
            Self::Orders(command) => command.run(desk),
            Self::Top(command) => command.run(desk),
            Self::Admin(command) => command.run(desk),
        }?;
        Ok(Ending::Done)
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
