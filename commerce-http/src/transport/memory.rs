//! Whether the limit on memory leaves room for a server. An allocation that fails later would end the
//! process without a word.

use rustix::process::{Resource, getrlimit};
use std::io;

const MIB: u64 = 1024 * 1024;
/// The stack of a thread.
const STACK: u64 = 2 * MIB;
/// What an allocator reserves for threads that allocate at the same time (`glibc`: one arena each, up to
/// eight for each processor).
const ARENA: u64 = 64 * MIB;
const ARENAS_PER_PROCESSOR: usize = 8;
/// What is needed beside threads: passwords that are hashed, and caches of connections.
const OTHERS: u64 = 256 * MIB;

/// Fails when the address space of this process is limited to less than so many threads may reserve.
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
