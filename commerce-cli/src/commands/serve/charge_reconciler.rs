//! Asks the gateway, now and then, about charges that it has not answered, for as long as the server runs.

use crate::error::CliError;
use commerce_core::ReconcileSummary;
use commerce_core::limits::SETTLE_AFTER_SECONDS;
use commerce_http::Api;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

/// How long it rests between rounds.
const PAUSE: Duration = Duration::from_secs(5);
/// The longest it rests when the gateway does not answer: each round in vain doubles the rest.
const MAX_PAUSE: Duration = Duration::from_secs(5 * 60);

/// The thread that asks.
pub(super) struct ChargeReconciler {
    over: Arc<Over>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
}

#[derive(Default)]
struct Over {
    is_over: Mutex<bool>,
    told: Condvar,
}

impl ChargeReconciler {
    pub(super) fn start(api: &Arc<Api>) -> Result<Self, CliError> {
        let over: Arc<Over> = Arc::default();
        let (alive, ended) = channel::<()>();
        if api.shop().has_gateway() {
            let (api, over) = (Arc::clone(api), Arc::clone(&over));
            let settle = move || {
                over.settle(&api);
                // The store is let go of first: it is closed when this has ended.
                drop((api, alive));
            };
            let thread = Builder::new().name("settle".to_owned()).spawn(settle);
            thread.map_err(|error| CliError::storage(format!("cannot settle charges: {error}")))?;
        }
        Ok(Self { over, ended })
    }

    /// Lets it ask no more, and waits that long at most: what a gateway answers later is asked again next time.
    pub(super) fn end(self, time: Duration) {
        *self.over.lock() = true;
        self.over.told.notify_one();
        let _ = self.ended.recv_timeout(time);
    }
}

impl Over {
    fn settle(&self, api: &Api) {
        let mut pause = Duration::ZERO;
        let mut said = String::new();
        while !self.rests(pause) {
            let settled = api.shop().settle_charges(SETTLE_AFTER_SECONDS, &|| !*self.lock());
            let is_in_vain = settled.as_ref().map_or(true, |settled| settled.pending > 0);
            let longer = pause.saturating_mul(2).clamp(PAUSE, MAX_PAUSE);
            pause = if is_in_vain { longer } else { PAUSE };
            // What has not changed since the last round is not said again.
            let line = match &settled {
                Ok(settled) => settled.to_string(),
                Err(error) => error.to_string(),
            };
            if let Some(warning) = api.shop().gateway_warning() {
                api.note("payment gateway", &warning);
            }
            if line != said && settled != Ok(ReconcileSummary::default()) {
                api.note("charges settled", &line);
            }
            said = line;
        }
    }

    /// Waits, and tells whether all is over.
    fn rests(&self, pause: Duration) -> bool {
        let waited = self.told.wait_timeout_while(self.lock(), pause, |over| !*over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
