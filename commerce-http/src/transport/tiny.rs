//! The server over `tiny_http`, for a port that only this machine reaches: a pool of workers around a small library
//! that trusts its clients. `docs/deployment.md` lists what a local process can do to it.

use super::head::{self, Framing};
use super::listen::Listener;
use super::{Settings, response, stream};
use crate::message::{Body, Request, Response, Service, Stream, TransportError};
use commerce_core::CancellationToken;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use tiny_http::HTTPVersion;

/// The interval at which a shutdown checks its threads.
const TICK: Duration = Duration::from_millis(10);

/// A running server.
pub(super) struct Tiny {
    listener: Listener,
    server: Arc<tiny_http::Server>,
    workers: Vec<JoinHandle<()>>,
    settings: Settings,
}

impl Tiny {
    pub(super) fn start(
        listener: Listener,
        settings: Settings,
        service: &Arc<dyn Service>,
    ) -> io::Result<Self> {
        let socket = TcpListener::from(listener.socket.try_clone()?);
        let server = tiny_http::Server::from_listener(socket, None).map_err(io::Error::other)?;
        let (server, workers) = (Arc::new(server), Vec::new());
        let mut tiny = Self { listener, server, workers, settings };
        for number in 0..tiny.settings.workers {
            let worker = Worker {
                server: Arc::clone(&tiny.server),
                service: Arc::clone(service),
                settings: tiny.settings.clone(),
            };
            let thread = Builder::new().name(format!("answer-{number}"));
            tiny.workers.push(thread.spawn(move || worker.work())?);
        }
        Ok(tiny)
    }

    /// Waits for the stop. Requests that have arrived by then are answered within the grace period.
    pub(super) fn watch(self, stop: &CancellationToken) {
        while !stop.wait_timeout(Duration::MAX) {}
        let Self { listener, server, workers, settings } = self;
        drop(listener);
        for _ in &workers {
            server.unblock();
        }
        let until = Instant::now().checked_add(settings.grace);
        let in_time = || until.is_some_and(|until| Instant::now() < until);
        while workers.iter().any(|worker| !worker.is_finished()) && in_time() {
            std::thread::sleep(TICK);
        }
    }
}

struct Worker {
    server: Arc<tiny_http::Server>,
    service: Arc<dyn Service>,
    settings: Settings,
}

impl Worker {
    /// Answers requests until a call of `unblock` ends this worker.
    fn work(&self) {
        while let Ok(raw) = self.server.recv() {
            // The library panics in some places; the worker survives.
            let _ = catch_unwind(AssertUnwindSafe(|| self.handle(raw)));
        }
    }

    fn handle(&self, mut raw: tiny_http::Request) {
        let mut request = head(&raw);
        let is_1_1 = *raw.http_version() == HTTPVersion(1, 1);
        // For the library an upgrade has no body, but the rest of the connection.
        let framing = match head::validate(&request, is_1_1, &self.settings) {
            Ok(length)
                if length != Framing::Length(0) && head::connection_has(&request, "upgrade") =>
            {
                Err(TransportError::Malformed)
            }
            framing => framing,
        };
        let framing = match framing {
            Ok(framing) => framing,
            Err(reason) => {
                let response = self.reject(reason, &request);
                // Sends before it drops the body, which reads the body.
                let _ = raw.respond(unread(&response));
                return;
            }
        };
        let response = match read_body(&mut raw, &mut request.body, framing, self.settings.max_body)
        {
            Ok(()) => self.answer(&request),
            Err(reason) => self.reject(reason, &request),
        };
        let is_head = *raw.method() == tiny_http::Method::Head;
        let mut writer = raw.into_writer();
        let rendered = response::render(&response, is_head);
        // A client that has gone needs no response.
        let _ = match response.body {
            Body::Stream(write) if !is_head && is_1_1 => {
                self.send(rendered, write, &request, &mut writer)
            }
            Body::Stream(_) if !is_head => {
                let response = self.reject(TransportError::Malformed, &request);
                writer.write_all(&response::render(&response, false))
            }
            Body::Complete(_) | Body::Stream(_) => writer.write_all(&rendered),
        };
        let _ = writer.flush();
    }

    /// Sends a stream in chunks, with the head before the first one.
    fn send(
        &self,
        head: Vec<u8>,
        write: Stream,
        request: &Request,
        writer: &mut dyn Write,
    ) -> io::Result<()> {
        let mut head = Some(head);
        let until = Instant::now().checked_add(self.settings.stream_deadline);
        let sent = stream::run(write, until, |piece| {
            writer.write_all(&head.take().unwrap_or_default())?;
            write!(writer, "{:x}\r\n", piece.len())?;
            writer.write_all(&piece)?;
            writer.write_all(b"\r\n")?;
            writer.flush()
        });
        match (sent, head) {
            (Ok(()), head) => {
                writer.write_all(&head.unwrap_or_default())?;
                writer.write_all(b"0\r\n\r\n")
            }
            (Err(instead), Some(_)) => {
                let busy = || self.reject(TransportError::Overloaded, request);
                let instead = instead.unwrap_or_else(busy);
                writer.write_all(&response::render(&instead, false))
            }
            // The library cannot end a connection, but no client takes this for a chunk.
            (Err(_), None) => writer.write_all(b"failed\r\n"),
        }
    }

    /// Calls the service. A panic becomes 503, because it may be transient.
    fn answer(&self, request: &Request) -> Response {
        let answer = || self.service.answer(request);
        catch_unwind(AssertUnwindSafe(answer))
            .unwrap_or_else(|_| self.reject(TransportError::Overloaded, request))
    }

    fn reject(&self, reason: TransportError, request: &Request) -> Response {
        self.service.reject(reason, &head::truncated(request))
    }
}

/// The request, without its body.
fn head(raw: &tiny_http::Request) -> Request {
    let pair = |header: &tiny_http::Header| {
        (header.field.as_str().as_str().to_owned(), header.value.as_str().to_owned())
    };
    Request {
        method: raw.method().as_str().to_owned(),
        target: raw.url().to_owned(),
        headers: raw.headers().iter().map(pair).collect(),
        body: Vec::new(),
        peer: raw.remote_addr().map(|address| address.ip().to_canonical()),
    }
}

/// Reads the complete body: the announced length, or all chunks.
fn read_body(
    raw: &mut tiny_http::Request,
    body: &mut Vec<u8>,
    framing: Framing,
    limit: usize,
) -> Result<(), TransportError> {
    if framing == Framing::Length(0) {
        return Ok(());
    }
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    // `as_reader` sends `100 Continue` to a client that waits for it.
    let read = raw.as_reader().take(most).read_to_end(body);
    if body.len() > limit {
        return Err(TransportError::BodyTooLarge { limit });
    }
    let is_complete = framing == Framing::Chunked || framing == Framing::Length(body.len());
    if read.is_ok() && is_complete { Ok(()) } else { Err(TransportError::Malformed) }
}

/// A response that the library sends, with its own headers for the connection.
fn unread(response: &Response) -> tiny_http::Response<&[u8]> {
    let headers = response.headers.iter().filter_map(|(name, value)| {
        tiny_http::Header::from_bytes(*name, &*response::safe(value)).ok()
    });
    let body = &*response.body;
    tiny_http::Response::new(
        response.status.into(),
        headers.collect(),
        body,
        Some(body.len()),
        None,
    )
}
