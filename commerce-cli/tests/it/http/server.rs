//! A server process.

use crate::http::client::{Client, Request};
use crate::http::workspace::Workspace;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The bound on every wait, on a slow and busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);

/// A `commerce serve` process that is ready; it is killed on drop.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    /// The lines of stderr read so far.
    seen: Vec<String>,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on a free port.
    pub(crate) fn start(workspace: &Workspace) -> Self {
        Self::with(workspace, &[])
    }

    /// Starts a server on a free port, with further arguments.
    pub(crate) fn with(workspace: &Workspace, arguments: &[&str]) -> Self {
        Self::run(workspace.command(&["serve", "--listen", "127.0.0.1:0"]).args(arguments))
    }

    /// Starts a server by that command, and waits until it is ready.
    pub(crate) fn run(command: &mut Command) -> Self {
        let server = Self::spawn(command);
        let ready = Request::get("/readyz");
        wait_until("ready", || {
            server.client().try_send(&ready).is_ok_and(|response| response.status == 200)
        });
        server
    }

    /// Starts a server by that command, and waits for its address.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        let reader = thread::spawn(move || {
            // The thread ends with the process, or when the receiver of the lines is dropped.
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
        server
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.address)
    }

    /// Waits for a line of stderr, past or future, for which the function returns a value.
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
                Err(error) => panic!("{error}; it wrote {:?}", self.seen),
            }
        }
    }

    /// Returns the id of the process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Returns a line of the process's status in kibibytes, such as `VmRSS`.
    pub(crate) fn kibibytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &process]).status().unwrap().success());
    }

    /// Waits for the end of the process; returns its status and all lines of stderr.
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

    /// Shuts the server down gracefully; returns all lines of stderr.
    pub(crate) fn stop(self) -> Vec<String> {
        self.signal("-TERM");
        let (status, lines) = self.ended();
        assert_eq!(status.code(), Some(0), "{lines:?}");
        lines
    }

    pub(crate) fn stop_both(servers: [Self; 2]) {
        for server in servers {
            server.stop();
        }
    }

    /// Kills the server, like a crash; returns all lines of stderr.
    pub(crate) fn kill(self) -> Vec<String> {
        self.signal("-KILL");
        let (status, lines) = self.ended();
        assert_eq!(status.code(), None, "it ended by itself: {lines:?}");
        lines
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

/// Waits until the condition holds; panics after [`TIMEOUT`].
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < until, "it is still not {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
