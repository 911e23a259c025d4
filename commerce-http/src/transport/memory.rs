//! A check of the memory limit at the start. An allocation that fails later would abort the process without a
//! message.

use rustix::process::{Resource, getrlimit};
use std::io;

const MIB: u64 = 1024 * 1024;
/// The stack of a thread.
const STACK: u64 = 2 * MIB;
/// The reservation of an allocator for threads that allocate at the same time (`glibc`: one arena each, up to eight
/// per processor).
const ARENA: u64 = 64 * MIB;
const ARENAS_PER_PROCESSOR: usize = 8;
/// Memory besides threads: password hashing and connection caches.
const OTHERS: u64 = 256 * MIB;

/// Fails if the limit on the address space is below the reservations of this number of threads.
pub(super) fn require(threads: usize) -> io::Result<()> {
    let Some(limit) = getrlimit(Resource::As).current else { return Ok(()) };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let arenas = threads.min(processors.saturating_mul(ARENAS_PER_PROCESSOR));
    let times =
        |size: u64, count: usize| size.saturating_mul(u64::try_from(count).unwrap_or(u64::MAX));
    let needed = times(ARENA, arenas).saturating_add(times(STACK, threads)).saturating_add(OTHERS);
    if needed <= limit {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "the limit on memory is {} MiB and a server may need {} MiB: raise it (ulimit -v)",
        limit / MIB,
        needed / MIB
    )))
}
