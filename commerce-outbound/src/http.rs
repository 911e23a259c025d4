//! The HTTP client for destinations and gateways: every wait has a timeout, redirects are not followed, and only the
//! beginning of a response is read.

use crate::address::CheckedResolver;
use crate::error::OutboundError;
use rustls::crypto::ring;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use ureq::http::{HeaderMap, HeaderValue, Request, Uri, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Error, Timeout};

/// The longest `Retry-After`: a day. A server that asks for a longer pause is called once a day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest idle time of a connection: shorter than the 5 s after which common servers close theirs, so that no
/// request is sent on a connection that is being closed.
const KEEP_IDLE: Duration = Duration::from_secs(4);

/// The bytes of one write. The client checks the timeout before each one.
const WRITE_BYTES: usize = 8 * 1024;

/// The characters of a redirect target that are logged.
const MAX_LOCATION: usize = 150;

/// The timeouts and sizes of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The timeout of connecting, TLS included.
    pub(crate) connect: Duration,
    /// The timeout of the whole request, from the lookup of the host to the last byte.
    pub(crate) whole: Duration,
    /// The timeout of one write. The client may wait for it up to three times: after a partial write it starts again
    /// with the rest.
    pub(crate) write: Duration,
    /// The timeout of the body of a response, after its head.
    pub(crate) body: Duration,
    /// The bytes of the body that are read.
    pub(crate) body_bytes: u64,
    /// The idle connections that are kept.
    pub(crate) connections: usize,
}

/// A response.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    /// The target of a redirect, fit for a log.
    pub(crate) location: Option<String>,
    /// The beginning of the body, as far as it arrived.
    pub(crate) body: Vec<u8>,
}

/// A client for one server.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    body_bytes: u64,
}

impl Client {
    /// Creates a client for the server of a URL. A proxy of the environment is not used: the connection would go to the
    /// proxy, and the check of the address would have no effect.
    pub(crate) fn new(
        uri: &Uri,
        allow_private: bool,
        limits: Limits,
    ) -> Result<Self, OutboundError> {
        let roots = if uri.scheme_str() == Some("https") { native_roots()? } else { Vec::new() };
        Self::with_roots(roots, uri, allow_private, limits)
    }

    /// Creates a client that trusts exactly these roots.
    pub(crate) fn with_roots(
        roots: Vec<Certificate<'static>>,
        uri: &Uri,
        allow_private: bool,
        limits: Limits,
    ) -> Result<Self, OutboundError> {
        let resolver = CheckedResolver::for_host(uri, allow_private)?;
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
            .output_buffer_size(WRITE_BYTES)
            .timeout_per_write(Some(limits.write))
            .max_response_header_size(16 * 1024)
            .max_idle_connections(limits.connections)
            .max_idle_connections_per_host(limits.connections)
            .max_idle_age(KEEP_IDLE)
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
        Ok(Self { agent, body_bytes: limits.body_bytes })
    }

    /// Sends the request and returns the response, or the reason why there is none.
    pub(crate) fn send(&self, request: Request<&[u8]>) -> Result<HttpResponse, String> {
        let mut response = self.agent.run(request).map_err(|error| describe(&error))?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), now());
        let location = response.headers().get(header::LOCATION).map(HeaderValue::as_bytes);
        let location = location.map(loggable).filter(|location| !location.is_empty());
        let mut body = Vec::new();
        // The status decides; a caller that parses the body detects a truncated one.
        let _ = response.body_mut().as_reader().take(self.body_bytes).read_to_end(&mut body);
        Ok(HttpResponse { status, retry_after, location, body })
    }
}

/// Parses a URL. A URL with a name and password is refused, since they would appear in logs.
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

/// Returns foreign text fit for a log: one line of at most 200 characters, without control characters.
pub(crate) fn plain(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let words: Vec<&str> =
        text.split(|char: char| char.is_control() || char.is_whitespace()).collect();
    let words = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    words.chars().take(200).collect()
}

/// Returns a foreign URL fit for a log: without name, password and query, which may be secret.
fn loggable(text: &[u8]) -> String {
    let text = plain(text);
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = text.split_once("//").unwrap_or(("", text));
    let host = rest.split('/').next().unwrap_or_default();
    let without_user =
        host.rfind('@').and_then(|at| rest.get(at.saturating_add(1)..)).unwrap_or(rest);
    let slashes = if text.contains("//") { "//" } else { "" };
    format!("{scheme}{slashes}{without_user}").chars().take(MAX_LOCATION).collect()
}

/// Returns the root certificates of this machine, as the store on PostgreSQL uses them.
fn native_roots() -> Result<Vec<Certificate<'static>>, OutboundError> {
    let roots = rustls_native_certs::load_native_certs().certs;
    if roots.is_empty() {
        return Err(OutboundError::Tls("this machine has no root certificates".to_owned()));
    }
    Ok(roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect())
}

fn describe(error: &Error) -> String {
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

/// Returns the message of a system error as part of a sentence: in lower case and without its number.
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

/// Parses `Retry-After`, in seconds or as a date.
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
