//! The limits in one place, each with its reason.

use std::time::Duration;

/// Limits of a [`Server`](super::Server). The defaults suit a small machine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads that answer: 32. More than processors, since an answer often waits for a commit.
    pub workers: usize,
    /// The largest body: 64 KiB. A longer one is answered 413 and its connection closed.
    pub max_body: usize,
    /// The longest target (path and query): 2 KiB.
    pub max_target: usize,
    /// All header names and values together: 8 KiB.
    pub max_header_bytes: usize,
    /// Header lines: 64.
    pub max_headers: usize,
    /// How long a body may take to arrive: 10 s. Then 408.
    pub body_deadline: Duration,
    /// How long a new connection may take to send its first whole head: 10 s. Then it is closed.
    pub head_deadline: Duration,
    /// How long a connection may be idle between requests: 60 s. Then it is closed.
    pub idle_deadline: Duration,
    /// How long one write of an answer may wait for the client to read: 10 s.
    pub write_deadline: Duration,
    /// How long an answer may wait for its client while half of the workers wait so: 250 ms.
    pub write_patience: Duration,
    /// Requests in flight for one connection: 8. A client that sends more ahead is cut off. Never
    /// more than half of the workers.
    pub max_in_flight_per_peer: usize,
    /// Bodies over 1 KiB, and chunked ones, that are read at a time, each by a thread of its own:
    /// 16. Beyond it 503.
    pub max_slow_bodies: usize,
    /// Connections: 1,024, and at most what the limit on open files allows. Beyond it the ones
    /// that never asked anything are closed first, then the longest idle.
    pub max_connections: usize,
    /// Connections that nothing but the end of the process can close (see `docs/deployment.md`):
    /// 256. Beyond it `run` ends with an error.
    pub max_stuck: usize,
    /// How long what runs may take to finish after a stop: 10 s.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 32,
            max_body: 64 * 1024,
            max_target: 2 * 1024,
            max_header_bytes: 8 * 1024,
            max_headers: 64,
            body_deadline: Duration::from_secs(10),
            head_deadline: Duration::from_secs(10),
            idle_deadline: Duration::from_secs(60),
            write_deadline: Duration::from_secs(10),
            write_patience: Duration::from_millis(250),
            max_in_flight_per_peer: 8,
            max_slow_bodies: 16,
            max_connections: 1024,
            max_stuck: 256,
            grace: Duration::from_secs(10),
        }
    }
}
