//! Requests to Stripe, the result of each response, and the verification of webhooks.

use super::*;
use crate::receiver::{Behaviour, Received, Receiver, response};
use commerce_core::{Currency, Money, WebhookNotice};
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// Timeouts that are short enough for a test.
const SHORT: Limits =
    Limits { whole: Duration::from_millis(1_500), body: Duration::from_millis(300), ..LIMITS };

const KEY: &str = "sk_test_4eC39HqLyjWDarjtT1zdp7dc";
const SECRET: &str = "whsec_0123456789abcdef";
const OPENED: i64 = 1_800_000_000;
const HOUR: i64 = 60 * 60;

fn stripe(receiver: &Receiver) -> Stripe {
    with_limits(LIMITS, receiver)
}

fn with_limits(limits: Limits, receiver: &Receiver) -> Stripe {
    let url = Some(format!("http://{}/", receiver.address));
    let options = StripeOptions {
        url,
        key: SecretSource::fixed(KEY),
        webhook_secret: Some(SecretSource::fixed(SECRET)),
    };
    Stripe::with_limits(options, limits).unwrap()
}

/// Returns a request for 1,000 won that many seconds after the charge was opened.
fn request(age: i64) -> CollectRequest {
    CollectRequest {
        reference: "shop-1/charge-5".to_owned(),
        charge_id: 5.into(),
        customer_id: 7.into(),
        amount: Money::from_minor(1_000),
        currency: Currency::KRW,
        payment_method: Some("pm_card_visa".to_owned()),
        created_at: Timestamp::from_unix(OPENED),
        now: Timestamp::from_unix(OPENED + age),
    }
}

fn intent(status: &str) -> Value {
    json!({
        "id": "pi_1", "object": "payment_intent", "status": status, "amount": 1000,
        "amount_received": if status == "succeeded" { 1000 } else { 0 }, "currency": "krw",
        "metadata": {"charge": "shop-1/charge-5"}, "last_payment_error": null,
    })
}

/// Returns the value with some fields changed.
fn with(mut value: Value, fields: Value) -> Value {
    for (name, field) in fields.as_object().unwrap() {
        value[name] = field.clone();
    }
    value
}

fn error(kind: &str, message: &str) -> Value {
    json!({"error": {"type": kind, "message": message}})
}

fn responds(status: u16, body: &Value) -> Behaviour {
    Behaviour::Responds(response(&format!("{status} Whatever"), "", &body.to_string()))
}

fn declined(reason: &str) -> ChargeResult {
    ChargeResult::Declined { reason: reason.to_owned() }
}

/// Asserts the expected result, or an unknown one for `None`.
fn assert_agrees(collected: &ChargeResult, expected: Option<ChargeResult>) {
    match expected {
        Some(expected) => assert_eq!(*collected, expected),
        None => assert!(matches!(collected, ChargeResult::Unknown { .. }), "{collected:?}"),
    }
}

#[rstest]
#[case::paid(200, intent("succeeded"), Some(ChargeResult::Paid))]
#[case::paid_less(200, with(intent("succeeded"), json!({"amount_received": 999})), None)]
#[case::another_amount(200, with(intent("succeeded"), json!({"amount": 100_000})), None)]
#[case::another_currency(200, with(intent("succeeded"), json!({"currency": "usd"})), None)]
#[case::held_back(200, intent("requires_capture"), None)]
#[case::unknown_status(200, intent("requires_something_new"), None)]
#[case::requires_the_payer(
    200,
    intent("requires_action"),
    Some(declined("the bank asks for the payer to confirm"))
)]
#[case::canceled(200, intent("canceled"), Some(declined("the payment was not approved")))]
#[case::failed(
    200,
    with(intent("requires_payment_method"), json!({"last_payment_error": {"message": "Too little."}})),
    Some(declined("Too little."))
)]
#[case::declined(
    402,
    error("card_error", "Your card was declined."),
    Some(declined("Your card was declined."))
)]
#[case::declined_without_words(
    402,
    error("card_error", ""),
    Some(declined("the payment was declined"))
)]
#[case::no_such_method(
    404,
    error("invalid_request_error", "No such PaymentMethod"),
    Some(declined("invalid_request_error: No such PaymentMethod"))
)]
#[case::too_little(
    400,
    error("invalid_request_error", "Amount must be at least 50"),
    Some(declined("invalid_request_error: Amount must be at least 50"))
)]
#[case::not_stripe(404, json!("<html>nothing here</html>"), None)]
#[case::payment_wall(402, json!("pay for the proxy"), None)]
#[case::key_used_otherwise(400, error("idempotency_error", "Keys must match"), None)]
#[case::our_key_is_wrong(401, error("invalid_request_error", "Invalid API Key"), None)]
#[case::our_key_comes_back(401, error("invalid_request_error", &format!("Invalid API Key: {KEY}")), None)]
#[case::our_key_comes_back_with_a_no(
    402,
    error("card_error", &format!("Declined: {KEY}")),
    Some(declined("Declined: ..."))
)]
#[case::our_key_comes_back_at_the_end(
    400,
    error("invalid_request_error", &format!("{} {KEY}", "x".repeat(150))),
    Some(declined(&format!("invalid_request_error: {} ...", "x".repeat(150))))
)]
#[case::forbidden(403, error("invalid_request_error", "No permission"), None)]
#[case::under_way(409, error("invalid_request_error", "in use"), None)]
#[case::too_fast(429, error("invalid_request_error", "slow down"), None)]
#[case::broken(500, error("api_error", "sorry"), None)]
#[case::overloaded(503, json!(null), None)]
#[case::moved(301, json!(null), None)]
#[case::ok_of_another_server(200, json!({"ok": true}), None)]
fn response_decides_the_charge_result(
    #[case] status: u16,
    #[case] body: Value,
    #[case] expected: Option<ChargeResult>,
) {
    let receiver = Receiver::new(responds(status, &body));
    let collected = stripe(&receiver).collect(&request(0));
    assert_agrees(&collected, expected);
    assert!(!format!("{collected:?}").contains(KEY));
}

#[rstest]
#[case(Behaviour::Hangs)]
#[case(Behaviour::RespondsAndCloses(Vec::new()))]
#[case(Behaviour::RespondsAndCloses(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"id\"".to_vec()))]
#[case(Behaviour::Drips(b"HTTP/1.1 200 OK\r\ncontent-length: 90000\r\n\r\n{".to_vec()))]
fn lost_response_leaves_the_charge_pending(#[case] behaviour: Behaviour) {
    let receiver = Receiver::new(behaviour);
    let collected = with_limits(SHORT, &receiver).collect(&request(0));
    assert!(matches!(collected, ChargeResult::Unknown { .. }), "{collected:?}");
}

#[test]
fn refused_connection_leaves_the_charge_pending() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = Some(format!("http://{address}"));
    let options = StripeOptions { url, key: SecretSource::fixed(KEY), webhook_secret: None };
    let collected = Stripe::new(options).unwrap().collect(&request(0));
    assert_eq!(collected, ChargeResult::Unknown { detail: "connection refused".to_owned() });
}

#[test]
fn intent_is_created_under_the_idempotency_key_of_the_charge() {
    let receiver = Receiver::new(responds(200, &intent("succeeded")));
    assert_eq!(stripe(&receiver).collect(&request(0)), ChargeResult::Paid);
    let sent = receiver.received.recv().unwrap();
    assert_eq!(sent.head[0], "POST /v1/payment_intents HTTP/1.1");
    assert_eq!(sent.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(sent.header("idempotency-key"), Some("shop-1/charge-5"));
    assert_eq!(sent.header("stripe-version"), Some(VERSION));
    assert_eq!(sent.header("content-type"), Some("application/x-www-form-urlencoded"));
    let form: Vec<(String, String)> = form_urlencoded::parse(&sent.body).into_owned().collect();
    let expected = [
        ("amount", "1000"),
        ("currency", "krw"),
        ("payment_method", "pm_card_visa"),
        ("payment_method_types[]", "card"),
        ("confirm", "true"),
        ("off_session", "true"),
        ("metadata[charge]", "shop-1/charge-5"),
        ("metadata[charge_id]", "5"),
        ("metadata[customer_id]", "7"),
    ];
    assert_eq!(form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn saved_card_is_charged_with_its_customer() {
    let receiver = Receiver::new(responds(200, &intent("succeeded")));
    let saved = Some("cus_9/pm_1".to_owned());
    stripe(&receiver).collect(&CollectRequest { payment_method: saved, ..request(0) });
    let sent = receiver.received.recv().unwrap();
    let form: Vec<(String, String)> = form_urlencoded::parse(&sent.body).into_owned().collect();
    for (name, value) in [("customer", "cus_9"), ("payment_method", "pm_1")] {
        assert!(form.contains(&(name.to_owned(), value.to_owned())), "{form:?}");
    }
}

#[rstest]
#[case::no_method(CollectRequest { payment_method: None, ..request(0) })]
#[case::empty_method(CollectRequest { payment_method: Some(String::new()), ..request(0) })]
#[case::no_money(CollectRequest { amount: Money::ZERO, ..request(0) })]
#[case::inexact_amount(CollectRequest {
    amount: Money::from_minor(1_005),
    currency: Currency::from_code("KWD").unwrap(),
    ..request(0)
})]
fn unchargeable_request_is_declined_without_a_call(#[case] request: CollectRequest) {
    let receiver = Receiver::new(responds(200, &intent("succeeded")));
    let collected = stripe(&receiver).collect(&request);
    assert!(matches!(collected, ChargeResult::Declined { .. }), "{collected:?}");
    assert_eq!(receiver.received.try_iter().count(), 0);
}

/// A repeated key always gets the first response: the payment is processing.
#[rstest]
#[case("succeeded", Some(ChargeResult::Paid))]
#[case("canceled", Some(declined("the payment was not approved")))]
#[case("processing", None)]
fn processing_intent_is_fetched_by_its_id(
    #[case] later: &str,
    #[case] expected: Option<ChargeResult>,
) {
    let later = responds(200, &intent(later));
    let receiver = Receiver::with(move |request: &Received| match request.head[0].as_str() {
        "GET /v1/payment_intents/pi_1 HTTP/1.1" => later.clone(),
        _ => responds(200, &intent("processing")),
    });
    let collected = stripe(&receiver).collect(&request(60));
    assert_agrees(&collected, expected);
}

fn page(intents: &[Value], has_more: bool) -> Behaviour {
    responds(200, &json!({"object": "list", "data": intents, "has_more": has_more}))
}

fn other(id: &str) -> Value {
    with(intent("succeeded"), json!({"id": id, "metadata": {"charge": "shop-1/charge-4"}}))
}

/// Two pages of intents: the first full of other charges, the second as given.
#[rstest]
#[case::paid(23 * HOUR, page(&[other("pi_3"), intent("succeeded")], false), Some(ChargeResult::Paid))]
#[case::declined(
    30 * HOUR,
    page(&[intent("requires_payment_method")], false),
    Some(declined("the payment was not approved"))
)]
#[case::absent_but_possibly_under_way(23 * HOUR, page(&[other("pi_3")], false), None)]
#[case::absent(24 * HOUR, page(&[], false), Some(declined("the payment never reached the bank")))]
#[case::no_answer(24 * HOUR, responds(500, &json!(null)), None)]
#[case::no_list(24 * HOUR, responds(200, &json!({})), None)]
fn old_charge_is_looked_up_and_not_created_again(
    #[case] age: i64,
    #[case] second: Behaviour,
    #[case] expected: Option<ChargeResult>,
) {
    let receiver = Receiver::with(move |request: &Received| {
        if request.head[0].contains("starting_after=pi_2") {
            return second.clone();
        }
        page(&[other("pi_1"), other("pi_2")], true)
    });
    let collected = stripe(&receiver).collect(&request(age));
    assert_agrees(&collected, expected);
    let lines: Vec<String> =
        receiver.received.try_iter().map(|request| request.head[0].clone()).collect();
    assert!(lines.iter().all(|line| line.starts_with("GET ")), "{lines:?}");
    assert!(lines[0].contains("created[gte]=1799999400&created[lte]=1800087000"), "{lines:?}");
    assert_eq!(lines.len(), 2);
}

/// Returns a request for a refund of 300 won, that many seconds after it was opened.
fn refund_request(age: i64) -> RefundRequest {
    let created_at = Timestamp::from_unix(OPENED + 50 * HOUR);
    RefundRequest {
        reference: "shop-1/refund-9".to_owned(),
        charge_reference: "shop-1/charge-5".to_owned(),
        charge_id: 5.into(),
        amount: Money::from_minor(300),
        currency: Currency::KRW,
        charged_at: Timestamp::from_unix(OPENED),
        created_at,
        now: created_at.plus_seconds(age),
    }
}

fn refund(status: &str) -> Value {
    json!({
        "id": "re_1", "object": "refund", "status": status, "amount": 300, "currency": "krw",
        "charge": "ch_1", "payment_intent": "pi_1", "metadata": {"refund": "shop-1/refund-9"},
    })
}

/// A Stripe that has the intent of the charge, and responds to everything else as given.
fn with_intent(respond: impl Fn(&str) -> Behaviour + Clone + Send + 'static) -> Receiver {
    Receiver::with(move |request: &Received| {
        if request.head[0].starts_with("GET /v1/payment_intents?") {
            return page(&[other("pi_2"), intent("succeeded")], false);
        }
        respond(&request.head[0])
    })
}

#[rstest]
#[case::paid_back(200, refund("succeeded"), Some(ChargeResult::Paid))]
#[case::another_amount(200, with(refund("succeeded"), json!({"amount": 301})), None)]
#[case::another_currency(200, with(refund("succeeded"), json!({"currency": "usd"})), None)]
#[case::unknown_status(200, refund("something_new"), None)]
#[case::no_status(200, with(refund("succeeded"), json!({"status": null})), None)]
#[case::failed(
    200,
    with(refund("failed"), json!({"failure_reason": "expired_or_canceled_card"})),
    Some(declined("the bank did not take it: expired_or_canceled_card"))
)]
#[case::canceled(200, refund("canceled"), Some(declined("the bank did not take it: canceled")))]
#[case::refunded_already(
    400,
    error("invalid_request_error", "Charge ch_1 has already been refunded."),
    Some(declined("invalid_request_error: Charge ch_1 has already been refunded."))
)]
#[case::not_stripe(404, json!("<html>nothing here</html>"), None)]
#[case::payment_wall(402, json!("pay for the proxy"), None)]
#[case::key_used_otherwise(400, error("idempotency_error", "Keys must match"), None)]
#[case::our_key_comes_back(401, error("invalid_request_error", &format!("Invalid API Key: {KEY}")), None)]
#[case::forbidden(403, error("invalid_request_error", "No permission"), None)]
#[case::under_way(409, error("invalid_request_error", "in use"), None)]
#[case::too_fast(429, error("invalid_request_error", "slow down"), None)]
#[case::broken(500, error("api_error", "sorry"), None)]
#[case::ok_of_another_server(200, json!({"ok": true}), None)]
fn response_decides_the_result_of_a_refund(
    #[case] status: u16,
    #[case] body: Value,
    #[case] expected: Option<ChargeResult>,
) {
    let receiver = with_intent(move |_| responds(status, &body));
    let result = stripe(&receiver).refund(&refund_request(0));
    assert_agrees(&result, expected);
    assert!(!format!("{result:?}").contains(KEY));
}

#[test]
fn refund_is_created_under_its_own_idempotency_key() {
    let receiver = with_intent(|_| responds(200, &refund("succeeded")));
    assert_eq!(stripe(&receiver).refund(&refund_request(0)), ChargeResult::Paid);
    let sent: Vec<Received> = receiver.received.try_iter().collect();
    let lines: Vec<&str> = sent.iter().map(|request| request.head[0].as_str()).collect();
    let found = "GET /v1/payment_intents?limit=100&created[gte]=1799999400&created[lte]=1800000600";
    assert_eq!(lines, [format!("{found} HTTP/1.1").as_str(), "POST /v1/refunds HTTP/1.1"]);
    assert_eq!(sent[1].header("idempotency-key"), Some("shop-1/refund-9"));
    assert_eq!(sent[1].header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(sent[1].header("stripe-version"), Some(VERSION));
    let form: Vec<(String, String)> = form_urlencoded::parse(&sent[1].body).into_owned().collect();
    let expected = [
        ("payment_intent", "pi_1"),
        ("amount", "300"),
        ("metadata[refund]", "shop-1/refund-9"),
        ("metadata[charge_id]", "5"),
    ];
    assert_eq!(form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[rstest]
#[case(Behaviour::Hangs)]
#[case(Behaviour::RespondsAndCloses(Vec::new()))]
#[case(Behaviour::RespondsAndCloses(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"id\"".to_vec()))]
fn lost_response_leaves_the_refund_pending(#[case] behaviour: Behaviour) {
    let receiver = with_intent(move |_| behaviour.clone());
    let result = with_limits(SHORT, &receiver).refund(&refund_request(0));
    assert!(matches!(result, ChargeResult::Unknown { .. }), "{result:?}");
}

/// A charge that the first narrow lookup misses is found within a day of it.
#[rstest]
#[case::late(page(&[intent("succeeded")], false), Some(ChargeResult::Paid))]
#[case::unknown(page(&[], false), None)]
#[case::no_list(responds(200, &json!({})), None)]
#[case::down(responds(503, &json!(null)), None)]
#[case::an_id_that_is_a_path(
    page(&[with(intent("succeeded"), json!({"id": "../pi_1"}))], false),
    None
)]
fn intent_of_a_refund_is_looked_up(#[case] day: Behaviour, #[case] expected: Option<ChargeResult>) {
    let receiver = Receiver::with(move |request: &Received| match request.head[0].as_str() {
        line if line.contains("created[lte]=1800000600") => page(&[], false),
        line if line.contains("created[lte]=1800087000") => day.clone(),
        _ => responds(200, &refund("succeeded")),
    });
    assert_agrees(&stripe(&receiver).refund(&refund_request(0)), expected.clone());
    let posts = receiver.received.try_iter().filter(|sent| sent.head[0].starts_with("POST"));
    assert_eq!(posts.count(), usize::from(expected.is_some()));
}

#[test]
fn inexact_refund_is_declined_without_a_call() {
    let receiver = Receiver::new(responds(200, &refund("succeeded")));
    let amount = Money::from_minor(1_005);
    let currency = Currency::from_code("KWD").unwrap();
    let result = stripe(&receiver).refund(&RefundRequest { amount, currency, ..refund_request(0) });
    assert!(matches!(result, ChargeResult::Declined { .. }), "{result:?}");
    assert_eq!(receiver.received.try_iter().count(), 0);
}

/// A repeated key always gets the first response: the refund is pending.
#[rstest]
#[case("succeeded", Some(ChargeResult::Paid))]
#[case("failed", Some(declined("the bank did not take it: failed")))]
#[case("pending", None)]
#[case("requires_action", None)]
fn pending_refund_is_fetched_by_its_id(
    #[case] later: &str,
    #[case] expected: Option<ChargeResult>,
    #[values("pending", "requires_action")] first: &str,
) {
    let (first, later) = (responds(200, &refund(first)), responds(200, &refund(later)));
    let receiver = with_intent(move |line| match line {
        "GET /v1/refunds/re_1 HTTP/1.1" => later.clone(),
        _ => first.clone(),
    });
    assert_agrees(&stripe(&receiver).refund(&refund_request(60)), expected);
}

fn other_refund(id: &str) -> Value {
    with(refund("succeeded"), json!({"id": id, "metadata": {}}))
}

#[rstest]
#[case::paid_back(23 * HOUR, page(&[other_refund("re_3"), refund("succeeded")], false), Some(ChargeResult::Paid))]
#[case::failed(
    30 * HOUR,
    page(&[refund("failed")], false),
    Some(declined("the bank did not take it: failed"))
)]
#[case::pending(30 * HOUR, page(&[refund("pending")], false), None)]
#[case::absent_but_possibly_under_way(23 * HOUR, page(&[other_refund("re_3")], false), None)]
#[case::absent(24 * HOUR, page(&[], false), Some(declined("the refund never reached Stripe")))]
#[case::no_answer(24 * HOUR, responds(500, &json!(null)), None)]
#[case::no_list(24 * HOUR, responds(200, &json!({})), None)]
fn old_refund_is_looked_up_and_not_created_again(
    #[case] age: i64,
    #[case] second: Behaviour,
    #[case] expected: Option<ChargeResult>,
) {
    let receiver = with_intent(move |line| {
        if line.contains("starting_after=re_2") {
            return second.clone();
        }
        page(&[other_refund("re_1"), other_refund("re_2")], true)
    });
    assert_agrees(&stripe(&receiver).refund(&refund_request(age)), expected);
    let lines: Vec<String> =
        receiver.received.try_iter().map(|request| request.head[0].clone()).collect();
    assert!(lines.iter().all(|line| line.starts_with("GET ")), "{lines:?}");
    assert!(lines[1].starts_with("GET /v1/refunds?limit=100&payment_intent=pi_1 "), "{lines:?}");
    assert_eq!(lines.len(), 3);
}

/// Reads an event with a Stripe that responds to requests as given. Returns the first line of each request too.
fn read(
    body: &[u8],
    respond: impl Fn(&str) -> Behaviour + Clone + Send + 'static,
) -> (Result<Option<WebhookEvent>, InvalidWebhook>, Vec<String>) {
    let receiver = Receiver::with(move |request: &Received| respond(&request.head[0]));
    let now = Timestamp::from_unix(OPENED);
    let header = Secret::stripe(SECRET).unwrap().sign_as_stripe(now, body);
    let read = with_limits(SHORT, &receiver).parse_webhook(Some(&header), body, now);
    let lines = receiver.received.try_iter().map(|request| request.head[0].clone());
    (read, lines.collect())
}

/// The event has all refunds in one sum, and those of failed ones may be in it: the list has the present state.
#[test]
fn refunded_event_has_all_refunds_that_have_not_failed() {
    let charge = json!({
        "id": "ch_1", "currency": "krw", "amount": 1000, "amount_refunded": 900,
        "metadata": {"charge": "shop-1/charge-5"},
    });
    let failed = with(other_refund("re_5"), json!({"status": "failed", "amount": 77}));
    let pending = with(other_refund("re_6"), json!({"status": "pending", "amount": 40}));
    let without = with(other_refund("re_7"), json!({"metadata": null, "amount": 5}));
    let (event, lines) = read(&event("charge.refunded", &charge), move |line| {
        if line.contains("starting_after=re_6") {
            return page(std::slice::from_ref(&without), false);
        }
        page(&[refund("succeeded"), failed.clone(), pending.clone()], true)
    });
    let of = |reference: Option<&str>, amount| ReportedRefund {
        reference: reference.map(str::to_owned),
        amount: Money::from_minor(amount),
    };
    let refunds = vec![of(Some("shop-1/refund-9"), 300), of(None, 40), of(None, 5)];
    let expected = WebhookEvent {
        reference: "shop-1/charge-5".to_owned(),
        amount: Money::from_minor(345),
        currency: Currency::KRW,
        notice: WebhookNotice::Refunded { refunds },
    };
    assert_eq!(event, Ok(Some(expected)));
    assert_eq!(lines[0], "GET /v1/refunds?limit=100&charge=ch_1 HTTP/1.1");
    assert_eq!(lines.len(), 2);
}

fn dispute(status: &str) -> Value {
    json!({
        "id": "dp_1", "object": "dispute", "amount": 900, "currency": "krw", "status": status,
        "charge": "ch_1", "payment_intent": "pi_1",
    })
}

#[rstest]
#[case::created("charge.dispute.created", "needs_response", None)]
#[case::created_late("charge.dispute.created", "lost", None)]
#[case::inquiry_that_became_a_dispute("charge.dispute.funds_withdrawn", "needs_response", None)]
#[case::won("charge.dispute.closed", "won", Some(true))]
#[case::lost("charge.dispute.closed", "lost", Some(false))]
fn dispute_is_of_the_charge_of_its_intent(
    #[case] kind: &str,
    #[case] status: &str,
    #[case] is_won: Option<bool>,
) {
    let (event, lines) =
        read(&event(kind, &dispute(status)), |_| responds(200, &intent("succeeded")));
    let dispute = "dp_1".to_owned();
    let notice = match is_won {
        None => WebhookNotice::DisputeOpened { dispute },
        Some(is_won) => WebhookNotice::DisputeClosed { dispute, is_won },
    };
    let expected = WebhookEvent {
        reference: "shop-1/charge-5".to_owned(),
        amount: Money::from_minor(900),
        currency: Currency::KRW,
        notice,
    };
    assert_eq!(event, Ok(Some(expected)));
    assert_eq!(lines, ["GET /v1/payment_intents/pi_1 HTTP/1.1"]);
}

#[test]
fn dispute_of_an_intent_of_another_program_is_ignored() {
    let body = event("charge.dispute.created", &dispute("needs_response"));
    let foreign = with(intent("succeeded"), json!({"metadata": {}}));
    assert_eq!(read(&body, move |_| responds(200, &foreign)).0, Ok(None));
}

/// Stripe sends an event again until it gets a success.
#[rstest]
#[case::down(responds(503, &json!(null)))]
#[case::lost(Behaviour::RespondsAndCloses(Vec::new()))]
#[case::our_key_comes_back(responds(401, &error("invalid_request_error", &format!("Invalid: {KEY}"))))]
#[case::no_object(responds(200, &json!([])))]
#[case::gone(responds(404, &error("invalid_request_error", "No such thing")))]
#[case::another_currency(page(&[with(refund("succeeded"), json!({"currency": "usd"}))], false))]
fn event_that_cannot_be_completed_is_an_error(
    #[case] behaviour: Behaviour,
    #[values("charge.refunded", "charge.dispute.created")] kind: &str,
) {
    let fields = json!({"metadata": {"charge": "shop-1/charge-5"}});
    let body = event(kind, &with(dispute("needs_response"), fields));
    let error = read(&body, move |_| behaviour.clone()).0.unwrap_err().to_string();
    assert!(error.contains("cannot be fetched"), "{error}");
    assert!(!error.contains(KEY), "{error}");
}

#[test]
fn id_of_an_event_does_not_become_another_path() {
    let about = with(dispute("lost"), json!({"payment_intent": "../refunds"}));
    let (event, lines) = read(&event("charge.dispute.closed", &about), |_| Behaviour::Hangs);
    assert!(event.is_err());
    assert_eq!(lines, Vec::<String>::new());
}

fn event(kind: &str, object: &Value) -> Vec<u8> {
    json!({"id": "evt_1", "type": kind, "data": {"object": object}}).to_string().into_bytes()
}

fn parsed(body: &[u8]) -> Result<Option<WebhookEvent>, InvalidWebhook> {
    let receiver = Receiver::new(Behaviour::Hangs);
    let now = Timestamp::from_unix(OPENED);
    let header = Secret::stripe(SECRET).unwrap().sign_as_stripe(now, body);
    stripe(&receiver).parse_webhook(Some(&header), body, now)
}

#[test]
fn succeeded_event_has_the_collected_amount() {
    let about = with(intent("succeeded"), json!({"currency": "isk", "amount_received": 100_000}));
    let expected = WebhookEvent {
        reference: "shop-1/charge-5".to_owned(),
        amount: Money::from_minor(1_000),
        currency: Currency::from_code("ISK").unwrap(),
        notice: WebhookNotice::Charge(ChargeResult::Paid),
    };
    assert_eq!(parsed(&event("payment_intent.succeeded", &about)), Ok(Some(expected)));
}

#[test]
fn failed_event_has_the_decline_reason() {
    let failure = json!({"last_payment_error": {"type": "card_error", "message": "Expired."}});
    let about = with(intent("requires_payment_method"), failure);
    let expected = WebhookEvent {
        reference: "shop-1/charge-5".to_owned(),
        amount: Money::ZERO,
        currency: Currency::KRW,
        notice: WebhookNotice::Charge(ChargeResult::Declined { reason: "Expired.".to_owned() }),
    };
    assert_eq!(parsed(&event("payment_intent.payment_failed", &about)), Ok(Some(expected)));
}

#[rstest]
#[case::of_something_else(event("charge.updated", &json!({"id": "ch_1"})))]
#[case::refund_that_is_not_ours(event("charge.refunded", &json!({"id": "ch_1", "currency": "krw"})))]
#[case::refund_without_our_metadata(
    event("charge.refunded", &json!({"id": "ch_1", "currency": "krw", "metadata": {}}))
)]
#[case::inquiry(event("charge.dispute.created", &dispute("warning_needs_response")))]
#[case::end_of_an_inquiry(event("charge.dispute.closed", &dispute("warning_closed")))]
#[case::dispute_of_another_product(
    event("charge.dispute.created", &with(dispute("needs_response"), json!({"payment_intent": null})))
)]
#[case::under_way(event("payment_intent.processing", &intent("processing")))]
#[case::not_ours(event("payment_intent.succeeded", &with(intent("succeeded"), json!({"metadata": {}}))))]
fn other_events_are_ignored(#[case] body: Vec<u8>) {
    assert_eq!(parsed(&body), Ok(None));
}

#[rstest]
#[case::no_json(b"hello".to_vec())]
#[case::no_charge(event("charge.refunded", &json!({"id": 5})))]
#[case::no_dispute(event("charge.dispute.closed", &json!({"id": "dp_1"})))]
#[case::unknown_end(event("charge.dispute.closed", &dispute("something_new")))]
#[case::no_event(b"{}".to_vec())]
#[case::no_intent(event("payment_intent.succeeded", &json!({"id": 5})))]
#[case::no_currency(event("payment_intent.succeeded", &with(intent("succeeded"), json!({"currency": "x"}))))]
#[case::no_amount_of_it(event(
    "payment_intent.succeeded",
    &with(intent("succeeded"), json!({"currency": "isk", "amount_received": 5})),
))]
fn malformed_event_is_refused(#[case] body: Vec<u8>) {
    assert!(parsed(&body).is_err());
}

#[test]
fn webhook_requires_a_valid_signature() {
    let receiver = Receiver::new(Behaviour::Hangs);
    let body = event("payment_intent.succeeded", &intent("succeeded"));
    let now = Timestamp::from_unix(OPENED);
    let other = Secret::stripe("whsec_of_another_one").unwrap().sign_as_stripe(now, &body);
    assert!(stripe(&receiver).parse_webhook(None, &body, now).is_err());
    assert!(stripe(&receiver).parse_webhook(Some(&other), &body, now).is_err());
    let options = StripeOptions { url: None, key: SecretSource::fixed(KEY), webhook_secret: None };
    let valid = Secret::stripe(SECRET).unwrap().sign_as_stripe(now, &body);
    let without_secret = Stripe::with_limits(
        StripeOptions { url: Some("http://127.0.0.1:9".to_owned()), ..options },
        SHORT,
    );
    assert!(without_secret.unwrap().parse_webhook(Some(&valid), &body, now).is_err());
}

/// Returns a source whose text the test changes.
fn changing(text: &str) -> (Arc<Mutex<String>>, SecretSource) {
    let file = Arc::new(Mutex::new(text.to_owned()));
    let read = Arc::clone(&file);
    (file, SecretSource::read_by(move || Ok(read.lock().unwrap().clone())))
}

#[test]
fn key_and_webhook_secrets_rotate_without_a_restart() {
    let receiver = Receiver::new(Behaviour::Responds(response("500 Oops", "", "")));
    let (key, key_source) = changing(KEY);
    let (secrets, secret_source) = changing(SECRET);
    let url = Some(format!("http://{}/", receiver.address));
    let options = StripeOptions { url, key: key_source, webhook_secret: Some(secret_source) };
    let stripe = Stripe::with_limits(options, LIMITS).unwrap();
    let used_key = || {
        stripe.collect(&request(0));
        let sent = receiver.received.try_iter().next().unwrap();
        sent.header("authorization").unwrap().to_owned()
    };
    assert_eq!(used_key(), format!("Bearer {KEY}"));
    "sk_test_new\n".clone_into(&mut key.lock().unwrap());
    assert_eq!(used_key(), "Bearer sk_test_new");
    "half".clone_into(&mut key.lock().unwrap());
    assert_eq!(used_key(), "Bearer sk_test_new");
    assert!(stripe.warning().is_some() && stripe.warning().is_none());

    let new = "whsec_fedcba9876543210";
    let body = event("payment_intent.succeeded", &intent("succeeded"));
    let now = Timestamp::from_unix(OPENED);
    let accepts = |secret| {
        let header = Secret::stripe(secret).unwrap().sign_as_stripe(now, &body);
        stripe.parse_webhook(Some(&header), &body, now).is_ok()
    };
    assert_eq!((accepts(SECRET), accepts(new)), (true, false));
    *secrets.lock().unwrap() = format!("{new}\n{SECRET}\n");
    assert_eq!((accepts(SECRET), accepts(new)), (true, true));
    new.clone_into(&mut secrets.lock().unwrap());
    assert_eq!((accepts(SECRET), accepts(new)), (false, true));
}

#[rstest]
#[case("pk_test_public", "http://127.0.0.1:9", None)]
#[case("", "http://127.0.0.1:9", None)]
#[case("sk_two words", "http://127.0.0.1:9", None)]
#[case(KEY, "ftp://127.0.0.1", None)]
#[case(KEY, "http://user:hunter2@127.0.0.1", None)]
#[case(KEY, "http://127.0.0.1/?a=b", None)]
#[case(KEY, "http://127.0.0.1:9", Some("short"))]
fn invalid_options_are_refused_without_echoing_secrets(
    #[case] key: &str,
    #[case] url: &str,
    #[case] secret: Option<&str>,
) {
    let options = StripeOptions {
        url: Some(url.to_owned()),
        key: SecretSource::fixed(key),
        webhook_secret: secret.map(SecretSource::fixed),
    };
    assert_eq!(format!("{options:?}"), "StripeOptions { .. }");
    let error = format!("{:?}", Stripe::new(options).unwrap_err());
    assert!(!error.contains("hunter2") && !error.contains("4eC39") && !error.contains("short\""));
}

#[rstest]
#[case::a_name("api.stripe.com")]
#[case::a_name_and_a_port("localhost:12111")]
#[case::an_address("127.0.0.1:12111")]
#[case::another_scheme("ftp://127.0.0.1")]
fn url_without_a_scheme_is_refused_as_such(#[case] url: &str) {
    let options = StripeOptions {
        url: Some(url.to_owned()),
        key: SecretSource::fixed(KEY),
        webhook_secret: None,
    };
    let error = Stripe::new(options).unwrap_err().to_string();
    assert_eq!(error, "the URL cannot be used: it must begin with https:// or http://");
}
