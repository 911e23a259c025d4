//! `commerce serve`: the HTTP server.

use crate::args::ExitKind;
use crate::database::{Database, OpenMode};
use crate::error::CliError;
use crate::gateway::Gateway;
use crate::interrupt;
use crate::output::Output;
use charge_reconciler::ChargeReconciler;
use commerce_core::limits::{HOLD_SECONDS, MAX_HOLD_SECONDS};
use commerce_core::{CancellationToken, Shop};
use commerce_http::transport::{Listen, Server, Settings, Stop};
use commerce_http::{Api, Log, Service};
use demo::Demo;
use event_relay::EventRelayThread;
use log_writer::LogWriter;
use options::Options;
use serde::Serialize;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

mod charge_reconciler;
mod demo;
mod event_relay;
mod log_writer;
mod options;

/// How long a call waits for its turn before its client is answered `busy`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is said where anybody may put money onto a balance that nobody pays for.
const SIMULATED: &str = "the payment gateway is simulated: charges succeed and no real money is taken. \
                         --gateway stripe takes it, --gateway none lets only admins charge";

/// What is said where Stripe's notices cannot be checked.
const NO_NOTICES: &str =
    "Stripe's notices are refused: --stripe-webhook-secret-file names what they are signed with";

/// Serves the shop over HTTP, until SIGTERM or Ctrl-C.
///
/// Each setting may also stand in the environment, or in the file of --config, as `name = "value"` lines
/// of TOML named after the flags; a flag goes before the environment, and that before the file.
///
/// It listens on this machine only unless told otherwise. An open port wants a proxy in front:
/// `docs/deployment.md` has a configuration of nginx.
#[derive(clap::Args, Debug)]
pub(crate) struct Serve {
    #[command(flatten)]
    options: Options,
    /// Puts some products into the store, and prints a customer's token and calls to try.
    #[arg(long)]
    demo: bool,
}

impl Serve {
    pub(crate) fn run(self, database: &Database, output: Output) -> Result<ExitKind, CliError> {
        let options = self.options.resolved()?;
        let gateway = options.gateway.gateway.unwrap_or(Gateway::Simulated);
        if self.demo && gateway != Gateway::Simulated {
            return Err(CliError::usage(
                "the calls of --demo charge with the simulated gateway: leave the other one out",
            ));
        }
        let hold = options.hold.unwrap_or(HOLD_SECONDS).min(MAX_HOLD_SECONDS);
        let mut builder = Shop::builder().timeout(TIMEOUT).hold_seconds(hold);
        if let Some(gateway) = options.gateway.open(gateway)? {
            builder = builder.gateway(gateway);
        }
        let store = database.open(OpenMode::Creating)?;
        let shop = builder.open(Arc::clone(&store));
        let told = options.events.named();
        let told = told.map(|named| named.open(database, shop.currency())).transpose()?;

        let grace = options.grace.map_or(Settings::default().grace, Duration::from_secs);
        let listen = options.listen.unwrap_or(Listen::Tcp(([127, 0, 0, 1], 8080).into()));
        let settings = Settings { grace, ..Settings::default() };
        let server = Server::bind(&listen, settings)
            .map_err(|error| CliError::storage(format!("cannot listen at {listen}: {error}")))?;
        let (end, telling_ends, asked) =
            (Stop::new(), CancellationToken::default(), Arc::new(OnceLock::new()));
        let (ask, ask_relay, ask_at) = (end.clone(), telling_ends.clone(), Arc::clone(&asked));
        // A second one ends at once what the first one asked to finish.
        ctrlc::set_handler(move || {
            if ask.is_cancelled() {
                std::process::exit(i32::from(interrupt::EXIT_STATUS));
            }
            ask_at.get_or_init(Instant::now);
            ask_relay.cancel();
            ask.cancel();
        })
        .map_err(interrupt::unwatched)?;

        let base = BaseUrl::of(&server);
        let can_shut = server.can_shut();
        shop.prepare()?;
        let demo = self.demo.then(|| demo::open(&shop, &base)).transpose()?;
        let lines = LogWriter::start()?;
        let log = Log::new(options.log.unwrap_or_default().into(), lines.sink());
        let api =
            Arc::new(Api::new(shop, log).map_err(CliError::storage)?.with_origins(options.origins));
        let settling = ChargeReconciler::start(&api)?;
        let telling =
            told.map(|to| EventRelayThread::start(&api, to, &telling_ends)).transpose()?;
        // Everything a server needs is had before its address is printed.
        let service: Arc<dyn Service> = Arc::<Api>::clone(&api);
        let running = server
            .start(service)
            .map_err(|error| CliError::storage(format!("cannot serve at {listen}: {error}")))?;
        output.note(format_args!("serving {database} at {}: see {}", base.0, base.url("/docs")));
        if !can_shut {
            output.warn("this system does not let slow clients be cut off: put a proxy in front");
        }
        match gateway {
            Gateway::Simulated => output.warn(SIMULATED),
            Gateway::Stripe if !options.gateway.has_webhook_secret() => output.warn(NO_NOTICES),
            Gateway::Stripe | Gateway::None => {}
        }
        if let Some(demo) = &demo {
            output.note(&demo.lines);
        }
        let announced = output.print_json_only(&Serving {
            database: database.to_string(),
            address: base.0.clone(),
            demo,
        });
        if announced.is_err() {
            end.cancel();
        }
        let ended = running.watch(&end);
        if let Some(telling) = telling {
            telling.end(grace.saturating_sub(asked.get().map_or(Duration::ZERO, Instant::elapsed)));
        }
        settling.end(grace.saturating_sub(asked.get().map_or(Duration::ZERO, Instant::elapsed)));
        // A thread that hangs may keep the store open, and its log would be left behind.
        if let Err(error) = store.flush() {
            output.warn(error);
        }
        lines.end();
        announced?;
        ended.map_err(|error| CliError::storage(format!("serving ended: {error}")))?;
        Ok(ExitKind::Success)
    }
}

/// What a program is told once calls are taken.
#[derive(Serialize)]
struct Serving {
    database: String,
    /// As `--listen` takes it, with the real port.
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    demo: Option<Demo>,
}

/// Where calls go, as a client names it.
struct BaseUrl(String);

impl BaseUrl {
    fn of(server: &Server) -> Self {
        Self(server.address())
    }

    /// The arguments that curl wants.
    fn url(&self, path: &str) -> String {
        match self.0.strip_prefix("unix:") {
            Some(socket) => format!("--unix-socket {socket} http://localhost{path}"),
            None => format!("http://{}{path}", self.0),
        }
    }
}
