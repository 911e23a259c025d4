//! `commerce charge` and `commerce charges` by way of Stripe.

use crate::bank::{self, Bank, Mood};
use crate::command::Place;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Which gateway to ask: that bank, with that key.
fn by_way_of(place: &Place, bank: &Bank, key: &str) -> String {
    let path = place.0.path().join("stripe.key");
    fs::write(&path, key).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    format!("--gateway stripe --stripe-key-file stripe.key --stripe-url {}", bank.url)
}

#[test]
fn a_charge_by_way_of_stripe_is_paid_declined_or_pending() {
    let place = Place::stocked();
    let bank = Bank::open(|request| match request {
        2 => Mood::Declines,
        3 => Mood::TakesAndHangsUp,
        4 => Mood::HangsUp,
        5 => Mood::Fails,
        _ => Mood::Takes,
    });
    let by_way = by_way_of(&place, &bank, bank::KEY);
    let charge = |line: &str| {
        let said = place.run(&format!("charge 1 {line} --payment-method pm_card_visa {by_way}"));
        assert!(!said.out.contains(bank::KEY) && !said.err.contains(bank::KEY));
        said
    };

    let paid = charge("500 --key a");
    assert_eq!((paid.status, paid.out.contains("charged 5.00 USD")), (0, true), "{}", paid.err);
    for _ in 0..2 {
        let declined = charge("700 --key b");
        assert_eq!((declined.status, declined.out.as_str()), (3, ""));
        assert!(
            declined.err.contains("was declined (Your card was declined.)"),
            "{}",
            declined.err
        );
    }
    assert_eq!(bank.requests(), 2, "what is settled is not asked for again");
    for (line, amount) in [("41 --key c", "0.41"), ("42 --key d", "0.42"), ("43 --key e", "0.43")] {
        let pending = charge(line);
        let told = format!("of {amount} USD is pending");
        assert_eq!((pending.status, pending.out.contains(&told)), (0, true), "{}", pending.out);
        assert!(pending.out.contains(&line[3..]), "{}", pending.out);
    }
    assert_eq!(place.json("charges pending")["items"].as_array().unwrap().len(), 3);
    assert_eq!(place.json("balance 1")["balance"], 10_500);

    let again = charge("42 --key d");
    assert_eq!((again.status, again.out.contains("charged 0.42 USD")), (0, true), "{}", again.out);
    let settled = json!({"succeeded": 2, "failed": 0, "pending": 0, "why": null});
    assert_eq!(place.json(&format!("charges settle {by_way}")), settled);
    assert_eq!(place.json("balance 1")["balance"], 10_626);
    assert_eq!(place.json("charges pending")["items"], json!([]));
    let taken: Vec<Value> = bank.intents().iter().map(|intent| intent["amount"].clone()).collect();
    assert_eq!(taken, [500, 700, 41, 42, 43]);
    assert_eq!(bank.intents()[0]["currency"], "usd");
    assert_eq!(place.run("audit").status, 0);
}

#[test]
fn a_wrong_key_declines_nobody_and_no_payment_method_is_for_the_payer_to_mend() {
    let place = Place::stocked();
    let bank = Bank::open(|_| Mood::Takes);
    let wrong = by_way_of(&place, &bank, "sk_test_of_another_shop");
    let pending = place.json(&format!("charge 1 50 --key a --payment-method pm_card_visa {wrong}"));
    assert_eq!(pending["status"], "pending");
    let settled = place.json(&format!("charges settle {wrong}"));
    let why = settled["why"].as_str().unwrap();
    assert!(settled["pending"] == 1 && why.contains("Invalid API Key"), "{settled}");

    let right = by_way_of(&place, &bank, bank::KEY);
    let settled = place.run(&format!("charges settle {right}"));
    assert_eq!(settled.out.trim(), "1 succeeded, 0 failed, 0 pending still");
    let unnamed = place.run(&format!("charge 1 50 --key b {right}"));
    assert_eq!(unnamed.status, 3);
    assert!(unnamed.err.contains("no payment method was named"), "{}", unnamed.err);
    assert_eq!(place.json("balance 1")["balance"], 10_050);
    assert_eq!((bank.requests(), bank.intents().len()), (3, 1));
    assert_eq!(place.run("audit").status, 0);
}

/// By then Stripe may have forgotten the keys, so to ask for the money again could collect it twice.
#[test]
fn a_day_later_the_bank_is_asked_what_it_has_and_for_nothing_more() {
    let place = Place::stocked();
    let bank = Bank::open(|request| match request {
        1 => Mood::TakesAndFails,
        2 => Mood::HangsUp,
        _ => Mood::Takes,
    });
    let by_way = by_way_of(&place, &bank, bank::KEY);
    for line in ["50 --key taken", "60 --key never-arrived"] {
        let line = format!("charge 1 {line} --payment-method pm_card_visa {by_way}");
        assert_eq!(place.json(&line)["status"], "pending");
    }
    let db = Connection::open(place.0.path().join("commerce.db")).unwrap();
    let age = "UPDATE charges SET created_at = created_at - 86460, digest = NULL
               WHERE status = 'pending'";
    db.execute(age, []).unwrap();
    drop(db);
    let settled = json!({"succeeded": 1, "failed": 1, "pending": 0, "why": null});
    assert_eq!(place.json(&format!("charges settle {by_way}")), settled);
    assert_eq!(place.json("balance 1")["balance"], 10_050);
    assert_eq!((bank.requests(), bank.intents().len()), (4, 1));
    assert_eq!(place.run("audit").status, 0);
}
