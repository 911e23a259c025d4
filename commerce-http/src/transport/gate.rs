//! The gate between a socket and hyper: it reads and validates every head itself, and passes on only the framing.
//!
//! hyper answers a head that it cannot parse by itself, without a problem document or a line in the log, and hides
//! repeated lengths from the service. So the parsed head of a valid request goes to the service past hyper, which reads a
//! head of five lines at most with the same framing. Before an invalid head the connection ends for hyper, and its
//! rejection is sent after the last response. hyper thus sees no head that others have written, and frames each body
//! exactly as validated.

use super::connections::{Connection, Phase};
use super::head::{self, Framing};
use super::response;
use crate::message::{Request, TransportError};
use hyper::rt::ReadBufCursor;
use std::fmt::Write;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::time::{Sleep, sleep, timeout};

/// Space for the version, the colons and the line ends of a head.
const SEPARATORS: usize = 512;
/// The number of bytes that are received at once.
const READ: usize = 4 * 1024;

/// A connected socket, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) struct Gate {
    stream: Box<dyn Stream>,
    connection: Arc<Connection>,
    /// Received bytes that are not passed on yet.
    received: Vec<u8>,
    /// The number of bytes of a body that hyper may still read. Unlimited if it is chunked: its connection closes.
    body: usize,
    /// No further request is read.
    is_last: bool,
    /// The response to an invalid head, the last of the connection.
    rejection: Vec<u8>,
    /// The deadline of the first head, or of one that has begun.
    head_by: Option<Pin<Box<Sleep>>>,
    /// The last write waits for the client.
    is_blocked: bool,
}

impl Gate {
    pub(super) fn new(stream: Box<dyn Stream>, connection: Arc<Connection>) -> Self {
        let head_by = Some(Box::pin(sleep(connection.shared.settings.head_deadline)));
        Self {
            stream,
            connection,
            received: Vec::new(),
            body: 0,
            is_last: false,
            rejection: Vec::new(),
            head_by,
            is_blocked: false,
        }
    }

    /// Closes the connection after its last response: discards what the client still sends, for a limited time.
    /// Closing a socket with unread bytes resets the connection, and the client may lose the response.
    pub(super) async fn close(mut self, time: Duration) {
        self.connection.enter(Phase::Transfer);
        let discard = async {
            self.stream.write_all(&self.rejection).await?;
            self.stream.shutdown().await?;
            copy(&mut self.stream, &mut sink()).await
        };
        let _ = timeout(time, discard).await;
    }

    /// Reads the next head, and returns the one for hyper: empty at the end of the connection.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<String>> {
        self.connection.enter(Phase::Idle);
        while !self.is_last {
            if !self.received.is_empty()
                && let Some(head) = self.read_head()
            {
                self.head_by = None;
                return Poll::Ready(Ok(head));
            }
            let reason = match self.poll_fill(cx)? {
                Poll::Ready(0) if self.received.is_empty() => break,
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
            let (request, _) = self.parse();
            return Poll::Ready(Ok(self.reject(reason, &request)));
        }
        Poll::Ready(Ok(String::new()))
    }

    /// Reads a head from the received bytes, and returns the one for hyper; `None` if it is not complete.
    fn read_head(&mut self) -> Option<String> {
        let (request, complete) = self.parse();
        let settings = &self.connection.shared.settings;
        let max_head = settings.max_target.saturating_add(settings.max_header_bytes);
        let valid = match complete {
            Ok(None) if self.received.len() <= max_head.saturating_add(SEPARATORS) => return None,
            Ok(None) => Err(TransportError::HeadTooLarge),
            Ok(Some((length, is_1_1))) => {
                self.received.drain(..length);
                head::validate(&request, is_1_1, settings).map(|framing| (framing, is_1_1))
            }
            Err(reason) => Err(reason),
        };
        Some(match valid {
            Ok((framing, is_1_1)) => self.accept(request, framing, is_1_1),
            Err(reason) => self.reject(reason, &request),
        })
    }

    /// Ends the connection at an invalid head.
    fn reject(&mut self, reason: TransportError, request: &Request) -> String {
        self.is_last = true;
        self.rejection = response::render(&self.connection.shared.reject(reason, request), false);
        String::new()
    }

    /// Keeps a valid head, and returns one with the same framing.
    fn accept(&mut self, request: Request, framing: Framing, is_1_1: bool) -> String {
        let method = if request.method == "HEAD" { "HEAD" } else { "POST" };
        let mut head = format!("{method} / HTTP/1.{}\r\n", u8::from(is_1_1));
        // Writing to a string cannot fail.
        let _ = match framing {
            Framing::Length(length) => write!(head, "content-length: {length}\r\n"),
            Framing::Chunked => head.write_str("transfer-encoding: chunked\r\n"),
        };
        self.body = if let Framing::Length(length) = framing { length } else { usize::MAX };
        self.is_last = framing == Framing::Chunked || head::connection_has(&request, "close");
        if self.is_last {
            head.push_str("connection: close\r\n");
        } else if head::connection_has(&request, "keep-alive") {
            head.push_str("connection: keep-alive\r\n");
        }
        if request.values("Expect").any(|value| value.eq_ignore_ascii_case("100-continue")) {
            head.push_str("expect: 100-continue\r\n");
        }
        self.connection.enter(Phase::Transfer);
        *self.connection.head.lock() = Some(request);
        head + "\r\n"
    }

    /// Reads a part of a body.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.received.is_empty() {
            ready!(self.poll_fill(cx))?;
        }
        let length = self.body.min(out.remaining()).min(self.received.len());
        out.put_slice(&self.received[..length]);
        self.received.drain(..length);
        if self.body != usize::MAX {
            self.body = self.body.saturating_sub(length);
        }
        Poll::Ready(Ok(()))
    }

    /// Passes the result of a write on, and notes the time at which a client stops to read.
    fn note<T>(&mut self, written: Poll<T>) -> Poll<T> {
        if written.is_pending() != self.is_blocked {
            self.is_blocked = written.is_pending();
            self.connection.block(self.is_blocked);
        }
        written
    }

    /// Receives more bytes; zero at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.received.reserve(READ);
        pin!(self.stream.read_buf(&mut self.received)).poll(cx)
    }

    /// Parses the received bytes as a head: the request as far as it goes, and whether it is complete.
    fn parse(&self) -> (Request, Result<Option<Complete>, TransportError>) {
        let mut lines = vec![httparse::EMPTY_HEADER; self.connection.shared.settings.max_headers];
        let mut raw = httparse::Request::new(&mut lines);
        // A proxy may take a lone line feed for something else than the end of a line.
        let is_strict = |head: &[u8]| {
            head.split(|byte| *byte == b'\n').rev().skip(1).all(|line| line.ends_with(b"\r"))
        };
        let complete = match raw.parse(&self.received) {
            Ok(httparse::Status::Complete(length)) if is_strict(&self.received[..length]) => {
                Ok(Some((length, raw.version == Some(1))))
            }
            Ok(httparse::Status::Partial) => Ok(None),
            Err(httparse::Error::TooManyHeaders) => Err(TransportError::HeadTooLarge),
            Ok(httparse::Status::Complete(_)) | Err(_) => Err(TransportError::Malformed),
        };
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
        (request, complete)
    }
}

/// A complete head: its length, and whether its version is 1.1 and not 1.0.
type Complete = (usize, bool);

impl hyper::rt::Read for Gate {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.body > 0 {
            return self.poll_body(cx, out);
        }
        // Every buffer of hyper is larger than such a head.
        out.put_slice(ready!(self.poll_head(cx))?.as_bytes());
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Gate {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(written)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
