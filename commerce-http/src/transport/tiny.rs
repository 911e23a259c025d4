//! The server over `tiny_http`, for a port that only this machine reaches: a pool of workers around a small library
//! that trusts its clients. `docs/deployment.md` lists what a local process can do to it.

use super::head::{self, Framing};
use super::listen::Listener;
use super::{Settings, response, stream};
use crate::message::{Body, Request, Response, Service, TransportError};
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
const NO_BODY: Framing = Framing::Length(0);

/// A running server.
pub(super) struct Tiny {
    listener: Listener,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    server: tiny_http::Server,
    service: Arc<dyn Service>,
    settings: Settings,
}

impl Tiny {
    pub(super) fn start(
        listener: Listener,
        settings: Settings,
        service: Arc<dyn Service>,
    ) -> io::Result<Self> {
        let socket = TcpListener::from(listener.socket.try_clone()?);
        let server = tiny_http::Server::from_listener(socket, None).map_err(io::Error::other)?;
        let shared = Arc::new(Shared { server, service, settings });
        let start = |number| {
            let shared = Arc::clone(&shared);
            Builder::new().name(format!("answer-{number}")).spawn(move || shared.work())
        };
        let workers = (0..shared.settings.workers).map(start).collect::<io::Result<_>>()?;
        Ok(Self { listener, shared, workers })
    }

    /// Waits for the stop. Requests that have arrived by then are answered within the grace period.
    pub(super) fn watch(self, stop: &CancellationToken) {
        while !stop.wait_timeout(Duration::MAX) {}
        let Self { listener, shared, workers } = self;
        drop(listener);
        for _ in &workers {
            shared.server.unblock();
        }
        let until = Instant::now().checked_add(shared.settings.grace);
        let in_time = || until.is_some_and(|until| Instant::now() < until);
        while workers.iter().any(|worker| !worker.is_finished()) && in_time() {
            std::thread::sleep(TICK);
        }
    }
}

impl Shared {
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
        let framing = match head::validate(&request, is_1_1, &self.settings) {
            // For the library an upgrade has no body, but the rest of the connection.
            Ok(framing)
                if framing == NO_BODY || !head::has_option(&request, "Connection", "upgrade") =>
            {
                framing
            }
            invalid => {
                let reason = invalid.err().unwrap_or(TransportError::Malformed);
                // Sends before it drops the body, which reads the body.
                let _ = raw.respond(unread(&self.reject(reason, &request)));
                return;
            }
        };
        let answered = self.answer(&mut raw, &mut request, framing);
        let response = answered.unwrap_or_else(|reason| self.reject(reason, &request));
        let mut writer = raw.into_writer();
        // A client that has gone needs no response.
        let _ = self.send(response, &request, &mut writer);
        let _ = writer.flush();
    }

    /// Reads the complete body, the announced length or all chunks, and calls the service.
    fn answer(
        &self,
        raw: &mut tiny_http::Request,
        request: &mut Request,
        framing: Framing,
    ) -> Result<Response, TransportError> {
        if framing != NO_BODY {
            let limit = self.settings.max_body;
            let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
            // `as_reader` sends `100 Continue` to a client that waits for it.
            let read = raw.as_reader().take(most).read_to_end(&mut request.body);
            let length = request.body.len();
            if length > limit {
                return Err(TransportError::BodyTooLarge { limit });
            }
            if read.is_err() || framing != Framing::Chunked && framing != Framing::Length(length) {
                return Err(TransportError::Malformed);
            }
        }
        let answer = catch_unwind(AssertUnwindSafe(|| self.service.answer(request)));
        // The panic may be transient.
        let response = answer.map_err(|_| TransportError::Overloaded)?;
        let is_streamed = matches!(response.body, Body::Stream(_)) && request.method != "HEAD";
        if is_streamed && *raw.http_version() != HTTPVersion(1, 1) {
            return Err(TransportError::TooOld);
        }
        Ok(response)
    }

    fn send(
        &self,
        response: Response,
        request: &Request,
        writer: &mut dyn Write,
    ) -> io::Result<()> {
        let is_head = request.method == "HEAD";
        let mut head = response::render(&response, is_head);
        let write = match response.body {
            Body::Stream(write) if !is_head => write,
            Body::Complete(_) | Body::Stream(_) => return writer.write_all(&head),
        };
        let until = Instant::now().checked_add(self.settings.response_deadline);
        let sent = stream::run(write, until, |piece| {
            writer.write_all(&std::mem::take(&mut head))?;
            write!(writer, "{:x}\r\n", piece.len())?;
            writer.write_all(&piece)?;
            writer.write_all(b"\r\n")?;
            writer.flush()
        });
        match sent {
            Ok(()) => Ok(()),
            // The library cannot end a connection, but no client takes this for a chunk.
            Err(_) if head.is_empty() => writer.write_all(b"failed\r\n"),
            Err(instead) => {
                let busy = || self.reject(TransportError::Overloaded, request);
                self.send(instead.unwrap_or_else(busy), request, writer)
            }
        }
    }

    fn reject(&self, reason: TransportError, request: &Request) -> Response {
        head::reject(&*self.service, reason, request)
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
