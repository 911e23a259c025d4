//! The relay inside the server: tells events while requests are served, and ends with the server.

use crate::failure::Failure;
use commerce_core::{Destination, RelayStop};
use commerce_http::Api;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

pub(super) struct Telling {
    stop: RelayStop,
    thread: JoinHandle<()>,
}

impl Telling {
    /// Begins to tell events to that destination. A destination that wants no more ends the telling, and not
    /// the serving.
    pub(super) fn start(
        api: &Arc<Api>,
        destination: Box<dyn Destination>,
    ) -> Result<Self, Failure> {
        let (api, stop) = (Arc::clone(api), RelayStop::default());
        let ask = stop.clone();
        let tell = move || {
            let relay = api.shop().relay(&*destination);
            let relay = relay.on_trouble(|trouble| api.note("telling events", trouble));
            if let Err(error) = relay.run(&ask) {
                api.note("events are not told any more", &error.to_string());
            }
        };
        let thread = Builder::new().name("events".to_owned()).spawn(tell);
        let thread = thread
            .map_err(|error| Failure::storage(format!("cannot start to tell events: {error}")))?;
        Ok(Self { stop, thread })
    }

    /// Finishes what is being sent.
    pub(super) fn end(self) {
        self.stop.ask();
        // One that panicked has nothing left to finish.
        let _ = self.thread.join();
    }
}
