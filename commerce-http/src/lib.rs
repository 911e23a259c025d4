//! How the order service speaks HTTP. So far: its problem documents, and the one table that maps
//! error codes to statuses, which the command line shows with `--json` as well.

mod problem;

pub use problem::{Problem, Status, status_of};
