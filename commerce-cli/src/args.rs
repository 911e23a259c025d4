//! The commands there are, and which of them need a shop to be open.

use crate::database::{Access, Database};
use crate::desk::Desk;
use crate::failure::Failure;
use crate::output::Output;
use crate::{
    audit, backup, balance, bench, cart, charge, coupon, customer, events, import, init, manual, order,
    orders, product, seed, top,
};
use clap::{Parser, Subcommand};

/// An order service: balances, stock, coupons and orders that can be trusted with money.
///
/// Amounts are whole numbers in minor units of the store's currency: 1250 is 12.50 USD, and 1250 KRW.
/// Instants are RFC 3339, like 2026-01-31T12:00:00Z.
#[derive(Parser, Debug)]
#[command(name = "commerce", version, max_term_width = 100, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    /// The store: a path, or sqlite:PATH.
    #[arg(long, global = true, value_name = "URL", env = "COMMERCE_DATABASE", hide_env_values = true)]
    #[arg(default_value = "commerce.db")]
    database: Database,
    /// Answers with one JSON document; errors too are JSON, on stderr.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    command: Command,
}

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
    Init(init::Init),
    Seed(seed::Seed),
    Import(import::Import),
    #[command(subcommand)]
    Customer(customer::Customer),
    Charge(charge::Charge),
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
    Audit(audit::Audit),
    Backup(backup::Backup),
    Bench(bench::Bench),
    Completions(manual::Completions),
    Man(manual::Man),
}

impl Cli {
    pub(crate) fn run(self) -> Result<Ending, Failure> {
        let output = Output::new(self.json);
        let database = &self.database;
        let done = |result: Result<(), Failure>| result.map(|()| Ending::Done);
        match self.command {
            Command::Init(command) => done(command.run(database, output)),
            Command::Backup(command) => done(command.run(database, output)),
            Command::Bench(command) => command.run(database, output),
            Command::Completions(command) => done(command.run(output)),
            Command::Man(command) => done(command.run(output)),
            command => {
                let desk = Desk::open(database, command.access(), output)?;
                let ending = command.run_at(&desk);
                ending.map_err(|failure| failure.in_currency(desk.shop.currency()))
            }
        }
    }
}

impl Command {
    /// Commands that bring the first data into a store create it; the others do not.
    fn access(&self) -> Access {
        match self {
            Self::Seed(_)
            | Self::Import(_)
            | Self::Customer(customer::Customer::Add { .. })
            | Self::Product(product::Product::Add { .. })
            | Self::Coupon(coupon::Coupon::Add(_)) => Access::Creating,
            _ => Access::Existing,
        }
    }

    fn run_at(self, desk: &Desk) -> Result<Ending, Failure> {
        match self {
            Self::Seed(command) => return command.run(desk),
            Self::Import(command) => return command.run(desk),
            Self::Audit(command) => return command.run(desk),
            Self::Customer(command) => command.run(desk),
            Self::Charge(command) => command.run(desk),
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
            Self::Events(command) => command.run(desk),
            Self::Init(_) | Self::Backup(_) | Self::Bench(_) | Self::Completions(_) | Self::Man(_) => {
                Ok(()) // these need no shop, and were run above
            }
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
