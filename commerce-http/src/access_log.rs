//! The access log: one line per request. Lines never contain tokens, keys, bodies or queries, and addresses of clients
//! only where an operator may have to block them.

use crate::client::ClientAddress;
use commerce_core::{Actor, CustomerId, Timestamp, TokenId};
use serde_json::json;
use std::fmt::Write;
use std::time::Duration;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `name=value` pairs.
    #[default]
    Logfmt,
    /// One JSON object per line.
    Json,
}

/// The receiver of log lines.
pub type LogSink = Box<dyn Fn(&str) + Send + Sync>;

/// The access log.
pub struct Log {
    format: LogFormat,
    sink: LogSink,
}

/// The log entry of a request.
pub(crate) struct Entry<'a> {
    pub(crate) at: Timestamp,
    pub(crate) request: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) status: u16,
    pub(crate) code: Option<&'a str>,
    /// The cause of a failure, which the client does not receive.
    pub(crate) detail: Option<&'a str>,
    pub(crate) duration: Duration,
    /// The length of a streamed body, as far as it was sent.
    pub(crate) bytes: Option<u64>,
    /// The caller: a customer or a token.
    pub(crate) actor: Option<Actor>,
    pub(crate) trace: Option<&'a str>,
    pub(crate) client: Option<ClientAddress>,
}

/// Returns true if the line of an answer with that status has the address of the client: answers to attempts without
/// a right, and to more or larger or slower requests than the service takes.
pub(crate) const fn names_client(status: u16) -> bool {
    matches!(status, 401 | 408 | 413 | 429 | 431 | 503)
}

impl Log {
    /// Creates a log. The sink receives lines without line ends.
    #[must_use]
    pub fn new(format: LogFormat, sink: LogSink) -> Self {
        Self { format, sink }
    }

    pub(crate) fn write(&self, entry: &Entry<'_>) {
        let line = match self.format {
            LogFormat::Logfmt => entry.logfmt(),
            LogFormat::Json => entry.json(),
        };
        (self.sink)(&line);
    }

    /// Logs an event that belongs to no request.
    pub(crate) fn note(&self, at: Timestamp, message: &str, detail: &str) {
        let line = match self.format {
            LogFormat::Logfmt => format!("ts={at} msg={message:?} detail={detail:?}"),
            LogFormat::Json => json!({ "ts": at, "msg": message, "detail": detail }).to_string(),
        };
        (self.sink)(&line);
    }
}

impl Entry<'_> {
    fn micros(&self) -> u64 {
        u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX)
    }

    fn customer(&self) -> Option<CustomerId> {
        self.actor.and_then(|actor| match actor {
            Actor::Customer(id) => Some(id),
            Actor::Cli | Actor::Token(_) => None,
        })
    }

    fn token(&self) -> Option<TokenId> {
        self.actor.and_then(|actor| match actor {
            Actor::Token(id) => Some(id),
            Actor::Cli | Actor::Customer(_) => None,
        })
    }

    fn logfmt(&self) -> String {
        let Self { at, request, method, path, operation, status, .. } = self;
        let mut line = format!(
            "ts={at} request={request} method={} path={} operation={operation} status={status} micros={}",
            quoted(method),
            quoted(path),
            self.micros()
        );
        // Writing to a string cannot fail.
        if let Some(bytes) = self.bytes {
            let _ = write!(line, " bytes={bytes}");
        }
        if let Some(code) = self.code {
            let _ = write!(line, " code={code}");
        }
        if let Some(detail) = self.detail {
            let _ = write!(line, " detail={detail:?}");
        }
        if let Some(customer) = self.customer() {
            let _ = write!(line, " customer={customer}");
        }
        if let Some(token) = self.token() {
            let _ = write!(line, " token={token}");
        }
        if let Some(trace) = self.trace {
            let _ = write!(line, " trace={trace}");
        }
        if let Some(client) = self.client {
            let _ = write!(line, " client={client} client_source={}", client.source.name());
        }
        line
    }

    fn json(&self) -> String {
        json!({
            "ts": self.at,
            "request": self.request,
            "method": self.method,
            "path": self.path,
            "operation": self.operation,
            "status": self.status,
            "micros": self.micros(),
            "bytes": self.bytes,
            "code": self.code,
            "detail": self.detail,
            "customer": self.customer(),
            "token": self.token(),
            "trace": self.trace,
            "client": self.client.map(|client| client.to_string()),
            "client_source": self.client.map(|client| client.source.name()),
        })
        .to_string()
    }
}

/// Quotes a value unless it is unambiguous without quotes.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
    if !text.is_empty() && text.bytes().all(plain) { text.to_owned() } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_entry_stays_one_line_with_control_characters() {
        let entry = Entry {
            at: Timestamp::from_unix(0),
            request: "r-1",
            method: "GET",
            path: "/a\nstatus=200 \"b\"",
            operation: "none",
            status: 404,
            code: Some("not_found"),
            detail: None,
            duration: Duration::from_micros(1_500),
            bytes: None,
            actor: Some(Actor::Customer(CustomerId::new(7))),
            trace: None,
            client: None,
        };
        assert_eq!(
            entry.logfmt(),
            "ts=1970-01-01T00:00:00Z request=r-1 method=GET path=\"/a\\nstatus=200 \\\"b\\\"\" \
             operation=none status=404 micros=1500 code=not_found customer=7"
        );
        let json: serde_json::Value = serde_json::from_str(&entry.json()).unwrap();
        assert_eq!((&json["path"], &json["trace"]), (&entry.path.into(), &().into()));
        assert_eq!(entry.json().lines().count(), 1);
    }
}
