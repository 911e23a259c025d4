//! A server process, and its end.

use crate::http::client::{Ask, Client};
use crate::http::place::Place;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long anything may take that is waited for, on a machine that is slow and busy.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);

/// A `commerce serve` that is ready. However the test ends, it does not outlive it.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    /// What it wrote to stderr, as far as it was looked at.
    seen: Vec<String>,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    /// On a port that is free.
    pub(crate) fn start(place: &Place) -> Self {
        Self::with(place, &[])
    }

    /// On a port that is free, with further arguments.
    pub(crate) fn with(place: &Place, arguments: &[&str]) -> Self {
        Self::run(place.command(&["serve", "--listen", "127.0.0.1:0"]).args(arguments))
    }

    /// As that command says.
    pub(crate) fn run(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        let reader = thread::spawn(move || {
            // It ends with the process, or when nobody wants the lines any more.
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let address = String::new();
        let mut server = Self { child, address, seen: Vec::new(), lines, reader: Some(reader) };
        server.address = server.wait_for_line(|line| {
            let rest = line.strip_prefix("serving ")?;
            let (rest, _) = rest.rsplit_once(": see ")?;
            Some(rest.rsplit_once(" at ")?.1.to_owned())
        });
        let ready = Ask::get("/readyz");
        wait_until("ready", || {
            server.client().try_ask(&ready).is_ok_and(|answer| answer.status == 200)
        });
        server
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.address)
    }

    /// Waits for a line that has what is looked for, among those seen and those to come.
    pub(crate) fn wait_for_line<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> T {
        let until = Instant::now() + TIMEOUT;
        let mut looked_at = 0;
        loop {
            while let Some(line) = self.seen.get(looked_at) {
                if let Some(found) = find(line) {
                    return found;
                }
                looked_at += 1;
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("{error}; it said {:?}", self.seen),
            }
        }
    }

    /// The id of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// A line of the process's status in kibibytes, such as `VmRSS`.
    pub(crate) fn kibibytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Asks it to end, by the signal of that name.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &process]).status().unwrap().success());
    }

    /// Waits for its end; its status, and all it ever wrote.
    pub(crate) fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let mut status = None;
        wait_until("ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        self.reader.take().unwrap().join().unwrap();
        self.seen.extend(self.lines.try_iter());
        (status.unwrap(), std::mem::take(&mut self.seen))
    }

    /// Ends it in order, as it must be able to; all it ever wrote.
    pub(crate) fn stop(self) -> Vec<String> {
        self.signal("-TERM");
        let (status, said) = self.ended();
        assert_eq!(status.code(), Some(0), "{said:?}");
        said
    }

    pub(crate) fn stop_both(servers: [Self; 2]) {
        for server in servers {
            server.stop();
        }
    }

    /// Ends it at once, as a crash would; all it ever wrote.
    pub(crate) fn kill(self) -> Vec<String> {
        self.signal("-KILL");
        let (status, said) = self.ended();
        assert_eq!(status.code(), None, "it ended by itself: {said:?}");
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Looks again and again until it is so. It is given up when that takes too long.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < until, "it is still not {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
