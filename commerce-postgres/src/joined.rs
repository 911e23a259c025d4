//! A stream to the server on which statements that are sent together share one `Sync`.
//!
//! The driver ends each statement with a `Sync`, after which the server sends what it has and reports that it is ready:
//! a system call and a wake-up of both sides for each statement. This stream removes all but the last `Sync` of a
//! group and adds the reports that the driver waits for. After an error the server skips the rest of the group, so the
//! stream answers the rest as the server answers statements of a failed transaction.

use commerce_core::sync::Mutex;
use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_postgres::config::{Host, SslMode, SslNegotiation, TargetSessionAttrs};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Config, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The length of the header of a message: its tag, and the length of the rest.
const HEADER: usize = 5;

/// The number of bytes that are read at once.
const READ_SIZE: usize = 16 * 1024;

/// Messages to the server.
const SYNC: u8 = b'S';
const CLOSE: u8 = b'C';

/// Messages of the server.
const COMMAND_COMPLETE: u8 = b'C';
const EMPTY_QUERY: u8 = b'I';
const ERROR: u8 = b'E';
const READY: u8 = b'Z';
const CLOSE_COMPLETE: u8 = b'3';

/// The request for TLS, and the server's consent.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const TLS_ACCEPTED: u8 = b'S';

/// `ReadyForQuery` in a transaction. The driver does not read the state of the transaction.
const READY_MESSAGE: [u8; 6] = [READY, 0, 0, 0, 5, b'T'];

/// The error of the server for statements of a failed transaction: severity, code and text.
const SKIPPED: [&[u8]; 4] = [b"SERROR\0", b"C25P02\0", b"Mit follows a failed statement\0", b"\0"];

/// The statements in progress: for each, whether it is joined with the next one.
#[derive(Debug, Default)]
struct Plan {
    /// The connection is open: all bytes belong to messages with a header.
    is_open: bool,
    to_send: VecDeque<bool>,
    to_answer: VecDeque<bool>,
}

/// The side of the stream that knows which statements belong together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Joints(Arc<Mutex<Plan>>);

impl Joints {
    /// Announces the next statements: for each, whether it is joined with the next one. The answers of earlier ones have
    /// arrived.
    pub(crate) fn announce(&self, joined: impl Iterator<Item = bool> + Clone) {
        let mut plan = self.0.lock();
        plan.is_open = true;
        plan.to_send = joined.clone().collect();
        plan.to_answer = joined.collect();
    }
}

#[derive(Debug)]
pub(crate) struct JoinedStream<S> {
    inner: S,
    joints: Joints,
    /// Bytes that the inner stream has not accepted yet.
    unsent: VecDeque<u8>,
    /// Bytes from the server up to an incomplete message.
    received: Vec<u8>,
    /// Bytes for the driver.
    answered: VecDeque<u8>,
    /// The last message of either side was about closing a statement: its `Sync` is not among those announced.
    is_closing: [bool; 2],
}

impl<S> JoinedStream<S> {
    pub(crate) fn new(inner: S, joints: Joints) -> Self {
        let (unsent, received, answered) = (VecDeque::new(), Vec::new(), VecDeque::new());
        Self { inner, joints, unsent, received, answered, is_closing: [false; 2] }
    }

    /// Takes whole messages of the driver without the `Sync`s between joined statements.
    fn join(&mut self, mut bytes: &[u8], plan: &mut Plan) -> io::Result<()> {
        while let Some((message, rest)) = split(bytes) {
            let tag = message.first().copied().unwrap_or_default();
            let is_joined =
                tag == SYNC && !self.is_closing[0] && plan.to_send.pop_front().unwrap_or_default();
            if !is_joined {
                self.unsent.extend(message);
            }
            self.is_closing[0] = tag == CLOSE;
            bytes = rest;
        }
        if bytes.is_empty() {
            Ok(())
        } else {
            Err(io::Error::new(ErrorKind::InvalidData, "the driver has sent a part of a message"))
        }
    }

    /// Passes whole messages of the server on, with the reports that the driver waits for.
    fn separate(&mut self, plan: &mut Plan) {
        let received = std::mem::take(&mut self.received);
        let mut bytes = received.as_slice();
        while let Some((message, rest)) = split(bytes) {
            self.answered.extend(message);
            let tag = message.first().copied().unwrap_or_default();
            let is_joined = plan.to_answer.front() == Some(&true);
            match tag {
                COMMAND_COMPLETE | EMPTY_QUERY if is_joined => {
                    self.answered.extend(READY_MESSAGE);
                    plan.to_answer.pop_front();
                }
                ERROR if is_joined => {
                    while plan.to_answer.pop_front() == Some(true) {
                        self.answered.extend(READY_MESSAGE);
                        self.answered.extend(skipped());
                    }
                    // The last one of the group gets the server's own report.
                    plan.to_answer.push_front(false);
                }
                READY if !self.is_closing[1] => drop(plan.to_answer.pop_front()),
                _ => {}
            }
            self.is_closing[1] = tag == CLOSE_COMPLETE;
            bytes = rest;
        }
        let passed_on = received.len().saturating_sub(bytes.len());
        self.received = received;
        self.received.drain(..passed_on);
    }
}

/// Splits the first message off, if it is complete.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length: [u8; 4] = bytes.get(1..HEADER)?.try_into().ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    bytes.split_at_checked(length.checked_add(1)?.max(HEADER))
}

fn skipped() -> Vec<u8> {
    let body = SKIPPED.concat();
    let length = u32::try_from(body.len().saturating_add(4)).unwrap_or_default();
    [&[ERROR][..], &length.to_be_bytes(), &body].concat()
}

impl<S: AsyncWrite + Unpin> JoinedStream<S> {
    fn send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let (bytes, _) = self.unsent.as_slices();
            let sent = ready!(Pin::new(&mut self.inner).poll_write(context, bytes))?;
            if sent == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..sent.min(self.unsent.len()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for JoinedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let joints = self.joints.clone();
        let mut plan = joints.0.lock();
        if !plan.is_open {
            drop(plan);
            return Pin::new(&mut self.inner).poll_write(context, bytes);
        }
        self.join(bytes, &mut plan)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send(context))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for JoinedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let joints = self.joints.clone();
        while self.answered.is_empty() {
            if !joints.0.lock().is_open {
                return Pin::new(&mut self.inner).poll_read(context, buffer);
            }
            let mut bytes = [0; READ_SIZE];
            let mut chunk = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.inner).poll_read(context, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.received.extend_from_slice(chunk.filled());
            self.separate(&mut joints.0.lock());
        }
        let (bytes, _) = self.answered.as_slices();
        let count = bytes.len().min(buffer.remaining());
        buffer.put_slice(bytes.get(..count).unwrap_or_default());
        self.answered.drain(..count);
        Poll::Ready(Ok(()))
    }
}

/// The stream of a TCP connection: encrypted if both sides agree.
pub(crate) enum Transport {
    Plain(Socket),
    Tls(Box<RustlsStream>),
}

type Rustls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
type RustlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
type BoxError = Box<dyn Error + Send + Sync>;

/// Applies a function to the stream inside.
macro_rules! inside {
    ($transport:expr, $stream:ident => $result:expr) => {
        match $transport.get_mut() {
            Transport::Plain($stream) => $result,
            Transport::Tls($stream) => $result,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        inside!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        inside!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        inside!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        inside!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}

impl TlsStream for JoinedStream<Transport> {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.inner {
            Transport::Plain(_) => ChannelBinding::none(),
            Transport::Tls(stream) => stream.channel_binding(),
        }
    }
}

/// Opens joined streams over TCP. The driver takes it for TLS without a request for it, which it leaves to a connector
/// completely: the request and the mode that the URL asks for are here.
#[derive(Clone)]
pub(crate) struct JoinedConnector {
    tls: MakeRustlsConnect,
    mode: SslMode,
    joints: Joints,
}

impl JoinedConnector {
    /// Returns a connector for a server, and the server as the driver must see it. `None` if the driver must connect by
    /// itself: it has more checks of URLs without a host name, and of direct TLS that is only preferred.
    pub(crate) fn of(
        server: &Config,
        tls: &MakeRustlsConnect,
        joints: &Joints,
    ) -> Option<(Self, Config)> {
        let mode = server.get_ssl_mode();
        let has_host = matches!(server.get_hosts(), [Host::Tcp(_)]);
        if !has_host || server.get_ssl_negotiation() == SslNegotiation::Direct {
            return None;
        }
        let mut server = server.clone();
        server.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        let (tls, joints) = (tls.clone(), joints.clone());
        Some((Self { tls, mode, joints }, server))
    }
}

impl MakeTlsConnect<Socket> for JoinedConnector {
    type Stream = JoinedStream<Transport>;
    type TlsConnect = JoinedConnect;
    type Error = BoxError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<JoinedConnect, BoxError> {
        let tls = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.tls, domain)?;
        Ok(JoinedConnect { tls, mode: self.mode, joints: self.joints.clone() })
    }
}

pub(crate) struct JoinedConnect {
    tls: Rustls,
    mode: SslMode,
    joints: Joints,
}

impl TlsConnect<Socket> for JoinedConnect {
    type Stream = JoinedStream<Transport>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, BoxError>> + Send>>;

    fn connect(self, mut socket: Socket) -> Self::Future {
        Box::pin(async move {
            let transport = if self.mode == SslMode::Disable {
                Transport::Plain(socket)
            } else {
                socket.write_all(&TLS_REQUEST).await?;
                let mut answer = [0];
                socket.read_exact(&mut answer).await?;
                if answer == [TLS_ACCEPTED] {
                    Transport::Tls(Box::new(self.tls.connect(socket).await?))
                } else if self.mode == SslMode::Require {
                    return Err("server does not support TLS".into());
                } else {
                    Transport::Plain(socket)
                }
            };
            Ok(JoinedStream::new(transport, self.joints))
        })
    }
}

/// Connects to a server on this machine by its socket. `None` if the driver must: it reports a failure, checks what kind of
/// server it is, and refuses TLS.
#[cfg(unix)]
pub(crate) async fn connect_unix(
    server: &Config,
    joints: &Joints,
) -> Option<JoinedStream<UnixStream>> {
    let [Host::Unix(folder)] = server.get_hosts() else { return None };
    let is_simple = server.get_ssl_mode() != SslMode::Require
        && server.get_target_session_attrs() == TargetSessionAttrs::Any
        && server.get_hostaddrs().is_empty();
    let port = server.get_ports().first().copied().unwrap_or(5_432);
    let file = folder.join(format!(".s.PGSQL.{port}"));
    let stream = UnixStream::connect(file).await.ok().filter(|_| is_simple)?;
    Some(JoinedStream::new(stream, joints.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY_IDLE: &[u8] = b"Z\0\0\0\x05I";
    const SYNC_MESSAGE: &[u8] = b"S\0\0\0\x04";

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len().saturating_add(4)).unwrap();
        [&[tag][..], &length.to_be_bytes(), body].concat()
    }

    fn statement(name: &str) -> Vec<u8> {
        [message(b'B', name.as_bytes()), message(b'E', b""), SYNC_MESSAGE.to_vec()].concat()
    }

    /// A stream with these statements announced.
    fn announced(joined: &[bool]) -> JoinedStream<()> {
        let joints = Joints::default();
        joints.announce(joined.iter().copied());
        JoinedStream::new((), joints)
    }

    fn sent(stream: &mut JoinedStream<()>, bytes: &[u8]) -> Vec<u8> {
        let joints = stream.joints.clone();
        stream.join(bytes, &mut joints.0.lock()).unwrap();
        stream.unsent.drain(..).collect()
    }

    /// What the driver reads of what the server sends in pieces of that size: the tags of the messages.
    fn answered(stream: &mut JoinedStream<()>, bytes: &[u8], size: usize) -> String {
        let joints = stream.joints.clone();
        for piece in bytes.chunks(size) {
            stream.received.extend(piece);
            stream.separate(&mut joints.0.lock());
        }
        assert!(stream.received.is_empty(), "an incomplete message is left");
        let answered: Vec<u8> = stream.answered.drain(..).collect();
        let (mut rest, mut tags) = (answered.as_slice(), String::new());
        while let Some((message, after)) = split(rest) {
            tags.push(char::from(message[0]));
            rest = after;
        }
        assert!(rest.is_empty());
        tags
    }

    #[test]
    fn only_the_last_sync_of_a_group_is_sent() {
        let mut stream = announced(&[true, true, false, true, false]);
        let all: Vec<u8> = ["a", "b", "c", "d", "e"].map(statement).concat();
        let unsynced = |name| {
            let mut all = statement(name);
            all.truncate(all.len().saturating_sub(SYNC_MESSAGE.len()));
            all
        };
        let groups = [unsynced("a"), unsynced("b"), statement("c"), unsynced("d"), statement("e")];
        let expected = groups.concat();
        assert_eq!(sent(&mut stream, &all), expected);
    }

    /// Closing a statement, which the driver does by itself, has a `Sync` of its own.
    #[test]
    fn sync_after_a_close_is_kept() {
        let mut stream = announced(&[true, false]);
        let close = [message(b'C', b"Sold\0"), SYNC_MESSAGE.to_vec()].concat();
        let all = [close.clone(), statement("a"), statement("b")].concat();
        let without = statement("a").len().saturating_sub(SYNC_MESSAGE.len());
        let expected = [&close[..], &statement("a")[..without], &statement("b")].concat();
        assert_eq!(sent(&mut stream, &all), expected);
        let done = message(b'C', b"SELECT 1\0");
        let answers = [message(b'3', b""), READY_IDLE.to_vec(), done.clone(), done].concat();
        let answers = [&answers[..], READY_IDLE].concat();
        assert_eq!(answered(&mut stream, &answers, 7), "3ZCZCZ");
    }

    #[test]
    fn every_statement_gets_its_report_in_pieces_of_any_size() {
        let row = message(b'D', b"\0\x01\0\0\0\x01x");
        let done = message(b'C', b"SELECT 1\0");
        let answers = [&row[..], &done, &done, &done, READY_IDLE, &row, &done, READY_IDLE].concat();
        for size in 1..answers.len() {
            let mut stream = announced(&[true, true, false, false]);
            assert_eq!(answered(&mut stream, &answers, size), "DCZCZCZDCZ");
        }
    }

    /// The server skips the rest of the group, and continues with the next one.
    #[test]
    fn statements_after_a_failed_one_of_their_group_fail() {
        let done = message(b'C', b"SELECT 1\0");
        let error = message(b'E', b"SERROR\0\0");
        let answers = [&done[..], &error, READY_IDLE, &done, READY_IDLE].concat();
        let mut stream = announced(&[true, true, true, false, false]);
        assert_eq!(answered(&mut stream, &answers, 3), "CZEZEZEZCZ");
        // The last one of its group fails by itself.
        let mut stream = announced(&[true, false, false]);
        assert_eq!(answered(&mut stream, &answers, 3), "CZEZCZ");
    }
}
