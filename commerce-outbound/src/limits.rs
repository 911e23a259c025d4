//! The sizes of events, requests and writes.

/// The largest event as JSON, in bytes: the size that CloudEvents asks every intermediary to forward.
pub const MAX_EVENT_BYTES: usize = 64 * 1024;

/// The largest number of events in one request: some hundred kilobytes with usual orders, and never more than 64 MiB.
pub const MAX_EVENTS_PER_REQUEST: usize = 1_000;

/// The largest number of events in one write to a file or to standard output: some hundred kilobytes with usual
/// orders between two syncs of the disk.
pub(crate) const MAX_LINES_PER_WRITE: usize = 500;
