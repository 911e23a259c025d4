//! The `commerce` command: an order service at the command line.
//!
//! `main` parses the command line, runs the command and is the only place that sets the exit status:
//! 0 success, 1 the service failed, 2 wrong usage, 3 a business rule refused or an audit found
//! problems, 130 stopped by Ctrl-C.

mod chart;
mod cli;
mod commands;
mod context;
mod database;
mod destination;
mod environment;
mod error;
mod exit;
mod gateway;
mod interrupt;
mod output;
mod pipeline;
mod prng;
mod progress;
mod secret;
mod table;
mod unique;
mod values;

use clap::Parser;
use cli::Cli;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    panic::set_hook(Box::new(output::report_panic));
    let result = match Cli::try_parse() {
        Ok(cli) => {
            let json = cli.json;
            // The panic hook has already reported the defect.
            let Ok(result) =
                catch_unwind(AssertUnwindSafe(|| environment::check().and_then(|()| cli.run())))
            else {
                return ExitCode::FAILURE;
            };
            result.map_err(|error| (error, json))
        }
        Err(error) => output::help(&error).map_err(|error| {
            // clap reports an empty variable as an invalid value: name the variable instead.
            let error = environment::check().err().unwrap_or(error);
            (error, cli::is_json_requested())
        }),
    };
    match result {
        Ok(kind) => kind.into(),
        Err((error, json)) => {
            output::error(&error, json);
            ExitCode::from(error.exit_status())
        }
    }
}
