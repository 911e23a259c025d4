//! Requests and responses as plain values, and the [`Service`] between them. No sockets.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

/// An HTTP request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The method, as sent: `GET`, `POST` ...
    pub method: String,
    /// The target, as sent: path and query, or the absolute form with scheme and host before them.
    pub target: String,
    /// Name and value pairs, as sent and in that order.
    pub headers: Vec<(String, String)>,
    /// The complete body.
    pub body: Vec<u8>,
    /// The address at the other end of the connection; `None` for a Unix socket.
    pub peer: Option<IpAddr>,
}

impl Request {
    /// The value of a header; the first if it occurs more than once.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// All values of a header.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let matching =
            self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        matching.map(|(_, value)| value.as_str())
    }
}

/// An HTTP response.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Name and value pairs. Values hold visible ASCII and spaces only; the transport adds
    /// `Content-Length` or `Transfer-Encoding`, `Date` and `Connection`.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body. For `HEAD` it is the body of `GET`: the transport omits it.
    pub body: Body,
}

/// The body of a response. It dereferences to its bytes; a stream has none yet.
pub enum Body {
    /// All bytes.
    Complete(Cow<'static, [u8]>),
    /// A function that writes the bytes.
    Stream(Stream),
}

/// A function that writes a body of any length, on a thread for blocking work. The transport sends what is written in
/// pieces of bounded size. A write waits for the client, and fails if the client leaves or takes too long: end then,
/// and release what the function holds.
///
/// On an error the transport sends this response instead, if nothing is sent yet. Otherwise it ends the connection in
/// the middle of the body, so that the client notices. `HEAD` and HTTP/1.0, which has no end mark, never call it.
pub type Stream = Box<dyn FnOnce(&mut dyn Write) -> Result<(), Response> + Send>;

impl Body {
    /// All bytes; none of a stream.
    #[must_use]
    pub fn into_owned(self) -> Vec<u8> {
        match self {
            Self::Complete(bytes) => bytes.into_owned(),
            Self::Stream(_) => Vec::new(),
        }
    }

    /// All bytes, after a stream has written them to memory.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn collect(self) -> Result<Vec<u8>, Response> {
        let mut bytes = Vec::new();
        match self {
            Self::Complete(complete) => Ok(complete.into_owned()),
            Self::Stream(write) => write(&mut bytes).map(|()| bytes),
        }
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Complete(bytes) => bytes,
            Self::Stream(_) => &[],
        }
    }
}

impl<B: Into<Cow<'static, [u8]>>> From<B> for Body {
    fn from(bytes: B) -> Self {
        Self::Complete(bytes.into())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete(bytes) => f.debug_tuple("Complete").field(bytes).finish(),
            Self::Stream(_) => f.write_str("Stream(..)"),
        }
    }
}

/// Answers requests. Called from many threads at once.
pub trait Service: Send + Sync + 'static {
    /// Answers a request, and blocks the thread until the response is known. Implementations never panic and take
    /// bounded time.
    fn answer(&self, request: &Request) -> Response;

    /// Starts to answer a request without blocking the thread, for servers with an executor. The response is that of
    /// [`Service::answer`], to which by default the whole request is left, on a thread for blocking work.
    fn start(self: Arc<Self>, request: Arc<Request>) -> Answer {
        Answer::Blocking(Box::new(move || self.answer(&request)))
    }

    /// The response to a request that the transport rejects because it is malformed, late or too large. The
    /// request holds the part that was read, truncated, and never a body.
    fn reject(&self, reason: TransportError, request: &Request) -> Response;

    /// Receives the connection statistics of the transport, regularly and as connections are closed.
    fn observe(&self, _connections: Connections) {}
}

/// A started answer.
pub enum Answer {
    /// The response.
    Ready(Response),
    /// A response that comes later, such as after a commit, on any executor. Await it to its end even if the client
    /// leaves: only then the request is counted and logged.
    Pending(Pin<Box<dyn Future<Output = Response> + Send>>),
    /// Work that blocks its thread, such as hashing a password: for a thread for blocking work.
    Blocking(Box<dyn FnOnce() -> Response + Send>),
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(response) => f.debug_tuple("Ready").field(response).finish(),
            Self::Pending(_) => f.write_str("Pending(..)"),
            Self::Blocking(_) => f.write_str("Blocking(..)"),
        }
    }
}

/// Connection statistics of the transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Open connections.
    pub open: usize,
    /// Connections closed since the last report because of the connection limit.
    pub beyond_limit: usize,
    /// Connections closed since the last report because no complete request or TLS handshake arrived in time
    /// (slowloris).
    pub too_slow: usize,
    /// Connections closed since the last report because the client did not read in time.
    pub unread: usize,
    /// TLS handshakes that failed since the last report.
    pub handshakes: usize,
}

/// The reason for which the transport rejects a request before the service sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// The framing is invalid or ambiguous (request smuggling): 400, and the connection is closed.
    Malformed,
    /// The answer is a stream, which HTTP/1.0 has no framing for: 400.
    TooOld,
    /// The body did not arrive in time: 408, and the connection is closed.
    TooSlow,
    /// The body is too large: 413.
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The target or the headers are too large: 431.
    HeadTooLarge,
    /// Too many requests are in flight: 503 with `Retry-After` (back-pressure).
    Overloaded,
}
