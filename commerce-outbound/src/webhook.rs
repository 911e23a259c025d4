//! An address on the web as a destination.

use crate::cloud_event::Form;
use crate::error::OutboundError;
use crate::http::{Client, HttpResponse, Limits, plain};
use crate::secrets::Rotating;
use crate::signature::Secret;
use commerce_core::limits::MAX_DELIVERY;
use commerce_core::{Clock, DeliveryResult, Destination, Event, SystemClock};
use sha2::{Digest, Sha256};
use std::time::Duration;
use ureq::http::{Request, Uri, header};

/// How many requests are under way at once, so that a consumer 25 ms away keeps up with hundreds of
/// orders a second, one event a request. Arrays need fewer, and each holds much.
const SINGLES_AT_ONCE: usize = 16;
const BATCHES_AT_ONCE: usize = 4;

/// A consumer answers when it has put the event by, not when it has worked on it. The whole stays well
/// below [`MAX_DELIVERY`]. Of the answer only the
/// beginning is read, for the operator.
pub(crate) const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    whole: Duration::from_secs(15),
    write: Duration::from_secs(2),
    body: Duration::from_secs(2),
    body_bytes: 4 * 1024,
    connections: SINGLES_AT_ONCE,
};

const _: () = assert!(
    LIMITS.whole.as_secs().saturating_add(LIMITS.write.as_secs().saturating_mul(3))
        < MAX_DELIVERY.as_secs()
);

/// Someone who is sent events by POST.
#[derive(Debug)]
pub(crate) struct WebhookDestination {
    client: Client,
    uri: Uri,
    form: Form,
    secret: Option<Rotating<Vec<Secret>>>,
    batch: usize,
}

impl WebhookDestination {
    pub(crate) fn new(
        uri: Uri,
        form: Form,
        secret: Option<Rotating<Vec<Secret>>>,
        batch: usize,
        allow_private: bool,
        limits: Limits,
    ) -> Result<Self, OutboundError> {
        let client = Client::new(&uri, allow_private, limits)?;
        Ok(Self { client, uri, form, secret, batch })
    }

    /// The request for these events: its id, its type and its body. The id is the same on every try of
    /// the same events.
    fn request(&self, events: &[Event]) -> serde_json::Result<(String, &'static str, Vec<u8>)> {
        let id = match events {
            [] => String::new(),
            [event] => event.public_id.clone(),
            [first, .., last] => format!("{}-{}-{}", first.id, last.id, digest(events)),
        };
        if let ([event], 1) = (events, self.batch) {
            return Ok((id, "application/cloudevents+json; charset=utf-8", self.form.json(event)?));
        }
        let kind = "application/cloudevents-batch+json; charset=utf-8";
        Ok((id, kind, self.form.array(events)?))
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
        if self.batch == 1 { SINGLES_AT_ONCE } else { BATCHES_AT_ONCE }
    }

    fn deliver(&self, events: &[Event]) -> DeliveryResult {
        let (id, kind, body) = match self.request(events) {
            Ok(request) => request,
            Err(error) => {
                return DeliveryResult::Failed { error: error.to_string(), retry_after: None };
            }
        };
        match self.send(&id, kind, &body) {
            Ok(answer) => judge(&answer),
            Err(error) => DeliveryResult::Failed { error, retry_after: None },
        }
    }

    fn warning(&self) -> Option<String> {
        self.secret.as_ref()?.warning()
    }
}

/// What tells these events from others that begin and end alike: a consumer may pass over an id that it has
/// seen.
fn digest(events: &[Event]) -> String {
    let ids = events
        .iter()
        .fold(Sha256::new(), |ids, event| ids.chain_update(&event.public_id).chain_update([0]));
    ids.finalize().iter().take(8).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// The meaning of an answer. Everything but success and 410 is tried again: a 4xx is often a secret that is being
/// rotated or a route that is being deployed, and a redirect is a receiver that has moved.
fn judge(answer: &HttpResponse) -> DeliveryResult {
    let retry_after = answer.retry_after;
    let said = plain(&answer.body);
    let error = match (answer.status, &answer.location, said.as_str()) {
        (status @ 300..=399, Some(target), _) => {
            format!("status {status} to {target}: name the new place")
        }
        (status, _, "") => format!("status {status}"),
        (status, _, said) => format!("status {status}: {said}"),
    };
    match answer.status {
        200..=299 => DeliveryResult::Done,
        410 => DeliveryResult::Gone { error },
        _ => DeliveryResult::Failed { error, retry_after },
    }
}

#[cfg(test)]
mod tests;
