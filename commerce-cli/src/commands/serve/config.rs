//! The settings of `serve`: a flag overrides the environment, which overrides the config file.

use crate::destination::DestinationArgs;
use crate::error::CliError;
use crate::gateway::{Gateway, GatewayArgs};
use crate::secret;
use commerce_core::limits::{HOLD_SECONDS, MAX_HOLD_SECONDS};
use commerce_http::transport::{Backend, Listen, Settings, Tls};
use commerce_http::{LogFormat, Origin, TrustedProxy};
use commerce_outbound::MAX_EVENTS_PER_REQUEST;
use serde::Deserialize;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

const HEADING: &str = "Settings";

/// The default address.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The allowed shutdown timeouts in seconds, up to an hour.
const GRACE: RangeInclusive<u64> = 0..=3_600;

/// The allowed times that an unpaid order holds stock, in seconds.
const HOLD: RangeInclusive<i64> = 1..=MAX_HOLD_SECONDS;

/// The events that a request may carry.
const EVENTS_BATCH: RangeInclusive<usize> = 1..=MAX_EVENTS_PER_REQUEST;

// The flags and environment variables; each may be absent.
#[derive(clap::Args, Debug)]
pub(super) struct ConfigArgs {
    /// Address to listen on: IP:PORT, a port of this machine, or unix:PATH (default: 127.0.0.1:8080).
    #[arg(long, value_name = "ADDR", env = "COMMERCE_LISTEN", help_heading = HEADING)]
    listen: Option<Listen>,
    #[command(flatten)]
    transport: TransportArgs,
    /// Format of the log on stderr, one line a request (default: logfmt).
    #[arg(long, value_name = "FORMAT", env = "COMMERCE_LOG", help_heading = HEADING)]
    log: Option<LogFormatArg>,
    /// Origin whose pages may call from a browser (CORS), like `https://shop.example`; `*` allows all. Repeatable; in
    /// the environment separated by commas (default: none).
    #[arg(long = "cors-origin", value_name = "ORIGIN", env = "COMMERCE_CORS_ORIGIN")]
    #[arg(help_heading = HEADING, value_delimiter = ',')]
    origins: Vec<Origin>,
    /// Proxy that is believed about the addresses of clients (`Forwarded`, `X-Forwarded-For`): an address, a network like
    /// 10.0.0.0/8, or unix for the clients of a Unix socket. Repeatable; in the environment separated by commas (default:
    /// none).
    #[arg(long = "trusted-proxy", value_name = "PROXY", env = "COMMERCE_TRUSTED_PROXY")]
    #[arg(help_heading = HEADING, value_delimiter = ',')]
    trusted_proxies: Vec<TrustedProxy>,
    /// Timeout of the graceful shutdown after SIGTERM, in which running requests may finish (default: 10).
    #[arg(long, value_name = "SECONDS", env = "COMMERCE_GRACE", help_heading = HEADING)]
    #[arg(value_parser = clap::value_parser!(u64).range(GRACE))]
    grace: Option<u64>,
    /// Time that an unpaid order holds its stock (default: 900).
    #[arg(long, value_name = "SECONDS", env = "COMMERCE_HOLD", help_heading = HEADING)]
    #[arg(value_parser = clap::value_parser!(i64).range(HOLD))]
    hold: Option<i64>,
    #[command(flatten)]
    gateway: GatewayArgs,
    #[command(flatten)]
    events: EventArgs,
    /// TOML file with settings.
    #[arg(long, value_name = "FILE", env = "COMMERCE_CONFIG", help_heading = HEADING)]
    config: Option<PathBuf>,
}

// The HTTP server.
#[derive(clap::Args, Debug)]
struct TransportArgs {
    /// HTTP library: tiny, for loopback addresses only, or hyper (default: tiny on loopback addresses without TLS, else
    /// hyper).
    #[arg(long, value_name = "NAME", env = "COMMERCE_SERVER", help_heading = HEADING)]
    server: Option<ServerArg>,
    /// PEM file with the certificate chain of an HTTPS port, the server's own first. SIGHUP reloads both files.
    #[arg(long, value_name = "FILE", env = "COMMERCE_TLS_CERT", help_heading = HEADING)]
    tls_cert: Option<PathBuf>,
    /// PEM file with the private key of the certificate.
    #[arg(long, value_name = "FILE", env = "COMMERCE_TLS_KEY", help_heading = HEADING)]
    tls_key: Option<PathBuf>,
}

/// The HTTP libraries.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum ServerArg {
    Hyper,
    Tiny,
}

impl TransportArgs {
    /// Fills absent settings from `other`.
    fn or(self, other: Self) -> Self {
        Self {
            server: self.server.or(other.server),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
        }
    }

    /// The settings of the server, if they fit each other and the address.
    fn resolve(self, listen: &Listen, grace: Duration) -> Result<Settings, CliError> {
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(CliError::usage("--tls-cert needs --tls-key")),
            (None, Some(_)) => return Err(CliError::usage("--tls-key needs --tls-cert")),
        };
        let is_tiny = self.server == Some(ServerArg::Tiny);
        let conflict = match listen {
            _ if tls.is_some() && is_tiny => Some("--tls-cert needs --server hyper".to_owned()),
            Listen::Unix(_) if tls.is_some() => Some(
                "--tls-cert needs --listen with an IP address: a unix socket has no TLS".to_owned(),
            ),
            _ if is_tiny && !listen.is_loopback() => Some(format!(
                "--server tiny serves loopback addresses only, and --listen is {listen}"
            )),
            Listen::Tcp(_) | Listen::Unix(_) => None,
        };
        if let Some(conflict) = conflict {
            return Err(CliError::usage(conflict));
        }
        let backend = self.server.map(|server| match server {
            ServerArg::Hyper => Backend::Hyper,
            ServerArg::Tiny => Backend::Tiny,
        });
        let tls = tls.map(|(certificate, key)| Tls::load(&certificate, &key)).transpose();
        let tls =
            tls.map_err(|error| CliError::usage(format!("--tls-cert and --tls-key: {error}")))?;
        Ok(Settings { backend, tls, grace, ..Settings::default() })
    }
}

// The destination of the event relay in the server.
#[derive(clap::Args, Debug)]
struct EventArgs {
    /// Delivers events like `commerce events relay`: https://..., http://..., `file:PATH` or - (default: no relay).
    #[arg(long = "events-to", value_name = "URL", env = "COMMERCE_EVENTS_TO")]
    #[arg(help_heading = HEADING, hide_env_values = true)]
    to: Option<String>,
    /// File with the secret that signs event requests, or several during rotation, one per line and the newest first.
    /// It is reloaded when it changes. Alternative: the variable `COMMERCE_EVENTS_SECRET`.
    #[arg(long = "events-secret-file", value_name = "FILE", env = "COMMERCE_EVENTS_SECRET_FILE")]
    #[arg(help_heading = HEADING, hide_env_values = true)]
    secret_file: Option<PathBuf>,
    /// Maximum number of events in a request, 1 to 1000. More than 1 sends JSON arrays (default: 1).
    #[arg(long = "events-batch", value_name = "EVENTS", env = "COMMERCE_EVENTS_BATCH")]
    #[arg(help_heading = HEADING)]
    batch: Option<usize>,
    /// Allows an event destination on this machine or in a private network.
    #[arg(long = "events-allow-private", env = "COMMERCE_EVENTS_ALLOW_PRIVATE")]
    #[arg(help_heading = HEADING)]
    allow_private: bool,
    /// The `source` attribute of the events (default: /commerce).
    #[arg(long = "events-source", value_name = "URI", env = "COMMERCE_EVENTS_SOURCE")]
    #[arg(help_heading = HEADING)]
    source: Option<String>,
}

impl EventArgs {
    /// The destination; `None` if no relay is configured.
    fn destination(self) -> Option<DestinationArgs> {
        Some(DestinationArgs {
            to: self.to?,
            secret_file: self.secret_file,
            batch: self.batch,
            allow_private: self.allow_private,
            source: self.source,
            allow_flag: "--events-allow-private",
        })
    }

    /// Fills absent options from `other`.
    fn or(self, other: Self) -> Self {
        Self {
            to: self.to.or(other.to),
            secret_file: self.secret_file.or(other.secret_file),
            batch: self.batch.or(other.batch),
            allow_private: self.allow_private || other.allow_private,
            source: self.source.or(other.source),
        }
    }
}

/// The log formats.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LogFormatArg {
    #[default]
    Logfmt,
    Json,
}

impl From<LogFormatArg> for LogFormat {
    fn from(format: LogFormatArg) -> Self {
        match format {
            LogFormatArg::Logfmt => Self::Logfmt,
            LogFormatArg::Json => Self::Json,
        }
    }
}

/// The settings of the config file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ConfigFile {
    listen: Option<String>,
    server: Option<ServerArg>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    log: Option<LogFormatArg>,
    grace: Option<u64>,
    hold: Option<i64>,
    #[serde(default)]
    cors_origin: Vec<String>,
    #[serde(default)]
    trusted_proxy: Vec<String>,
    gateway: Option<Gateway>,
    stripe_url: Option<String>,
    stripe_key_file: Option<PathBuf>,
    stripe_webhook_secret_file: Option<PathBuf>,
    events_to: Option<String>,
    events_secret_file: Option<PathBuf>,
    events_batch: Option<usize>,
    #[serde(default)]
    events_allow_private: bool,
    events_source: Option<String>,
}

/// The settings of a server, with defaults.
pub(super) struct Config {
    pub(super) listen: Listen,
    pub(super) transport: Settings,
    pub(super) log: LogFormat,
    pub(super) origins: Vec<Origin>,
    pub(super) trusted_proxies: Vec<TrustedProxy>,
    pub(super) hold_seconds: i64,
    pub(super) gateway: Gateway,
    pub(super) gateway_args: GatewayArgs,
    pub(super) events: Option<DestinationArgs>,
}

impl ConfigArgs {
    /// Adds the settings of the config file and the defaults.
    pub(super) fn resolve(self) -> Result<Config, CliError> {
        let args = match self.config.clone() {
            Some(path) => self.or_file(&path)?,
            None => self,
        };
        check_range("--events-batch", args.events.batch, &EVENTS_BATCH).map_err(CliError::usage)?;
        let hold_seconds = args.hold.unwrap_or(HOLD_SECONDS).min(MAX_HOLD_SECONDS);
        let listen = args.listen.unwrap_or(Listen::Tcp(LISTEN));
        let grace = args.grace.map_or(Settings::default().grace, Duration::from_secs);
        Ok(Config {
            transport: args.transport.resolve(&listen, grace)?,
            listen,
            log: args.log.unwrap_or_default().into(),
            origins: args.origins,
            trusted_proxies: args.trusted_proxies,
            hold_seconds,
            gateway: args.gateway.gateway.unwrap_or(Gateway::Simulated),
            gateway_args: args.gateway,
            events: args.events.destination(),
        })
    }

    /// Fills absent settings from the config file.
    fn or_file(mut self, path: &Path) -> Result<Self, CliError> {
        let invalid = |message: String| CliError::usage(format!("{}: {message}", path.display()));
        let file = read(path).map_err(invalid)?;
        let listen = file.listen.map(|text| text.parse::<Listen>()).transpose();
        let listen = listen.map_err(|error| invalid(error.to_string()))?;
        let origins = parse_all("cors-origin", &file.cors_origin).map_err(invalid)?;
        let proxies = parse_all("trusted-proxy", &file.trusted_proxy).map_err(invalid)?;
        check_range("grace", file.grace, &GRACE).map_err(invalid)?;
        check_range("hold", file.hold, &HOLD).map_err(invalid)?;
        check_range("events-batch", file.events_batch, &EVENTS_BATCH).map_err(invalid)?;
        self.listen = self.listen.or(listen);
        if self.origins.is_empty() {
            self.origins = origins;
        }
        if self.trusted_proxies.is_empty() {
            self.trusted_proxies = proxies;
        }
        self.transport = self.transport.or(TransportArgs {
            server: file.server,
            tls_cert: file.tls_cert,
            tls_key: file.tls_key,
        });
        self.log = self.log.or(file.log);
        self.grace = self.grace.or(file.grace);
        self.hold = self.hold.or(file.hold);
        self.gateway = self.gateway.or(GatewayArgs {
            gateway: file.gateway,
            stripe_url: file.stripe_url,
            stripe_key_file: file.stripe_key_file,
            stripe_webhook_secret_file: file.stripe_webhook_secret_file,
        });
        self.events = self.events.or(EventArgs {
            to: file.events_to,
            secret_file: file.events_secret_file,
            batch: file.events_batch,
            allow_private: file.events_allow_private,
            source: file.events_source,
        });
        Ok(self)
    }
}

/// Parses a list from the config file; clap parses those of flags.
fn parse_all<T: FromStr<Err: Display>>(name: &str, texts: &[String]) -> Result<Vec<T>, String> {
    let values = texts.iter().map(|text| text.parse());
    values.collect::<Result<_, _>>().map_err(|error| format!("{name}: {error}"))
}

/// Checks a number from the config file; clap checks those of flags.
fn check_range<N: PartialOrd + Display>(
    name: &str,
    value: Option<N>,
    range: &RangeInclusive<N>,
) -> Result<(), String> {
    match value {
        Some(value) if !range.contains(&value) => {
            Err(format!("{name} is {value} and must be from {} to {}", range.start(), range.end()))
        }
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<ConfigFile, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    toml::from_str(&text).map_err(|error| describe(&error, &text))
}

/// The line and the cause of a syntax error, in one line. The content of the line is omitted: it may be a
/// secret.
fn describe(error: &toml::de::Error, text: &str) -> String {
    let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    let message = if secret::looks_like_secret(&message) { "invalid value" } else { &message };
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return message.to_owned();
    };
    let line = before.matches('\n').count();
    let name = text.lines().nth(line).and_then(|line| Some(line.split_once('=')?.0.trim()));
    let is_name = |name: &&str| {
        name.len() < 30 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    let name = name.filter(is_name).map(|name| format!(", {name}")).unwrap_or_default();
    format!("line {}{name}: {message}", line.saturating_add(1))
}
