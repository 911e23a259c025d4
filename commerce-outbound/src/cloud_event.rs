//! Events as CloudEvents 1.0 in JSON, the same bytes on every attempt and for every destination.
//!
//! CloudEvents requires intermediaries to forward events of up to 64 KiB; they may drop larger ones. An order with
//! very many lines exceeds that. Its event omits the lines and has their number instead, so that a consumer can ask
//! for the order. A part of the lines would be worse than none, since a consumer could take it for all of them, and
//! without any event the consumer would never learn of a paid order.

use crate::limits::MAX_EVENT_BYTES;
use commerce_core::{Currency, Event, EventKind, Order, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

/// Encodes events; the fields are the same in all events of a store.
#[derive(Clone, Debug)]
pub(crate) struct EventEncoder {
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
    /// The extension `sequence` requires texts that sort as the numbers do.
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

impl EventEncoder {
    /// Encodes an event as JSON of at most [`MAX_EVENT_BYTES`].
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

    /// Encodes events as a JSON array.
    pub(crate) fn array(&self, events: &[Event]) -> serde_json::Result<Vec<u8>> {
        let mut array = vec![b'['];
        for (index, event) in events.iter().enumerate() {
            array.extend((index > 0).then_some(b','));
            array.extend(self.json(event)?);
        }
        array.push(b']');
        Ok(array)
    }

    /// Encodes events as lines of JSON.
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

/// Returns true if the text is a W3C `traceparent`, and not another request id.
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
