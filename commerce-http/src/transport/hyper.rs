//! The server over hyper, for a port that anyone may reach.

use super::connections::{Phase, Registry};
use super::gate::{self, Gate};
use super::listen::{Listen, Listener};
use super::shared::{Connection, Shared};
use super::stream::{self, PIECE};
use super::{Settings, Tls, limits, response};
use crate::message::{Answer, Body, Request, Response, Service, Stream, TransportError};
use commerce_core::CancellationToken;
use commerce_core::sync::Mutex;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderName, HeaderValue};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Method, Version};
use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, TcpListener as StdTcpListener};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::AsyncWrite;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

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
        mut stream: Box<dyn gate::Stream>,
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
                stream_by: Mutex::default(),
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
    async fn answer(&self, request: &Arc<Request>) -> Response {
        let start = || Arc::clone(&self.service).start(Arc::clone(request));
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
        response.unwrap_or_else(|| self.reject(TransportError::Overloaded, request))
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
async fn serve(
    stream: Box<dyn gate::Stream>,
    connection: Arc<Connection>,
    tls: Option<TlsAcceptor>,
) {
    let Some(stream) = decrypt(stream, &connection, tls).await else { return };
    let gate = Gate::new(stream, Arc::clone(&connection));
    let called = Arc::clone(&connection);
    let service = service_fn(move |raw| exchange(Arc::clone(&called), raw));
    let served = Builder::new()
        .half_close(true) // a client that has sent its last request still reads the response
        .header_read_timeout(None) // the gate has its own
        .max_buf_size(PIECE)
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
    stream: Box<dyn gate::Stream>,
    connection: &Connection,
    tls: Option<TlsAcceptor>,
) -> Option<Box<dyn gate::Stream>> {
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
    let shared = &connection.shared;
    let rejected = |reason, request: &Request| Ok(translate(shared.reject(reason, request), true));
    *connection.stream_by.lock() = None;
    let head = connection.head.lock().take();
    let mut request = match head.ok_or(io::ErrorKind::NotConnected)? {
        Ok(request) => request,
        Err((reason, request)) => return rejected(reason, &request),
    };
    let (is_head, is_1_1) = (raw.method() == Method::HEAD, raw.version() == Version::HTTP_11);
    match connection.read_body(raw.into_body()).await {
        Ok(body) => request.body = body,
        Err(reason) => return rejected(reason, &request),
    }
    if !connection.activity.enter(Phase::Work) {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let request = Arc::new(request);
    let mut response = shared.answer(&request).await;
    connection.activity.enter(Phase::Transfer);
    let is_last = shared.is_stopping.load(Ordering::Acquire);
    let write = match response.body {
        Body::Stream(write) if !is_head => write,
        Body::Complete(_) | Body::Stream(_) => return Ok(translate(response, is_last)),
    };
    if !is_1_1 {
        return rejected(TransportError::Malformed, &request);
    }
    response.body = Body::Complete(Cow::Borrowed(b""));
    match stream(&connection, write).await {
        Ok(content) => Ok(translate(response, is_last).map(|_| content)),
        Err(Some(instead)) => Ok(translate(instead, is_last)),
        Err(None) => rejected(TransportError::Overloaded, &request),
    }
}

/// Starts a worker that writes a body, and waits for its first piece. The error is the response to send instead, if
/// there is one.
async fn stream(connection: &Connection, write: Stream) -> Result<Content, Option<Response>> {
    let shared = &connection.shared;
    let permit = Arc::clone(&shared.work).try_acquire_owned().map_err(|_| None)?;
    let until = Instant::now().checked_add(shared.settings.stream_deadline);
    *connection.stream_by.lock() = until;
    let (sender, mut pieces) = mpsc::channel(1);
    let writing = spawn_blocking(move || {
        let _permit = permit;
        let send = |piece: Bytes| {
            let left = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has left");
            sender.blocking_send(piece).map_err(left)
        };
        stream::run(write, until, |piece| send(piece.into()))?;
        send(Bytes::new()).map_err(|_| None)
    });
    match pieces.recv().await {
        Some(first) => Ok(Content::Stream(Some(first), pieces)),
        None => Err(writing.await.ok().and_then(Result::err).flatten()),
    }
}

fn translate(response: Response, is_last: bool) -> hyper::Response<Content> {
    let content = match response.body {
        Body::Complete(Cow::Borrowed(bytes)) => Content::Complete(Bytes::from_static(bytes)),
        Body::Complete(Cow::Owned(bytes)) => Content::Complete(bytes.into()),
        Body::Stream(_) => Content::Stream(None, mpsc::channel(1).1),
    };
    let mut translated = hyper::Response::new(content);
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

/// The body of a response. hyper asks for the next piece when the client has read, and copies none.
enum Content {
    Complete(Bytes),
    /// The first piece, and those that follow. An empty one is the end; without it the stream has failed.
    Stream(Option<Bytes>, mpsc::Receiver<Bytes>),
}

impl hyper::body::Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = match &mut *self {
            Self::Complete(bytes) => bytes.split_to(bytes.len().min(PIECE)),
            Self::Stream(first, pieces) => match first.take() {
                Some(first) => first,
                None => ready!(pieces.poll_recv(cx)).ok_or(io::ErrorKind::BrokenPipe)?,
            },
        };
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Complete(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Complete(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Self::Stream(..) => SizeHint::default(),
        }
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

    async fn accept(&self) -> io::Result<(Box<dyn gate::Stream>, Option<IpAddr>)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                (Box::new(stream), Some(peer.ip().to_canonical()))
            }
            Self::Unix(listener) => (Box::new(listener.accept().await?.0), None),
        })
    }
}
