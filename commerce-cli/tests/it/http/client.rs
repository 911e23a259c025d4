//! A small HTTP/1.1 client that keeps its connection. Nothing it does waits without an end.

use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long one read or write may take. Longer than the service lets a caller wait for its turn.
const DEADLINE: Duration = Duration::from_secs(20);

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
}

impl Ask {
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

    /// With a body as it is written.
    pub(crate) fn text_body(self, body: &str) -> Self {
        Self { body: Some(body.to_owned()), ..self }.with("Content-Type", "application/json")
    }

    pub(crate) fn key(self, key: impl Into<String>) -> Self {
        self.with("Idempotency-Key", key)
    }

    /// With the token of whoever asks.
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

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(sent, _)| sent.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The status, and the code of a problem; empty when all went well.
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

/// A client of the server at that address.
pub(crate) struct Client {
    address: String,
    wire: Option<BufReader<Box<dyn Wire>>>,
}

impl Client {
    /// `127.0.0.1:8080` or `unix:PATH`.
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), wire: None }
    }

    /// Asks, and has to be answered.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Answer {
        self.try_ask(ask).unwrap_or_else(|error| panic!("{ask:?}: {error}"))
    }

    /// Asks. After an error it is not known what came of it.
    pub(crate) fn try_ask(&mut self, ask: &Ask) -> io::Result<Answer> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => BufReader::new(connect(&self.address)?),
        };
        wire.get_mut().write_all(ask.text().as_bytes())?;
        let answer = read(&mut wire, ask.method)?;
        let closes =
            answer.header("Connection").is_some_and(|how| how.eq_ignore_ascii_case("close"));
        self.wire = Some(wire).filter(|_| !closes);
        Ok(answer)
    }
}

/// Whether anybody takes connections there.
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

fn read(wire: &mut impl BufRead, method: &str) -> io::Result<Answer> {
    let status = line(wire)?;
    let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("no status line"))?;
    let mut answer = Answer { status, headers: Vec::new(), body: String::new() };
    loop {
        let line = line(wire)?;
        let Some((name, value)) = line.split_once(':') else { break };
        answer.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = answer.header("Content-Length").map_or(Ok(0), str::parse);
    let length = if method == "HEAD" { 0 } else { length.map_err(io::Error::other)? };
    let mut body = vec![0; length];
    wire.read_exact(&mut body)?;
    answer.body = String::from_utf8(body).map_err(io::Error::other)?;
    Ok(answer)
}

fn line(wire: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if wire.read_line(&mut line)? == 0 || !line.ends_with("\r\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
