//! The server over hyper, for a port that anyone may reach.

use super::connections::{CLOSE, Connection, Head, Phase, Shared};
use super::gate::{Gate, Socket, Stream};
use super::listen::{Listen, Listener};
use super::stream::{self, PIECE};
use super::{Settings, limits, response};
use crate::message::{self, Answer, Body, Connections, Request, Response, Service, TransportError};
use commerce_core::CancellationToken;
use http_body_util::{self as body, BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::CONNECTION;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::borrow::Cow;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncWriteExt, copy, join, sink, split};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

/// The pause after a failed `accept`, and between the checks of a shutdown.
const TICK: Duration = Duration::from_millis(10);
/// The interval of connection statistics, and of the search for connections that wait too long.
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
        let shared = Arc::new(Shared::new(settings, service));
        let socket = listener.socket.try_clone()?;
        socket.set_nonblocking(true)?;
        let in_runtime = runtime.enter();
        let acceptor = match listener.address() {
            Listen::Tcp(_) => Either::Left(TcpListener::from_std(socket.into())?),
            Listen::Unix(_) => Either::Right(UnixListener::from_std(OwnedFd::from(socket).into())?),
        };
        drop(in_runtime);
        let accepting = runtime.spawn(accept(Arc::clone(&shared), acceptor));
        Ok(Self { runtime, shared, listener, accepting })
    }

    /// Waits for the stop. Then no connection is accepted, idle ones are closed, and requests in flight may finish
    /// within the grace period.
    pub(super) fn watch(self, stop: &CancellationToken) {
        let Self { runtime, shared, listener, accepting } = self;
        while !stop.wait_timeout(REPORT) {
            shared.sweep();
        }
        shared.is_stopping.store(true, Ordering::Release);
        accepting.abort();
        let _ = runtime.block_on(accepting);
        drop(listener);
        let until = Instant::now().checked_add(shared.settings.grace);
        let in_time = || until.is_some_and(|until| Instant::now() < until);
        while shared.sweep() > 0 && in_time() {
            std::thread::sleep(TICK);
        }
        runtime.shutdown_background();
    }
}

/// Accepts connections, and serves each if there is a place for it.
async fn accept(shared: Arc<Shared>, mut acceptor: Either<TcpListener, UnixListener>) {
    loop {
        let (mut socket, peer) = match acceptor.accept().await {
            Ok(Either::Left((tcp, peer))) => (Either::Left(tcp), Some(peer.ip().to_canonical())),
            Ok(Either::Right((unix, _))) => (Either::Right(unix), None),
            Err(error) => {
                if limits::are_exhausted(&error) {
                    shared.evict();
                }
                sleep(TICK).await;
                continue;
            }
        };
        if shared.has_place() {
            shared.add(peer, |connection| serve(socket, connection));
            continue;
        }
        let request = Request { peer, ..Request::default() };
        let response = shared.reject(TransportError::Overloaded, &request);
        if shared.settings.tls.is_none() {
            let bytes = response::render(&response, false);
            // A new connection has room for it.
            let _ = timeout(TICK, socket.write(&bytes)).await;
        }
    }
}

/// Serves the requests of a connection.
async fn serve(socket: Socket, connection: Arc<Connection>) {
    let shared = &connection.shared;
    let Some(stream) = decrypt(socket, &connection).await else { return };
    let (reader, writer) = split(stream);
    let mut writer = TimeoutWriter::new(writer);
    writer.set_timeout(Some(shared.settings.write_deadline));
    let io = join(Gate::new(reader, &connection), Box::pin(writer));
    let served = Builder::new()
        // A client that has sent its last request still reads the response. And hyper reads nothing while the service
        // works, so that a started answer is awaited to its end, even if the client has left: it is counted and logged.
        .half_close(true)
        .header_read_timeout(None) // the gate has its own
        .max_buf_size(PIECE)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(io), service_fn(|raw| exchange(&connection, raw)))
        .without_shutdown()
        .await;
    connection.enter(Phase::Transfer);
    match served {
        Ok(parts) => {
            let (mut gate, mut writer) = parts.io.into_inner().into_inner();
            // Discards what the client still sends, for a limited time. Closing a socket with unread bytes resets the
            // connection, and the client may lose the last response.
            let discard = async {
                writer.shutdown().await?;
                copy(&mut gate.stream, &mut sink()).await
            };
            let _ = timeout(CLOSE, discard).await;
        }
        Err(error) => {
            let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
            if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut) {
                shared.report(Connections { unread: 1, ..Connections::default() });
            }
        }
    }
}

/// The stream after the TLS handshake, if there is one. A failed handshake is logged as a rejected request, although
/// there is no way to send the response.
async fn decrypt(socket: Socket, connection: &Connection) -> Option<Stream> {
    let shared = &connection.shared;
    let Some(tls) = &shared.settings.tls else { return Some(Either::Left(socket)) };
    let handshake = TlsAcceptor::from(tls.config()).accept(socket);
    let reason = match timeout(shared.settings.head_deadline, handshake).await {
        Ok(Ok(stream)) => return Some(Either::Right(Box::new(stream))),
        // A probe that connects and closes.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
        Ok(Err(_)) => {
            shared.report(Connections { handshakes: 1, ..Connections::default() });
            TransportError::Malformed
        }
        Err(_) => TransportError::TooSlow,
    };
    let _ = shared.reject(reason, &Request { peer: connection.peer, ..Request::default() });
    None
}

/// Answers a request of which hyper has read the framing.
async fn exchange(
    connection: &Connection,
    raw: hyper::Request<Incoming>,
) -> Result<hyper::Response<Content>, Box<dyn Error + Send + Sync>> {
    let shared = &connection.shared;
    let head = connection.head.lock().take();
    let mut head = head.ok_or("hyper reads no head but those of the gate")?;
    let answered = respond(connection, &mut head, raw.into_body()).await;
    connection.enter(Phase::Transfer);
    let is_last = answered.is_err() || shared.is_stopping.load(Ordering::Acquire);
    let rejected = |reason| (shared.reject(reason, &head.request), None);
    let translated = translate(answered.unwrap_or_else(rejected), is_last);
    // A status or a name of a header that HTTP does not have.
    let defective = |_| translate(rejected(TransportError::Overloaded), true);
    Ok(translated.or_else(defective)?)
}

/// A response, and its stream if it has begun. The error is the reason to reject the request.
type Answered = Result<(Response, Option<Streamed>), TransportError>;

async fn respond(connection: &Connection, head: &mut Head, body: Incoming) -> Answered {
    let shared = &connection.shared;
    head.verdict?;
    Arc::make_mut(&mut head.request).body = read_body(body, &shared.settings).await?;
    // Not served if the connection is being closed.
    connection.enter(Phase::Work).then_some(()).ok_or(TransportError::Overloaded)?;
    let answer = survive(answer(shared, &head.request)).await;
    let mut response = answer.ok_or(TransportError::Overloaded)?;
    match response.body {
        Body::Stream(write) if head.request.method != "HEAD" => {
            if !head.is_1_1 {
                return Err(TransportError::TooOld);
            }
            response.body = b""[..].into();
            start_stream(shared, response, write).await
        }
        Body::Complete(_) | Body::Stream(_) => Ok((response, None)),
    }
}

/// Reads a complete body.
async fn read_body(incoming: Incoming, settings: &Settings) -> Result<Vec<u8>, TransportError> {
    let limit = settings.max_body;
    let body = Limited::new(incoming, limit).collect();
    match timeout(settings.body_deadline, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(TransportError::BodyTooLarge { limit })
        }
        Ok(Err(_)) => Err(TransportError::Malformed),
        Err(_) => Err(TransportError::TooSlow),
    }
}

/// Calls the service. Returns nothing if too many requests wait for a worker.
async fn answer(shared: &Shared, request: &Arc<Request>) -> Option<Response> {
    match Arc::clone(&shared.service).start(Arc::clone(request)) {
        Answer::Ready(response) => Some(response),
        Answer::Pending(response) => Some(response.await),
        Answer::Blocking(work) => shared.block(work)?.await.ok(),
    }
}

/// Awaits a future. Returns nothing after a panic.
async fn survive<T>(future: impl Future<Output = Option<T>>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let poll = || future.as_mut().poll(cx);
        catch_unwind(AssertUnwindSafe(poll)).unwrap_or(Poll::Ready(None))
    })
    .await
}

/// Starts a worker that writes a body, and waits for its first piece. A stream that fails before it may have another
/// response.
async fn start_stream(shared: &Shared, response: Response, write: message::Stream) -> Answered {
    let until = Instant::now().checked_add(shared.settings.response_deadline);
    let (sender, mut rest) = mpsc::channel(1);
    let writing = shared.block(move || {
        stream::run(write, until, |piece| {
            let left = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has left");
            sender.blocking_send(piece.into()).map_err(left)
        })
    });
    if let Some(first) = rest.recv().await {
        return Ok((response, Some(Streamed { first: Some(first), rest })));
    }
    let failed = writing.ok_or(TransportError::Overloaded)?.await;
    let instead = failed.ok().and_then(Result::err).flatten();
    Ok((instead.ok_or(TransportError::Overloaded)?, None))
}

/// The response for hyper, perhaps the last of its connection.
fn translate(
    (response, stream): (Response, Option<Streamed>),
    is_last: bool,
) -> hyper::http::Result<hyper::Response<Content>> {
    let content = match (stream, response.body) {
        (Some(pieces), _) => body::Either::Right(pieces),
        // Of a response to HEAD, for its headers.
        (None, Body::Stream(_)) => {
            body::Either::Right(Streamed { first: None, rest: mpsc::channel(1).1 })
        }
        (None, Body::Complete(Cow::Borrowed(bytes))) => {
            body::Either::Left(Bytes::from_static(bytes).into())
        }
        (None, Body::Complete(Cow::Owned(bytes))) => body::Either::Left(Bytes::from(bytes).into()),
    };
    let mut translated = hyper::Response::builder().status(response.status);
    for (name, value) in response.headers {
        translated = translated.header(name, &*response::safe(&value));
    }
    if is_last {
        translated = translated.header(CONNECTION, "close");
    }
    translated.body(content)
}

/// The body of a response.
type Content = body::Either<Full<Bytes>, Streamed>;

/// A stream: its first piece, and those that follow. An empty one is the end; without it the stream has failed. hyper
/// asks for the next piece when the client has read.
struct Streamed {
    first: Option<Bytes>,
    rest: mpsc::Receiver<Bytes>,
}

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = match self.first.take() {
            Some(first) => first,
            None => ready!(self.rest.poll_recv(cx)).ok_or(io::ErrorKind::BrokenPipe)?,
        };
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }
}
