//! Webhooks of the bank, and their signatures.

use crate::bank::{Bank, Mood};
use crate::http::client::{Client, Request};
use crate::http::gateway::{assert_keeps_secrets, flags, serve};
use crate::http::workspace::Workspace;
use commerce_core::{Clock, SystemClock};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The secret that signs webhooks.
pub(crate) const SECRET: &str = "whsec_only_the_bank_knows_that_too";

/// Returns a signed webhook for the current state of a payment.
pub(crate) fn webhook(intent: &Value) -> Request {
    let body = body_about(intent);
    let signature = signature(SystemClock.now().unix(), SECRET, &body);
    unsigned(&body).with("Stripe-Signature", signature)
}

fn unsigned(body: &str) -> Request {
    Request::new("POST", "/v1/webhooks/stripe").text_body(body)
}

fn body_about(intent: &Value) -> String {
    let is_paid = intent["status"] == "succeeded";
    let kind = if is_paid { "succeeded" } else { "payment_failed" };
    json!({"type": format!("payment_intent.{kind}"), "data": {"object": intent}}).to_string()
}

/// Returns the value of the signature header.
fn signature(at: i64, secret: &str, body: &str) -> String {
    let hmac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let hmac = hmac.chain_update(format!("{at}.{body}")).finalize().into_bytes();
    let hex = hmac.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("t={at},v1={hex}")
}

/// The bank collected the money and failed: for a day the key replays the failure. A webhook
/// reports the payment.
#[test]
fn signed_webhook_settles_a_charge_without_an_answer() {
    let workspace = Workspace::with_products(&[]);
    workspace.add_customers(1, 0);
    let token = workspace.admin_token();
    let bank = Bank::open(|_| Mood::TakesAndFails);
    let flags = flags(&workspace, &bank);
    let server = serve(&workspace, &flags);
    let mut client = server.client();
    let body = json!({"amount": 500, "payment_method": "pm_card_visa"});
    let request = Request::post("/v1/customers/1/charges", &body).key("a").by(&token);
    for _ in 0..2 {
        assert_eq!(client.send(&request).status, 202);
    }
    let settled = workspace.json(&format!("charges settle {}", flags.join(" ")));
    let last_error = settled["last_error"].as_str().unwrap();
    assert!(settled["pending"] == 1 && last_error.contains("status 500"), "{settled}");

    let intent = bank.intents().remove(0);
    let body = body_about(&intent);
    let pending = |client: &mut Client| {
        let figures = client.send(&Request::get("/metrics")).body;
        let line = figures.lines().find_map(|line| line.strip_prefix("commerce_charges_pending "));
        line.unwrap().parse::<i64>().unwrap()
    };
    let now = SystemClock.now().unix();
    let malformed = (400, "malformed_request".to_owned());
    assert_eq!(client.send(&unsigned(&body)).outcome(), malformed, "not signed");
    for wrong in [
        "nonsense".to_owned(),
        signature(now, "whsec_of_some_other_shop", &body),
        signature(now, SECRET, &body.replace("500", "501")),
        signature(now - 3_600, SECRET, &body),
    ] {
        let webhook = unsigned(&body).with("Stripe-Signature", wrong.as_str());
        assert_eq!(client.send(&webhook).outcome(), malformed, "{wrong}");
    }
    assert_eq!(pending(&mut client), 1);
    for _ in 0..2 {
        assert_eq!(client.send(&webhook(&intent)).status, 204);
        assert_eq!(pending(&mut client), 0);
    }
    let charge = client.send(&request);
    assert_eq!((charge.status, &charge.json()["status"]), (201, &"succeeded".into()));
    assert_keeps_secrets(&server.stop());
    assert_eq!(workspace.json("balance 1")["balance"], 500);
    workspace.audit();
}
