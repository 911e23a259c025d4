//! The server over hyper, for a port that anyone may reach.

use super::connections::{CLOSE, Connection, Phase, Shared};
use super::gate::{self, Gate};
use super::listen::{Listen, Listener};
use super::stream::{self, PIECE};
use super::{Settings, Tls, limits, response};
use crate::message::{Answer, Body, Request, Response, Service, Stream, TransportError};
use commerce_core::CancellationToken;
use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
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
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// The pause after a failed `accept`, and between the checks of a shutdown.
const TICK: Duration = Duration::from_millis(10);
/// The interval of connection statistics, and of the search for clients that neither read nor send.
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
        let tls = settings.tls.clone();
        let shared = Arc::new(Shared::new(settings, service));
        let acceptor = {
            let _in_runtime = runtime.enter();
            Acceptor::new(&listener)?
        };
        let accepting = runtime.spawn(accept(Arc::clone(&shared), acceptor, tls));
        let swept = Arc::clone(&shared);
        runtime.spawn(async move {
            loop {
                sleep(REPORT).await;
                swept.sweep();
                swept.report();
            }
        });
        Ok(Self { runtime, shared, listener, accepting })
    }

    /// Waits for the stop. Then no connection is accepted, idle ones are closed, and requests in flight may finish
    /// within the grace period.
    pub(super) fn watch(self, stop: &CancellationToken) {
        let Self { runtime, shared, listener, accepting } = self;
        while !stop.wait_timeout(Duration::MAX) {}
        shared.is_stopping.store(true, Ordering::Release);
        accepting.abort();
        let _ = runtime.block_on(accepting);
        drop(listener);
        let until = Instant::now().checked_add(shared.settings.grace);
        loop {
            shared.sweep();
            if shared.count_open() == 0 || until.is_none_or(|until| Instant::now() >= until) {
                break;
            }
            std::thread::sleep(TICK);
        }
        shared.report();
        runtime.shutdown_background();
    }
}

/// Accepts connections.
async fn accept(shared: Arc<Shared>, acceptor: Acceptor, tls: Option<Tls>) {
    loop {
        let (mut stream, peer) = match acceptor.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if limits::are_exhausted(&error) {
                    shared.evict().await;
                }
                sleep(TICK).await;
                continue;
            }
        };
        let tls = tls.as_ref().map(|tls| TlsAcceptor::from(tls.config()));
        if shared.has_place().await {
            shared.add(peer, |connection| tokio::spawn(serve(stream, connection, tls)));
            continue;
        }
        let response = shared.reject(TransportError::Overloaded, &of_peer(peer));
        if tls.is_none() {
            let bytes = response::render(&response, false);
            // A new connection has room for it.
            let _ = timeout(TICK, stream.write(&bytes)).await;
        }
    }
}

/// Removes a connection when its task ends, for any reason.
struct Entry(Arc<Connection>);

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.shared.remove(self.0.number);
    }
}

/// Serves the requests of a connection.
async fn serve(
    stream: Box<dyn gate::Stream>,
    connection: Arc<Connection>,
    tls: Option<TlsAcceptor>,
) {
    let _entry = Entry(Arc::clone(&connection));
    let Some(stream) = decrypt(stream, &connection, tls).await else { return };
    let gate = Gate::new(stream, Arc::clone(&connection));
    let called = Arc::clone(&connection);
    let served = Builder::new()
        // A client that has sent its last request still reads the response. And hyper reads nothing while the service
        // works, so that a started answer is awaited to its end, even if the client has left: then it is counted and logged.
        .half_close(true)
        .header_read_timeout(None) // the gate has its own
        .max_buf_size(PIECE)
        .title_case_headers(true)
        .serve_connection(gate, service_fn(move |raw| exchange(Arc::clone(&called), raw)))
        .without_shutdown()
        .await;
    if let Ok(parts) = served {
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
    let head = connection.head.lock().take();
    let mut request = head.ok_or(io::ErrorKind::NotConnected)?;
    let (is_head, is_1_1) = (raw.method() == Method::HEAD, raw.version() == Version::HTTP_11);
    let body = read_body(raw.into_body(), shared.settings.max_body);
    match timeout(shared.settings.body_deadline, body).await {
        Ok(Ok(body)) => request.body = body,
        Ok(Err(reason)) => return rejected(reason, &request),
        Err(_) => return rejected(TransportError::TooSlow, &request),
    }
    if !connection.enter(Phase::Work) {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let request = Arc::new(request);
    let Some(mut response) = answer(shared, &request).await else {
        return rejected(TransportError::Overloaded, &request);
    };
    connection.enter(Phase::Transfer);
    let is_last = shared.is_stopping.load(Ordering::Acquire);
    let write = match response.body {
        Body::Stream(write) if !is_head => write,
        Body::Complete(_) | Body::Stream(_) => return Ok(translate(response, is_last)),
    };
    if !is_1_1 {
        return rejected(TransportError::TooOld, &request);
    }
    response.body = Body::Complete(Cow::Borrowed(b""));
    match start_stream(shared, write).await {
        Ok(content) => Ok(translate(response, is_last).map(|_| content)),
        Err(Some(instead)) => Ok(translate(instead, is_last)),
        Err(None) => rejected(TransportError::Overloaded, &request),
    }
}

/// Reads a complete body.
async fn read_body(incoming: Incoming, limit: usize) -> Result<Vec<u8>, TransportError> {
    let (mut incoming, mut body) = (pin!(incoming), Vec::new());
    while let Some(frame) = poll_fn(|cx| incoming.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| TransportError::Malformed)?;
        body.extend_from_slice(&frame.into_data().unwrap_or_default());
        if body.len() > limit {
            return Err(TransportError::BodyTooLarge { limit });
        }
    }
    Ok(body)
}

/// Calls the service. Returns nothing after a panic, or if too many requests wait for a worker.
async fn answer(shared: &Shared, request: &Arc<Request>) -> Option<Response> {
    let start = || Arc::clone(&shared.service).start(Arc::clone(request));
    match catch_unwind(AssertUnwindSafe(start)).ok()? {
        Answer::Ready(response) => Some(response),
        Answer::Pending(mut future) => {
            poll_fn(|cx| {
                let poll = || future.as_mut().poll(cx).map(Some);
                catch_unwind(AssertUnwindSafe(poll)).unwrap_or(Poll::Ready(None))
            })
            .await
        }
        Answer::Blocking(work) => {
            let permit = Arc::clone(&shared.work).try_acquire_owned().ok()?;
            let work = move || {
                let _permit = permit;
                work()
            };
            spawn_blocking(work).await.ok()
        }
    }
}

/// Starts a worker that writes a body, and waits for its first piece. The error is the response to send instead, if
/// there is one.
async fn start_stream(shared: &Shared, write: Stream) -> Result<Content, Option<Response>> {
    let permit = Arc::clone(&shared.work).try_acquire_owned().map_err(|_| None)?;
    let until = Instant::now().checked_add(shared.settings.response_deadline);
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
        // Of a response to HEAD, for its headers.
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
