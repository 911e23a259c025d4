//! The server as its clients see it: processes on a store in a folder of their own, reached over
//! sockets and ended by signals.

mod charges;
mod client;
mod contention;
mod demo;
mod events;
mod files;
mod gateway;
mod guide;
mod kills;
mod limits;
mod receivers;
mod relay;
pub(crate) mod server;
mod sessions;
mod settings;
mod staff;
mod stopping;
mod tls;
mod webhooks;
mod workspace;
