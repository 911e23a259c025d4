//! The `commerce` command: an order service at the command line.
//!
//! `main` parses, runs, and is the one place that decides the exit status: 0 done, 1 the service
//! failed, 2 wrong usage, 3 refused by a rule or found unsound, 130 stopped by Ctrl-C.

mod admin;
mod args;
mod audit;
mod backup;
mod balance;
mod bench;
mod cart;
mod charge;
mod charges;
mod copy;
mod coupon;
mod customer;
mod database;
mod desk;
mod environment;
mod events;
mod failure;
mod gateway;
mod import;
mod init;
mod interrupt;
mod manual;
mod order;
mod orders;
mod output;
mod pipeline;
mod product;
mod progress;
mod random;
mod secret;
mod seed;
mod serve;
mod table;
mod top;
mod unique;
mod values;

use args::{Cli, Ending};
use clap::Parser;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    panic::set_hook(Box::new(output::defect));
    let ending = match Cli::try_parse() {
        Ok(cli) => {
            let json = cli.json;
            // A defect is an error like others: the hook has written it.
            let Ok(ending) =
                catch_unwind(AssertUnwindSafe(|| environment::check().and_then(|()| cli.run())))
            else {
                return ExitCode::FAILURE;
            };
            ending.map_err(|failure| (failure, json))
        }
        Err(error) => output::help(&error).map_err(|failure| {
            // An empty variable is the reason when clap could not read it as a value.
            let failure = environment::check().err().unwrap_or(failure);
            (failure, args::asks_for_json())
        }),
    };
    match ending {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Unsound) => ExitCode::from(3),
        Ok(Ending::Interrupted) => ExitCode::from(interrupt::EXIT_STATUS),
        Err((failure, json)) => {
            output::error(&failure, json);
            ExitCode::from(failure.exit_status())
        }
    }
}
