//! The server over hyper, for a port that anyone may reach.

use super::connections::{Phase, Registry};
use super::gate::{Gate, Stream};
use super::listen::{Listen, Listener};
use super::shared::{Connection, Shared};
use super::{Settings, Tls, limits, response};
use crate::message::{Answer, Request, Response, Service, TransportError};
use commerce_core::CancellationToken;
use commerce_core::sync::Mutex;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderName, HeaderValue};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use std::borrow::Cow;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, TcpListener as StdTcpListener};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::AsyncWrite;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// The size of the parts in which a body is sent, and of the write buffer of a connection.
const PART: usize = 64 * 1024;
/// The time for a client to close a connection after its last response.
const CLOSE: Duration = Duration::from_secs(1);
/// The pause after a failed `accept`, and between the checks of a shutdown.
const TICK: Duration = Duration::from_millis(10);
/// The interval of connection statistics.
const REPORT: Duration = Duration::from_millis(500);

/// A running server.
pub(super) struct Hyper {
    runtime: Runtime,
    shared: Arc<Shared>,
    listener: Listener,
    accepting: JoinHandle<()>,
}

impl Hyper {
    pub(super) fn start(
        listener: Listener,
        settings: Settings,
        service: Arc<dyn Service>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("http")
            .max_blocking_threads(settings.workers.max(1))
            .enable_all()
            .build()?;
        let most = limits::max_connections(settings.max_connections);
        let waiting = settings.workers.saturating_add(settings.max_queue);
        let tls = settings.tls.clone();
        let shared = Arc::new(Shared {
            settings,
            service,
            registry: Registry::default(),
            places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            work: Arc::new(Semaphore::new(waiting.min(Semaphore::MAX_PERMITS))),
            is_stopping: AtomicBool::new(false),
            counts: Mutex::default(),
        });
        let acceptor = {
            let _in_runtime = runtime.enter();
            Acceptor::new(&listener)?
        };
        let accepting = runtime.spawn(Arc::clone(&shared).accept(acceptor, tls));
        Ok(Self { runtime, shared, listener, accepting })
    }

    /// Waits for the stop. Then no connection is accepted, idle ones are closed, and requests in flight may finish
    /// within the grace period.
    pub(super) fn watch(self, stop: &CancellationToken) {
        let Self { runtime, shared, listener, accepting } = self;
        while !stop.wait_timeout(REPORT) {
            shared.report();
        }
        shared.is_stopping.store(true, Ordering::Release);
        accepting.abort();
        let _ = runtime.block_on(accepting);
        drop(listener);
        let until = Instant::now().checked_add(shared.settings.grace);
        loop {
            shared.registry.close_idle();
            if shared.registry.len() == 0 || until.is_none_or(|until| Instant::now() >= until) {
                break;
            }
            std::thread::sleep(TICK);
        }
        shared.report();
        runtime.shutdown_background();
    }
}

impl Shared {
    /// Accepts connections.
    async fn accept(self: Arc<Self>, acceptor: Acceptor, tls: Option<Tls>) {
        loop {
            match acceptor.accept().await {
                Ok((stream, peer)) => {
                    let tls = tls.as_ref().map(|tls| TlsAcceptor::from(tls.config()));
                    self.admit(stream, peer, tls).await;
                }
                Err(error) => {
                    if limits::are_exhausted(&error) {
                        self.evict();
                    }
                    sleep(TICK).await;
                }
            }
        }
    }

    /// Serves a connection if there is a place for it, or one that can be made free.
    async fn admit(
        self: &Arc<Self>,
        mut stream: Box<dyn Stream>,
        peer: Option<IpAddr>,
        tls: Option<TlsAcceptor>,
    ) {
        let mut place = Arc::clone(&self.places).try_acquire_owned().ok();
        if place.is_none() && self.evict() {
            let freed = timeout(CLOSE, Arc::clone(&self.places).acquire_owned()).await;
            place = freed.ok().and_then(Result::ok);
        }
        let Some(place) = place else {
            let response = self.reject(TransportError::Overloaded, &of_peer(peer));
            if tls.is_none() {
                let bytes = response::render(&response, false);
                let write = poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, &bytes));
                // A new connection has room for it.
                let _ = timeout(TICK, write).await;
            }
            return;
        };
        self.registry.add(|number, activity| {
            let connection = Arc::new(Connection {
                shared: Arc::clone(self),
                activity,
                peer,
                is_late: AtomicBool::new(false),
                head: Mutex::default(),
            });
            let entry = Entry { shared: Arc::clone(self), number, _place: place };
            let serve = async move {
                let _entry = entry;
                serve(stream, connection, tls).await;
            };
            tokio::spawn(serve).abort_handle()
        });
    }

    /// Closes a connection in favour of another one, if the service does not work for all of them.
    fn evict(&self) -> bool {
        self.count(|counts| &mut counts.beyond_limit);
        let evicts = self.registry.evict();
        if evicts {
            // Logged and counted. The client would take a response for the one to its next request.
            let _ = self.reject(TransportError::Overloaded, &Request::default());
        }
        evicts
    }

    /// Calls the service. Load shedding and panics become 503, because they may be transient.
    async fn answer(&self, request: Request) -> Response {
        let Request { method, target, headers, peer, .. } = &request;
        let (method, target, headers) = (method.clone(), target.clone(), headers.clone());
        let head = Request { method, target, headers, body: Vec::new(), peer: *peer };
        let start = || Arc::clone(&self.service).start(request);
        let response = match catch_unwind(AssertUnwindSafe(start)) {
            Ok(Answer::Ready(response)) => Some(response),
            // A task of its own: the call is carried out, and then counted and logged, even if the client leaves.
            Ok(Answer::Pending(future)) => tokio::spawn(future).await.ok(),
            Ok(Answer::Blocking(work)) => match Arc::clone(&self.work).try_acquire_owned() {
                Ok(permit) => {
                    let work = move || {
                        let _permit = permit;
                        work()
                    };
                    spawn_blocking(work).await.ok()
                }
                Err(_) => None,
            },
            Err(_) => None,
        };
        response.unwrap_or_else(|| self.reject(TransportError::Overloaded, &head))
    }
}

/// The place of a connection, until its task ends.
struct Entry {
    shared: Arc<Shared>,
    number: u64,
    _place: OwnedSemaphorePermit,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.registry.remove(self.number);
    }
}

/// Serves the requests of a connection.
async fn serve(stream: Box<dyn Stream>, connection: Arc<Connection>, tls: Option<TlsAcceptor>) {
    let Some(stream) = decrypt(stream, &connection, tls).await else { return };
    let gate = Gate::new(stream, Arc::clone(&connection));
    let called = Arc::clone(&connection);
    let service = service_fn(move |raw| exchange(Arc::clone(&called), raw));
    let served = Builder::new()
        .half_close(true) // a client that has sent its last request still reads the response
        .header_read_timeout(None) // the gate has its own
        .max_buf_size(PART)
        .title_case_headers(true)
        .serve_connection(gate, service)
        .without_shutdown()
        .await;
    if let Ok(parts) = served {
        connection.activity.enter(Phase::Transfer);
        parts.io.close(CLOSE).await;
    }
}

/// The stream after the TLS handshake, if there is one. A failed handshake is logged as a rejected request, although
/// there is no way to send the response.
async fn decrypt(
    stream: Box<dyn Stream>,
    connection: &Connection,
    tls: Option<TlsAcceptor>,
) -> Option<Box<dyn Stream>> {
    let Some(tls) = tls else { return Some(stream) };
    let shared = &connection.shared;
    let reason = match timeout(shared.settings.head_deadline, tls.accept(stream)).await {
        Ok(Ok(stream)) => return Some(Box::new(stream)),
        // A probe that connects and closes.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
        Ok(Err(_)) => {
            shared.count(|counts| &mut counts.handshakes);
            TransportError::Malformed
        }
        Err(_) => TransportError::TooSlow,
    };
    let _ = shared.reject(reason, &of_peer(connection.peer));
    None
}

/// Answers a request of which hyper has read the framing.
async fn exchange(
    connection: Arc<Connection>,
    raw: hyper::Request<Incoming>,
) -> io::Result<hyper::Response<Content>> {
    let head = connection.head.lock().take();
    let shared = &connection.shared;
    let (response, is_last) = match head.ok_or(io::ErrorKind::NotConnected)? {
        Ok(mut request) => match connection.read_body(raw.into_body()).await {
            Ok(body) => {
                request.body = body;
                if !connection.activity.enter(Phase::Work) {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                let response = shared.answer(request).await;
                connection.activity.enter(Phase::Transfer);
                (response, shared.is_stopping.load(Ordering::Acquire))
            }
            Err(reason) => (shared.reject(reason, &request), true),
        },
        Err((reason, request)) => (shared.reject(reason, &request), true),
    };
    Ok(translate(response, is_last))
}

fn translate(response: Response, is_last: bool) -> hyper::Response<Content> {
    let body = match response.body {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    let mut translated = hyper::Response::new(Content(body));
    *translated.status_mut() = hyper::StatusCode::from_u16(response.status).unwrap_or_default();
    for (name, value) in response.headers {
        let value = HeaderValue::from_str(&response::safe(&value));
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
            translated.headers_mut().append(name, value);
        }
    }
    if is_last {
        translated.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    translated
}

fn of_peer(peer: Option<IpAddr>) -> Request {
    Request { peer, ..Request::default() }
}

/// The body of a response. hyper asks for the next part when the client has read, and copies none.
struct Content(Bytes);

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.0.len().min(PART);
        Poll::Ready((length > 0).then(|| Ok(Frame::data(self.0.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.0.len()).unwrap_or(u64::MAX))
    }
}

enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    fn new(listener: &Listener) -> io::Result<Self> {
        let copy = listener.socket.try_clone()?;
        copy.set_nonblocking(true)?;
        Ok(match listener.address() {
            Listen::Tcp(_) => Self::Tcp(TcpListener::from_std(StdTcpListener::from(copy))?),
            Listen::Unix(_) => Self::Unix(UnixListener::from_std(StdUnixListener::from(copy))?),
        })
    }

    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Option<IpAddr>)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                (Box::new(stream), Some(peer.ip().to_canonical()))
            }
            Self::Unix(listener) => (Box::new(listener.accept().await?.0), None),
        })
    }
}
