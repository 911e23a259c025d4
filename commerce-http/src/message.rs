//! A request and a response as the service knows them: plain values, no socket in sight.

use std::borrow::Cow;

/// What a client asked.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The method, as sent: `GET`, `POST` ...
    pub method: String,
    /// The target, as sent: path and query, or the absolute form with scheme and host before them.
    pub target: String,
    /// Name and value pairs, as sent and in that order.
    pub headers: Vec<(String, String)>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header, when it was sent; the first when it was sent more than once.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Every value of a header.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let sent = self.headers.iter().filter(move |(sent, _)| sent.eq_ignore_ascii_case(name));
        sent.map(|(_, value)| value.as_str())
    }
}

/// What a client is answered.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Name and value pairs. Values hold visible ASCII and spaces only; the transport adds
    /// `Content-Length`, `Date` and `Connection`.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body, whole. For `HEAD` it is what `GET` would give: the transport leaves it away.
    pub body: Cow<'static, [u8]>,
}

/// Answers requests. It is called from many threads at once.
pub trait Service: Send + Sync {
    /// Answers a request. It never panics and takes bounded time.
    fn answer(&self, request: &Request) -> Response;

    /// The answer to a request that the transport itself turns down: it could not be read, or is
    /// larger than is taken. Of the request there is what is known, cut short, and never a body.
    fn reject(&self, why: TransportError, request: &Request) -> Response;

    /// Takes notice of the connections of the transport, from time to time.
    fn observe(&self, _connections: Connections) {}
}

/// What a transport has seen of its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Those that are open now.
    pub open: usize,
    /// Those closed since the last notice because there were more than are kept.
    pub beyond_limit: usize,
    /// Those closed since the last notice because they sent more requests ahead than are taken.
    pub too_far_ahead: usize,
    /// Those closed since the last notice because no whole request came in time.
    pub too_slow: usize,
}

/// Why a transport turns a request down before the service sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// Its framing is contradictory or not understood: 400, and the connection is closed.
    Malformed,
    /// The body did not arrive in time: 408, and the connection is closed.
    TooSlow,
    /// The body has more bytes than are taken: 413.
    BodyTooLarge {
        /// How many are.
        limit: usize,
    },
    /// Target or headers are larger than is taken: 431.
    HeadTooLarge,
    /// More is in flight than is taken: 503 with `Retry-After`.
    Overloaded,
}
