//! Whose money a server puts onto balances, and what becomes of charges that were left pending.

use crate::http::client::Ask;
use crate::http::place::Place;
use crate::http::server::{Server, wait_until};
use rstest::rstest;
use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn token(server: &Server) -> String {
    let (client, password) = (&mut server.client(), "correct horse");
    let who = json!({"login": "kim", "password": password, "name": "Kim"});
    client.ask(&Ask::post("/v1/customers", &who));
    let login = Ask::post("/v1/sessions", &json!({"login": "kim", "password": password}));
    client.ask(&login).json()["token"].as_str().unwrap().to_owned()
}

#[test]
fn a_server_says_that_its_gateway_is_simulated_and_without_one_only_admins_charge() {
    let place = Place::with_products(&[]);
    let simulated = "the payment gateway is simulated";
    let charge = || Ask::post("/v1/customers/me/charges", &json!({"amount": 5})).key("a");
    let server = Server::start(&place);
    let kim = token(&server);
    assert_eq!(server.client().ask(&charge().by(&kim)).status, 201);
    assert!(server.stop().iter().any(|line| line.starts_with(simulated)));

    fs::write(place.path().join("serve.toml"), "gateway = \"none\"\n").unwrap();
    let server = Server::with(&place, &["--config", "serve.toml"]);
    let refused = server.client().ask(&charge().by(&kim));
    assert_eq!((refused.status, &refused.json()["code"]), (403, &"forbidden".into()));
    let admin = place.admin_token();
    assert_eq!(server.client().ask(&charge().by(&admin)).status, 201);
    assert!(!server.stop().iter().any(|line| line.starts_with(simulated)));
    place.audit();
}

/// A process took the money of a charge to its end and died. The next server finds the charge.
#[test]
fn a_server_settles_what_another_process_left_pending() {
    let place = Place::with_products(&[]);
    place.add_customers(1, 0);
    let pending = place.json("charge 1 408408 --gateway simulated");
    assert_eq!(pending["status"], "pending");
    let db = Connection::open(place.path().join("commerce.db")).unwrap();
    db.execute("UPDATE charges SET created_at = created_at - 100, digest = NULL", []).unwrap();
    drop(db);

    let server = Server::start(&place);
    let admin = place.admin_token();
    let path = format!("/v1/customers/1/charges/{}", pending["id"]);
    wait_until("the charge is settled", || {
        server.client().ask(&Ask::get(path.as_str()).by(&admin)).json()["status"] == "succeeded"
    });
    let log = server.stop();
    assert!(log.iter().any(|line| line.contains("1 succeeded, 0 failed")), "{log:?}");
    assert_eq!(place.json("balance 1")["balance"], 408_408);
    place.audit();
}

#[rstest]
#[case::no_key("serve --gateway stripe", "--stripe-key-file")]
#[case::no_gateway("serve --gateway cash", "simulated")]
#[case::no_file("serve --gateway stripe --stripe-key-file nowhere", "nowhere")]
#[case::open_to_others("serve --gateway stripe --stripe-key-file key", "chmod 600")]
#[case::no_secret_key("serve --gateway stripe --stripe-key-file wrong", "sk_")]
#[case::no_url("serve --gateway stripe --stripe-key-file right --stripe-url nonsense", "https://")]
fn a_gateway_that_cannot_be_used_gets_a_sentence(#[case] line: &str, #[case] told: &str) {
    let place = Place::with_products(&[]);
    for (name, text, mode) in
        [("key", "sk_hidden", 0o644), ("wrong", "hidden", 0o600), ("right", "sk_hidden", 0o600)]
    {
        let path = place.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let said = place.run(line);
    assert_eq!((said.status, said.out.as_str()), (2, ""), "{}", said.err);
    assert!(said.err.contains(told) && !said.err.contains("hidden"), "{}", said.err);
}
