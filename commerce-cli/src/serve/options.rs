//! The settings of `serve`, from flags, the environment and a file.

use crate::error::CliError;
use crate::events::relay::DestinationArgs;
use crate::gateway::{Gateway, GatewayArgs};
use crate::secret;
use commerce_core::limits::MAX_HOLD_SECONDS;
use commerce_http::transport::Listen;
use commerce_http::{LogFormat, Origin};
use serde::Deserialize;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

const HEADING: &str = "Settings";

/// Up to an hour.
const GRACE: RangeInclusive<u64> = 0..=3_600;
const HOLD: RangeInclusive<i64> = 1..=MAX_HOLD_SECONDS;

/// Each setting as far as it was given.
#[derive(clap::Args, Debug)]
pub(super) struct Options {
    /// Where to listen: 127.0.0.1:8080 unless told otherwise, a port of this machine, or unix:PATH.
    #[arg(long, value_name = "ADDR", env = "COMMERCE_LISTEN", help_heading = HEADING)]
    pub(super) listen: Option<Listen>,
    /// How log lines are written, one a request, to stderr; logfmt unless told otherwise.
    #[arg(long, value_name = "FORMAT", env = "COMMERCE_LOG", help_heading = HEADING)]
    pub(super) log: Option<Format>,
    /// An origin whose pages may call from a browser, like `https://shop.example`; `*` for all of them. Repeatable; in the
    /// environment separated by commas. None unless told.
    #[arg(long = "cors-origin", value_name = "ORIGIN", env = "COMMERCE_CORS_ORIGIN")]
    #[arg(help_heading = HEADING, value_delimiter = ',')]
    pub(super) origins: Vec<Origin>,
    /// How many seconds running requests may take to finish after SIGTERM; 10 unless told otherwise.
    #[arg(long, value_name = "SECONDS", env = "COMMERCE_GRACE", help_heading = HEADING)]
    #[arg(value_parser = clap::value_parser!(u64).range(GRACE))]
    pub(super) grace: Option<u64>,
    /// How many seconds an unpaid order holds its stock; 900 unless told otherwise.
    #[arg(long, value_name = "SECONDS", env = "COMMERCE_HOLD", help_heading = HEADING)]
    #[arg(value_parser = clap::value_parser!(i64).range(HOLD))]
    pub(super) hold: Option<i64>,
    /// Who collects the money of charges; the simulated gateway unless told otherwise.
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
    #[command(flatten)]
    pub(super) events: EventArgs,
    /// A file with settings.
    #[arg(long, value_name = "FILE", env = "COMMERCE_CONFIG", help_heading = HEADING)]
    config: Option<PathBuf>,
}

/// Where events are told to while the server runs.
#[derive(clap::Args, Debug)]
pub(super) struct EventArgs {
    /// Tells events, as `commerce events relay` does: https://..., http://..., `file:PATH` or -.
    #[arg(long = "events-to", value_name = "URL", env = "COMMERCE_EVENTS_TO")]
    #[arg(help_heading = HEADING, hide_env_values = true)]
    to: Option<String>,
    /// A file with the secret that these requests are signed with, or with several while it is rotated, one a line
    /// and the newest first; it is read again when it changes. Without it, `COMMERCE_EVENTS_SECRET`.
    #[arg(long = "events-secret-file", value_name = "FILE", env = "COMMERCE_EVENTS_SECRET_FILE")]
    #[arg(help_heading = HEADING, hide_env_values = true)]
    secret_file: Option<PathBuf>,
    /// The most events of one request; more than 1 sends arrays. 1 unless told otherwise.
    #[arg(long = "events-batch", value_name = "N", env = "COMMERCE_EVENTS_BATCH")]
    #[arg(help_heading = HEADING)]
    batch: Option<usize>,
    /// Lets events be told to this machine, or into a private network.
    #[arg(long = "events-allow-private", env = "COMMERCE_EVENTS_ALLOW_PRIVATE")]
    #[arg(help_heading = HEADING)]
    allow_private: bool,
    /// What events say they come from; /commerce unless told otherwise.
    #[arg(long = "events-source", value_name = "URI", env = "COMMERCE_EVENTS_SOURCE")]
    #[arg(help_heading = HEADING)]
    source: Option<String>,
}

impl EventArgs {
    /// The destination, if there is one.
    pub(super) fn named(self) -> Option<DestinationArgs> {
        Some(DestinationArgs {
            to: self.to?,
            secret_file: self.secret_file,
            batch: self.batch,
            allow_private: self.allow_private,
            source: self.source,
            allowing: "--events-allow-private",
        })
    }

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

/// How log lines are written.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    #[default]
    Logfmt,
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Logfmt => Self::Logfmt,
            Format::Json => Self::Json,
        }
    }
}

/// What a file may say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct InFile {
    listen: Option<String>,
    log: Option<Format>,
    grace: Option<u64>,
    hold: Option<i64>,
    #[serde(default)]
    cors_origin: Vec<String>,
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

impl Options {
    /// With what the file adds.
    pub(super) fn resolved(mut self) -> Result<Self, CliError> {
        let Some(path) = &self.config else { return Ok(self) };
        let wrong = |said: String| CliError::usage(format!("{}: {said}", path.display()));
        let file = read(path).map_err(wrong)?;
        let listen = file.listen.map(|text| text.parse::<Listen>()).transpose();
        let listen = listen.map_err(|error| wrong(error.to_string()))?;
        let origins = file.cors_origin.iter().map(|text| text.parse::<Origin>());
        let origins = origins.collect::<Result<Vec<_>, _>>();
        let origins = origins.map_err(|error| wrong(format!("cors-origin: {error}")))?;
        inside("grace", file.grace, &GRACE).map_err(wrong)?;
        inside("hold", file.hold, &HOLD).map_err(wrong)?;
        self.listen = self.listen.or(listen);
        if self.origins.is_empty() {
            self.origins = origins;
        }
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

fn inside<N: PartialOrd + Display>(
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

fn read(path: &Path) -> Result<InFile, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    toml::from_str(&text).map_err(|error| told(&error, &text))
}

/// Where it is and what is wrong, in one line. What the line says is left out: it may be a secret.
fn told(error: &toml::de::Error, text: &str) -> String {
    let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    let message =
        if secret::looks_like_one(&message) { "that makes no sense there" } else { &message };
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
