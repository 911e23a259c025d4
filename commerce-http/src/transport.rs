//! The HTTP server: passes requests to a [`Service`] and sends its responses.
//!
//! Only this module uses `tiny_http`, a small server that trusts its clients. What it lacks (limits, deadlines, strict
//! framing, recovery) is added here as far as possible from outside. `docs/deployment.md` lists what needs a proxy.

mod bodies;
mod body_reader;
mod descriptors;
mod head;
mod listen;
mod memory;
mod peers;
mod reaper;
mod response;
mod settings;
mod shared;
mod sockets;
mod supervisor;
mod waiter_limit;
mod worker;
mod worker_slot;

use crate::message::Service;
use commerce_core::CancellationToken;
use listen::Listener;
use std::io;
use std::sync::Arc;

pub use listen::Listen;
pub use settings::Settings;

/// A server that listens but does not answer yet.
///
/// ```
/// use commerce_core::CancellationToken;
/// use commerce_http::transport::{Listen, Server, Settings};
/// use commerce_http::{Request, Response, Service, TransportError};
/// use std::sync::Arc;
///
/// struct Hello;
/// impl Service for Hello {
///     fn answer(&self, _: &Request) -> Response {
///         Response { status: 200, headers: Vec::new(), body: b"hello"[..].into() }
///     }
///     fn reject(&self, _: TransportError, _: &Request) -> Response {
///         Response { status: 400, headers: Vec::new(), body: b""[..].into() }
///     }
/// }
///
/// let server = Server::bind(&"127.0.0.1:0".parse::<Listen>()?, Settings::default())?;
/// let stop = CancellationToken::new();
/// stop.cancel(); // usually from another thread, later
/// server.run(Arc::new(Hello), &stop)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    settings: Settings,
}

impl Server {
    /// Binds the address. Raises the limit on open files of this process to at most 65,536.
    ///
    /// # Errors
    ///
    /// If the address is in use or not local, or the unix socket cannot be created.
    pub fn bind(listen: &Listen, settings: Settings) -> io::Result<Self> {
        descriptors::raise_limit();
        Ok(Self { listener: Listener::open(listen, settings.write_deadline)?, settings })
    }

    /// The address in the syntax of [`Listen`], with the actual port if port 0 was requested.
    #[must_use]
    pub fn address(&self) -> String {
        self.listener.address()
    }

    /// Returns true if the system allows shutting a connection of `tiny_http`. Some containers forbid `pidfd_getfd`;
    /// without it the server cannot close the connections of slow and silent clients.
    #[must_use]
    pub fn can_shut(&self) -> bool {
        descriptors::Duplicator::new().is_some_and(|duplicator| duplicator.works())
    }

    /// Starts to answer requests. All resources are allocated when this returns.
    ///
    /// # Errors
    ///
    /// If threads cannot be started, or too few descriptors are left for connections.
    pub fn start(self, service: Arc<dyn Service>) -> io::Result<Running> {
        supervisor::Supervisor::start(self.listener, self.settings, service).map(Running)
    }

    /// [`Server::start`] and [`Running::watch`] in one.
    ///
    /// # Errors
    ///
    /// Those of both.
    pub fn run(self, service: Arc<dyn Service>, stop: &CancellationToken) -> io::Result<()> {
        self.start(service)?.watch(stop)
    }
}

/// A server that answers requests. It needs [`Running::watch`] for its deadlines and limits.
#[must_use = "a server that is not watched never stops"]
pub struct Running(supervisor::Supervisor);

impl Running {
    /// Supervises the server until the token is cancelled, then shuts down gracefully: requests in flight may finish
    /// within [`Settings::grace`].
    ///
    /// # Errors
    ///
    /// If more than [`Settings::max_stuck`] connections can be closed only by the end of the process. Requests in
    /// flight have finished then too; restart the process.
    pub fn watch(self, stop: &CancellationToken) -> io::Result<()> {
        self.0.watch(stop)
    }
}
