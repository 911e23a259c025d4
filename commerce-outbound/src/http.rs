//! HTTP as outside parties are spoken to: every wait ends, nothing is followed, no more is read than is needed.

use crate::address::Resolve;
use crate::error::OutboundError;
use rustls::crypto::ring;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use ureq::http::{HeaderMap, HeaderValue, Request, Uri, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Error, Timeout};

/// The longest wait that a party may ask for: a day. Whoever wants to be left alone for longer is asked
/// again once a day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a connection is kept unused: shorter than the 5 s after which common servers close theirs, so
/// that none is used in the moment it is closed.
const KEEP_IDLE: Duration = Duration::from_secs(4);

/// How much is sent at a time, in bytes. Before each piece it is looked whether there is time left.
const PIECE: usize = 8 * 1024;

/// How much is shown of a place that a party names, in characters.
const MAX_PLACE: usize = 150;

/// What a kind of party is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long to connect may take, TLS and all.
    pub(crate) connect: Duration,
    /// How long the whole may take, from looking up the name to the last byte.
    pub(crate) whole: Duration,
    /// How long a piece of a request may take to be sent. The client waits for it up to three times: a
    /// system that could take part of a piece begins anew with the rest.
    pub(crate) write: Duration,
    /// How long the body of an answer may take, once its head is there.
    pub(crate) body: Duration,
    /// How much is read of it.
    pub(crate) body_bytes: u64,
    /// How many connections are kept.
    pub(crate) connections: usize,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    /// Where it says to ask instead, as it may stand in a log.
    pub(crate) location: Option<String>,
    /// Its beginning, as far as it came.
    pub(crate) body: Vec<u8>,
}

/// Speaks to one party.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    body_bytes: u64,
}

impl Client {
    /// For the party at that address. A proxy of the environment is not used: it would be who is connected
    /// to, whatever the address.
    pub(crate) fn new(
        uri: &Uri,
        allow_private: bool,
        limits: Limits,
    ) -> Result<Self, OutboundError> {
        let roots = if uri.scheme_str() == Some("https") { trusted()? } else { Vec::new() };
        Self::trusting(roots, uri, allow_private, limits)
    }

    /// For a party that has to prove itself to those.
    pub(crate) fn trusting(
        roots: Vec<Certificate<'static>>,
        uri: &Uri,
        allow_private: bool,
        limits: Limits,
    ) -> Result<Self, OutboundError> {
        let resolve = Resolve::for_host(uri, allow_private)?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .no_delay(true)
            .user_agent(concat!("commerce/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(limits.connect))
            .timeout_global(Some(limits.whole))
            .timeout_recv_body(Some(limits.body))
            .output_buffer_size(PIECE)
            .timeout_per_write(Some(limits.write))
            .max_response_header_size(16 * 1024)
            .max_idle_connections(limits.connections)
            .max_idle_connections_per_host(limits.connections)
            .max_idle_age(KEEP_IDLE)
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), resolve);
        Ok(Self { agent, body_bytes: limits.body_bytes })
    }

    /// Sends the request, and gives what was answered, or why there was no answer.
    pub(crate) fn send(&self, request: Request<&[u8]>) -> Result<HttpResponse, String> {
        let mut response = self.agent.run(request).map_err(|error| says(&error))?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), now());
        let location = response.headers().get(header::LOCATION).map(HeaderValue::as_bytes);
        let location = location.map(target).filter(|target| !target.is_empty());
        let mut body = Vec::new();
        // The head is the answer; a body that breaks off matters to whoever reads it.
        let _ = response.body_mut().as_reader().take(self.body_bytes).read_to_end(&mut body);
        Ok(HttpResponse { status, retry_after, location, body })
    }
}

/// An address that can be spoken to: without a name and password, which would end up in logs.
pub(crate) fn address(text: &str) -> Result<Uri, OutboundError> {
    let uri: Uri = text.parse().map_err(|_| OutboundError::Url("it is no URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(OutboundError::Url("it must begin with https:// or http://"));
    }
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return Err(OutboundError::Url("it must name a host"));
    };
    if authority.as_str().contains('@') {
        return Err(OutboundError::Url("it must hold no name and no password"));
    }
    let after = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    let port = after.strip_prefix(':').unwrap_or_default();
    if !port.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
        return Err(OutboundError::Url("its port is a number from 1 to 65535"));
    }
    Ok(uri)
}

/// Text of others as it may stand in a log: one line, without control characters, not long.
pub(crate) fn plain(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let words: Vec<&str> =
        text.split(|char: char| char.is_control() || char.is_whitespace()).collect();
    let words = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    words.chars().take(200).collect()
}

/// A place of others as it may stand in a log: without a name, a password and a query, which may be secret.
fn target(text: &[u8]) -> String {
    let text = plain(text);
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = text.split_once("//").unwrap_or(("", text));
    let host = rest.split('/').next().unwrap_or_default();
    let named = host.rfind('@').and_then(|at| rest.get(at.saturating_add(1)..)).unwrap_or(rest);
    let slashes = if text.contains("//") { "//" } else { "" };
    format!("{scheme}{slashes}{named}").chars().take(MAX_PLACE).collect()
}

/// Whom this machine trusts, as the store on PostgreSQL does.
fn trusted() -> Result<Vec<Certificate<'static>>, OutboundError> {
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return Err(OutboundError::Tls("this machine has no root certificates".to_owned()));
    }
    Ok(found.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
}

fn says(error: &Error) -> String {
    if let Error::Timeout(during) = error {
        let connecting = matches!(during, Timeout::Resolve | Timeout::Connect);
        let missing = if connecting { "no connection in time" } else { "no answer in time" };
        return missing.to_owned();
    }
    if let Error::Io(error) = error {
        return sentence(error);
    }
    plain(error.to_string().as_bytes())
}

/// What a system says of a failure, as people say it: without its number.
pub(crate) fn sentence(error: &io::Error) -> String {
    let text = plain(error.to_string().as_bytes());
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            format!("{}{}", first.to_lowercase(), chars.as_str())
        }
        _ => text.to_owned(),
    }
}

/// `Retry-After`, in either of its forms.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

fn now() -> SystemTime {
    use commerce_core::{Clock, SystemClock};
    let seconds = u64::try_from(SystemClock.now().unix()).unwrap_or_default();
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
