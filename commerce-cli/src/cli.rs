//! The command line: global options, the list of commands, and the shop that most of them work on.

use crate::commands::{
    admin, audit, backup, balance, bench, cart, charge, charges, copy, coupon, customer, events,
    export, import, init, log, manual, order, orders, password, product, report, seed, serve,
    sessions, settings, token, top, why,
};
use crate::context::CommandContext;
use crate::database::{Database, OpenMode};
use crate::error::CliError;
use crate::exit::ExitKind;
use crate::gateway::Gateway;
use crate::interrupt;
use crate::output::Output;
use clap::{CommandFactory, Parser, Subcommand};
use commerce_core::{Actor, PaymentGateway, StoreError, SystemClock};
use std::env;
use std::sync::Arc;

/// An order service: prepaid balances, stock, coupons and orders.
///
/// Amounts are integers in minor units of the store's currency: 1250 is 12.50 USD, and 1250 KRW.
/// Times are RFC 3339, like 2026-01-31T12:00:00Z.
#[derive(Parser, Debug)]
#[command(name = "commerce", version, max_term_width = 100, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    /// Database: a path, sqlite:PATH, or the URL of a PostgreSQL server. Pass a URL with a password in
    /// the environment, because other users can see the arguments of a process.
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
    /// Prints one JSON document to stdout, and errors as JSON to stderr.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    #[command(subcommand)]
    command: Command,
}

const GLOBAL: &str = "Global options";

const EXIT_STATUS: &str = "Exit status: 0 success; 1 the service failed; 2 wrong usage; 3 refused by a \
     business rule, or an audit found problems; 130 stopped by Ctrl-C.";

#[derive(Subcommand, Debug)]
enum Command {
    #[command(flatten)]
    WithShop(WithShop),
    #[command(flatten)]
    WithoutShop(WithoutShop),
}

/// Commands that open a shop. The arguments of a command are defined only if it is called: defining all of them takes as
/// long as reading a balance. So the description of a command is here, where the list of commands finds it. Structs that a
/// command includes by `flatten` have no doc comments, because clap takes the last one for the description.
#[derive(Subcommand, Debug)]
#[command(defer = true)]
enum WithShop {
    /// Fills a new store with synthetic products, customers and orders.
    ///
    /// The orders are paid, and spread over the last 30 days.
    ///
    /// The same numbers and seed produce the same data, except for the times, which are relative to now. A repeated run
    /// adds missing rows. A store with other data is refused.
    Seed(seed::SeedCommand),
    /// Imports a CSV file, and skips rows that exist already.
    ///
    /// The first line of the file must name the columns as below. The further columns of an export may follow.
    ///
    /// An import that is refused or stopped by Ctrl-C reports its progress, and continues when it is run again.
    Import(import::ImportCommand),
    /// Exports rows as CSV or NDJSON, also while the store is in use.
    ///
    /// All kinds of one command are of one snapshot, so that the files agree with each other. Orders, products and customers
    /// are what import reads.
    Export(export::ExportCommand),
    #[command(subcommand)]
    Customer(customer::CustomerCommand),
    /// Sets the password of a customer with a login. The previous one becomes invalid, and existing sessions end.
    Password(password::PasswordCommand),
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    /// Adds money to a customer's balance, immediately or after a payment gateway has collected it.
    ///
    /// If the gateway does not answer, the charge is pending. Repeat the command with the same key, or run
    /// `commerce charges settle`, to query the gateway again: the money is collected only once.
    Charge(charge::ChargeCommand),
    #[command(subcommand)]
    Charges(charges::ChargesCommand),
    /// Takes money off a customer's balance outside an order.
    Debit(charge::DebitCommand),
    /// Shows a customer's balance.
    Balance(balance::BalanceCommand),
    /// Lists the ledger: every change of a customer's balance, newest first.
    Ledger(balance::LedgerCommand),
    /// Lists a customer's order payments and refunds, newest first.
    Payments(balance::PaymentsCommand),
    #[command(subcommand)]
    Product(product::ProductCommand),
    #[command(subcommand)]
    Cart(cart::CartCommand),
    #[command(subcommand)]
    Coupon(coupon::CouponCommand),
    /// Places an order, and pays it from the customer's balance.
    Order(order::OrderCommand),
    #[command(subcommand)]
    Orders(orders::OrdersCommand),
    /// Shows the best sellers of the last days as a bar chart.
    Top(top::TopCommand),
    /// Shows sales, rankings, stock, coupons and balances.
    ///
    /// Without a subcommand it shows the day: sales of today against yesterday and the same day last week, sales by
    /// hour, the top products, stock that runs out, and events that wait.
    Report(report::ReportCommand),
    /// Shows the settings of the shop, or changes one.
    Settings(settings::SettingsCommand),
    /// Explains an idempotency key: the request that it was used for, the answer or the refusal with its numbers, and
    /// the order or charge that it made.
    ///
    /// For a refusal for want of stock, the orders that took the last units before it, and when units came back.
    Why(why::WhyCommand),
    #[command(subcommand)]
    Events(events::EventsCommand),
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Lists the changes by staff, tokens and the command line, newest first.
    Log(log::LogCommand),
    /// Checks that the store is consistent, and lists every row that is not.
    ///
    /// The exit status is 3 if problems are found.
    Audit,
}

/// Commands that open their stores themselves, or need none.
#[derive(Subcommand, Debug)]
#[command(defer = true)]
enum WithoutShop {
    /// Creates the store, or migrates one of an older version.
    #[command(display_order = 0)]
    Init(init::InitCommand),
    /// Copies a consistent snapshot of the store to a file, while the store is in use.
    Backup(backup::BackupCommand),
    /// Copies a store into a new one, between a file and a PostgreSQL server or within either.
    ///
    /// The copy is one commit. Both stores are audited afterwards; the exit status is 3 if either has problems
    /// or they differ. Stop all writers of the source store first.
    Copy(copy::CopyCommand),
    /// Measures the order throughput of this machine.
    ///
    /// Each client places one order at a time on a scratch store beside the database (on a server: in its own
    /// schema), and waits until the order is on disk. The store is audited at the end and removed. Each line of
    /// an order is one unit of a different product.
    Bench(bench::BenchCommand),
    /// Serves the shop over HTTP, until SIGTERM or Ctrl-C. A missing store is created.
    ///
    /// Each setting can also be an environment variable, or a `name = "value"` line in the TOML file of
    /// --config, named after the flag. A flag overrides the environment, which overrides the file.
    ///
    /// The default address accepts connections from this machine only. A public port needs --tls-cert and --tls-key, or a
    /// reverse proxy: `docs/deployment.md` has a configuration of nginx.
    Serve(Box<serve::ServeCommand>),
    /// Prints a completion script for a shell.
    Completions(manual::CompletionsCommand),
    /// Prints the manual page, or writes one page a command.
    Man(manual::ManCommand),
}

impl Cli {
    pub(crate) fn run(self) -> Result<ExitKind, CliError> {
        let output = Output::new(self.json);
        interrupt::handle_file_size_limit()?;
        if !matches!(
            self.command,
            Command::WithoutShop(WithoutShop::Completions(_) | WithoutShop::Man(_))
        ) {
            SystemClock.check().map_err(StoreError::from)?;
        }
        match self.command {
            Command::WithoutShop(command) => command.run(&self.database, output),
            Command::WithShop(command) => {
                let database = Database::from_url(&self.database)?;
                let gateway = command.gateway()?;
                let context = CommandContext::open(
                    &database,
                    command.open_mode(),
                    gateway,
                    command.actor(),
                    output,
                )?;
                command.run(&context).map_err(|error| context.annotate(error))
            }
        }
    }
}

impl WithoutShop {
    fn run(self, url: &str, output: Output) -> Result<ExitKind, CliError> {
        match self {
            Self::Init(command) => command.run(&Database::from_url(url)?, output),
            Self::Backup(command) => command.run(&Database::from_url(url)?, output),
            Self::Copy(command) => return command.run(output),
            Self::Bench(command) => return command.run(&Database::from_url(url)?, output),
            Self::Serve(command) => return command.run(&Database::from_url(url)?, output),
            Self::Completions(command) => command.run(Cli::command(), output),
            Self::Man(command) => command.run(Cli::command(), output),
        }?;
        Ok(ExitKind::Success)
    }
}

impl WithShop {
    /// Commands that add the first data create a missing store. The others fail, so that a mistyped path
    /// does not leave an empty store behind.
    fn open_mode(&self) -> OpenMode {
        let creates = matches!(
            self,
            Self::Seed(_)
                | Self::Import(_)
                | Self::Customer(customer::CustomerCommand::Add { .. })
                | Self::Product(product::ProductCommand::Add { .. })
                | Self::Coupon(coupon::CouponCommand::Add(_))
                | Self::Admin(_)
        );
        if creates { OpenMode::Create } else { OpenMode::MustExist }
    }

    /// The payment gateway of charges; `None` unless an option names one.
    fn gateway(&self) -> Result<Option<Arc<dyn PaymentGateway>>, CliError> {
        if let Self::Charge(charge::ChargeCommand { gateway, .. })
        | Self::Charges(
            charges::ChargesCommand::Settle { gateway }
            | charges::ChargesCommand::Refund(charges::RefundArgs { gateway, .. }),
        ) = self
        {
            return gateway.open(Gateway::None);
        }
        Ok(None)
    }

    /// The author of changes. Sample data has none: entries of the audit trail would outnumber its rows.
    fn actor(&self) -> Option<Actor> {
        (!matches!(self, Self::Seed(_))).then_some(Actor::Cli)
    }

    fn run(self, context: &CommandContext) -> Result<ExitKind, CliError> {
        match self {
            Self::Seed(command) => return command.run(context),
            Self::Import(command) => return command.run(context),
            Self::Export(command) => return command.run(context),
            Self::Audit => return audit::run(context),
            Self::Events(command) => return command.run(context),
            Self::Report(command) => return command.run(context),
            Self::Charges(command) => return command.run(context),
            Self::Customer(command) => command.run(context),
            Self::Password(command) => command.run(context),
            Self::Sessions(command) => command.run(context),
            Self::Charge(command) => command.run(context),
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
            Self::Why(command) => command.run(context),
            Self::Admin(command) => command.run(context),
            Self::Token(command) => command.run(context),
            Self::Log(command) => command.run(context),
            Self::Settings(command) => command.run(context),
        }?;
        Ok(ExitKind::Success)
    }
}

/// Returns true if `--json` was given, for a command line that clap could not parse.
pub(crate) fn is_json_requested() -> bool {
    env::args_os().take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }

    /// Returns the command line with all commands.
    fn built() -> clap::Command {
        let mut cli = Cli::command();
        cli.build();
        cli
    }

    /// The doc comment of a struct would replace the description that the list of commands shows.
    #[test]
    fn commands_keep_the_descriptions_of_the_list() {
        let about = |command: &clap::Command| command.get_about().map(ToString::to_string);
        for listed in Cli::command().get_subcommands() {
            let name = listed.get_name();
            assert!(about(listed).is_some(), "{name}");
            assert_eq!(about(listed), about(built().find_subcommand(name).unwrap()), "{name}");
        }
    }

    /// Returns the commands below one with their paths, as `orders cancel`.
    fn leaves(command: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
        let below = |command: &clap::Command| {
            let path = format!("{path} {}", command.get_name());
            let leaves = leaves(command, path.trim());
            if leaves.is_empty() { vec![(path.trim().to_owned(), command.clone())] } else { leaves }
        };
        let is_own = |command: &&clap::Command| command.get_name() != "help";
        command.get_subcommands().filter(is_own).flat_map(below).collect()
    }

    /// Each command has a section under a heading with its name, which mentions its options, unless those are described
    /// for several commands, above all sections or at `serve`.
    #[test]
    fn guide_has_every_command_and_option() {
        let guide = include_str!("../../docs/cli.md");
        let common = guide.split("\n### admin create").next().unwrap();
        let sections: Vec<&str> = guide.split("\n### ").skip(1).collect();
        let mut missing = Vec::new();
        for (path, command) in leaves(&built(), "") {
            let is_of = |section: &&&str| section.lines().next().unwrap().contains(&path);
            let sections: Vec<_> = sections.iter().filter(is_of).collect();
            if sections.is_empty() {
                missing.push(format!("### {path}"));
            }
            for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                let option = format!("--{option}");
                let is_in = |text: &str| text.contains(&option);
                if !is_in(common) && !sections.iter().any(|section| is_in(section)) {
                    missing.push(format!("### {path}: {option}"));
                }
            }
        }
        assert!(missing.is_empty(), "docs/cli.md has no {missing:#?}");
    }

    fn deployed(file: &str) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/");
        std::fs::read_to_string(format!("{folder}{file}")).unwrap()
    }

    /// Returns a command line with the settings of a file as flags.
    fn with_settings(command_line: &[&str], file: &str) -> Vec<String> {
        let command = built();
        let serve = command.find_subcommand("serve").unwrap();
        let mut line: Vec<String> = command_line.iter().map(|word| (*word).to_owned()).collect();
        for word in file.split_whitespace() {
            let word = word.trim_start_matches("Environment=");
            let Some((name, value)) = word.split_once('=') else { continue };
            if name.starts_with("COMMERCE_") {
                let mut known = command.get_arguments().chain(serve.get_arguments());
                let known = known.find(|known| known.get_env().is_some_and(|env| env == name));
                let flag = known.and_then(|known| known.get_long());
                line.push(format!("--{}={value}", flag.expect(name)));
            }
        }
        line
    }

    #[test]
    fn deployed_service_uses_settings_that_exist() {
        let unit = deployed("commerce.service");
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let line = with_settings(&start.split(' ').collect::<Vec<_>>(), &unit);
        let listen = line.iter().find_map(|flag| flag.strip_prefix("--listen=unix:")).unwrap();
        // The proxies reach the service at that path.
        assert!(deployed("nginx.conf").contains(&format!("server unix:{listen} ")), "{listen}");
        assert!(
            deployed("Caddyfile").contains(&format!("reverse_proxy unix/{listen} ")),
            "{listen}"
        );
        let folders = ["RuntimeDirectory=commerce\n", "StateDirectory=commerce\n"];
        assert!(folders.iter().all(|folder| unit.contains(folder)));
        assert!(listen.starts_with("/run/commerce/"));
        assert!(line.contains(&"--database=/var/lib/commerce/shop.db".to_owned()), "{line:?}");
        Cli::try_parse_from(line).unwrap();
    }

    #[test]
    fn image_runs_as_a_normal_user_with_settings_that_exist() {
        let file = deployed("Dockerfile");
        let words = |instruction: &str| -> Vec<String> {
            let line = file.lines().find_map(|line| line.strip_prefix(instruction)).unwrap();
            serde_json::from_str(line).unwrap()
        };
        let start = [words("ENTRYPOINT "), words("CMD ")].concat();
        let line = with_settings(&start.iter().map(String::as_str).collect::<Vec<_>>(), &file);
        let exposed = file.lines().find_map(|line| line.strip_prefix("EXPOSE ")).unwrap();
        assert!(line.contains(&format!("--listen=0.0.0.0:{exposed}")), "{line:?}");
        assert!(line.contains(&"--database=/var/lib/commerce/shop.db".to_owned()), "{line:?}");
        Cli::try_parse_from(line).unwrap();
        let mut users = file.lines().filter_map(|line| line.strip_prefix("USER "));
        assert!(users.next_back().is_some_and(|user| user != "root" && !user.starts_with('0')));
        let rust = concat!("FROM rust:", env!("CARGO_PKG_RUST_VERSION"), "-");
        assert!(file.lines().any(|line| line.starts_with(rust)), "the minimum version, {rust}");
    }
}
