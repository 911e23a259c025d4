//! Where settings come from, what is said of wrong ones, and what the log tells and keeps to itself.

use crate::http::client::{Ask, is_open};
use crate::http::place::Place;
use crate::http::server::Server;
use rstest::rstest;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;

/// The seconds that an unpaid order holds its stock, which is a setting, as a client sees it.
fn hold_of(server: &Server, token: &str, key: &str) -> i64 {
    let body = json!({"items": [{"product_id": 1, "quantity": 1}], "payment": "later"});
    let order = Ask::post("/v1/customers/1/orders", &body).key(key).by(token);
    let order = server.client().ask(&order).json();
    let seconds = |name: &str| {
        let told = order[name].as_str().unwrap();
        let (_, clock) = told.split_once('T').unwrap();
        let parts = clock.trim_end_matches('Z').split(':').map(|part| part.parse::<i64>().unwrap());
        parts.fold(0, |sum, part| sum * 60 + part)
    };
    (seconds("expires_at") - seconds("created_at")).rem_euclid(24 * 60 * 60)
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let place = Place::with_products(&[(10, 100)]);
    place.add_customers(1, 0);
    let token = place.admin_token();
    let file = "# what this shop wants\nlisten = \"127.0.0.1:0\"\nhold = 100\nlog = \"json\"\n";
    fs::write(place.path().join("serve.toml"), file).unwrap();
    for (flags, environment, hold) in [
        (&[][..], &[][..], 100),
        (&[], &[("COMMERCE_HOLD", "200")][..], 200),
        (&["--hold", "300"][..], &[("COMMERCE_HOLD", "200")], 300),
        (&["--hold", "300"], &[], 300),
    ] {
        let mut command = place.command(&["serve", "--config", "serve.toml"]);
        let server = Server::run(command.args(flags).envs(environment.iter().copied()));
        let key = format!("{flags:?}{environment:?}").replace(' ', "");
        assert_eq!(hold_of(&server, &token, &key), hold, "{key}");
        let log = server.stop();
        assert!(log.iter().any(|line| line.starts_with('{')), "the file wants JSON: {log:?}");
    }
    // The file itself may be named by the environment, and a flag overrules one line of it only.
    let mut command = place.command(&["serve", "--log", "logfmt"]);
    let server = Server::run(command.env("COMMERCE_CONFIG", "serve.toml"));
    assert_eq!(hold_of(&server, &token, "last"), 100);
    let log = server.stop();
    assert!(log.iter().any(|line| line.starts_with("ts=")), "{log:?}");
    place.audit();
}

/// Origins come from flags, from the environment or from the file, and a wrong one is refused at the start.
#[test]
fn origins_are_set_like_everything_else() {
    let place = Place::with_products(&[(10, 100)]);
    let file = "cors-origin = [\"https://file.example\", \"http://localhost:3000\"]\n";
    fs::write(place.path().join("serve.toml"), file).unwrap();
    let listed = [("COMMERCE_CORS_ORIGIN", "https://env.example,https://other.example")];
    let flags = ["--cors-origin", "https://flag.example", "--cors-origin", "https://b.example"];
    for (flags, environment, origin) in [
        (&[][..], &[][..], "http://localhost:3000"),
        (&[], &listed[..], "https://other.example"),
        (&flags[..], &listed[..], "https://b.example"),
    ] {
        let mut command = place.command(&["serve", "--config", "serve.toml"]);
        command.args(["--listen", "127.0.0.1:0"]).args(flags).envs(environment.iter().copied());
        let server = Server::run(&mut command);
        for (from, allowed) in [(origin, Some(origin)), ("https://evil.example", None)] {
            let answer = server.client().ask(&Ask::get("/v1").with("Origin", from));
            assert_eq!(answer.header("Access-Control-Allow-Origin"), allowed, "{from}");
        }
        server.stop();
    }
    let mut wrong = place.command(&["serve", "--cors-origin", "shop.example/page"]);
    let output = wrong.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("https://shop.example"), "{said}");
}

#[rstest]
#[case::no_origin("cors-origin = [\"shop.example\"]", "cors-origin")]
#[case::unknown_name("lisen = \"127.0.0.1:0\"", "lisen")]
#[case::no_toml("listen 127.0.0.1:0", "serve.toml")]
#[case::no_address("listen = \"nowhere\"", "127.0.0.1:8080")]
#[case::no_number("grace = \"soon\"", "grace")]
#[case::negative("grace = -1", "grace")]
#[case::no_format("log = \"xml\"", "xml")]
fn a_wrong_file_gets_a_sentence(#[case] file: &str, #[case] told: &str) {
    let place = Place::with_products(&[]);
    fs::write(place.path().join("serve.toml"), file).unwrap();
    let said = place.run("serve --config serve.toml");
    assert_eq!((said.status, said.out.as_str()), (2, ""), "{}", said.err);
    assert!(said.err.contains(told), "{}", said.err);
    assert_eq!(said.err.trim().lines().count(), 1, "{}", said.err);
}

#[rstest]
#[case::no_file("serve --config nowhere.toml", 2, "nowhere.toml")]
#[case::no_address("serve --listen localhost:80", 2, "127.0.0.1:8080")]
#[case::no_format("serve --log xml", 2, "logfmt")]
#[case::too_long("serve --grace 4000", 2, "3600")]
#[case::not_ours("serve --listen 192.0.2.1:8080", 1, "192.0.2.1:8080")]
fn a_wrong_flag_gets_a_sentence(#[case] line: &str, #[case] status: i32, #[case] told: &str) {
    let said = Place::with_products(&[]).run(line);
    assert_eq!((said.status, said.out.as_str()), (status, ""), "{}", said.err);
    assert!(said.err.contains(told), "{}", said.err);
}

#[test]
fn a_port_in_use_is_told() {
    let place = Place::with_products(&[]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = place.run(&format!("serve --listen {address}"));
    assert_eq!(said.status, 1, "{}", said.err);
    let sentence = format!("commerce: cannot listen at {address}: ");
    assert!(said.err.starts_with(&sentence), "{}", said.err);
    assert!(is_open(&address), "the other one is left alone");
}

const PASSWORD: &str = "canary-password";
const KEY: &str = "canary-key";
const QUERY: &str = "canary-query";
const WRONG_TOKEN: &str = "cs_canary-token";

/// Every kind of secret goes through a server. Its log has a line for each request, and none of them.
#[rstest]
#[case::logfmt("logfmt")]
#[case::json("json")]
fn the_log_is_one_line_a_request_and_keeps_secrets(#[case] format: &str) {
    let place = Place::with_products(&[(10, 100)]);
    let server = Server::with(&place, &["--log", format]);
    let client = &mut server.client();
    let login = json!({"login": "kim", "password": PASSWORD});
    let mut who = login.clone();
    who["name"] = json!("Kim");
    let mut asked = Vec::new();
    let mut ask = |name: &str, ask: Ask, status: u16| {
        let answer = client.ask(&ask.with("X-Request-Id", name));
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        assert_eq!(answer.header("X-Request-Id"), Some(name));
        asked.push((name.to_owned(), status));
        answer
    };
    ask("register", Ask::post("/v1/customers", &who), 201);
    let session = ask("log-in", Ask::post("/v1/sessions", &login), 201).json();
    let token = session["token"].as_str().unwrap();
    let wrong = json!({"login": "kim", "password": format!("{PASSWORD}-wrong")});
    ask("wrong", Ask::post("/v1/sessions", &wrong), 401);
    let charge = Ask::post("/v1/customers/me/charges", &json!({"amount": 100})).key(KEY).by(token);
    ask("charge", charge.clone(), 201);
    ask("charge-again", charge, 201);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let order = json!({"items": [{"product_id": 1, "quantity": 1}]});
    let order = Ask::post("/v1/customers/me/orders", &order).key(format!("{KEY}-order")).by(token);
    ask("order", order.with("traceparent", trace), 201);
    ask("query", Ask::get(format!("/v1/products?limit={QUERY}")), 422);
    ask("too-long", Ask::get(format!("/{}", "a".repeat(3_000))), 431);
    ask("nowhere", Ask::get(format!("/nowhere?{QUERY}")), 404);
    ask("stranger", Ask::get("/v1/customers/me").by(WRONG_TOKEN), 401);
    ask("log-out", Ask::new("DELETE", "/v1/sessions/current").by(token), 204);
    let log = server.stop();

    for (name, status) in &asked {
        let (quoted, wanted) = match format {
            "json" => (format!("\"request\":\"{name}\""), format!("\"status\":{status}")),
            _ => (format!(" request={name} "), format!(" status={status} ")),
        };
        let lines: Vec<_> = log.iter().filter(|line| line.contains(&quoted)).collect();
        assert_eq!(lines.len(), 1, "{name}: {log:?}");
        assert!(lines[0].contains(&wanted), "{}", lines[0]);
        if format == "json" {
            let line: Value = serde_json::from_str(lines[0]).unwrap();
            assert!(line["micros"].is_u64() && line["operation"].is_string(), "{line}");
        } else {
            assert!(lines[0].split(' ').all(|pair| pair.contains('=')), "{}", lines[0]);
        }
    }
    assert!(log.iter().any(|line| line.contains("order") && line.contains(trace)), "{log:?}");
    let log = log.join("\n");
    for secret in [token, PASSWORD, KEY, QUERY, WRONG_TOKEN] {
        assert!(!log.contains(secret), "the log tells {secret}:\n{log}");
    }
    // The store keeps keys, and neither tokens nor passwords.
    for file in fs::read_dir(place.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        for secret in [token, token.trim_start_matches("cs_"), PASSWORD, QUERY, WRONG_TOKEN] {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{} holds {secret}", path.display());
        }
    }
    place.audit();
}
