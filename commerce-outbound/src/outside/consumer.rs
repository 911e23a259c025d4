//! Events as a consumer in Python takes them: signature, form and schema.

use super::{Program, root};
use crate::receiver::event;
use crate::{DestinationOptions, destination};
use commerce_core::{Currency, Delivery, EventKind, OrderStatus};
use rstest::rstest;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn consumer(secret: &str) -> Program {
    let schema = root().join("docs/events.schema.json");
    Program::start("consumer.py", &[secret, schema.to_str().unwrap()])
}

fn options(batch: usize) -> DestinationOptions {
    DestinationOptions {
        secret: Some(SECRET.to_owned()),
        batch,
        allow_private: true,
        currency: Some(Currency::KRW),
        ..DestinationOptions::default()
    }
}

#[rstest]
#[case::one_by_one(1)]
#[case::in_batches(10)]
fn what_is_sent_is_signed_well_formed_and_as_documented(#[case] batch: usize) {
    let mut consumer = consumer(SECRET);
    let to = destination(&format!("http://127.0.0.1:{}/", consumer.port), options(batch)).unwrap();
    let mut events = [event(1, 1), event(2, 3), event(3, 1_000)];
    events[1].kind = EventKind::OrderCancelled;
    events[1].trace = None;
    events[1].data.status = OrderStatus::Cancelled;
    events[1].data.cancelled_at = events[1].data.paid_at;
    events[1].data.owned_coupon_id = Some(9.into());
    events[1].data.reference = Some("주문 \u{1f375} \"2\"".to_owned());
    for request in events.chunks(batch) {
        assert_eq!(to.deliver(request), Delivery::Done);
    }
    assert_eq!(consumer.line(), "1 order.paid 1 orders/101 1 9000");
    assert_eq!(consumer.line(), "2 order.cancelled 2 orders/102 3 27000");
    assert_eq!(consumer.line(), "3 order.paid 3 orders/103 1000 9000000");
}

#[test]
fn a_signature_by_another_secret_is_noticed() {
    let consumer = consumer("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let to = destination(&format!("http://127.0.0.1:{}/", consumer.port), options(1)).unwrap();
    let delivery = to.deliver(&[event(1, 1)]);
    assert!(
        matches!(&delivery, Delivery::Rejected { error } if error.contains("No matching signature")),
        "{delivery:?}"
    );
}
