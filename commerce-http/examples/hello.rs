//! Answers every request with the same bytes, to measure the transports: `hello hyper|tiny|bare ADDRESS`.
//! With `bare`, `tiny_http` answers without the transport, as a baseline.

use commerce_core::CancellationToken;
use commerce_http::transport::{Backend, Server, Settings};
use commerce_http::{Answer, Request, Response, Service, TransportError};
use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::thread;

/// The size of a product as JSON.
const BODY: [u8; 76] = [b'x'; 76];

struct Hello;

impl Service for Hello {
    fn answer(&self, _: &Request) -> Response {
        Response { status: 200, headers: Vec::new(), body: BODY[..].into() }
    }

    fn start(self: Arc<Self>, request: Arc<Request>) -> Answer {
        Answer::Ready(self.answer(&request))
    }

    fn reject(&self, _: TransportError, _: &Request) -> Response {
        Response { status: 400, headers: Vec::new(), body: BODY[..].into() }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let backend = arguments.next().unwrap_or_default();
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let backend = match backend.as_str() {
        "bare" => return bare(&address),
        "tiny" => Backend::Tiny,
        _ => Backend::Hyper,
    };
    let settings = Settings { backend: Some(backend), ..Settings::default() };
    let server = Server::bind(&address.parse()?, settings)?;
    writeln!(std::io::stdout(), "{}", server.address())?;
    Ok(server.run(Arc::new(Hello), &CancellationToken::new())?)
}

fn bare(address: &str) -> Result<(), Box<dyn Error>> {
    let server = tiny_http::Server::http(address).map_err(|error| error.to_string())?;
    writeln!(std::io::stdout(), "{}", server.server_addr())?;
    thread::scope(|scope| {
        for _ in 0..Settings::default().workers {
            scope.spawn(|| {
                for request in server.incoming_requests() {
                    let _ = request.respond(tiny_http::Response::from_data(BODY));
                }
            });
        }
    });
    Ok(())
}
