//! The signals of the server: graceful shutdown on SIGTERM or Ctrl-C, and a new certificate on SIGHUP.

use crate::error::CliError;
use crate::output::Output;
use crate::{exit, interrupt};
use commerce_core::CancellationToken;
use commerce_http::transport::Tls;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::{Arc, OnceLock};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Cancels the server and its event relay together, and measures the rest of the shutdown timeout.
#[derive(Clone, Default)]
pub(super) struct Shutdown {
    pub(super) server: CancellationToken,
    pub(super) relay: CancellationToken,
    requested_at: Arc<OnceLock<Instant>>,
}

impl Shutdown {
    /// Handles the signals. The first one to stop starts the graceful shutdown, the second one exits at once. SIGHUP
    /// reloads the certificate; without one it stops the server, as the end of a terminal does.
    pub(super) fn on_signals(tls: Option<Tls>, output: Output) -> Result<Self, CliError> {
        let shutdown = Self::default();
        let on_signal = shutdown.clone();
        let cannot_watch = |error| interrupt::cannot_watch(&error);
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(cannot_watch)?;
        let handle = move || {
            for signal in &mut signals {
                match &tls {
                    Some(tls) if signal == SIGHUP => reload(tls, output),
                    _ => on_signal.signal(),
                }
            }
        };
        Builder::new().name("signals".to_owned()).spawn(handle).map_err(cannot_watch)?;
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

fn reload(tls: &Tls, output: Output) {
    match tls.reload() {
        Ok(()) => output.note("the certificate is reloaded"),
        Err(error) => output.warn(format_args!("the certificate is not reloaded: {error}")),
    }
}
