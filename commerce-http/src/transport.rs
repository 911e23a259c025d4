//! The HTTP servers: pass requests to a [`Service`] and send its responses.
//!
//! There are two. The one over `tiny_http` is a thin shell for a port that only this machine reaches. The one over
//! hyper withstands hostile clients, and serves every other port. `docs/deployment.md` compares them.

mod connections;
mod gate;
mod head;
mod hyper;
mod limits;
mod listen;
mod response;
mod settings;
mod stream;
mod tiny;
mod tls;

use crate::message::Service;
use commerce_core::CancellationToken;
use listen::Listener;
use std::io;
use std::sync::Arc;

pub use listen::Listen;
pub use settings::Settings;
pub use tls::Tls;

/// The threads of `tiny_http`, and one that has just ended and may still count: one accepts, four serve connections.
const LIBRARY_THREADS: usize = 6;

/// The library that speaks HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `tiny_http`, for loopback addresses without TLS: each connection carries one request, and clients are trusted.
    Tiny,
    /// hyper, for any address, with TLS if [`Settings::tls`] has a certificate.
    Hyper,
}

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
    backend: Backend,
    settings: Settings,
}

impl Server {
    /// Binds the address. Raises the limit on open files of this process to at most 65,536.
    ///
    /// # Errors
    ///
    /// If the address is in use or not local, the unix socket cannot be created, or the settings do not fit: `tiny_http`
    /// serves only loopback addresses without TLS, and a unix socket has no TLS.
    pub fn bind(listen: &Listen, settings: Settings) -> io::Result<Self> {
        let is_tiny = listen.is_loopback() && settings.tls.is_none();
        let usual = if is_tiny { Backend::Tiny } else { Backend::Hyper };
        let backend = settings.backend.unwrap_or(usual);
        if backend == Backend::Tiny && !is_tiny {
            let problem = "tiny_http serves only loopback addresses, without TLS";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        if settings.tls.is_some() && matches!(listen, Listen::Unix(_)) {
            let problem = "a unix socket has no TLS";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        limits::raise_limit();
        let listener = Listener::open(listen, settings.write_deadline)?;
        Ok(Self { listener, backend, settings })
    }

    /// The address in the syntax of [`Listen`], with the actual port if port 0 was requested.
    #[must_use]
    pub fn address(&self) -> String {
        self.listener.address().to_string()
    }

    /// Returns true if clients speak HTTPS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.settings.tls.is_some()
    }

    /// Starts to answer requests. Idle connections are closed, and statistics reported, while [`Running::watch`] waits.
    ///
    /// # Errors
    ///
    /// If threads cannot be started, or descriptors are exhausted.
    pub fn start(self, service: Arc<dyn Service>) -> io::Result<Running> {
        let Self { listener, backend, settings } = self;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        // The libraries panic if they cannot start their own threads.
        limits::require(settings.workers.saturating_add(processors.max(LIBRARY_THREADS)))?;
        Ok(Running(match backend {
            Backend::Tiny => Inner::Tiny(tiny::Tiny::start(listener, settings, service)?),
            Backend::Hyper => Inner::Hyper(hyper::Hyper::start(listener, settings, service)?),
        }))
    }

    /// [`Server::start`] and [`Running::watch`] in one.
    ///
    /// # Errors
    ///
    /// Those of [`Server::start`].
    pub fn run(self, service: Arc<dyn Service>, stop: &CancellationToken) -> io::Result<()> {
        self.start(service)?.watch(stop);
        Ok(())
    }
}

/// A server that answers requests.
#[must_use = "a server that is not watched never stops"]
pub struct Running(Inner);

enum Inner {
    Tiny(tiny::Tiny),
    Hyper(hyper::Hyper),
}

impl Running {
    /// Closes idle connections until the token is cancelled, then shuts down gracefully: requests in flight may finish
    /// within [`Settings::grace`].
    pub fn watch(self, stop: &CancellationToken) {
        match self.0 {
            Inner::Tiny(server) => server.watch(stop),
            Inner::Hyper(server) => server.watch(stop),
        }
    }
}
