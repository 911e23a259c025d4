//! Charges against localstripe: whatever gets lost on the way, the money is collected once.
//!
//! A proxy stands in front of it. It gives a repeated `Idempotency-Key` its first answer, as Stripe does and
//! localstripe does not, and loses requests and answers as it is told.

use super::Program;
use crate::http::Limits;
use crate::receiver::{Behaviour, Received, Receiver};
use crate::secrets::SecretSource;
use crate::stripe::{Stripe, StripeOptions};
use commerce_core::{
    ChargeResult, Clock, CollectRequest, Currency, Money, PaymentGateway, SystemClock, WebhookEvent,
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

/// What befalls a request and its answer.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    RequestLost,
    AnswerLost,
    AnswerCut,
    AnswerHeldBack,
}

/// localstripe with the proxy in front.
struct Bank {
    program: Program,
    proxy: Receiver,
    troubles: Arc<Mutex<VecDeque<Trouble>>>,
    stripe: Stripe,
}

impl Bank {
    fn open() -> Self {
        let program = Program::start("stripe.py", &[]);
        let troubles = Arc::new(Mutex::new(VecDeque::new()));
        let answered = Arc::new(Mutex::new(HashMap::new()));
        let (port, ahead) = (program.port, Arc::clone(&troubles));
        let proxy = Receiver::with(move |request| {
            pass_on(port, request, ahead.lock().unwrap().pop_front(), &answered)
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
        let stripe = Stripe::within(options, limits).unwrap();
        Self { program, proxy, troubles, stripe }
    }

    fn expect(&self, troubles: &[Trouble]) {
        self.troubles.lock().unwrap().extend(troubles);
    }

    /// Asks localstripe itself.
    fn ask(&self, method: &str, path: &str, form: &str) -> Value {
        let head = [
            format!("{method} {path} HTTP/1.1"),
            "host: localhost".to_owned(),
            format!("authorization: Bearer {KEY}"),
            "content-type: application/x-www-form-urlencoded".to_owned(),
            format!("content-length: {}", form.len()),
        ];
        let answer = exchange(self.program.port, &head, form.as_bytes());
        let start = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        serde_json::from_slice(&answer[start..]).unwrap_or_default()
    }

    /// How many payments were made, and how much money they moved.
    fn collected(&self) -> (usize, i64) {
        let list = self.ask("GET", "/v1/payment_intents?limit=100", "");
        let intents = list["data"].as_array().unwrap();
        let moved = intents.iter().filter(|intent| intent["status"] == "succeeded");
        (intents.len(), moved.map(|intent| intent["amount"].as_i64().unwrap()).sum())
    }
}

/// What the proxy does: it asks localstripe once for each key.
fn pass_on(
    port: u16,
    request: &Received,
    trouble: Option<Trouble>,
    answered: &Mutex<HashMap<String, Vec<u8>>>,
) -> Behaviour {
    if matches!(trouble, Some(Trouble::RequestLost)) {
        return Behaviour::SaysAndCloses(Vec::new());
    }
    let ask = || exchange(port, &understood(&request.head), &request.body);
    let answer = match request.header("idempotency-key") {
        Some(key) => answered.lock().unwrap().entry(key.to_owned()).or_insert_with(ask).clone(),
        None => ask(),
    };
    match trouble {
        None => Behaviour::SaysAndCloses(answer),
        Some(Trouble::RequestLost | Trouble::AnswerLost) => Behaviour::SaysAndCloses(Vec::new()),
        Some(Trouble::AnswerCut) => Behaviour::SaysAndCloses(answer[..answer.len() / 2].to_vec()),
        Some(Trouble::AnswerHeldBack) => Behaviour::Hangs,
    }
}

/// The head without what Stripe knows and localstripe does not: lists by time.
fn understood(head: &[String]) -> Vec<String> {
    let mut head = head.to_vec();
    let words: Vec<&str> = head[0].split(' ').collect();
    let (path, query) = words[1].split_once('?').unwrap_or((words[1], ""));
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("created[")).collect();
    head[0] = format!("{} {path}?{} {}", words[0], kept.join("&"), words[2]);
    head
}

fn exchange(port: u16, head: &[String], body: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!("{}\r\nconnection: close\r\n\r\n", head.join("\r\n"));
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
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

fn is_open(collected: &ChargeResult) -> bool {
    matches!(collected, ChargeResult::Unknown { .. })
}

#[rstest]
#[case::nothing(&[])]
#[case::the_request(&[Trouble::RequestLost])]
#[case::the_answer(&[Trouble::AnswerLost])]
#[case::half_the_answer(&[Trouble::AnswerCut])]
#[case::all_patience(&[Trouble::AnswerHeldBack])]
#[case::one_thing_after_another(
    &[Trouble::AnswerCut, Trouble::RequestLost, Trouble::AnswerLost, Trouble::AnswerHeldBack]
)]
fn whatever_is_lost_money_is_collected_once(#[case] lost: &[Trouble]) {
    let bank = Bank::open();
    bank.expect(lost);
    for trouble in lost {
        let collected = bank.stripe.collect(&request("pm_card_visa"));
        assert!(is_open(&collected), "{trouble:?}: {collected:?}");
    }
    for _ in 0..3 {
        assert_eq!(bank.stripe.collect(&request("pm_card_visa")), ChargeResult::Paid);
    }
    assert_eq!(bank.collected(), (1, 1_234));
}

#[rstest]
#[case::nothing(&[])]
#[case::the_answer(&[Trouble::AnswerLost])]
fn a_card_that_is_declined_is_declined_for_good(#[case] lost: &[Trouble]) {
    let bank = Bank::open();
    bank.expect(lost);
    for _ in lost {
        assert!(is_open(&bank.stripe.collect(&request("pm_card_chargeCustomerFail"))));
    }
    let declined = ChargeResult::Declined { reason: "Your card was declined.".to_owned() };
    for _ in 0..2 {
        assert_eq!(bank.stripe.collect(&request("pm_card_chargeCustomerFail")), declined);
    }
    assert_eq!(bank.collected(), (1, 0));
}

#[test]
fn a_card_that_asks_for_its_payer_or_is_none_is_declined() {
    let bank = Bank::open();
    let card = "type=card&card[number]=4000002500003155&card[exp_month]=1&card[exp_year]=2040&card[cvc]=123";
    let card = bank.ask("POST", "/v1/payment_methods", card);
    for method in [card["id"].as_str().unwrap(), "pm_of_nobody"] {
        let request = CollectRequest { reference: method.to_owned(), ..request(method) };
        let collected = bank.stripe.collect(&request);
        assert!(matches!(collected, ChargeResult::Declined { .. }), "{collected:?}");
    }
    assert_eq!(bank.collected().1, 0);
}

#[test]
fn a_key_that_is_wrong_declines_nobody() {
    let bank = Bank::open();
    let options = StripeOptions {
        url: Some(format!("http://{}", bank.proxy.address)),
        key: SecretSource::fixed("rk_wrong"),
        webhook_secret: None,
    };
    let collected = Stripe::new(options).unwrap().collect(&request("pm_card_visa"));
    assert!(is_open(&collected), "{collected:?}");
    assert_eq!(bank.collected(), (0, 0));
}

#[test]
fn the_next_day_a_charge_is_found_and_not_collected_again() {
    let bank = Bank::open();
    bank.expect(&[Trouble::AnswerLost]);
    let asked = request("pm_card_visa");
    assert!(is_open(&bank.stripe.collect(&asked)));
    let later = CollectRequest { now: asked.now.plus_seconds(25 * 60 * 60), ..asked.clone() };
    assert_eq!(bank.stripe.collect(&later), ChargeResult::Paid);
    let never = CollectRequest { reference: "shop-1/charge-6".to_owned(), ..later };
    assert!(matches!(bank.stripe.collect(&never), ChargeResult::Declined { .. }));
    assert_eq!(bank.collected(), (1, 1_234));
}

/// localstripe signs what it sends by itself.
#[rstest]
#[case("pm_card_visa", 1_234)]
#[case("pm_card_chargeCustomerFail", 0)]
fn its_own_word_is_believed(#[case] method: &str, #[case] amount: i64) {
    let bank = Bank::open();
    let hook = Receiver::new(Behaviour::SaysAndCloses(b"HTTP/1.1 204 OK\r\n\r\n".to_vec()));
    let form = format!(
        "url={}&secret={SECRET}&events[]=payment_intent.succeeded&events[]=payment_intent.payment_failed",
        hook.url()
    );
    bank.ask("POST", "/_config/webhooks/ours", &form);
    let request = request(method);
    let collected = bank.stripe.collect(&request);
    let sent = hook.received.recv_timeout(Duration::from_secs(30)).unwrap();
    let signature = sent.header("stripe-signature");
    let notice = bank.stripe.parse_webhook(signature, &sent.body, SystemClock.now());
    let amount = Money::from_minor(amount);
    let (reference, currency) = (request.reference, request.currency);
    assert_eq!(notice, Ok(Some(WebhookEvent { reference, amount, currency, result: collected })));
}
