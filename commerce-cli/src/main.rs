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
mod context;
mod copy;
mod coupon;
mod customer;
mod database;
mod environment;
mod error;
mod events;
mod gateway;
mod import;
mod init;
mod interrupt;
mod manual;
mod order;
mod orders;
mod output;
mod pipeline;
mod prng;
mod product;
mod progress;
mod secret;
mod seed;
mod serve;
mod table;
mod top;
mod unique;
mod values;

use args::{Cli, ExitKind};
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
            ending.map_err(|error| (error, json))
        }
        Err(error) => output::help(&error).map_err(|error| {
            // An empty variable is the reason when clap could not read it as a value.
            let error = environment::check().err().unwrap_or(error);
            (error, args::asks_for_json())
        }),
    };
    match ending {
        Ok(ExitKind::Success) => ExitCode::SUCCESS,
        Ok(ExitKind::AuditFailed) => ExitCode::from(3),
        Ok(ExitKind::Interrupted) => ExitCode::from(interrupt::EXIT_STATUS),
        Err((error, json)) => {
            output::error(&error, json);
            ExitCode::from(error.exit_status())
        }
    }
}
