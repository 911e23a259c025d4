//! A webhook as a destination: events are sent by HTTP POST.

use crate::cloud_event::EventEncoder;
use crate::error::OutboundError;
use crate::http::{Client, HttpResponse, Limits, plain};
use crate::secrets::RotatingSecret;
use crate::signature::Secret;
use commerce_core::limits::MAX_DELIVERY;
use commerce_core::{Clock, DeliveryResult, Destination, Event, SystemClock};
use sha2::{Digest, Sha256};
use std::time::Duration;
use ureq::http::{Request, Uri, header};

/// The number of concurrent requests with one event each, so that a consumer 25 ms away keeps up with hundreds of
/// orders a second.
const MAX_CONCURRENT_EVENTS: usize = 16;

/// The number of concurrent requests with an array each: fewer suffice, and each takes much memory.
const MAX_CONCURRENT_BATCHES: usize = 4;

/// A consumer should respond once it has stored the event, not once it has processed it. The whole request stays well
/// below [`MAX_DELIVERY`]. Only the beginning of the response is read, for the operator.
pub(crate) const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    whole: Duration::from_secs(15),
    write: Duration::from_secs(2),
    body: Duration::from_secs(2),
    body_bytes: 4 * 1024,
    connections: MAX_CONCURRENT_EVENTS,
};

const _: () = assert!(
    LIMITS.whole.as_secs().saturating_add(LIMITS.write.as_secs().saturating_mul(3))
        < MAX_DELIVERY.as_secs()
);

/// A receiver of events by HTTP POST.
#[derive(Debug)]
pub(crate) struct WebhookDestination {
    client: Client,
    uri: Uri,
    encoder: EventEncoder,
    secret: Option<RotatingSecret<Vec<Secret>>>,
    batch: usize,
}

impl WebhookDestination {
    pub(crate) fn new(
        uri: Uri,
        encoder: EventEncoder,
        secret: Option<RotatingSecret<Vec<Secret>>>,
        batch: usize,
        allow_private: bool,
        limits: Limits,
    ) -> Result<Self, OutboundError> {
        let client = Client::new(&uri, allow_private, limits)?;
        Ok(Self { client, uri, encoder, secret, batch })
    }

    /// Returns id, content type and body of the request for these events. The id is the same on every attempt for the
    /// same events.
    fn request(&self, events: &[Event]) -> serde_json::Result<(String, &'static str, Vec<u8>)> {
        let id = match events {
            [] => String::new(),
            [event] => event.public_id.clone(),
            [first, .., last] => format!("{}-{}-{}", first.id, last.id, digest(events)),
        };
        if let ([event], 1) = (events, self.batch) {
            return Ok((
                id,
                "application/cloudevents+json; charset=utf-8",
                self.encoder.json(event)?,
            ));
        }
        let kind = "application/cloudevents-batch+json; charset=utf-8";
        Ok((id, kind, self.encoder.array(events)?))
    }

    fn send(&self, id: &str, kind: &str, body: &[u8]) -> Result<HttpResponse, String> {
        let now = SystemClock.now();
        let mut request = Request::post(self.uri.clone())
            .header(header::CONTENT_TYPE, kind)
            .header("webhook-id", id)
            .header("webhook-timestamp", now.unix().to_string());
        if let Some(secret) = &self.secret {
            let secrets = secret.current();
            let signatures: Vec<_> =
                secrets.iter().map(|secret| secret.sign(id, now, body)).collect();
            request = request.header("webhook-signature", signatures.join(" "));
        }
        self.client.send(request.body(body).map_err(|error| error.to_string())?)
    }
}

impl Destination for WebhookDestination {
    fn max_batch_size(&self) -> usize {
        self.batch
    }

    fn max_concurrency(&self) -> usize {
        if self.batch == 1 { MAX_CONCURRENT_EVENTS } else { MAX_CONCURRENT_BATCHES }
    }

    fn deliver(&self, events: &[Event]) -> DeliveryResult {
        let (id, kind, body) = match self.request(events) {
            Ok(request) => request,
            Err(error) => {
                return DeliveryResult::Failed { error: error.to_string(), retry_after: None };
            }
        };
        match self.send(&id, kind, &body) {
            Ok(response) => delivery_result(&response),
            Err(error) => DeliveryResult::Failed { error, retry_after: None },
        }
    }

    fn warning(&self) -> Option<String> {
        self.secret.as_ref()?.warning()
    }
}

/// Returns a digest that distinguishes these events from others with the same first and last one: a consumer may ignore
/// an id that it has seen.
fn digest(events: &[Event]) -> String {
    let ids = events
        .iter()
        .fold(Sha256::new(), |ids, event| ids.chain_update(&event.public_id).chain_update([0]));
    ids.finalize().iter().take(8).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Returns the result of a delivery by its response. Every status but 2xx and 410 is retried: a 4xx is often a secret
/// that is being rotated or a route that is being deployed, and a redirect is a receiver that has moved.
fn delivery_result(response: &HttpResponse) -> DeliveryResult {
    let retry_after = response.retry_after;
    let body = plain(&response.body);
    let error = match (response.status, &response.location, body.as_str()) {
        (status @ 300..=399, Some(target), _) => {
            format!("status {status} to {target}: configure the new URL")
        }
        (status, _, "") => format!("status {status}"),
        (status, _, body) => format!("status {status}: {body}"),
    };
    match response.status {
        200..=299 => DeliveryResult::Done,
        410 => DeliveryResult::Gone { error },
        _ => DeliveryResult::Failed { error, retry_after },
    }
}

#[cfg(test)]
mod tests;
