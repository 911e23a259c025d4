//! A small HTTP/1.1 client with a persistent connection. Every wait is bounded.

use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The timeout of one read or write: longer than a call waits for the write lock.
const DEADLINE: Duration = Duration::from_secs(20);

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
}

impl Request {
    pub(crate) fn new(method: &'static str, target: impl Into<String>) -> Self {
        Self { method, target: target.into(), headers: Vec::new(), body: None }
    }

    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn post(target: impl Into<String>, body: &Value) -> Self {
        Self::new("POST", target).body(body)
    }

    pub(crate) fn body(self, body: &Value) -> Self {
        self.text_body(&body.to_string())
    }

    /// Sets the body as text.
    pub(crate) fn text_body(self, body: &str) -> Self {
        Self { body: Some(body.to_owned()), ..self }.with("Content-Type", "application/json")
    }

    pub(crate) fn key(self, key: impl Into<String>) -> Self {
        self.with("Idempotency-Key", key)
    }

    /// Sets the token of the caller.
    pub(crate) fn by(self, token: &str) -> Self {
        self.with("Authorization", format!("Bearer {token}"))
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn text(&self) -> String {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let body = self.body.as_deref().unwrap_or_default();
        if self.body.is_some() {
            let _ = write!(text, "Content-Length: {}\r\n", body.len());
        }
        text + "\r\n" + body
    }
}

/// A response.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(sent, _)| sent.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Returns the status and the error code, which is empty on success.
    pub(crate) fn outcome(&self) -> (u16, String) {
        let problem = if self.status < 400 { Value::Null } else { self.json() };
        (self.status, problem["code"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn replayed(&self) -> bool {
        self.header("Idempotency-Replayed") == Some("true")
    }
}

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// A client of one server.
pub(crate) struct Client {
    address: String,
    wire: Option<BufReader<Box<dyn Wire>>>,
}

impl Client {
    /// Creates a client for `127.0.0.1:8080` or `unix:PATH`.
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), wire: None }
    }

    /// Sends a request; panics without a response.
    pub(crate) fn send(&mut self, request: &Request) -> Response {
        self.try_send(request).unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }

    /// Sends a request. After an error its effect is unknown.
    pub(crate) fn try_send(&mut self, request: &Request) -> io::Result<Response> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => BufReader::new(connect(&self.address)?),
        };
        wire.get_mut().write_all(request.text().as_bytes())?;
        let response = read(&mut wire, request.method)?;
        let closes =
            response.header("Connection").is_some_and(|how| how.eq_ignore_ascii_case("close"));
        self.wire = Some(wire).filter(|_| !closes);
        Ok(response)
    }
}

/// Returns true if the address accepts connections.
pub(crate) fn is_open(address: &str) -> bool {
    connect(address).is_ok()
}

fn connect(address: &str) -> io::Result<Box<dyn Wire>> {
    if let Some(path) = address.strip_prefix("unix:") {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        return Ok(Box::new(stream));
    }
    let address = address.parse().map_err(io::Error::other)?;
    let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(Box::new(stream))
}

fn read(wire: &mut impl BufRead, method: &str) -> io::Result<Response> {
    let status = line(wire)?;
    let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("no status line"))?;
    let mut response = Response { status, headers: Vec::new(), body: String::new() };
    loop {
        let line = line(wire)?;
        let Some((name, value)) = line.split_once(':') else { break };
        response.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = response.header("Content-Length").map_or(Ok(0), str::parse);
    let length = if method == "HEAD" { 0 } else { length.map_err(io::Error::other)? };
    let mut body = vec![0; length];
    wire.read_exact(&mut body)?;
    response.body = String::from_utf8(body).map_err(io::Error::other)?;
    Ok(response)
}

fn line(wire: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if wire.read_line(&mut line)? == 0 || !line.ends_with("\r\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
