//! What the bank tells by itself, and who is believed.

use crate::bank::{Bank, Mood};
use crate::http::client::{Ask, Client};
use crate::http::gateway::{assert_keeps_secrets, flags, serve};
use crate::http::place::Place;
use commerce_core::{Clock, SystemClock};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// What notices are signed with.
pub(crate) const SECRET: &str = "whsec_only_the_bank_knows_that_too";

/// What the bank tells of a payment, as it tells it now.
pub(crate) fn notice(intent: &Value) -> Ask {
    let body = body_about(intent);
    let signature = signature(SystemClock.now().unix(), SECRET, &body);
    told(&body).with("Stripe-Signature", signature)
}

fn told(body: &str) -> Ask {
    Ask::new("POST", "/v1/webhooks/stripe").text_body(body)
}

fn body_about(intent: &Value) -> String {
    let is_paid = intent["status"] == "succeeded";
    let kind = if is_paid { "succeeded" } else { "payment_failed" };
    json!({"type": format!("payment_intent.{kind}"), "data": {"object": intent}}).to_string()
}

/// The header by which a notice is believed.
fn signature(at: i64, secret: &str, body: &str) -> String {
    let hmac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let hmac = hmac.chain_update(format!("{at}.{body}")).finalize().into_bytes();
    let hex = hmac.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("t={at},v1={hex}")
}

/// The bank took the money and failed: its failure is all that the key is answered with for a day. It says so by
/// itself.
#[test]
fn a_notice_settles_what_no_answer_does_when_it_is_the_banks() {
    let place = Place::with_products(&[]);
    place.add_customers(1, 0);
    let token = place.admin_token();
    let bank = Bank::open(|_| Mood::TakesAndFails);
    let flags = flags(&place, &bank);
    let server = serve(&place, &flags);
    let mut client = server.client();
    let body = json!({"amount": 500, "payment_method": "pm_card_visa"});
    let ask = Ask::post("/v1/customers/1/charges", &body).key("a").by(&token);
    for _ in 0..2 {
        assert_eq!(client.ask(&ask).status, 202);
    }
    let settled = place.json(&format!("charges settle {}", flags.join(" ")));
    let why = settled["last_error"].as_str().unwrap();
    assert!(settled["pending"] == 1 && why.contains("status 500"), "{settled}");

    let intent = bank.intents().remove(0);
    let body = body_about(&intent);
    let pending = |client: &mut Client| {
        let figures = client.ask(&Ask::get("/metrics")).body;
        let line = figures.lines().find_map(|line| line.strip_prefix("commerce_charges_pending "));
        line.unwrap().parse::<i64>().unwrap()
    };
    let now = SystemClock.now().unix();
    let malformed = (400, "malformed_request".to_owned());
    assert_eq!(client.ask(&told(&body)).outcome(), malformed, "not signed");
    for wrong in [
        "nonsense".to_owned(),
        signature(now, "whsec_of_some_other_shop", &body),
        signature(now, SECRET, &body.replace("500", "501")),
        signature(now - 3_600, SECRET, &body),
    ] {
        let notice = told(&body).with("Stripe-Signature", wrong.as_str());
        assert_eq!(client.ask(&notice).outcome(), malformed, "{wrong}");
    }
    assert_eq!(pending(&mut client), 1);
    for _ in 0..2 {
        assert_eq!(client.ask(&notice(&intent)).status, 204);
        assert_eq!(pending(&mut client), 0);
    }
    let charge = client.ask(&ask);
    assert_eq!((charge.status, &charge.json()["status"]), (201, &"succeeded".into()));
    assert_keeps_secrets(&server.stop());
    assert_eq!(place.json("balance 1")["balance"], 500);
    place.audit();
}
