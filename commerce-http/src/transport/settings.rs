//! The limits of the server, each with its reason.

use std::time::Duration;

/// Limits of a [`Server`](super::Server). The defaults suit a small machine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Worker threads: 32. More than processors, because a response often waits for a commit.
    pub workers: usize,
    /// The maximum body size: 64 KiB. Larger: 413, and the connection is closed.
    pub max_body: usize,
    /// The maximum length of the target (path and query): 2 KiB.
    pub max_target: usize,
    /// The maximum size of all header names and values: 8 KiB.
    pub max_header_bytes: usize,
    /// The maximum number of header lines: 64.
    pub max_headers: usize,
    /// The deadline of a body: 10 s. Then 408.
    pub body_deadline: Duration,
    /// The deadline of the first complete head on a connection (slowloris): 10 s. Then it is closed.
    pub head_deadline: Duration,
    /// The maximum idle time between requests: 60 s. Then the connection is closed.
    pub idle_deadline: Duration,
    /// The deadline of one write, while the client does not read: 10 s.
    pub write_deadline: Duration,
    /// The deadline of a response while half of the workers wait for clients that do not read: 250 ms.
    pub write_timeout: Duration,
    /// The maximum number of requests in flight per connection (pipelining): 8, and at most half of the workers. A
    /// client that exceeds it is disconnected.
    pub max_in_flight_per_peer: usize,
    /// The maximum number of bodies read concurrently, each by its own thread: 16. Counts bodies over 1 KiB and chunked
    /// ones. Beyond it 503.
    pub max_slow_bodies: usize,
    /// The maximum number of connections: 1,024, and at most what the limit on open files allows. Beyond it,
    /// connections without any request are closed first, then the longest idle.
    pub max_connections: usize,
    /// The maximum number of connections that only the end of the process can close (see `docs/deployment.md`): 256.
    /// Beyond it `run` returns an error.
    pub max_stuck: usize,
    /// The time for requests in flight to finish at a graceful shutdown: 10 s.
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
            write_timeout: Duration::from_millis(250),
            max_in_flight_per_peer: 8,
            max_slow_bodies: 16,
            max_connections: 1024,
            max_stuck: 256,
            grace: Duration::from_secs(10),
        }
    }
}
