//! The gate between a socket and hyper: it reads and validates every head itself, and passes on only the framing.
//!
//! hyper answers a head that it cannot parse by itself, without a problem document or a line in the log, and hides
//! repeated lengths from the service. So the parsed head goes to the service past hyper, with the reason to reject it
//! if it is invalid. hyper reads a head of few lines with the framing that was validated; that of an invalid request
//! has no body, and its response closes the connection. hyper thus sees no head that others have written, frames each
//! body exactly as validated, and writes every response to a head.

use super::connections::{Connection, Head, Phase};
use super::head::{self, Framing};
use crate::message::{Request, TransportError};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf, ReadHalf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// Space for the version, the colons and the line ends of a head.
const SEPARATORS: usize = 512;
/// The number of bytes that are received at once.
const READ: usize = 4 * 1024;

/// Other options that hyper acts on, with those of close after keep-alive.
const OPTIONS: [(&str, &str); 3] =
    [("Connection", "keep-alive"), ("Connection", "close"), ("Expect", "100-continue")];

/// A connected socket.
pub(super) type Socket = Either<TcpStream, UnixStream>;
/// A connected socket, without or with TLS.
pub(super) type Stream = Either<Socket, Box<TlsStream<Socket>>>;

/// The reading half of a connection, as hyper sees it.
pub(super) struct Gate<'a> {
    pub(super) stream: ReadHalf<Stream>,
    connection: &'a Connection,
    /// Received bytes that are not passed on yet; before them the head for hyper.
    received: Vec<u8>,
    /// The number of bytes of a request that hyper may still read. Unlimited if its body is chunked, because its
    /// connection closes.
    passable: usize,
    /// The deadline of the first head, or of one that has begun.
    head_by: Option<Pin<Box<Sleep>>>,
}

/// A head that is complete or invalid: its length, its framing, and whether its version is 1.1 and not 1.0.
type Parsed = Result<(usize, Framing, bool), TransportError>;

impl<'a> Gate<'a> {
    pub(super) fn new(stream: ReadHalf<Stream>, connection: &'a Connection) -> Self {
        let head_by = Some(Box::pin(sleep(connection.shared.settings.head_deadline)));
        Self { stream, connection, received: Vec::new(), passable: 0, head_by }
    }

    /// Reads the next head, if there is one.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.enter(Phase::Idle);
        let (request, verdict) = loop {
            if !self.received.is_empty()
                && let (request, Some(verdict)) = self.parse()
            {
                break (request, verdict);
            }
            let reason = match self.poll_receive(cx)? {
                Poll::Ready(0) if self.received.is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(0) => TransportError::Malformed,
                Poll::Ready(_) => continue,
                Poll::Pending if self.received.is_empty() && self.head_by.is_none() => {
                    return Poll::Pending;
                }
                Poll::Pending => {
                    let deadline = self.connection.shared.settings.head_deadline;
                    let head_by = self.head_by.get_or_insert_with(|| Box::pin(sleep(deadline)));
                    ready!(head_by.as_mut().poll(cx));
                    TransportError::TooSlow
                }
            };
            break (self.parse().0, Err(reason));
        };
        self.pass(request, verdict);
        Poll::Ready(Ok(()))
    }

    /// Passes a request on: to the service, and a head with the same framing to hyper.
    fn pass(&mut self, request: Request, verdict: Parsed) {
        let nothing = (self.received.len(), Framing::Length(0), true);
        let (length, framing, is_1_1) = verdict.unwrap_or(nothing);
        let method = if request.method == "HEAD" { "HEAD" } else { "POST" };
        let mut head = format!("{method} / HTTP/1.{}\r\n", u8::from(is_1_1));
        let (body, line) = match framing {
            Framing::Length(0) => (0, String::new()),
            Framing::Length(length) => (length, format!("Content-Length: {length}\r\n")),
            // A proxy may take the next request for a part of the body.
            Framing::Chunked => {
                (usize::MAX, "Transfer-Encoding: chunked\r\nConnection: close\r\n".into())
            }
        };
        for (name, option) in OPTIONS {
            if head::has_option(&request, name, option) {
                head.extend([name, ": ", option, "\r\n"]);
            }
        }
        head.extend([&line, "\r\n"]);
        self.passable = body.saturating_add(head.len());
        self.received.splice(..length, head.into_bytes());
        self.head_by = None;
        if body > 0 {
            self.connection.enter(Phase::Transfer);
        }
        let (request, verdict) = (Arc::new(request), verdict.map(drop));
        *self.connection.head.lock() = Some(Head { request, is_1_1, verdict });
    }

    /// Receives more bytes; zero at the end of the stream.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.received.reserve(READ);
        pin!(self.stream.read_buf(&mut self.received)).poll(cx)
    }

    /// Parses the received bytes as a head: the request as far as it goes, and its verdict if no more bytes are needed.
    fn parse(&self) -> (Request, Option<Parsed>) {
        let settings = &self.connection.shared.settings;
        let max_head = settings.max_target.saturating_add(settings.max_header_bytes);
        let mut lines = vec![httparse::EMPTY_HEADER; settings.max_headers];
        let mut raw = httparse::Request::new(&mut lines);
        let parsed = raw.parse(&self.received);
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let pair = |line: &httparse::Header<'_>| {
            (line.name.to_owned(), String::from_utf8_lossy(line.value).into_owned())
        };
        let request = Request {
            method: text(raw.method),
            target: text(raw.path),
            headers: raw.headers.iter().filter(|line| !line.name.is_empty()).map(pair).collect(),
            body: Vec::new(),
            peer: self.connection.peer,
        };
        // A proxy may take a lone line feed for something else than the end of a line. All bytes are compared, because
        // the processor compares many at once.
        let is_strict = |head: &[u8]| {
            let pairs = head.iter().zip(head.iter().skip(1));
            let lone = pairs.map(|(before, byte)| u8::from(*byte == b'\n' && *before != b'\r'));
            !head.starts_with(b"\n") && lone.fold(0, |any, lone| any | lone) == 0
        };
        let verdict = match parsed {
            Ok(httparse::Status::Complete(length)) if is_strict(&self.received[..length]) => {
                let is_1_1 = raw.version == Some(1);
                head::validate(&request, is_1_1, settings).map(|framing| (length, framing, is_1_1))
            }
            Ok(httparse::Status::Partial)
                if self.received.len() <= max_head.saturating_add(SEPARATORS) =>
            {
                return (request, None);
            }
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                Err(TransportError::HeadTooLarge)
            }
            Ok(httparse::Status::Complete(_)) | Err(_) => Err(TransportError::Malformed),
        };
        (request, Some(verdict))
    }
}

impl AsyncRead for Gate<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.passable == 0 {
            ready!(self.poll_head(cx))?;
        }
        if self.passable > 0 && self.received.is_empty() {
            ready!(self.poll_receive(cx))?;
        }
        let length = self.passable.min(out.remaining()).min(self.received.len());
        out.put_slice(&self.received[..length]);
        self.received.drain(..length);
        self.passable = self.passable.saturating_sub(length);
        Poll::Ready(Ok(()))
    }
}
