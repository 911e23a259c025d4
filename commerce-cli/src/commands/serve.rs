//! `commerce serve`: the HTTP server, with the charge reconciler and the event relay.

use crate::database::{Database, OpenMode};
use crate::error::CliError;
use crate::exit::ExitKind;
use crate::gateway::Gateway;
use crate::output::Output;
use base_url::BaseUrl;
use commerce_core::{BackgroundJob, Shop, Store};
use commerce_http::transport::{Listen, Running, Server};
use commerce_http::{Api, Log, Service, TrustedProxy};
use config::{Config, ConfigArgs};
use demo::Demo;
use log_writer::LogWriter;
use serde::Serialize;
use shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;

mod base_url;
mod config;
mod demo;
mod jobs;
mod log_writer;
mod shutdown;

/// The timeout of a call that waits for its commit. After it the client receives `busy`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The warning of a server that cannot distinguish the clients of its proxy.
const ONE_CLIENT: &str = "clients of the Unix socket count as one, and one that floods the logins keeps the others out: add \
     --trusted-proxy unix if the proxy sets X-Forwarded-For";

/// The warning of a server on which any customer can charge a balance without paying.
const SIMULATED: &str = "the payment gateway is simulated: charges succeed and no real money is taken. Use \
                         --gateway stripe to collect money, or --gateway none so that only clerks and admins may charge";

/// The warning of a server that cannot verify Stripe's webhook events.
const NO_WEBHOOK_SECRET: &str = "Stripe's webhook events are rejected: name the file of their signing secret \
                                 with --stripe-webhook-secret-file";

#[derive(clap::Args, Debug)]
pub(crate) struct ServeCommand {
    #[command(flatten)]
    config: ConfigArgs,
    /// Adds sample products, and prints the token of a customer and calls to try.
    #[arg(long)]
    demo: bool,
}

impl ServeCommand {
    pub(crate) fn run(self, database: &Database, output: Output) -> Result<ExitKind, CliError> {
        let config = self.config.resolve()?;
        if self.demo && config.gateway != Gateway::Simulated {
            return Err(CliError::usage(
                "the calls of --demo charge with the simulated gateway: omit --gateway",
            ));
        }
        RunningServer::start(config, self.demo, database, output)?.wait()
    }
}

/// A server that accepts requests, and its background threads.
struct RunningServer {
    http: Running,
    relay: Option<BackgroundJob>,
    reconciler: Option<BackgroundJob>,
    log: LogWriter,
    store: Arc<dyn Store>,
    shutdown: Shutdown,
    grace: Duration,
    output: Output,
    /// The error of an announcement that could not be written; the server then shuts down.
    announced: Result<(), CliError>,
}

impl RunningServer {
    /// Opens the store, binds the address, starts all threads, and announces the address last: a client that
    /// reads it finds a server that answers.
    fn start(
        config: Config,
        is_demo: bool,
        database: &Database,
        output: Output,
    ) -> Result<Self, CliError> {
        let Config { listen, transport, gateway, .. } = config;
        let (grace, tls) = (transport.grace, transport.tls.clone());
        let mut builder = Shop::builder().timeout(TIMEOUT).hold_seconds(config.hold_seconds);
        if let Some(gateway) = config.gateway_args.open(gateway)? {
            builder = builder.gateway(gateway);
        }
        let store = database.open(OpenMode::Create)?;
        let shop = builder.open(Arc::clone(&store));
        let destination =
            config.events.map(|args| args.open(database, shop.currency())).transpose()?;

        let server = Server::bind(&listen, transport)
            .map_err(|error| CliError::storage(format!("cannot listen at {listen}: {error}")))?;
        let shutdown = Shutdown::on_signals(tls, output)?;
        let base = BaseUrl::of(&server);

        shop.prepare()?;
        let demo = is_demo.then(|| demo::prepare(&shop, &base)).transpose()?;
        let log = LogWriter::start()?;
        let api = Api::new(shop, Log::new(config.log, log.sink())).map_err(CliError::storage)?;
        let is_one_client = matches!(listen, Listen::Unix(_))
            && !config.trusted_proxies.contains(&TrustedProxy::Unix);
        let api = api.with_origins(config.origins).with_trusted_proxies(config.trusted_proxies);
        let api = Arc::new(api);
        let reconciler = jobs::start_reconciler(&api)?;
        let relay = destination.map(|to| jobs::start_relay(&api, to, &shutdown.relay));
        let relay = relay.transpose()?;
        let service: Arc<dyn Service> = api;
        let http = server
            .start(service)
            .map_err(|error| CliError::storage(format!("cannot serve at {listen}: {error}")))?;

        let warnings = [
            is_one_client.then_some(ONE_CLIENT),
            match gateway {
                Gateway::Simulated => Some(SIMULATED),
                Gateway::Stripe if !config.gateway_args.has_webhook_secret() => {
                    Some(NO_WEBHOOK_SECRET)
                }
                Gateway::Stripe | Gateway::None => None,
            },
        ];
        let (database, address) = (database.to_string(), base.address().to_owned());
        let announcement = Announcement { database, address, demo };
        let announced = announcement.print(&base.url("/docs"), &warnings, output);
        if announced.is_err() {
            shutdown.server.cancel();
        }
        Ok(Self { http, relay, reconciler, log, store, shutdown, grace, output, announced })
    }

    /// Waits for a signal, and shuts down gracefully: requests first, then the event relay and the charge
    /// reconciler, all within the shutdown timeout.
    fn wait(self) -> Result<ExitKind, CliError> {
        self.http.watch(&self.shutdown.server);
        for job in self.relay.into_iter().chain(self.reconciler) {
            job.stop(self.shutdown.remaining(self.grace));
        }
        // A thread that hangs may keep the store open, and its write-ahead log would stay behind.
        if let Err(error) = self.store.flush() {
            self.output.warn(error);
        }
        self.log.drain();
        self.announced?;
        Ok(ExitKind::Success)
    }
}

/// The JSON document that is printed once the server accepts requests.
#[derive(Serialize)]
struct Announcement {
    database: String,
    /// The address as `--listen` takes it, with the actual port.
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    demo: Option<Demo>,
}

impl Announcement {
    fn print(&self, docs: &str, warnings: &[Option<&str>], output: Output) -> Result<(), CliError> {
        let Self { database, address, demo } = self;
        output.note(format_args!("serving {database} at {address}: see {docs}"));
        for warning in warnings.iter().flatten() {
            output.warn(warning);
        }
        if let Some(demo) = demo {
            output.note(&demo.text);
        }
        output.print_json_only(self)
    }
}
