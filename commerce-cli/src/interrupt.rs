//! Ctrl-C: long commands stop at the next good place, and a second one stops them where they are.

use crate::error::CliError;
use signal_hook::consts::SIGXFSZ;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit status of a command that was stopped: what shells give a process ended by SIGINT.
pub(crate) const EXIT_STATUS: u8 = 130;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Lets a write beyond the size that a file may have (`ulimit -f`) fail as on a full disk. By default such a write ends
/// the process without a message, by SIGXFSZ.
pub(crate) fn outlive_file_limit() -> Result<(), CliError> {
    // That there is a handler is enough: the write then fails with EFBIG.
    signal_hook::flag::register(SIGXFSZ, Arc::default())
        .map(drop)
        .map_err(|error| CliError::storage(format!("cannot handle SIGXFSZ: {error}: try again")))
}

/// Takes Ctrl-C (and a request to terminate) as a wish to stop tidily from here on.
pub(crate) fn watch() -> Result<(), CliError> {
    watch_and(|| {})
}

/// As [`watch`], with something to do the first time.
pub(crate) fn watch_and(stop: impl Fn() + Send + 'static) -> Result<(), CliError> {
    ctrlc::set_handler(move || {
        // Every change is a commit of its own, so stopping at once loses nothing. It is needed when
        // a read from a terminal or pipe never returns.
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(EXIT_STATUS));
        }
        stop();
    })
    .map_err(unwatched)
}

/// Why signals cannot be watched for: mostly there is no thread to be had for it.
pub(crate) fn unwatched(error: ctrlc::Error) -> CliError {
    let reason = match error {
        ctrlc::Error::System(error) => error.to_string(),
        other @ (ctrlc::Error::NoSuchSignal(_) | ctrlc::Error::MultipleHandlers) => {
            other.to_string()
        }
    };
    CliError::storage(format!(
        "cannot watch for Ctrl-C ({reason}): raise the limits on processes (ulimit -u), descriptors \
         (ulimit -n) and memory (ulimit -v), or stop other programs"
    ))
}

/// Whether a stop was asked for.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
