//! A server in a process of its own, so that its memory and descriptors are only its own.

use commerce_core::CancellationToken;
use commerce_http::transport::{Server, Settings};
use commerce_http::{Connections, Request, Response, Service, TransportError};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const LISTEN: &str = "ATTACKS_LISTEN";
const SETTINGS: &str = "ATTACKS_SETTINGS";
/// More than any socket takes in without a reader.
static BIG: [u8; 8 * 1024 * 1024] = [0; 8 * 1024 * 1024];

/// Requests that were hidden in others and served all the same.
static HIDDEN: AtomicUsize = AtomicUsize::new(0);

/// Connections that sent no whole request in time.
static SLOW: AtomicUsize = AtomicUsize::new(0);

/// Whether a request that takes its time is under way, or was.
static WAITING: AtomicBool = AtomicBool::new(false);

struct Double;

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
            "/slow" => response(200, SLOW.load(Ordering::SeqCst).to_string().into_bytes()),
            "/waiting" => response(200, WAITING.load(Ordering::SeqCst).to_string().into_bytes()),
            "/nothing" => response(204, Vec::new()),
            "/panic" => panic!("as asked"),
            "/wait" => {
                WAITING.store(true, Ordering::SeqCst);
                std::thread::sleep(Duration::from_secs(1));
                response(200, b"waited".to_vec())
            }
            "/split" => Response {
                headers: vec![("Location", "/a\r\nX-Evil: 1".into())],
                ..response(303, Vec::new())
            },
            _ => response(200, vec![b'x'; 150]),
        }
    }

    fn reject(&self, why: TransportError, _: &Request) -> Response {
        let status = match why {
            TransportError::Malformed => 400,
            TransportError::TooSlow => 408,
            TransportError::BodyTooLarge { .. } => 413,
            TransportError::HeadTooLarge => 431,
            TransportError::Overloaded => 503,
        };
        response(status, format!("{why:?}").into_bytes())
    }

    fn observe(&self, connections: Connections) {
        SLOW.fetch_add(connections.too_slow, Ordering::SeqCst);
    }
}

/// What the child runs: it serves until its standard input ends.
#[test]
fn serve() {
    // Run by itself, as a test among others, it has nothing to do.
    let Some(listen) = std::env::var_os(LISTEN) else { return };
    let listen = listen.into_string().unwrap();
    let mut settings = Settings::default();
    for word in std::env::var_os(SETTINGS).unwrap().into_string().unwrap().split_whitespace() {
        let (name, value) = word.split_once('=').unwrap();
        let (number, time) =
            (value.parse().unwrap(), Duration::from_millis(value.parse().unwrap()));
        match name {
            "head" => settings.head_deadline = time,
            "body" => settings.body_deadline = time,
            "idle" => settings.idle_deadline = time,
            "timeout" => settings.write_timeout = time,
            "stuck" => settings.max_stuck = number,
            "connections" => settings.max_connections = number,
            other => panic!("{other}"),
        }
    }
    let server = Server::bind(&listen.parse().unwrap(), settings).unwrap();
    println!("\nlistening {} {}", server.address(), server.can_shut());
    let stop = CancellationToken::new();
    let asked = stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        asked.cancel();
    });
    let outcome = server.run(Arc::new(Double), &stop);
    println!("\nended {}", outcome.map_or_else(|error| error.to_string(), |()| "well".into()));
}

/// One server is attacked at a time: what an honest client waits for is then that attack's doing.
static TURN: Mutex<()> = Mutex::new(());

/// The child, seen from outside.
pub(crate) struct Child {
    _turn: MutexGuard<'static, ()>,
    process: Process,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub(crate) address: String,
}

impl Child {
    /// A server on a free port, with such settings (milliseconds or numbers).
    pub(crate) fn start(settings: &str) -> Self {
        Self::start_at("127.0.0.1:0", settings, None)
    }

    /// The same, with so few descriptors.
    pub(crate) fn start_at(listen: &str, settings: &str, descriptors: Option<u32>) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut child = Self { _turn: turn, process, input, output, address: String::new() };
        let said = child.hear("listening ");
        let (address, can_shut) = said.split_once(' ').unwrap();
        assert_eq!(can_shut, "true", "these tests need a system that allows pidfd_getfd");
        address.clone_into(&mut child.address);
        child
    }

    fn hear(&mut self, beginning: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the server is gone");
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.trim().to_owned();
            }
        }
    }

    /// The most memory it ever had, in MiB.
    pub(crate) fn peak(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// What `run` returned, once it has.
    pub(crate) fn end(&mut self) -> String {
        self.hear("ended ")
    }

    /// Asks it to stop, and hears how `run` ended.
    pub(crate) fn stop(mut self) -> String {
        self.input.take();
        self.end()
    }

    /// Asks it to stop, without waiting.
    pub(crate) fn ask_to_stop(&mut self) {
        self.input.take().unwrap().flush().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
