//! The limits of the server, each with its reason.

use super::{Backend, Tls};
use std::time::Duration;

/// Settings of a [`Server`](super::Server). The defaults suit a small machine. Deadlines without an answer are checked
/// twice a second.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The HTTP library. By default [`Backend::Tiny`] on loopback addresses without TLS, and [`Backend::Hyper`] otherwise.
    pub backend: Option<Backend>,
    /// The certificate of an HTTPS port. By default none.
    pub tls: Option<Tls>,
    /// Threads for blocking work: 32. More than processors, because a response often waits for a commit.
    pub workers: usize,
    /// The maximum body size: 64 KiB. Larger: 413, and the connection is closed.
    pub max_body: usize,
    /// The maximum length of the target (path and query): 2 KiB.
    pub max_target: usize,
    /// The maximum size of all header names and values: 8 KiB.
    pub max_header_bytes: usize,
    /// The maximum number of header lines: 64.
    pub max_headers: usize,
    /// The deadline of a body: 10 s. Then 408. Hyper only, as are all settings below but the last three.
    pub body_deadline: Duration,
    /// The deadline of a complete head, and of a TLS handshake (slowloris): 10 s. Then 408.
    pub head_deadline: Duration,
    /// The maximum idle time between requests: 60 s. Then the connection is closed.
    pub idle_deadline: Duration,
    /// The maximum number of connections: 1,024, and at most what the limit on open files allows. Beyond it,
    /// connections without any request are closed first, then the longest idle.
    pub max_connections: usize,
    /// The maximum number of requests that wait for a worker: 512. Beyond it 503 (load shedding).
    pub max_queue: usize,
    /// The deadline of one write, while the client does not read: 10 s. Then the connection is closed.
    pub write_deadline: Duration,
    /// The deadline of a complete response, however large: 15 minutes. Then the connection is closed, because a client
    /// that reads little by little must not hold what a stream holds, such as a snapshot of the store.
    pub response_deadline: Duration,
    /// The time for requests in flight to finish at a graceful shutdown: 10 s.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backend: None,
            tls: None,
            workers: 32,
            max_body: 64 * 1024,
            max_target: 2 * 1024,
            max_header_bytes: 8 * 1024,
            max_headers: 64,
            body_deadline: Duration::from_secs(10),
            head_deadline: Duration::from_secs(10),
            idle_deadline: Duration::from_secs(60),
            max_connections: 1024,
            max_queue: 512,
            write_deadline: Duration::from_secs(10),
            response_deadline: Duration::from_secs(15 * 60),
            grace: Duration::from_secs(10),
        }
    }
}
