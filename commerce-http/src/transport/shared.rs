//! The state that all threads of a server share.

use super::bodies::Bodies;
use super::peers::{InFlightGuard, Peers};
use super::response::{self, ResponseMode};
use super::sockets::Sockets;
use super::waiter_limit::WaiterLimit;
use super::worker_slot::WorkerSlot;
use super::{Settings, head};
use crate::message::{Request, Response, Service, TransportError};
use commerce_core::sync::{Mutex, MutexGuard, RwLock};
use commerce_core::{Clock, SystemClock};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::net::{Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tiny_http::HTTPVersion;

/// Dropping the reader of an unread body allocates the announced length, and a failed allocation aborts the process.
/// This size can be allocated everywhere, and is freed at once.
const MAX_DROPPABLE_BODY: usize = 64 * 1024 * 1024;

/// The server of `tiny_http`. Never dropped, because that would remove the unix socket at its path, which may belong
/// to another server by then.
pub(super) type TinyServer = ManuallyDrop<tiny_http::Server>;

pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) service: Arc<dyn Service>,
    pub(super) peers: Peers,
    pub(super) bodies: Bodies,
    pub(super) waiters: WaiterLimit,
    /// One per worker, then one per body reader.
    pub(super) slots: Vec<WorkerSlot>,
    /// The server that accepts; replaced when it dies.
    pub(super) current: RwLock<Arc<TinyServer>>,
    /// Workers end when they wake.
    pub(super) finished: AtomicBool,
    /// Connections close after the current response.
    pub(super) shutting_down: AtomicBool,
    /// Connections closed since the last report because they pipelined too many requests.
    pub(super) cut: AtomicUsize,
    sockets: Option<Mutex<Sockets>>,
    date: RwLock<Arc<str>>,
}

impl Shared {
    pub(super) fn new(
        settings: Settings,
        service: Arc<dyn Service>,
        server: Arc<TinyServer>,
        port: Option<u16>,
    ) -> Self {
        // The workers never hold more than this in flight.
        let limit = settings.max_in_flight_per_peer.min(settings.workers / 2).max(1);
        Self {
            service,
            peers: Peers::new(limit),
            waiters: WaiterLimit::default(),
            bodies: Bodies::new(settings.max_slow_bodies),
            slots: (0..settings.workers.saturating_add(settings.max_slow_bodies))
                .map(|_| WorkerSlot::default())
                .collect(),
            current: RwLock::new(server),
            finished: AtomicBool::new(false),
            shutting_down: AtomicBool::new(false),
            cut: AtomicUsize::new(0),
            sockets: port.and_then(Sockets::of_port).map(Mutex::new),
            date: RwLock::new(response::http_date(SystemClock.now()).into()),
            settings,
        }
    }

    /// The connections, if the system can identify and shut them.
    pub(super) fn sockets(&self) -> Option<MutexGuard<'_, Sockets>> {
        Some(self.sockets.as_ref()?.lock())
    }

    pub(super) fn server(&self) -> Arc<TinyServer> {
        Arc::clone(&self.current.read())
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Updates the `Date` of responses.
    pub(super) fn refresh_date(&self) {
        let date = response::http_date(SystemClock.now());
        *self.date.write() = date.into();
    }

    /// Calls the service. A panic becomes 503, because it may be transient.
    pub(super) fn call_service(&self, request: &Request) -> Response {
        let answer = || self.service.answer(request);
        catch_unwind(AssertUnwindSafe(answer))
            .unwrap_or_else(|_| self.reject(TransportError::Overloaded, request))
    }

    fn reject(&self, reason: TransportError, request: &Request) -> Response {
        let answer = || self.service.reject(reason, request);
        let empty = |_| Response { status: 503, headers: Vec::new(), body: Vec::new().into() };
        catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(empty)
    }

    /// Waits for the turn of a request on its connection, calls the service, and sends the response.
    ///
    /// The turn comes when all earlier requests on the connection are answered. Only then is it known whether one of
    /// them was rejected, after which the connection is not served.
    pub(super) fn serve(
        &self,
        raw: tiny_http::Request,
        request: &Request,
        guard: &InFlightGuard<'_>,
        slot: &WorkerSlot,
    ) {
        let mode = mode(&raw);
        let mut writer = raw.into_writer();
        // An empty write waits for the turn.
        let turn = writer.write(&[]);
        if turn.is_err() || guard.peer.is_some_and(|peer| self.peers.is_closing(peer)) {
            return;
        }
        let response = self.call_service(request);
        let closes = self.shutting_down.load(Ordering::Acquire);
        slot.set(guard.peer);
        self.send(writer, mode, guard, &response, closes);
        slot.set(None);
    }

    /// Sends a response.
    fn send(
        &self,
        mut writer: Box<dyn Write + Send>,
        mode: ResponseMode,
        guard: &InFlightGuard<'_>,
        response: &Response,
        closes: bool,
    ) {
        let (first, rest) = self.render(mode, response, closes);
        let written = writer.write_all(&first).and_then(|()| writer.write_all(rest));
        let sent = written.and_then(|()| writer.flush());
        if closes || sent.is_err() {
            // Closed before the writer is dropped, so that nothing follows: `tiny_http` may have parsed the rest of
            // a body as a request. After an error, part of the response may have been sent.
            self.close_connection(guard.peer, Shutdown::Both);
        }
    }

    /// The response to a connection without a complete request in time. `tiny_http` does not expose the part that it
    /// has read.
    pub(super) fn timeout_response(&self) -> Vec<u8> {
        let response = self.reject(TransportError::TooSlow, &Request::default());
        let (mut bytes, rest) = self.render(ResponseMode::default(), &response, true);
        bytes.extend_from_slice(rest);
        bytes
    }

    /// Rejects a request. If its body is unread, the connection is closed.
    pub(super) fn send_rejection(
        &self,
        raw: tiny_http::Request,
        guard: &InFlightGuard<'_>,
        reason: TransportError,
    ) {
        let response = self.reject(reason, &head::truncated(&raw));
        let closes = reason != TransportError::Overloaded || head::unread(&raw);
        if !is_safe_to_drop(&raw) {
            let (bytes, _) = self.render(mode(&raw), &response, true);
            self.leak_request(raw, guard, &bytes);
            return;
        }
        if closes {
            self.close_connection(guard.peer, Shutdown::Read);
        }
        // If the body is unread, the connection is shut for reading by now.
        let mode = mode(&raw);
        self.send(raw.into_writer(), mode, guard, &response, closes);
    }

    /// Stops serving a connection, and shuts it.
    pub(super) fn close_connection(&self, peer: Option<SocketAddr>, how: Shutdown) {
        let Some(peer) = peer else { return };
        self.peers.close(peer);
        if let Some(mut sockets) = self.sockets() {
            sockets.shut(peer, how);
        }
    }

    /// Responds without `tiny_http` and leaks the request, because dropping it could abort the process. The reaper
    /// counts the rest (a waiting thread, two descriptors) as stuck.
    fn leak_request(&self, raw: tiny_http::Request, guard: &InFlightGuard<'_>, bytes: &[u8]) {
        std::mem::forget(raw);
        let Some(peer) = guard.peer else { return };
        self.peers.close(peer);
        let is_only = self.peers.get(peer).is_some_and(|peer| peer.in_flight <= 1);
        if let Some(mut sockets) = self.sockets() {
            sockets.write_and_close(peer, if is_only { bytes } else { &[] });
        }
    }

    fn render<'a>(
        &self,
        mode: ResponseMode,
        response: &'a Response,
        closes: bool,
    ) -> (Vec<u8>, &'a [u8]) {
        let mode = ResponseMode { closes: closes || mode.closes, ..mode };
        let date = Arc::clone(&self.date.read());
        response::render(response, mode, &date)
    }
}

fn mode(raw: &tiny_http::Request) -> ResponseMode {
    ResponseMode {
        head: *raw.method() == tiny_http::Method::Head,
        closes: head::is_last(raw),
        old: *raw.http_version() == HTTPVersion(1, 0),
    }
}

/// Drops a request without a response; its connection has been shut.
pub(super) fn drop_request(raw: tiny_http::Request) {
    if is_safe_to_drop(&raw) {
        // Dropping the request itself would wait for its turn to send 500.
        drop(raw.into_writer());
    } else {
        std::mem::forget(raw);
    }
}

/// Returns true if a request with an unread body may be dropped.
fn is_safe_to_drop(raw: &tiny_http::Request) -> bool {
    raw.body_length().is_none_or(|length| length <= MAX_DROPPABLE_BODY) || head::upgrades(raw)
}
