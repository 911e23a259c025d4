//! A server in a process of its own, so that its memory and descriptors can be measured.

use super::client::{connect, send};
use commerce_core::CancellationToken;
use commerce_core::sync::{Mutex, MutexGuard};
use commerce_http::transport::{Backend, Server, Settings, Tls};
use commerce_http::{Answer, Body, Connections, Request, Response, Service, TransportError};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::pin::Pin;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

const LISTEN: &str = "ATTACKS_LISTEN";
const SETTINGS: &str = "ATTACKS_SETTINGS";
/// More bytes than any socket buffers without a reader.
static BIG: [u8; 8 * 1024 * 1024] = [0; 8 * 1024 * 1024];

/// The number of smuggled requests that were served.
static HIDDEN: AtomicUsize = AtomicUsize::new(0);

/// The reported connections that sent no complete request in time, that gave way to others, that did not
/// read, and that failed in the TLS handshake.
static REPORTED: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

/// The number of rejected requests, and the log of their targets.
static REJECTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The streams that began, the bytes that they wrote, and the streams that failed at a write.
static STREAMED: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];

struct Double;

/// A stream by its name: `/stream/LENGTH`, `/stream/endless`, one that fails before its first byte or `late`, or that
/// panics.
fn stream(target: String) -> Response {
    let [began, bytes, failed] = &STREAMED;
    let body = Body::Stream(Box::new(move |out| {
        began.fetch_add(1, Ordering::SeqCst);
        let failure = || response(500, b"instead".to_vec());
        let mut write = |length: usize| {
            // Not a divisor of the size of a piece.
            let part = &[b'x'; 10_000][..length.min(10_000)];
            let written = out.write_all(part).map_err(|_| {
                failed.fetch_add(1, Ordering::SeqCst);
                failure()
            });
            written.map(|()| bytes.fetch_add(part.len(), Ordering::SeqCst)).map(|_| part.len())
        };
        match target.strip_prefix("/stream/").unwrap() {
            "early" => return Err(failure()),
            "panic" => panic!("as asked"),
            "late" => {
                (0..20).try_for_each(|_| write(10_000).map(drop))?;
                return Err(failure());
            }
            "endless" => loop {
                write(10_000)?;
            },
            length => {
                let mut left: usize = length.parse().unwrap();
                while left > 0 {
                    left -= write(left)?;
                }
            }
        }
        Ok(())
    }));
    Response { body, ..response(200, Vec::new()) }
}

/// The number of answers that came later.
static COMPLETED: AtomicUsize = AtomicUsize::new(0);

/// An answer that comes half a second after it was asked for.
struct Later(bool);

impl Future for Later {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let waker = cx.waker().clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            waker.wake();
        });
        if !std::mem::replace(&mut self.0, true) {
            println!("\nwaiting");
            return Poll::Pending;
        }
        COMPLETED.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(response(200, b"later".to_vec()))
    }
}

fn response(status: u16, body: Vec<u8>) -> Response {
    Response { status, headers: Vec::new(), body: body.into() }
}

impl Service for Double {
    fn answer(&self, request: &Request) -> Response {
        match request.target.as_str() {
            "/big" => Response { status: 200, headers: Vec::new(), body: BIG[..].into() },
            "/length" | "http://a.example/length" => {
                response(200, request.body.len().to_string().into_bytes())
            }
            "/hidden" => {
                HIDDEN.fetch_add(1, Ordering::SeqCst);
                response(200, Vec::new())
            }
            "/count" => response(200, HIDDEN.load(Ordering::SeqCst).to_string().into_bytes()),
            "/reported" => {
                let reported = REPORTED.each_ref().map(|count| count.load(Ordering::SeqCst));
                response(200, format!("{reported:?}").into_bytes())
            }
            "/rejected" => response(200, format!("{:?}", REJECTED.lock()).into_bytes()),
            "/header" => response(200, request.header("User-Agent").unwrap().as_bytes().to_vec()),
            "/peer" => response(200, format!("{:?}", request.peer).into_bytes()),
            "/headers" => {
                let names = request.headers.iter().map(|(name, _)| name.to_lowercase());
                response(200, names.collect::<Vec<_>>().join(" ").into_bytes())
            }
            "/completed" => {
                response(200, COMPLETED.load(Ordering::SeqCst).to_string().into_bytes())
            }
            "/nothing" => response(204, Vec::new()),
            "/same" => response(304, Vec::new()),
            "/panic" => panic!("as token"),
            "/wait" => {
                println!("\nwaiting");
                std::thread::sleep(Duration::from_secs(1));
                response(200, b"waited".to_vec())
            }
            "/split" => Response {
                headers: vec![("Location", "/a\r\nX-Evil: 1".into())],
                ..response(303, Vec::new())
            },
            "/streamed" => response(200, format!("{STREAMED:?}").into_bytes()),
            target if target.starts_with("/stream/") => stream(target.to_owned()),
            _ => response(200, vec![b'x'; 150]),
        }
    }

    fn start(self: Arc<Self>, request: Arc<Request>) -> Answer {
        match request.target.as_str() {
            "/later" => Answer::Pending(Box::pin(Later(false))),
            "/later/panic" => Answer::Pending(Box::pin(async { panic!("as asked") })),
            _ => Answer::Blocking(Box::new(move || self.answer(&request))),
        }
    }

    fn reject(&self, why: TransportError, request: &Request) -> Response {
        REJECTED.lock().push(format!("{why:?} {}", request.target));
        let status = match why {
            TransportError::Malformed | TransportError::TooOld => 400,
            TransportError::TooSlow => 408,
            TransportError::BodyTooLarge { .. } => 413,
            TransportError::HeadTooLarge => 431,
            TransportError::Overloaded => 503,
        };
        response(status, format!("{why:?}").into_bytes())
    }

    fn observe(&self, connections: Connections) {
        let Connections { too_slow, beyond_limit, unread, handshakes, .. } = connections;
        for (count, more) in REPORTED.iter().zip([too_slow, beyond_limit, unread, handshakes]) {
            count.fetch_add(more, Ordering::SeqCst);
        }
    }
}

/// The child process: it serves until its standard input ends.
#[test]
fn serve() {
    // In the test process itself this is a test without an effect.
    let Some(listen) = std::env::var_os(LISTEN) else { return };
    let listen = listen.into_string().unwrap();
    let mut settings = Settings::default();
    for word in std::env::var_os(SETTINGS).unwrap().into_string().unwrap().split_whitespace() {
        let (name, value) = word.split_once('=').unwrap();
        let number = || value.parse().unwrap();
        let time = || Duration::from_millis(value.parse().unwrap());
        match name {
            "server" => {
                let is_tiny = value == "tiny";
                settings.backend = Some(if is_tiny { Backend::Tiny } else { Backend::Hyper });
            }
            "head" => settings.head_deadline = time(),
            "body" => settings.body_deadline = time(),
            "idle" => settings.idle_deadline = time(),
            "write" => settings.write_deadline = time(),
            "stream" => settings.response_deadline = time(),
            "grace" => settings.grace = time(),
            "workers" => settings.workers = number(),
            "queue" => settings.max_queue = number(),
            "connections" => settings.max_connections = number(),
            "tls" => {
                let folder = Path::new(value);
                let tls = Tls::load(&folder.join("cert.pem"), &folder.join("key.pem")).unwrap();
                settings.tls = Some(tls);
            }
            other => panic!("{other}"),
        }
    }
    let server = Server::bind(&listen.parse().unwrap(), settings).unwrap();
    println!("\nlistening {}", server.address());
    let stop = CancellationToken::new();
    let token = stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        token.cancel();
    });
    let outcome = server.run(Arc::new(Double), &stop);
    println!("\nended {}", outcome.map_or_else(|error| error.to_string(), |()| "well".into()));
}

/// Only one server is attacked at a time, so that an honest client's waits are caused by that
/// attack.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A running child process.
pub(crate) struct Child {
    _exclusive: MutexGuard<'static, ()>,
    process: Process,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub(crate) address: String,
}

impl Child {
    /// Starts a hyper server on a free port, with these settings (milliseconds or numbers).
    pub(crate) fn start(settings: &str) -> Self {
        Self::start_at("127.0.0.1:0", &format!("server=hyper {settings}"), None)
    }

    /// Starts a `hyper` or `tiny` server on a free port.
    pub(crate) fn of(server: &str) -> Self {
        Self::start_at("127.0.0.1:0", &format!("server={server}"), None)
    }

    /// Sends a request to the server and returns the body of its response.
    pub(crate) fn ask(&self, target: &str) -> String {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = send(&mut connect(&self.address), request.as_bytes()).unwrap();
        response.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// The reported connections: too slow, beyond the limit, unread, failed handshakes.
    pub(crate) fn reported(&self) -> [usize; 4] {
        serde_json::from_str(&self.ask("/reported")).unwrap()
    }

    /// The streams that began, the bytes that they wrote, and the streams that failed at a write.
    pub(crate) fn streamed(&self) -> [usize; 3] {
        serde_json::from_str(&self.ask("/streamed")).unwrap()
    }

    /// The reasons and targets of the rejected requests.
    pub(crate) fn rejected(&self) -> Vec<String> {
        serde_json::from_str(&self.ask("/rejected")).unwrap()
    }

    /// Starts a server with a limit on descriptors.
    pub(crate) fn start_at(listen: &str, settings: &str, descriptors: Option<u32>) -> Self {
        let exclusive = ONE_AT_A_TIME.lock();
        let limit = descriptors.map_or_else(String::new, |most| format!("ulimit -n {most}; "));
        let mut process = Command::new("sh")
            .args(["-c", &format!("{limit}exec \"$0\" attacks::child::serve --exact --nocapture")])
            .arg(std::env::current_exe().unwrap())
            .env(LISTEN, listen)
            .env(SETTINGS, settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut child =
            Self { _exclusive: exclusive, process, input, output, address: String::new() };
        child.address = child.wait_for_line("listening ");
        child
    }

    /// Waits for a line of its output, and returns the rest of it.
    pub(crate) fn wait_for_line(&mut self, prefix: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the server is gone");
            if let Some(rest) = line.strip_prefix(prefix) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Returns the peak memory in MiB.
    pub(crate) fn peak(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    /// Returns the number of open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// Waits for `run` to return; returns its result as text.
    pub(crate) fn end(&mut self) -> String {
        self.wait_for_line("ended ")
    }

    /// Requests the shutdown, and returns the result of `run`.
    pub(crate) fn stop(mut self) -> String {
        self.input.take();
        self.end()
    }

    /// Requests the shutdown, without waiting.
    pub(crate) fn request_stop(&mut self) {
        self.input.take().unwrap().flush().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
