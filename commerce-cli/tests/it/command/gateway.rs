//! `commerce charge` and `commerce charges` with Stripe.

use crate::bank::{self, Bank, Mood};
use crate::command::TestDir;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// The options that select the test bank as Stripe, with a secret key.
fn stripe_options(dir: &TestDir, bank: &Bank, key: &str) -> String {
    let path = dir.0.path().join("stripe.key");
    fs::write(&path, key).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    format!("--gateway stripe --stripe-key-file stripe.key --stripe-url {}", bank.url)
}

#[test]
fn stripe_charge_is_paid_declined_or_pending() {
    let dir = TestDir::stocked();
    let bank = Bank::open(|request| match request {
        2 => Mood::Declines,
        3 => Mood::TakesAndHangsUp,
        4 => Mood::HangsUp,
        5 => Mood::Fails,
        _ => Mood::Takes,
    });
    let options = stripe_options(&dir, &bank, bank::KEY);
    let charge = |line: &str| {
        let output = dir.run(&format!("charge 1 {line} --payment-method pm_card_visa {options}"));
        assert!(!output.out.contains(bank::KEY) && !output.err.contains(bank::KEY));
        output
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
    assert_eq!(bank.requests(), 2, "a settled charge is not requested again");
    for (line, amount) in [("41 --key c", "0.41"), ("42 --key d", "0.42"), ("43 --key e", "0.43")] {
        let pending = charge(line);
        let message = format!("of {amount} USD is pending");
        assert_eq!((pending.status, pending.out.contains(&message)), (0, true), "{}", pending.out);
        assert!(pending.out.contains(&line[3..]), "{}", pending.out);
    }
    assert_eq!(dir.json("charges pending")["items"].as_array().unwrap().len(), 3);
    assert_eq!(dir.json("balance 1")["balance"], 10_500);

    let again = charge("42 --key d");
    assert_eq!((again.status, again.out.contains("charged 0.42 USD")), (0, true), "{}", again.out);
    let settled = json!({"succeeded": 2, "failed": 0, "pending": 0, "last_error": null});
    assert_eq!(dir.json(&format!("charges settle {options}")), settled);
    assert_eq!(dir.json("balance 1")["balance"], 10_626);
    assert_eq!(dir.json("charges pending")["items"], json!([]));
    let collected: Vec<Value> =
        bank.intents().iter().map(|intent| intent["amount"].clone()).collect();
    assert_eq!(collected, [500, 700, 41, 42, 43]);
    assert_eq!(bank.intents()[0]["currency"], "usd");
    assert_eq!(dir.run("audit").status, 0);
}

#[test]
fn invalid_stripe_key_leaves_charges_pending() {
    let dir = TestDir::stocked();
    let bank = Bank::open(|_| Mood::Takes);
    let wrong = stripe_options(&dir, &bank, "sk_test_of_another_shop");
    let pending = dir.json(&format!("charge 1 50 --key a --payment-method pm_card_visa {wrong}"));
    assert_eq!(pending["status"], "pending");
    let settled = dir.json(&format!("charges settle {wrong}"));
    let why = settled["last_error"].as_str().unwrap();
    assert!(settled["pending"] == 1 && why.contains("Invalid API Key"), "{settled}");

    let right = stripe_options(&dir, &bank, bank::KEY);
    let settled = dir.run(&format!("charges settle {right}"));
    assert_eq!(settled.out.trim(), "1 succeeded, 0 failed, 0 still pending");
    let without_method = dir.run(&format!("charge 1 50 --key b {right}"));
    assert_eq!(without_method.status, 3);
    assert!(without_method.err.contains("no payment method was named"), "{}", without_method.err);
    assert_eq!(dir.json("balance 1")["balance"], 10_050);
    assert_eq!((bank.requests(), bank.intents().len()), (3, 1));
    assert_eq!(dir.run("audit").status, 0);
}

/// Stripe may forget idempotency keys after a day, so that a repeated request could collect twice.
#[test]
fn charges_settle_after_a_day_only_queries_stripe() {
    let dir = TestDir::stocked();
    let bank = Bank::open(|request| match request {
        1 => Mood::TakesAndFails,
        2 => Mood::HangsUp,
        _ => Mood::Takes,
    });
    let options = stripe_options(&dir, &bank, bank::KEY);
    for line in ["50 --key taken", "60 --key never-arrived"] {
        let line = format!("charge 1 {line} --payment-method pm_card_visa {options}");
        assert_eq!(dir.json(&line)["status"], "pending");
    }
    let db = Connection::open(dir.0.path().join("commerce.db")).unwrap();
    let age = "UPDATE charges SET created_at = created_at - 86460, digest = NULL
               WHERE status = 'pending'";
    db.execute(age, []).unwrap();
    drop(db);
    let settled = json!({"succeeded": 1, "failed": 1, "pending": 0, "last_error": null});
    assert_eq!(dir.json(&format!("charges settle {options}")), settled);
    assert_eq!(dir.json("balance 1")["balance"], 10_050);
    assert_eq!((bank.requests(), bank.intents().len()), (4, 1));
    assert_eq!(dir.run("audit").status, 0);
}
