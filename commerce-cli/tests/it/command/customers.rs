//! The life of a customer at the command line: profile, password, sessions, erasure.

use super::TestDir;
use serde_json::json;

#[test]
fn customer_is_renamed_disabled_and_enabled() {
    let dir = TestDir::stocked();
    assert_eq!(dir.json("customer update 1 --name Lee")["name"], "Lee");
    assert_eq!(dir.run("customer update 1").status, 2);
    dir.json("customer login 1 lee");
    let token = dir.json("admin token lee")["token"].as_str().unwrap().to_owned();
    let sessions = dir.run("sessions list 1");
    assert!(
        sessions.out.contains("customer") && !sessions.out.contains(&token),
        "{}",
        sessions.out
    );
    assert_eq!(dir.json("customer disable 1")["status"], "disabled");
    assert_eq!(dir.json("sessions list")["items"], json!([]));
    let refused = dir.run("--json admin token lee");
    assert_eq!(refused.status, 3);
    assert!(refused.err.contains("customer_disabled"), "{}", refused.err);
    assert!(dir.run("customer show 1").out.contains("disabled"));
    assert_eq!(dir.json("customer enable 1")["status"], "active");
    assert_eq!(dir.run("admin token lee").status, 0);
    assert_eq!(dir.json("audit")["ok"], true);
}

#[test]
fn password_comes_from_input_or_is_made_up_and_shown_once() {
    let dir = TestDir::stocked();
    let refused = dir.run("password 1");
    assert_eq!(refused.status, 2, "a customer without a login: {}", refused.err);
    dir.json("customer login 1 kim");
    dir.json("admin token kim");
    let made_up = dir.json("password 1");
    assert_eq!(made_up["login"], "kim");
    assert!(made_up["password"].as_str().unwrap().len() >= 16);
    assert_eq!(dir.json("sessions list")["items"], json!([]), "sessions have ended");
    let given = dir.run_with_input("--json password 1 --password-file -", "battery staple\n");
    assert_eq!(given.status, 0, "{}", given.err);
    assert!(!given.out.contains("password") && !given.out.contains("staple"), "{}", given.out);
    assert_eq!(dir.run("password 1 correct-horse").status, 2, "never an argument");
    assert_eq!(dir.run("password 9").status, 3);
}

#[test]
fn session_is_revoked_by_the_id_of_the_list() {
    let dir = TestDir::stocked();
    dir.json("customer login 1 kim");
    dir.json("admin token kim");
    dir.json("admin token kim");
    let listed = dir.json("sessions list 1")["items"].clone();
    let id = listed[0]["id"].as_str().unwrap();
    assert_eq!(dir.json(&format!("sessions revoke {id}")), json!({ "id": id, "customer_id": 1 }));
    let left = dir.json("sessions list")["items"].clone();
    assert_eq!(left, json!([listed[1]]));
    let gone = dir.run(&format!("--json sessions revoke {id}"));
    assert_eq!(gone.status, 3);
    assert!(gone.err.contains("session_not_found"), "{}", gone.err);
}

#[test]
fn customer_is_erased_once_nothing_is_open() {
    let dir = TestDir::stocked();
    let refused = dir.run("--json customer erase 1");
    assert_eq!(refused.status, 3);
    assert!(refused.err.contains("customer_not_erasable"), "{}", refused.err);
    assert!(refused.err.contains("100.00 USD"), "{}", refused.err);
    dir.json("debit 1 10000 --note Kim --key out");
    let erased = dir.json("customer erase 1");
    assert_eq!((&erased["name"], &erased["status"]), (&json!("erased"), &json!("erased")));
    assert_eq!(dir.json("customer erase 1"), erased);
    assert_eq!(dir.json("ledger 1")["items"][0]["note"], json!(null));
    let refused = dir.run("--json order 1 1 --key order");
    assert_eq!(refused.status, 3);
    assert!(refused.err.contains("customer_erased"), "{}", refused.err);
    assert_eq!(dir.json("audit")["ok"], true);
}
