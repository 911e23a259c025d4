//! The limit on open files, which bounds the number of connections.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// The limit on descriptors that is requested.
const REQUESTED_LIMIT: u64 = 65_536;
/// Descriptors reserved for other uses than connections.
const OTHERS: u64 = 64;

/// Raises the limit to [`REQUESTED_LIMIT`], or to the maximum below it. The server starts even if this fails.
pub(super) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let goal = maximum.map_or(REQUESTED_LIMIT, |maximum| maximum.min(REQUESTED_LIMIT));
    if current.is_some_and(|current| current < goal) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(goal), maximum });
    }
}

/// The number of connections that the limit leaves, at most `wanted`.
pub(super) fn max_connections(wanted: usize) -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return wanted };
    let left = limit.saturating_sub(OTHERS.min(limit / 2));
    usize::try_from(left).unwrap_or(usize::MAX).min(wanted)
}

/// Returns true if the error means that descriptors are exhausted.
pub(super) fn are_exhausted(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE].iter().any(|exhausted| Some(exhausted.raw_os_error()) == number)
}
