//! Charges and refunds against localstripe: whatever the network loses, the money is collected and paid back once.
//!
//! A proxy in front of it repeats the first response for an `Idempotency-Key`, as Stripe does and localstripe does
//! not, and loses requests and responses as a test requires.

use super::Program;
use crate::http::Limits;
use crate::receiver::{Behaviour, Received, Receiver};
use crate::secrets::SecretSource;
use crate::stripe::{Stripe, StripeOptions};
use commerce_core::{
    ChargeResult, Clock, CollectRequest, Currency, Money, PaymentGateway, RefundRequest,
    SystemClock, WebhookEvent, WebhookNotice,
};
use rstest::rstest;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const KEY: &str = "sk_test_12345";
const SECRET: &str = "whsec_0123456789abcdef";

/// A fault of the network.
#[derive(Clone, Copy, Debug)]
enum Fault {
    RequestLost,
    ResponseLost,
    ResponseTruncated,
    ResponseDelayed,
}

/// localstripe behind the proxy.
struct Bank {
    program: Program,
    proxy: Receiver,
    /// The fault of each request to come, if it has one.
    faults: Arc<Mutex<VecDeque<Option<Fault>>>>,
    stripe: Stripe,
}

impl Bank {
    fn open() -> Self {
        let program = Program::start("stripe.py", &[]);
        let faults = Arc::new(Mutex::new(VecDeque::new()));
        let responses = Arc::new(Mutex::new(HashMap::new()));
        let (port, ahead) = (program.port, Arc::clone(&faults));
        let proxy = Receiver::with(move |request| {
            forward(port, request, ahead.lock().unwrap().pop_front().flatten(), &responses)
        });
        let limits = Limits {
            connect: Duration::from_secs(8),
            whole: Duration::from_secs(8),
            write: Duration::from_secs(2),
            body: Duration::from_secs(4),
            body_bytes: 1024 * 1024,
            connections: 4,
        };
        let options = StripeOptions {
            url: Some(format!("http://{}", proxy.address)),
            key: SecretSource::fixed(KEY),
            webhook_secret: Some(SecretSource::fixed(SECRET)),
        };
        let stripe = Stripe::with_limits(options, limits).unwrap();
        Self { program, proxy, faults, stripe }
    }

    fn expect(&self, faults: &[Fault]) {
        self.faults.lock().unwrap().extend(faults.iter().copied().map(Some));
    }

    /// Expects faults of refunds: each is requested after a lookup of its payment.
    fn expect_of_refunds(&self, faults: &[Fault]) {
        self.faults.lock().unwrap().extend(faults.iter().flat_map(|fault| [None, Some(*fault)]));
    }

    /// Returns the number of refunds and the amount that they paid back.
    fn paid_back(&self) -> (usize, i64) {
        let list = self.ask("GET", "/v1/refunds?limit=100", "");
        let refunds = list["data"].as_array().unwrap().iter();
        let amounts: Vec<i64> = refunds.map(|refund| refund["amount"].as_i64().unwrap()).collect();
        (amounts.len(), amounts.iter().sum())
    }

    /// Sends a request to localstripe, not through the proxy.
    fn ask(&self, method: &str, path: &str, form: &str) -> Value {
        let head = [
            format!("{method} {path} HTTP/1.1"),
            "host: localhost".to_owned(),
            format!("authorization: Bearer {KEY}"),
            "content-type: application/x-www-form-urlencoded".to_owned(),
            format!("content-length: {}", form.len()),
        ];
        let response = exchange(self.program.port, &head, form.as_bytes());
        let start = response.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        serde_json::from_slice(&response[start..]).unwrap_or_default()
    }

    /// Returns the number of payments and the amount that they collected.
    fn collected(&self) -> (usize, i64) {
        let list = self.ask("GET", "/v1/payment_intents?limit=100", "");
        let intents = list["data"].as_array().unwrap();
        let moved = intents.iter().filter(|intent| intent["status"] == "succeeded");
        (intents.len(), moved.map(|intent| intent["amount"].as_i64().unwrap()).sum())
    }
}

/// Handles a request in the proxy: localstripe gets one request for each key.
fn forward(
    port: u16,
    request: &Received,
    fault: Option<Fault>,
    responses: &Mutex<HashMap<String, Vec<u8>>>,
) -> Behaviour {
    if matches!(fault, Some(Fault::RequestLost)) {
        return Behaviour::RespondsAndCloses(Vec::new());
    }
    let send = || exchange(port, &supported(&request.head), &request.body);
    let response = match request.header("idempotency-key") {
        Some(key) => responses.lock().unwrap().entry(key.to_owned()).or_insert_with(send).clone(),
        None => send(),
    };
    match fault {
        None => Behaviour::RespondsAndCloses(response),
        Some(Fault::RequestLost | Fault::ResponseLost) => Behaviour::RespondsAndCloses(Vec::new()),
        Some(Fault::ResponseTruncated) => {
            Behaviour::RespondsAndCloses(response[..response.len() / 2].to_vec())
        }
        Some(Fault::ResponseDelayed) => Behaviour::Hangs,
    }
}

/// Removes the parameters that localstripe does not support: lists by time.
fn supported(head: &[String]) -> Vec<String> {
    let mut head = head.to_vec();
    let words: Vec<&str> = head[0].split(' ').collect();
    let (path, query) = words[1].split_once('?').unwrap_or((words[1], ""));
    let parameters: Vec<&str> =
        query.split('&').filter(|pair| !pair.starts_with("created[")).collect();
    head[0] = format!("{} {path}?{} {}", words[0], parameters.join("&"), words[2]);
    head
}

fn exchange(port: u16, head: &[String], body: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!("{}\r\nconnection: close\r\n\r\n", head.join("\r\n"));
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    response
}

fn request(payment_method: &str) -> CollectRequest {
    let now = SystemClock.now();
    CollectRequest {
        reference: "shop-1/charge-5".to_owned(),
        charge_id: 5.into(),
        customer_id: 7.into(),
        amount: Money::from_minor(1_234),
        currency: Currency::from_code("EUR").unwrap(),
        payment_method: Some(payment_method.to_owned()),
        created_at: now,
        now,
    }
}

fn is_unknown(result: &ChargeResult) -> bool {
    matches!(result, ChargeResult::Unknown { .. })
}

#[rstest]
#[case::no_fault(&[])]
#[case::request_lost(&[Fault::RequestLost])]
#[case::response_lost(&[Fault::ResponseLost])]
#[case::response_truncated(&[Fault::ResponseTruncated])]
#[case::response_delayed(&[Fault::ResponseDelayed])]
#[case::all_faults(
    &[Fault::ResponseTruncated, Fault::RequestLost, Fault::ResponseLost, Fault::ResponseDelayed]
)]
fn lost_messages_collect_the_money_once(#[case] lost: &[Fault]) {
    let bank = Bank::open();
    bank.expect(lost);
    for fault in lost {
        let collected = bank.stripe.collect(&request("pm_card_visa"));
        assert!(is_unknown(&collected), "{fault:?}: {collected:?}");
    }
    for _ in 0..3 {
        assert_eq!(bank.stripe.collect(&request("pm_card_visa")), ChargeResult::Paid);
    }
    assert_eq!(bank.collected(), (1, 1_234));
}

fn refund_of(charge: &CollectRequest, reference: &str, amount: i64) -> RefundRequest {
    RefundRequest {
        reference: reference.to_owned(),
        charge_reference: charge.reference.clone(),
        charge_id: charge.charge_id,
        amount: Money::from_minor(amount),
        currency: charge.currency,
        charged_at: charge.created_at,
        created_at: charge.now,
        now: charge.now,
    }
}

#[rstest]
#[case::no_fault(&[])]
#[case::request_lost(&[Fault::RequestLost])]
#[case::response_lost(&[Fault::ResponseLost])]
#[case::all_faults(&[Fault::ResponseTruncated, Fault::RequestLost, Fault::ResponseLost])]
fn lost_messages_pay_the_money_back_once(#[case] lost: &[Fault]) {
    let bank = Bank::open();
    let charge = request("pm_card_visa");
    assert_eq!(bank.stripe.collect(&charge), ChargeResult::Paid);
    let refund = refund_of(&charge, "shop-1/refund-9", 1_000);
    bank.expect_of_refunds(lost);
    for fault in lost {
        let refunded = bank.stripe.refund(&refund);
        assert!(is_unknown(&refunded), "{fault:?}: {refunded:?}");
    }
    for _ in 0..3 {
        assert_eq!(bank.stripe.refund(&refund), ChargeResult::Paid);
    }
    // A day later it is looked up, and another one of that age was never received.
    let later = RefundRequest { now: charge.now.plus_seconds(25 * 60 * 60), ..refund.clone() };
    assert_eq!(bank.stripe.refund(&later), ChargeResult::Paid);
    let never = RefundRequest { reference: "shop-1/refund-10".to_owned(), ..later };
    assert!(matches!(bank.stripe.refund(&never), ChargeResult::Declined { .. }));
    assert_eq!(bank.paid_back(), (1, 1_000));
}

#[rstest]
#[case::no_fault(&[])]
#[case::response_lost(&[Fault::ResponseLost])]
fn declined_card_stays_declined(#[case] lost: &[Fault]) {
    let bank = Bank::open();
    bank.expect(lost);
    for _ in lost {
        assert!(is_unknown(&bank.stripe.collect(&request("pm_card_chargeCustomerFail"))));
    }
    let declined = ChargeResult::Declined { reason: "Your card was declined.".to_owned() };
    for _ in 0..2 {
        assert_eq!(bank.stripe.collect(&request("pm_card_chargeCustomerFail")), declined);
    }
    assert_eq!(bank.collected(), (1, 0));
}

#[test]
fn card_that_requires_its_payer_or_is_unknown_is_declined() {
    let bank = Bank::open();
    let card = "type=card&card[number]=4000002500003155&card[exp_month]=1&card[exp_year]=2040&card[cvc]=123";
    let card = bank.ask("POST", "/v1/payment_methods", card);
    for method in [card["id"].as_str().unwrap(), "pm_unknown"] {
        let request = CollectRequest { reference: method.to_owned(), ..request(method) };
        let collected = bank.stripe.collect(&request);
        assert!(matches!(collected, ChargeResult::Declined { .. }), "{collected:?}");
    }
    assert_eq!(bank.collected().1, 0);
}

#[test]
fn wrong_api_key_leaves_charges_pending() {
    let bank = Bank::open();
    let options = StripeOptions {
        url: Some(format!("http://{}", bank.proxy.address)),
        key: SecretSource::fixed("rk_wrong"),
        webhook_secret: None,
    };
    let collected = Stripe::new(options).unwrap().collect(&request("pm_card_visa"));
    assert!(is_unknown(&collected), "{collected:?}");
    assert_eq!(bank.collected(), (0, 0));
}

#[test]
fn charge_of_the_day_before_is_looked_up_not_collected_again() {
    let bank = Bank::open();
    bank.expect(&[Fault::ResponseLost]);
    let request = request("pm_card_visa");
    assert!(is_unknown(&bank.stripe.collect(&request)));
    let later = CollectRequest { now: request.now.plus_seconds(25 * 60 * 60), ..request.clone() };
    assert_eq!(bank.stripe.collect(&later), ChargeResult::Paid);
    let never = CollectRequest { reference: "shop-1/charge-6".to_owned(), ..later };
    assert!(matches!(bank.stripe.collect(&never), ChargeResult::Declined { .. }));
    assert_eq!(bank.collected(), (1, 1_234));
}

/// localstripe signs its webhooks.
#[rstest]
#[case("pm_card_visa", 1_234)]
#[case("pm_card_chargeCustomerFail", 0)]
fn signed_webhook_has_the_result_of_the_charge(#[case] method: &str, #[case] amount: i64) {
    let bank = Bank::open();
    let hook = Receiver::new(Behaviour::RespondsAndCloses(b"HTTP/1.1 204 OK\r\n\r\n".to_vec()));
    let form = format!(
        "url={}&secret={SECRET}&events[]=payment_intent.succeeded&events[]=payment_intent.payment_failed",
        hook.url()
    );
    bank.ask("POST", "/_config/webhooks/ours", &form);
    let request = request(method);
    let collected = bank.stripe.collect(&request);
    let sent = hook.received.recv_timeout(Duration::from_secs(30)).unwrap();
    let signature = sent.header("stripe-signature");
    let event = bank.stripe.parse_webhook(signature, &sent.body, SystemClock.now());
    let amount = Money::from_minor(amount);
    let (reference, currency) = (request.reference, request.currency);
    let notice = WebhookNotice::Charge(collected);
    assert_eq!(event, Ok(Some(WebhookEvent { reference, amount, currency, notice })));
}
