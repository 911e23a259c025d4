//! `commerce events relay`: tells events to a destination, and how a destination is named here and in
//! `serve`.

use crate::args::ExitKind;
use crate::context::CommandContext;
use crate::database::Database;
use crate::error::CliError;
use crate::{interrupt, output, secret};
use commerce_core::{CancellationToken, Currency, Destination, Outbox, RelayError, RelayStats};
use commerce_outbound::{DestinationOptions, OutboundError};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Where the secret stands when no file is named.
const SECRET: &str = "COMMERCE_EVENTS_SECRET";

/// Tells events to a destination as they happen, until Ctrl-C.
///
/// Each event arrives at least once, with the same id every time, and those of an order in their order. Any
/// number of relays may work on one store. `serve` has one in it: see its --events-to.
#[derive(clap::Args, Debug)]
pub(crate) struct Relay {
    /// Where to: https://..., http://..., `file:PATH` for lines of JSON, or - for standard output.
    #[arg(long, value_name = "URL")]
    to: String,
    /// A file with the secret that requests are signed with after Standard Webhooks, whsec_..., or with several
    /// while it is rotated, one a line and the newest first. It is read again when it changes. - is the first
    /// line of standard input. Without it the secret is that of `COMMERCE_EVENTS_SECRET`.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The most events of one request; more than 1 sends arrays. 1 unless told otherwise.
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Lets the destination be this machine, or in a private network.
    #[arg(long)]
    allow_private: bool,
    /// What events say they come from; /commerce unless told otherwise.
    #[arg(long, value_name = "URI")]
    source: Option<String>,
    /// Delivers what is due now, and ends.
    #[arg(long)]
    once: bool,
}

/// A destination as it was named.
#[derive(Debug, Default)]
pub(crate) struct DestinationArgs {
    pub(crate) to: String,
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) batch: Option<usize>,
    pub(crate) allow_private: bool,
    pub(crate) source: Option<String>,
    /// The flag that allows private addresses, as it is called here.
    pub(crate) allowing: &'static str,
}

impl DestinationArgs {
    /// The destination, which is no part of the store.
    pub(crate) fn open(
        self,
        database: &Database,
        currency: Currency,
    ) -> Result<Box<dyn Destination>, CliError> {
        if self.to.strip_prefix("file:").is_some_and(|path| database.holds(Path::new(path))) {
            let told = "that file is a part of the store itself: name another one for events";
            return Err(CliError::usage(told));
        }
        if self.to == "-" && output::is_discarded() {
            let told = "standard output is closed or /dev/null, and events written there would be lost: \
                        send it to a program or a file, or name another destination";
            return Err(CliError::storage(told));
        }
        let usual = DestinationOptions::default();
        let options = DestinationOptions {
            secret: secret::from(self.secret_file.as_deref(), SECRET)?,
            batch: self.batch.unwrap_or(usual.batch),
            allow_private: self.allow_private,
            source: self.source.unwrap_or(usual.source),
            currency: Some(currency),
        };
        let allowing = self.allowing;
        let failed = |error: OutboundError| {
            let is_inside = matches!(error, OutboundError::PrivateAddress);
            let flag = if is_inside { format!(" ({allowing})") } else { String::new() };
            CliError::usage(format!("{error}{flag}"))
        };
        commerce_outbound::destination(&self.to, options).map_err(failed)
    }
}

impl Relay {
    pub(crate) fn run(self, context: &CommandContext) -> Result<ExitKind, CliError> {
        let Self { to, secret_file, batch, allow_private, source, once } = self;
        let writes_events_itself = to == "-";
        let allowing = "--allow-private";
        let named = DestinationArgs { to, secret_file, batch, allow_private, source, allowing };
        let destination = named.open(&context.database, context.shop.currency())?;
        let stop = CancellationToken::default();
        let ask = stop.clone();
        interrupt::watch_and(move || ask.cancel())?;

        let relay = context.shop.relay(&*destination).on_error(|warn| context.output.warn(warn));
        let relayed = if once { relay.run_once(&stop) } else { relay.run(&stop) };
        let relayed = match relayed {
            // The reader of the pipe has seen enough.
            Err(RelayError::Gone { .. }) if writes_events_itself => return Ok(ExitKind::Success),
            relayed => relayed.map_err(error)?,
        };
        let outbox = context.shop.outbox()?;
        let report = Report { relayed, waiting: outbox.waiting };
        if writes_events_itself {
            context.output.note(summary(&report));
        } else {
            context.output.print(&report, summary)?;
        }
        if once && (outbox.failed > 0 || outbox.parked > 0) {
            return Err(undelivered(&outbox));
        }
        // Without --once, to be stopped is the way to end.
        Ok(if once && stop.is_cancelled() { ExitKind::Interrupted } else { ExitKind::Success })
    }
}

fn error(error: RelayError) -> CliError {
    match error {
        RelayError::Store(error) => error.into(),
        gone @ RelayError::Gone { .. } => CliError::storage(gone.to_string()),
    }
}

/// The answer: what this run has done, and what is left to do.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    relayed: RelayStats,
    waiting: u64,
}

fn summary(report: &Report) -> String {
    let Report { relayed: RelayStats { delivered, failed, parked }, waiting } = report;
    format!(
        "delivered {delivered}, failed tries {failed}, parked {parked}, still waiting {waiting}"
    )
}

/// The error of a run after which events that have failed are still there.
fn undelivered(outbox: &Outbox) -> CliError {
    let Outbox { waiting, parked, .. } = *outbox;
    let mut left = Vec::new();
    if outbox.failed > 0 {
        left.push(format!("{waiting} still wait (run this again later, or without --once)"));
    }
    if parked > 0 {
        left.push(format!("{parked} are parked (`commerce events retry` sends them again)"));
    }
    let sentence = format!(
        "events have not arrived: {}; `commerce events list` shows each error",
        left.join(", ")
    );
    CliError::storage(sentence).with("waiting", waiting).with("parked", parked)
}
