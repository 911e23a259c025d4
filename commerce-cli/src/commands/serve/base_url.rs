//! The address of a running server, for the announcement and the calls of `--demo`.

use commerce_http::transport::Server;

/// The address of the server for clients.
pub(super) struct BaseUrl(String);

impl BaseUrl {
    pub(super) fn of(server: &Server) -> Self {
        Self(server.address())
    }

    /// The address as `--listen` takes it.
    pub(super) fn address(&self) -> &str {
        &self.0
    }

    /// The arguments of curl for a path.
    pub(super) fn url(&self, path: &str) -> String {
        match self.0.strip_prefix("unix:") {
            Some(socket) => format!("--unix-socket {socket} http://localhost{path}"),
            None => format!("http://{}{path}", self.0),
        }
    }
}
