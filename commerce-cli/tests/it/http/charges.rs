//! Charges at a server: permissions with and without a gateway, and pending charges.

use crate::http::client::Request;
use crate::http::server::{Server, wait_until};
use crate::http::workspace::Workspace;
use rstest::rstest;
use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn token(server: &Server) -> String {
    let (client, password) = (&mut server.client(), "correct horse");
    let who = json!({"login": "kim", "password": password, "name": "Kim"});
    client.send(&Request::post("/v1/customers", &who));
    let login = Request::post("/v1/sessions", &json!({"login": "kim", "password": password}));
    client.send(&login).json()["token"].as_str().unwrap().to_owned()
}

#[test]
fn without_a_gateway_only_admins_charge() {
    let workspace = Workspace::with_products(&[]);
    let simulated = "the payment gateway is simulated";
    let charge = || Request::post("/v1/customers/me/charges", &json!({"amount": 5})).key("a");
    let server = Server::start(&workspace);
    let kim = token(&server);
    assert_eq!(server.client().send(&charge().by(&kim)).status, 201);
    assert!(server.stop().iter().any(|line| line.starts_with(simulated)));

    fs::write(workspace.path().join("serve.toml"), "gateway = \"none\"\n").unwrap();
    let server = Server::with(&workspace, &["--config", "serve.toml"]);
    let refused = server.client().send(&charge().by(&kim));
    assert_eq!((refused.status, &refused.json()["code"]), (403, &"forbidden".into()));
    let admin = workspace.admin_token();
    assert_eq!(server.client().send(&charge().by(&admin)).status, 201);
    assert!(!server.stop().iter().any(|line| line.starts_with(simulated)));
    workspace.audit();
}

/// A process collected the money of a charge and died before recording it. The next server
/// reconciles the charge.
#[test]
fn server_reconciles_charges_of_a_dead_process() {
    let workspace = Workspace::with_products(&[]);
    workspace.add_customers(1, 0);
    let pending = workspace.json("charge 1 408408 --gateway simulated");
    assert_eq!(pending["status"], "pending");
    let db = Connection::open(workspace.path().join("commerce.db")).unwrap();
    db.execute("UPDATE charges SET created_at = created_at - 100, digest = NULL", []).unwrap();
    drop(db);

    let server = Server::start(&workspace);
    let admin = workspace.admin_token();
    let path = format!("/v1/customers/1/charges/{}", pending["id"]);
    wait_until("the charge is settled", || {
        server.client().send(&Request::get(path.as_str()).by(&admin)).json()["status"]
            == "succeeded"
    });
    let log = server.stop();
    assert!(log.iter().any(|line| line.contains("1 succeeded, 0 failed")), "{log:?}");
    assert_eq!(workspace.json("balance 1")["balance"], 408_408);
    workspace.audit();
}

#[rstest]
#[case::no_key("serve --gateway stripe", "--stripe-key-file")]
#[case::no_gateway("serve --gateway cash", "simulated")]
#[case::no_file("serve --gateway stripe --stripe-key-file nowhere", "nowhere")]
#[case::open_to_others("serve --gateway stripe --stripe-key-file key", "chmod 600")]
#[case::no_secret_key("serve --gateway stripe --stripe-key-file wrong", "sk_")]
#[case::no_url("serve --gateway stripe --stripe-key-file right --stripe-url nonsense", "https://")]
fn unusable_gateway_settings_are_refused(#[case] line: &str, #[case] message: &str) {
    let workspace = Workspace::with_products(&[]);
    for (name, text, mode) in
        [("key", "sk_hidden", 0o644), ("wrong", "hidden", 0o600), ("right", "sk_hidden", 0o600)]
    {
        let path = workspace.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let output = workspace.run(line);
    assert_eq!((output.status, output.out.as_str()), (2, ""), "{}", output.err);
    assert!(output.err.contains(message) && !output.err.contains("hidden"), "{}", output.err);
}
