//! What all threads of a server share.

use super::answer::{self, ResponseMode};
use super::bodies::Bodies;
use super::lookout::WaiterLimit;
use super::peers::{InFlightGuard, Peers};
use super::sockets::Sockets;
use super::worker::WorkerSlot;
use super::{Settings, head};
use crate::message::{Request, Response, Service, TransportError};
use commerce_core::{Clock, SystemClock};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::net::{Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tiny_http::HTTPVersion;

/// A reader of an unread body that is dropped allocates the length that was announced, and the process
/// ends when that fails. So much can be allocated everywhere, and is given back at once.
const MAX_DROPPABLE_BODY: usize = 64 * 1024 * 1024;

/// `tiny_http`. It is never dropped: that would remove the unix socket at its path, which may be another
/// server's by then.
pub(super) type TinyServer = ManuallyDrop<tiny_http::Server>;

pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) service: Arc<dyn Service>,
    pub(super) peers: Peers,
    pub(super) bodies: Bodies,
    pub(super) lookouts: WaiterLimit,
    /// One for each worker, then one for each thread that reads bodies.
    pub(super) posts: Vec<WorkerSlot>,
    /// The server that accepts now; another takes its place when it dies.
    pub(super) current: RwLock<Arc<TinyServer>>,
    /// Workers end when they are woken.
    pub(super) finished: AtomicBool,
    /// Connections close after the answer under way.
    pub(super) shutting_down: AtomicBool,
    /// Connections cut since the last round because they were too far ahead.
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
        // More than the workers can hold would never be seen in flight.
        let most = settings.max_in_flight_per_peer.min(settings.workers / 2).max(1);
        Self {
            service,
            peers: Peers::new(most),
            lookouts: WaiterLimit::default(),
            bodies: Bodies::new(settings.max_slow_bodies),
            posts: (0..settings.workers.saturating_add(settings.max_slow_bodies))
                .map(|_| WorkerSlot::default())
                .collect(),
            current: RwLock::new(server),
            finished: AtomicBool::new(false),
            shutting_down: AtomicBool::new(false),
            cut: AtomicUsize::new(0),
            sockets: port.and_then(Sockets::of_port).map(Mutex::new),
            date: RwLock::new(answer::http_date(SystemClock.now()).into()),
            settings,
        }
    }

    /// The connections, where they can be told apart and shut.
    pub(super) fn sockets(&self) -> Option<MutexGuard<'_, Sockets>> {
        Some(self.sockets.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn server(&self) -> Arc<TinyServer> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Brings the date of answers up to now.
    pub(super) fn refresh_date(&self) {
        let date = answer::http_date(SystemClock.now());
        *self.date.write().unwrap_or_else(PoisonError::into_inner) = date.into();
    }

    /// What the service answers. A panic in it is answered as if too much were in flight: it may pass.
    pub(super) fn ask(&self, request: &Request) -> Response {
        let answer = || self.service.answer(request);
        catch_unwind(AssertUnwindSafe(answer))
            .unwrap_or_else(|_| self.reject(TransportError::Overloaded, request))
    }

    fn reject(&self, why: TransportError, request: &Request) -> Response {
        let answer = || self.service.reject(why, request);
        let empty = |_| Response { status: 503, headers: Vec::new(), body: Vec::new().into() };
        catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(empty)
    }

    /// Has the service answer a request whose body was read, when its turn has come on its connection, and
    /// sends the answer.
    ///
    /// Its turn comes when every request before it has been answered. Only then is it known whether one
    /// of those was turned down and what follows it is not to be served.
    pub(super) fn serve(
        &self,
        raw: tiny_http::Request,
        request: &Request,
        pass: &InFlightGuard<'_>,
        post: &WorkerSlot,
    ) {
        let manner = manner(&raw);
        let mut writer = raw.into_writer();
        // To write nothing waits for the turn to write.
        let turn = writer.write(&[]);
        if turn.is_err() || pass.peer.is_some_and(|peer| self.peers.is_closing(peer)) {
            return;
        }
        let response = self.ask(request);
        let closes = self.shutting_down.load(Ordering::Acquire);
        post.set(pass.peer);
        self.send(writer, manner, pass, &response, closes);
        post.set(None);
    }

    /// Sends an answer.
    fn send(
        &self,
        mut writer: Box<dyn Write + Send>,
        manner: ResponseMode,
        pass: &InFlightGuard<'_>,
        response: &Response,
        closes: bool,
    ) {
        let (first, rest) = self.render(manner, response, closes);
        let written = writer.write_all(&first).and_then(|()| writer.write_all(rest));
        let sent = written.and_then(|()| writer.flush());
        if closes || sent.is_err() {
            // Before the writer is let go, so that nothing follows: `tiny_http` may have taken the rest
            // of a body for a request by now. After an error part of the answer may have been sent.
            self.close_connection(pass.peer, Shutdown::Both);
        }
    }

    /// The answer to a connection that sent no whole request in time. `tiny_http` may hold the beginning of one, and
    /// does not show it.
    pub(super) fn late(&self) -> Vec<u8> {
        let response = self.reject(TransportError::TooSlow, &Request::default());
        let (mut bytes, rest) = self.render(ResponseMode::default(), &response, true);
        bytes.extend_from_slice(rest);
        bytes
    }

    /// Turns a request down. A body that was not read stays so, and the connection is closed.
    pub(super) fn refuse(
        &self,
        raw: tiny_http::Request,
        pass: &InFlightGuard<'_>,
        why: TransportError,
    ) {
        let response = self.reject(why, &head::known(&raw));
        let closes = why != TransportError::Overloaded || head::unread(&raw);
        if !is_safe_to_drop(&raw) {
            let (bytes, _) = self.render(manner(&raw), &response, true);
            self.leak_request(raw, pass, &bytes);
            return;
        }
        if closes {
            self.close_connection(pass.peer, Shutdown::Read);
        }
        // A body that was not read has its connection shut for reading by now.
        let manner = manner(&raw);
        self.send(raw.into_writer(), manner, pass, &response, closes);
    }

    /// Serves nothing more of this connection, and shuts it.
    pub(super) fn close_connection(&self, peer: Option<SocketAddr>, how: Shutdown) {
        let Some(peer) = peer else { return };
        self.peers.close(peer);
        if let Some(mut sockets) = self.sockets() {
            sockets.shut(peer, how);
        }
    }

    /// Answers past `tiny_http` and never drops the request, which could end the process. What stays
    /// behind (a thread that waits, two descriptors) is counted by the reaper as stuck.
    fn leak_request(&self, raw: tiny_http::Request, pass: &InFlightGuard<'_>, bytes: &[u8]) {
        std::mem::forget(raw);
        let Some(peer) = pass.peer else { return };
        self.peers.close(peer);
        let alone = self.peers.get(peer).is_some_and(|peer| peer.in_flight <= 1);
        if let Some(mut sockets) = self.sockets() {
            sockets.write_and_close(peer, if alone { bytes } else { &[] });
        }
    }

    fn render<'a>(
        &self,
        manner: ResponseMode,
        response: &'a Response,
        closes: bool,
    ) -> (Vec<u8>, &'a [u8]) {
        let manner = ResponseMode { closes: closes || manner.closes, ..manner };
        let date = Arc::clone(&self.date.read().unwrap_or_else(PoisonError::into_inner));
        answer::render(response, manner, &date)
    }
}

fn manner(raw: &tiny_http::Request) -> ResponseMode {
    ResponseMode {
        head: *raw.method() == tiny_http::Method::Head,
        closes: head::is_last(raw),
        old: *raw.http_version() == HTTPVersion(1, 0),
    }
}

/// Lets go of a request without an answer; its connection has been shut.
pub(super) fn drop_request(raw: tiny_http::Request) {
    if is_safe_to_drop(&raw) {
        // A request that is dropped whole would wait for its turn to answer 500.
        drop(raw.into_writer());
    } else {
        std::mem::forget(raw);
    }
}

/// Whether a request may be dropped with its body unread.
fn is_safe_to_drop(raw: &tiny_http::Request) -> bool {
    raw.body_length().is_none_or(|length| length <= MAX_DROPPABLE_BODY) || head::upgrades(raw)
}
