//! `commerce events relay`: delivers events from the outbox to a destination.

use crate::context::CommandContext;
use crate::destination::DestinationArgs;
use crate::error::CliError;
use crate::exit::ExitKind;
use crate::interrupt;
use commerce_core::{CancellationToken, Outbox, RelayError, RelayStats};
use commerce_outbound::DestinationOptions;
use serde::Serialize;
use std::path::PathBuf;

/// Delivers events to a destination as they occur, until Ctrl-C.
///
/// Delivery is at least once, with the same id every time, and in order for the events of one order. Any number of
/// relays may run on one store. `serve` can run one itself: see its --events-to.
#[derive(clap::Args, Debug)]
pub(crate) struct RelayCommand {
    /// Destination: https://..., http://..., `file:PATH` for lines of JSON, or - for standard output.
    #[arg(long, value_name = "URL")]
    to: String,
    /// File with the secret that signs requests (Standard Webhooks, whsec_...), or several during rotation, one a
    /// line and the newest first. It is reloaded when it changes. - is the first line of standard input.
    /// Alternative: the variable `COMMERCE_EVENTS_SECRET`.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Maximum number of events in a request. More than 1 sends JSON arrays.
    #[arg(long, value_name = "EVENTS", default_value_t = DestinationOptions::default().batch)]
    batch: usize,
    /// Allows a destination on this machine or in a private network.
    #[arg(long)]
    allow_private: bool,
    /// The `source` attribute of the events.
    #[arg(long, value_name = "URI", default_value_t = DestinationOptions::default().source)]
    source: String,
    /// Delivers the events that are due now, and exits.
    #[arg(long)]
    once: bool,
}

impl RelayCommand {
    pub(crate) fn run(self, context: &CommandContext) -> Result<ExitKind, CliError> {
        let Self { to, secret_file, batch, allow_private, source, once } = self;
        let is_stdout = to == "-";
        let (batch, source) = (Some(batch), Some(source));
        let allow_flag = "--allow-private";
        let args = DestinationArgs { to, secret_file, batch, allow_private, source, allow_flag };
        let destination = args.open(&context.database, context.shop.currency())?;
        let stop = CancellationToken::default();
        let on_signal = stop.clone();
        interrupt::watch_and(move || on_signal.cancel())?;

        let relay = context.shop.relay(&*destination).on_error(|error| context.output.warn(error));
        let relayed = if once { relay.run_once(&stop) } else { relay.run(&stop) };
        let relayed = match relayed {
            // A broken pipe is success: the reader has read enough.
            Err(RelayError::Gone { .. }) if is_stdout => return Ok(ExitKind::Success),
            relayed => relayed.map_err(error)?,
        };
        let outbox = context.shop.outbox()?;
        let report = RelayReport { relayed, waiting: outbox.waiting };
        if is_stdout {
            context.output.note(summary(&report));
        } else {
            context.output.print(&report, summary)?;
        }
        if once && (outbox.failed > 0 || outbox.parked > 0) {
            return Err(undelivered(&outbox));
        }
        // Without --once a signal is the normal way to end.
        Ok(if once && stop.is_cancelled() { ExitKind::Interrupted } else { ExitKind::Success })
    }
}

fn error(error: RelayError) -> CliError {
    match error {
        RelayError::Store(error) => error.into(),
        gone @ RelayError::Gone { .. } => CliError::storage(gone.to_string()),
    }
}

/// The result: events processed by this run, and events that still wait.
#[derive(Serialize)]
struct RelayReport {
    #[serde(flatten)]
    relayed: RelayStats,
    waiting: u64,
}

fn summary(report: &RelayReport) -> String {
    let RelayReport { relayed: RelayStats { delivered, failed, parked, .. }, waiting } = report;
    format!(
        "delivered {delivered}, failed attempts {failed}, parked {parked}, still waiting {waiting}"
    )
}

/// The error of a `--once` run that leaves failed events behind.
fn undelivered(outbox: &Outbox) -> CliError {
    let Outbox { waiting, parked, .. } = *outbox;
    let mut parts = Vec::new();
    if outbox.failed > 0 {
        parts.push(format!("{waiting} still wait (run this again later, or without --once)"));
    }
    if parked > 0 {
        parts.push(format!("{parked} are parked (`commerce events retry` sends them again)"));
    }
    let sentence = format!(
        "some events are not delivered: {}; `commerce events list` shows each error",
        parts.join(", ")
    );
    CliError::storage(sentence).with_field("waiting", waiting).with_field("parked", parked)
}
