//! A client that sends arbitrary bytes, and an honest client that measures its waits.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// The bound on every wait.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// Sends bytes and reads until the server closes.
pub(crate) fn send_to_end(address: &str, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    let _ = stream.write_all(bytes);
    read_to_end(&mut stream)
}

/// Reads until the server closes. A reset counts as an end.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> String {
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("the server has not closed; it sent {:?}", String::from_utf8_lossy(&all))
            }
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Sends a request on a persistent connection and returns the response.
pub(crate) fn send(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<String> {
    stream.write_all(request)?;
    read_response(stream)
}

/// Reads one response with a `Content-Length`.
pub(crate) fn read_response(stream: &mut TcpStream) -> std::io::Result<String> {
    let (mut all, mut byte) = (Vec::new(), [0]);
    while !all.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        all.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&all).into_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body)?;
    Ok(head + &String::from_utf8_lossy(&body))
}

/// Reads one response with a chunked body: its head, and its body if it is complete.
pub(crate) fn read_chunked(stream: &mut impl Read) -> (String, Option<Vec<u8>>) {
    fn line(stream: &mut impl Read) -> Option<String> {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while !line.ends_with(b"\r\n") {
            stream.read_exact(&mut byte).ok()?;
            line.push(byte[0]);
        }
        Some(String::from_utf8(line).unwrap())
    }
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head += &line(stream).unwrap_or_else(|| panic!("the response ends after {head:?}"));
    }
    let mut body = Vec::new();
    let complete = loop {
        let length = line(stream).and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let Some(length) = length else { break None };
        let mut chunk = vec![0; length + 2];
        let Ok(()) = stream.read_exact(&mut chunk) else { break None };
        assert!(chunk.ends_with(b"\r\n"));
        if length == 0 {
            break Some(body);
        }
        body.extend_from_slice(&chunk[..length]);
    };
    (head, complete)
}

/// Returns the statuses of all responses in the text.
pub(crate) fn statuses(received: &str) -> Vec<u16> {
    let answers = received.split("HTTP/1.").skip(1);
    answers.map(|answer| answer[2..5].parse().unwrap()).collect()
}

/// A client that sends one request after the other, each on a new connection, and records the
/// times.
pub(crate) struct HonestClient {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl HonestClient {
    pub(crate) fn begin(address: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (address, ends) = (address.to_owned(), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let mut took = Vec::new();
            while took.len() < 3 || !ends.load(Ordering::Relaxed) {
                took.push(timed_request(&address));
                std::thread::sleep(Duration::from_millis(20));
            }
            took
        });
        Self { over, thread }
    }

    /// Asserts that nearly all responses came within a second: a busy machine may be slow once or
    /// twice.
    pub(crate) fn assert_served(self) {
        self.over.store(true, Ordering::Relaxed);
        let mut took = self.thread.join().unwrap();
        took.sort_unstable();
        let (asked, worst) = (took.len(), took[took.len() - 1]);
        println!("honest: {asked} answers, the slowest after {worst:?}");
        let slow = took.iter().filter(|took| **took >= Duration::from_secs(1)).count();
        assert!(
            slow <= 1 + asked / 20,
            "an honest client waited {slow} times of {asked}: {worst:?}"
        );
    }
}

/// Measures one honest request, from connecting to its response.
pub(crate) fn timed_request(address: &str) -> Duration {
    let began = Instant::now();
    let answer = send(&mut connect(address), GET).expect("an honest client is answered");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    began.elapsed()
}

/// Waits until the condition holds.
pub(crate) fn wait_until(what: &str, time: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < time, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
