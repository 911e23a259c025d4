//! Thread creation that reports a refusal by the operating system as an error, where libraries panic.

use crate::error::StoreError;
use crate::sync::Mutex;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

/// Threads that must be available beyond those that a library starts: a thread that has just ended may still count
/// against the limit for a moment.
const MARGIN: usize = 1;

/// Starts a thread.
pub(crate) fn start(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    Builder::new().name(name.to_owned()).spawn(work).map_err(|error| refused(&error))
}

/// Returns true if this code runs on that thread.
pub(crate) fn is_current(thread: Option<&JoinHandle<()>>) -> bool {
    thread.is_some_and(|thread| thread.thread().id() == std::thread::current().id())
}

/// Calls a library function that starts `threads` threads and panics if it cannot. Tries to start as many first.
pub(crate) fn for_library<T>(threads: usize, make: impl FnOnce() -> T) -> Result<T, StoreError> {
    try_start(threads.saturating_add(MARGIN))?;
    let panicked = |_| refused(&io::ErrorKind::WouldBlock.into());
    catch_unwind(AssertUnwindSafe(make)).map_err(panicked)
}

/// Starts `threads` simultaneous threads and ends them.
fn try_start(threads: usize) -> Result<(), StoreError> {
    let barrier = Mutex::new(());
    let closed = barrier.lock();
    std::thread::scope(|scope| {
        let wait = || drop(barrier.lock());
        let start = |_| Builder::new().spawn_scoped(scope, wait).map(drop);
        let started = (0..threads).try_for_each(start);
        drop(closed);
        started.map_err(|error| refused(&error))
    })
}

/// The error for a thread that the operating system refused.
pub(crate) fn refused(error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!(
        "the system starts no further thread ({error}): raise the limit on processes (ulimit -u) or on \
         memory (ulimit -v), or stop other programs"
    ))
}
