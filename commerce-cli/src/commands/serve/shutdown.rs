//! Graceful shutdown of the server on SIGTERM or Ctrl-C.

use crate::error::CliError;
use crate::{exit, interrupt};
use commerce_core::CancellationToken;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Cancels the server and its event relay together, and measures the rest of the shutdown timeout.
#[derive(Clone, Default)]
pub(super) struct Shutdown {
    pub(super) server: CancellationToken,
    pub(super) relay: CancellationToken,
    requested_at: Arc<OnceLock<Instant>>,
}

impl Shutdown {
    /// Installs the signal handler. The first signal starts the graceful shutdown, the second one exits at once.
    pub(super) fn on_signal() -> Result<Self, CliError> {
        let shutdown = Self::default();
        let on_signal = shutdown.clone();
        ctrlc::set_handler(move || on_signal.signal()).map_err(interrupt::cannot_watch)?;
        Ok(shutdown)
    }

    fn signal(&self) {
        if self.server.is_cancelled() {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
        self.requested_at.get_or_init(Instant::now);
        self.relay.cancel();
        self.server.cancel();
    }

    /// The part of the timeout that is left since the first signal.
    pub(super) fn remaining(&self, timeout: Duration) -> Duration {
        timeout.saturating_sub(self.requested_at.get().map_or(Duration::ZERO, Instant::elapsed))
    }
}
