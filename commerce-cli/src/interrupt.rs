//! Ctrl-C: the first one stops a long command after the work it has begun, the second one at once.

use crate::error::CliError;
use crate::exit;
use signal_hook::consts::SIGXFSZ;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Makes a write beyond the file size limit (`ulimit -f`) fail like a write to a full disk. By default
/// SIGXFSZ ends the process without a message.
pub(crate) fn handle_file_size_limit() -> Result<(), CliError> {
    // Any handler is enough: the write then fails with EFBIG.
    signal_hook::flag::register(SIGXFSZ, Arc::default())
        .map(drop)
        .map_err(|error| CliError::storage(format!("cannot handle SIGXFSZ: {error}: try again")))
}

/// Handles Ctrl-C, SIGTERM and SIGHUP as a request to stop gracefully.
pub(crate) fn watch() -> Result<(), CliError> {
    watch_and(|| {})
}

/// Like [`watch`], and calls `stop` on the first signal.
pub(crate) fn watch_and(stop: impl Fn() + Send + 'static) -> Result<(), CliError> {
    ctrlc::set_handler(move || {
        // Every change is a commit of its own, so an immediate exit loses no committed work. It is needed
        // if a read from a terminal or pipe never returns.
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
        stop();
    })
    .map_err(|error| match error {
        ctrlc::Error::System(error) => cannot_watch(&error),
        other @ (ctrlc::Error::NoSuchSignal(_) | ctrlc::Error::MultipleHandlers) => {
            cannot_watch(&io::Error::other(other))
        }
    })
}

/// The error of a signal handler that cannot be installed, usually because no thread can be started.
pub(crate) fn cannot_watch(reason: &io::Error) -> CliError {
    CliError::storage(format!(
        "cannot handle Ctrl-C ({reason}): raise the limits on processes (ulimit -u), descriptors \
         (ulimit -n) and memory (ulimit -v), or stop other programs"
    ))
}

/// Returns true once a signal has requested a stop.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
