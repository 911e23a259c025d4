//! Carries requests to a [`Service`] and answers back. It is the only place that knows the HTTP server,
//! `tiny_http`, which is small and trusting: what it lacks (limits, deadlines, strict framing, recovery) is
//! added here as far as that can be done from outside. `docs/deployment.md` says what is left to a proxy.

mod answer;
mod bodies;
mod descriptors;
mod guard;
mod head;
mod listen;
mod lookout;
mod memory;
mod peers;
mod reaper;
mod settings;
mod shared;
mod sockets;
mod stop;
mod worker;

use crate::message::Service;
use listen::Listener;
use std::io;
use std::sync::Arc;

pub use listen::Listen;
pub use settings::Settings;
pub use stop::Stop;

/// A server that listens, and does not answer yet.
///
/// ```
/// use commerce_http::transport::{Listen, Server, Settings, Stop};
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
/// let stop = Stop::new();
/// stop.cancel(); // another thread would do so, later
/// server.run(Arc::new(Hello), &stop)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Server {
    door: Listener,
    settings: Settings,
}

impl Server {
    /// Listens. The limit on open files of this process is raised as far as it may be, to at most 65,536.
    ///
    /// # Errors
    ///
    /// When the address is taken or not ours, or the unix path cannot be made.
    pub fn bind(listen: &Listen, settings: Settings) -> io::Result<Self> {
        descriptors::raise_limit();
        Ok(Self { door: Listener::open(listen, settings.write_deadline)?, settings })
    }

    /// Where it listens, as [`Listen`] reads it; the port is the real one when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> String {
        self.door.address()
    }

    /// Whether this system lets a connection be shut from inside. Some containers forbid it
    /// (`pidfd_getfd`); slow and silent clients of a bare port are then not held.
    #[must_use]
    pub fn can_shut(&self) -> bool {
        descriptors::Duplicator::new().is_some_and(|duplicator| duplicator.works())
    }

    /// Starts to answer requests. Everything that a server needs is had once this returns.
    ///
    /// # Errors
    ///
    /// When threads cannot be made, or too few descriptors are left for connections.
    pub fn start(self, service: Arc<dyn Service>) -> io::Result<Running> {
        guard::Supervisor::start(self.door, self.settings, service).map(Running)
    }

    /// [`Server::start`] and [`Running::watch`] in one.
    ///
    /// # Errors
    ///
    /// As both.
    pub fn run(self, service: Arc<dyn Service>, stop: &Stop) -> io::Result<()> {
        self.start(service)?.watch(stop)
    }
}

/// A server that answers requests. Dropped without [`Running::watch`], it is not looked after.
#[must_use = "a server that is not watched is never stopped"]
pub struct Running(guard::Supervisor);

impl Running {
    /// Looks after the server until a stop is asked for, then lets what runs finish, for at most
    /// [`Settings::grace`], and returns.
    ///
    /// # Errors
    ///
    /// When more than [`Settings::max_stuck`] connections can be closed by nothing but the end of the
    /// process. What ran has been finished then as well, and the process should be started again.
    pub fn watch(self, stop: &Stop) -> io::Result<()> {
        self.0.watch(stop)
    }
}
