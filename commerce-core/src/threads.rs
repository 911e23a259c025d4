//! Starting threads where the system may refuse one, with a sentence instead of a panic.

use crate::error::StoreError;
use crate::sync::Mutex;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

/// Threads that must be available beyond those that a library starts: one that has just ended may still
/// count for a moment.
const MARGIN: usize = 1;

/// Starts a thread.
pub(crate) fn start(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    Builder::new().name(name.to_owned()).spawn(work).map_err(|error| refused(&error))
}

/// Calls a library that starts so many threads and panics when it cannot: they are tried first.
pub(crate) fn for_library<T>(threads: usize, make: impl FnOnce() -> T) -> Result<T, StoreError> {
    try_out(threads.saturating_add(MARGIN))?;
    let panicked = |_| refused(&io::ErrorKind::WouldBlock.into());
    catch_unwind(AssertUnwindSafe(make)).map_err(panicked)
}

/// Starts so many threads at a time, and ends them.
fn try_out(threads: usize) -> Result<(), StoreError> {
    let gate = Mutex::new(());
    let shut = gate.lock();
    std::thread::scope(|scope| {
        let wait = || drop(gate.lock());
        let start = |_| Builder::new().spawn_scoped(scope, wait).map(drop);
        let tried = (0..threads).try_for_each(start);
        drop(shut);
        tried.map_err(|error| refused(&error))
    })
}

/// The error of a thread that the system refused.
pub(crate) fn refused(error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!(
        "the system starts no further thread ({error}): raise the limit on processes (ulimit -u) or on \
         memory (ulimit -v), or stop other programs"
    ))
}
