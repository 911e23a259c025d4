//! The limits of the process: a server that cannot run fails at its start, with a message. Later it would panic or
//! abort.

use commerce_core::sync::Mutex;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::thread::Builder;

/// The limit on descriptors that is requested.
const REQUESTED_LIMIT: u64 = 65_536;
/// Descriptors reserved for other uses than connections.
const OTHERS: u64 = 64;

/// Descriptors without which a server is of no use.
const NEEDED: u64 = 48;
const MIB: u64 = 1024 * 1024;
/// The stack of a thread.
const STACK: u64 = 2 * MIB;
/// The reservation of an allocator for threads that allocate at the same time (`glibc`: one arena each, up to eight
/// per processor).
const ARENA: u64 = 64 * MIB;
const ARENAS_PER_PROCESSOR: usize = 8;
/// Memory besides threads: password hashing and connection caches.
const BASE: u64 = 256 * MIB;

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

/// Fails if the limits are too small for a server with this number of threads.
pub(super) fn require(threads: usize) -> io::Result<()> {
    if let Some(limit) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < NEEDED) {
        return Err(io::Error::other(format!(
            "too few descriptors: {limit} may be open and {NEEDED} are needed: raise the limit (ulimit -n)"
        )));
    }
    require_memory(threads)?;
    try_threads(threads)
}

/// Fails if this number of threads cannot run at the same time.
fn try_threads(threads: usize) -> io::Result<()> {
    let barrier = Mutex::new(());
    let held = barrier.lock();
    std::thread::scope(|scope| {
        let wait = || drop(barrier.lock());
        let start = |_| Builder::new().spawn_scoped(scope, wait).map(drop);
        let tried = (0..threads).try_for_each(start);
        drop(held);
        tried.map_err(|error| {
            io::Error::other(format!(
                "the system cannot start another thread ({error}): raise the limit on processes (ulimit -u) or on \
                 memory (ulimit -v), or stop other programs"
            ))
        })
    })
}

/// Fails if the limit on the address space is below the reservations of this number of threads.
fn require_memory(threads: usize) -> io::Result<()> {
    let Some(limit) = getrlimit(Resource::As).current else { return Ok(()) };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let arenas = threads.min(processors.saturating_mul(ARENAS_PER_PROCESSOR));
    let times =
        |size: u64, count: usize| size.saturating_mul(u64::try_from(count).unwrap_or(u64::MAX));
    let needed = times(ARENA, arenas).saturating_add(times(STACK, threads)).saturating_add(BASE);
    if needed <= limit {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "the limit on memory is {} MiB and a server may need {} MiB: raise it (ulimit -v)",
        limit / MIB,
        needed / MIB
    )))
}
