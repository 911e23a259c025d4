//! The relay inside the server: tells events while requests are served, and ends with the server.

use crate::error::CliError;
use commerce_core::{CancellationToken, Destination};
use commerce_http::Api;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::Builder;
use std::time::Duration;

pub(super) struct EventRelayThread {
    stop: CancellationToken,
    /// Closed when the telling has ended.
    ended: Receiver<()>,
}

impl EventRelayThread {
    /// Begins to tell events to that destination, until it is asked to stop. A destination that wants no
    /// more ends the telling, and not the serving.
    pub(super) fn start(
        api: &Arc<Api>,
        destination: Box<dyn Destination>,
        stop: &CancellationToken,
    ) -> Result<Self, CliError> {
        let (api, ask, stop) = (Arc::clone(api), stop.clone(), stop.clone());
        let (alive, ended) = channel::<()>();
        let tell = move || {
            let relay = api.shop().relay(&*destination);
            let relayed = relay.on_error(|warn| api.note("telling events", warn)).run(&ask);
            if let Err(error) = relayed {
                api.note("events are not told any more", &error.to_string());
            }
            // The store is let go of first: it is closed when this has ended.
            drop((api, alive));
        };
        let thread = Builder::new().name("events".to_owned()).spawn(tell);
        thread
            .map_err(|error| CliError::storage(format!("cannot start to tell events: {error}")))?;
        Ok(Self { stop, ended })
    }

    /// Lets what is being sent be finished within that time. What is not is sent again, by whoever tells
    /// events once its lease is over.
    pub(super) fn end(self, time: Duration) {
        self.stop.cancel();
        let _ = self.ended.recv_timeout(time);
    }
}
