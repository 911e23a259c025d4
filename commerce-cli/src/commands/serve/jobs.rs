//! The background jobs of the server, with their reports in its log.

use commerce_core::{
    BackgroundJob, CancellationToken, Destination, Error, ReconcileReport, RelayReport,
};
use commerce_http::Api;
use std::sync::Arc;

/// Relays events to the destination until `stop` is cancelled. A destination that accepts no more events ends the
/// relay, and not the server.
pub(super) fn start_relay(
    api: &Arc<Api>,
    destination: Box<dyn Destination>,
    stop: &CancellationToken,
) -> Result<BackgroundJob, Error> {
    let log = Arc::clone(api);
    api.shop().start_relay(destination, stop, move |report| match report {
        RelayReport::Problem(line) => log.note("event relay", line),
        RelayReport::Ended(error) => log.note("event relay ended", &error.to_string()),
    })
}

/// Reconciles pending charges, if a gateway collects them.
pub(super) fn start_reconciler(api: &Arc<Api>) -> Result<Option<BackgroundJob>, Error> {
    if !api.shop().has_gateway() {
        return Ok(None);
    }
    let log = Arc::clone(api);
    let report = move |report: ReconcileReport<'_>| match report {
        ReconcileReport::Warning(warning) => log.note("payment gateway", warning),
        ReconcileReport::Round(summary) => log.note("charges settled", &summary.to_string()),
        ReconcileReport::Failed(error) => log.note("charges not settled", &error.to_string()),
    };
    api.shop().start_reconciler(&CancellationToken::default(), report).map(Some)
}

#[cfg(test)]
mod tests {
    use commerce_core::limits::MAX_GATEWAY_CALLS;
    use commerce_http::transport::Settings;

    #[test]
    fn gateway_calls_take_at_most_half_of_the_workers() {
        assert!(MAX_GATEWAY_CALLS <= Settings::default().workers / 2);
    }
}
