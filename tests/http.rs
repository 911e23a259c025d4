//! The server as its clients know it: real processes on a store in a folder of its own, spoken to over
//! sockets, ended by signals.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test")]
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "a test")]

#[path = "outside/bank.rs"]
mod bank;
#[path = "http/charges.rs"]
mod charges;
#[path = "http/client.rs"]
mod client;
#[path = "http/contention.rs"]
mod contention;
#[path = "http/demo.rs"]
mod demo;
#[path = "http/events.rs"]
mod events;
#[path = "http/files.rs"]
mod files;
#[path = "http/gateway.rs"]
mod gateway;
#[path = "http/guide.rs"]
mod guide;
#[path = "http/kills.rs"]
mod kills;
#[path = "http/limits.rs"]
mod limits;
#[path = "http/notices.rs"]
mod notices;
#[path = "http/place.rs"]
mod place;
#[path = "http/receivers.rs"]
mod receivers;
#[path = "http/relay.rs"]
mod relay;
#[path = "http/server.rs"]
mod server;
#[path = "http/sessions.rs"]
mod sessions;
#[path = "http/settings.rs"]
mod settings;
#[path = "http/stopping.rs"]
mod stopping;
