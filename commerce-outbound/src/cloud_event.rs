//! An event as it is told: CloudEvents 1.0 in JSON, the same bytes on every try and on every way.
//!
//! CloudEvents has everyone forward events of up to 64 KiB; larger ones may be dropped on their way. The
//! lines of an order may be too many for that. Such an event leaves them out and says how many there
//! are: a consumer asks for the order then. Part of the lines would be worse than none, since their
//! sum looks like a whole; and to send nothing would hide an order that was paid.

use commerce_core::{Currency, Event, EventKind, Order, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

/// The most bytes of one event as JSON: what CloudEvents asks everyone to forward.
pub const MAX_EVENT_BYTES: usize = 64 * 1024;

/// What is the same in all events of a store.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) source: String,
    pub(crate) currency: Option<Currency>,
}

#[derive(Serialize)]
struct Envelope<'a, D> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: EventKind,
    subject: String,
    time: Timestamp,
    datacontenttype: &'static str,
    /// The extension `sequence` wants texts that sort as the numbers do.
    sequence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    data: D,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    order: &'a Order,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<Currency>,
}

impl Form {
    /// The event as JSON, of at most [`MAX_EVENT_BYTES`].
    pub(crate) fn json(&self, event: &Event) -> serde_json::Result<Vec<u8>> {
        let data = Data { order: &event.data, currency: self.currency };
        let whole = serde_json::to_vec(&self.envelope(event, &data))?;
        if whole.len() <= MAX_EVENT_BYTES {
            return Ok(whole);
        }
        let mut data: Map<String, Value> = serde_json::from_value(serde_json::to_value(&data)?)?;
        data.remove("lines");
        data.insert("lines_omitted".to_owned(), event.data.lines.len().into());
        serde_json::to_vec(&self.envelope(event, &data))
    }

    /// The events as an array of JSON.
    pub(crate) fn array(&self, events: &[Event]) -> serde_json::Result<Vec<u8>> {
        let mut array = vec![b'['];
        for (target, event) in events.iter().enumerate() {
            array.extend((target > 0).then_some(b','));
            array.extend(self.json(event)?);
        }
        array.push(b']');
        Ok(array)
    }

    /// The events as lines of JSON.
    pub(crate) fn lines(&self, events: &[Event]) -> serde_json::Result<Vec<u8>> {
        let mut lines = Vec::new();
        for event in events {
            lines.extend(self.json(event)?);
            lines.push(b'\n');
        }
        Ok(lines)
    }

    fn envelope<'a, D>(&'a self, event: &'a Event, data: &'a D) -> Envelope<'a, &'a D> {
        Envelope {
            specversion: "1.0",
            id: &event.public_id,
            source: &self.source,
            kind: event.kind,
            subject: format!("orders/{}", event.order_id),
            time: event.created_at,
            datacontenttype: "application/json",
            sequence: format!("{:019}", event.id.get()),
            traceparent: event.trace.as_deref().filter(|trace| is_traceparent(trace)),
            data,
        }
    }
}

/// Whether it is a W3C `traceparent`, and not merely what the log calls a request.
fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let some = |part: &str| part.bytes().any(|byte| byte != b'0');
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = parts.as_slice() else { return false };
    let lengths = [version.len(), trace.len(), parent.len(), flags.len()];
    lengths == [2, 32, 16, 2]
        && parts.iter().all(|part| hex(part))
        && *version != "ff"
        && some(trace)
        && some(parent)
}

#[cfg(test)]
mod tests;
