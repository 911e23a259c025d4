//! The HTTP API of the order service.
//!
//! [`Api`] is a function from a [`Request`] to a [`Response`] over one route table, without sockets: put any server
//! in front of it, or the one in [`transport`]. It contains no business rules; each route calls the
//! [`Shop`](commerce_core::Shop) once.
//!
//! ```
//! use commerce_core::{Currency, MemoryStore, Shop};
//! use commerce_http::{Api, Log, LogFormat, Request, Service};
//!
//! let shop = Shop::open(MemoryStore::new(Currency::KRW));
//! let api = Api::new(shop, Log::new(LogFormat::Logfmt, Box::new(|_line| ())))?;
//! let (method, target) = ("GET".to_owned(), "/v1/products".to_owned());
//! let response = api.answer(&Request { method, target, ..Request::default() });
//! assert_eq!(response.status, 200);
//! assert_eq!(&*response.body, br#"{"items":[],"next_cursor":null}"#);
//! # Ok::<(), String>(())
//! ```
//!
//! `cargo run -p commerce-http --example own_pages` shows the API inside another program: its [`Service`] answers a page
//! of its own, and passes other requests to [`Api`].
//!
//! # Async servers
//!
//! [`Service::answer`] blocks its thread until the commit. [`Service::start`] does not: it returns an [`Answer`] that is
//! ready, or to be awaited on any executor, or work for a thread for blocking work. The route decides which, and the
//! store: reads from a server block.
//!
//! ```text
//! async fn respond(api: Arc<Api>, request: Arc<Request>) -> Result<Response, JoinError> {
//!     match api.start(request) {
//!         Answer::Ready(response) => Ok(response),
//!         // As a task of its own, which ends even if the client leaves.
//!         Answer::Pending(response) => tokio::spawn(response).await,
//!         Answer::Blocking(work) => tokio::task::spawn_blocking(work).await,
//!     }
//! }
//! ```

#![cfg_attr(
    test,
    allow(
        clippy::wildcard_enum_match_arm,
        clippy::needless_pass_by_value,
        reason = "tests may panic"
    )
)]

mod access_log;
mod api;
mod auth;
mod client;
mod context;
mod cors;
mod error;
mod etag;
mod handlers;
mod json;
mod message;
mod metrics;
mod openapi;
mod pages;
mod problem;
mod process;
mod query;
mod request_id;
mod route;
mod routes;
mod schema;
mod state;
mod stream;
mod target;
pub mod transport;

pub use access_log::{Log, LogFormat, LogSink};
pub use api::Api;
pub use client::{ParseTrustedProxyError, TrustedProxy};
pub use cors::{Origin, ParseOriginError};
pub use message::{Answer, Body, Connections, Request, Response, Service, Stream, TransportError};
pub use problem::{Problem, http_status};
