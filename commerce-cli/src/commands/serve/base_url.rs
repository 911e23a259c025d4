//! The address of a running server, for the announcement and the calls of `--demo`.

use commerce_http::transport::Server;

/// The address of the server for clients.
pub(super) struct BaseUrl {
    address: String,
    scheme: &'static str,
}

impl BaseUrl {
    pub(super) fn of(server: &Server) -> Self {
        let scheme = if server.has_tls() { "https" } else { "http" };
        Self { address: server.address(), scheme }
    }

    /// The address as `--listen` takes it.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The arguments of curl for a path.
    pub(super) fn url(&self, path: &str) -> String {
        match self.address.strip_prefix("unix:") {
            Some(socket) => format!("--unix-socket {socket} http://localhost{path}"),
            None => format!("{}://{}{path}", self.scheme, self.address),
        }
    }
}
