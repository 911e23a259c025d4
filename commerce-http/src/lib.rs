//! How the order service speaks HTTP: its messages, its problem documents, and the one table that maps
//! error codes to statuses, which the command line shows with `--json` as well.

mod message;
mod problem;
pub mod transport;

pub use message::{Request, Response, Service, Unreadable};
pub use problem::{Problem, Status, status_of};
