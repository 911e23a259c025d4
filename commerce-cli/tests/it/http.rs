//! The server as its clients know it: real processes on a store in a folder of its own, spoken to over
//! sockets, ended by signals.

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
mod notices;
mod place;
mod receivers;
mod relay;
mod server;
mod sessions;
mod settings;
mod stopping;
