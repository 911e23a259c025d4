//! A client that writes any bytes, and an honest one that notices when it has to wait.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// How long anything may take that is waited for.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// Sends bytes and reads all there is until the server closes.
pub(crate) fn last_words(address: &str, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    let _ = stream.write_all(bytes);
    to_end(&mut stream)
}

/// All that comes until the server closes. A reset is an end as well.
pub(crate) fn to_end(stream: &mut TcpStream) -> String {
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("the server has not closed; it said {:?}", String::from_utf8_lossy(&all))
            }
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// One request and its answer on a connection that stays.
pub(crate) fn ask(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<String> {
    stream.write_all(request)?;
    read_answer(stream)
}

/// Reads one answer with a `Content-Length`.
pub(crate) fn read_answer(stream: &mut TcpStream) -> std::io::Result<String> {
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

/// The statuses of all answers in what a server said.
pub(crate) fn statuses(said: &str) -> Vec<u16> {
    let answers = said.split("HTTP/1.").skip(1);
    answers.map(|answer| answer[2..5].parse().unwrap()).collect()
}

/// Asks again and again, each time on a new connection, and keeps how long each took.
pub(crate) struct Honest {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Honest {
    pub(crate) fn begin(address: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (address, ends) = (address.to_owned(), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let mut took = Vec::new();
            while took.len() < 3 || !ends.load(Ordering::Relaxed) {
                took.push(once(&address));
                std::thread::sleep(Duration::from_millis(20));
            }
            took
        });
        Self { over, thread }
    }

    /// It was answered within a second nearly each time: a busy machine may stand still now and then.
    pub(crate) fn was_served(self) {
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

/// How long one honest request takes, from connecting to its answer.
pub(crate) fn once(address: &str) -> Duration {
    let began = Instant::now();
    let answer = ask(&mut connect(address), GET).expect("an honest client is answered");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    began.elapsed()
}

/// Tries until it holds.
pub(crate) fn until(what: &str, time: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < time, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
