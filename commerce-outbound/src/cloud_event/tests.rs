//! The JSON of events.

use super::*;
use crate::receiver::event;
use commerce_core::EventKind;
use rstest::rstest;
use serde_json::json;

fn encoded(event: &Event, currency: Option<Currency>) -> (usize, Value) {
    let encoder = EventEncoder { source: "/commerce".to_owned(), currency };
    let json = encoder.json(event).unwrap();
    (json.len(), serde_json::from_slice(&json).unwrap())
}

#[test]
fn documented_schema_has_every_kind() {
    let schema = include_str!("../../../docs/events.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    assert_eq!(schema["properties"]["type"]["enum"], json!(EventKind::ALL));
}

#[test]
fn event_is_encoded_with_its_whole_order() {
    let (_, json) = encoded(&event(42, 1), Some(Currency::KRW));
    let line = json!({
        "product_id": 1, "name": "Green tea \"No. 1\"", "unit_price": 4500, "regular_price": 4500,
        "quantity": 2, "cancelled_quantity": 0, "amount": 9000,
    });
    let order = json!({
        "id": 142, "customer_id": 7, "reference": null, "status": "paid", "lines": [line],
        "subtotal": 9000, "discount": 0, "total": 9000, "due": 0, "refunded": 0, "owned_coupon_id": null,
        "created_at": "2027-01-15T08:00:00Z", "expires_at": null,
        "paid_at": "2027-01-15T08:00:00Z", "cancelled_at": null, "currency": "KRW",
    });
    let expected = json!({
        "specversion": "1.0", "id": "9f86d081884c7d65-42", "source": "/commerce", "type": "order.paid",
        "subject": "orders/142", "time": "2027-01-15T08:00:00Z",
        "datacontenttype": "application/json", "sequence": "0000000000000000042",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "data": order,
    });
    assert_eq!(json, expected);
}

#[rstest]
#[case("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true)]
#[case("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false)]
#[case("00-00000000000000000000000000000000-b7ad6b7169203331-01", false)]
#[case("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false)]
#[case("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false)]
#[case("request-17", false)]
#[case("", false)]
fn only_a_valid_traceparent_is_sent_as_one(#[case] trace: &str, #[case] is_one: bool) {
    let mut event = event(1, 1);
    event.trace = Some(trace.to_owned());
    assert_eq!(encoded(&event, None).1.get("traceparent").is_some(), is_one);
}

#[rstest]
#[case::many_lines(400, false)]
#[case::most_lines(1_000, true)]
fn event_above_the_size_limit_omits_its_lines(#[case] lines: i64, #[case] omitted: bool) {
    let (length, json) = encoded(&event(1, lines), None);
    assert!(length <= MAX_EVENT_BYTES, "{length}");
    let data = &json["data"];
    assert_eq!(data.get("lines").is_none(), omitted);
    assert_eq!(data.get("lines_omitted"), omitted.then(|| json!(lines)).as_ref());
    assert_eq!(data["total"], 9_000 * lines);
}
