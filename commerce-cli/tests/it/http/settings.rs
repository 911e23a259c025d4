//! The sources of settings, the errors for wrong ones, and the contents of the log.

use crate::http::client::{Request, is_open};
use crate::http::server::Server;
use crate::http::workspace::Workspace;
use rstest::rstest;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;

/// Returns the seconds that an unpaid order holds its stock, which is a setting.
fn hold_of(server: &Server, token: &str, key: &str) -> i64 {
    let body = json!({"items": [{"product_id": 1, "quantity": 1}], "payment": "later"});
    let order = Request::post("/v1/customers/1/orders", &body).key(key).by(token);
    let order = server.client().send(&order).json();
    let seconds = |name: &str| {
        let time = order[name].as_str().unwrap();
        let (_, clock) = time.split_once('T').unwrap();
        let parts = clock.trim_end_matches('Z').split(':').map(|part| part.parse::<i64>().unwrap());
        parts.fold(0, |sum, part| sum * 60 + part)
    };
    (seconds("expires_at") - seconds("created_at")).rem_euclid(24 * 60 * 60)
}

#[test]
fn flags_override_the_environment_and_the_file() {
    let workspace = Workspace::with_products(&[(10, 100)]);
    workspace.add_customers(1, 0);
    let token = workspace.admin_token();
    let file = "# what this shop wants\nlisten = \"127.0.0.1:0\"\nhold = 100\nlog = \"json\"\n";
    fs::write(workspace.path().join("serve.toml"), file).unwrap();
    for (flags, environment, hold) in [
        (&[][..], &[][..], 100),
        (&[], &[("COMMERCE_HOLD", "200")][..], 200),
        (&["--hold", "300"][..], &[("COMMERCE_HOLD", "200")], 300),
        (&["--hold", "300"], &[], 300),
    ] {
        let mut command = workspace.command(&["serve", "--config", "serve.toml"]);
        let server = Server::run(command.args(flags).envs(environment.iter().copied()));
        let key = format!("{flags:?}{environment:?}").replace(' ', "");
        assert_eq!(hold_of(&server, &token, &key), hold, "{key}");
        let log = server.stop();
        assert!(log.iter().any(|line| line.starts_with('{')), "the file wants JSON: {log:?}");
    }
    // The environment may name the file, and a flag overrides one line of it.
    let mut command = workspace.command(&["serve", "--log", "logfmt"]);
    let server = Server::run(command.env("COMMERCE_CONFIG", "serve.toml"));
    assert_eq!(hold_of(&server, &token, "last"), 100);
    let log = server.stop();
    assert!(log.iter().any(|line| line.starts_with("ts=")), "{log:?}");
    workspace.audit();
}

/// Origins come from flags, from the environment or from the file; an invalid one is refused at the
/// start.
#[test]
fn cors_origins_come_from_flags_environment_or_file() {
    let workspace = Workspace::with_products(&[(10, 100)]);
    let file = "cors-origin = [\"https://file.example\", \"http://localhost:3000\"]\n";
    fs::write(workspace.path().join("serve.toml"), file).unwrap();
    let listed = [("COMMERCE_CORS_ORIGIN", "https://env.example,https://other.example")];
    let flags = ["--cors-origin", "https://flag.example", "--cors-origin", "https://b.example"];
    for (flags, environment, origin) in [
        (&[][..], &[][..], "http://localhost:3000"),
        (&[], &listed[..], "https://other.example"),
        (&flags[..], &listed[..], "https://b.example"),
    ] {
        let mut command = workspace.command(&["serve", "--config", "serve.toml"]);
        command.args(["--listen", "127.0.0.1:0"]).args(flags).envs(environment.iter().copied());
        let server = Server::run(&mut command);
        for (from, allowed) in [(origin, Some(origin)), ("https://evil.example", None)] {
            let response = server.client().send(&Request::get("/v1").with("Origin", from));
            assert_eq!(response.header("Access-Control-Allow-Origin"), allowed, "{from}");
        }
        server.stop();
    }
    let mut wrong = workspace.command(&["serve", "--cors-origin", "shop.example/page"]);
    let output = wrong.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("https://shop.example"), "{stderr}");
}

/// The address that a proxy reports counts only if the proxy is trusted, by flags, environment or file.
#[test]
fn trusted_proxies_come_from_flags_environment_or_file() {
    let workspace = Workspace::with_products(&[]);
    let file = "trusted-proxy = [\"192.0.2.0/24\"]\n";
    fs::write(workspace.path().join("serve.toml"), file).unwrap();
    let listed = [("COMMERCE_TRUSTED_PROXY", "unix,127.0.0.0/8")];
    let (near, far) = ("127.0.0.1 client_source=ignored", "203.0.113.7 client_source=forwarded");
    for (flags, environment, client) in [
        (&[][..], &[][..], near),
        (&[], &listed[..], far),
        (&["--trusted-proxy", "10.0.0.1", "--trusted-proxy", "127.0.0.1"][..], &[], far),
        (&["--trusted-proxy", "unix"], &listed[..], near),
    ] {
        let mut command = workspace.command(&["serve", "--config", "serve.toml"]);
        command.args(["--listen", "127.0.0.1:0"]).args(flags).envs(environment.iter().copied());
        let server = Server::run(&mut command);
        let unknown = Request::get("/v1/customers/me").with("X-Forwarded-For", "203.0.113.7");
        assert_eq!(server.client().send(&unknown).status, 401);
        let log = server.stop();
        assert!(log.iter().any(|line| line.ends_with(&format!("client={client}"))), "{log:?}");
    }
    let wrong = workspace.run("serve --trusted-proxy proxy.example");
    assert_eq!((wrong.status, wrong.out.as_str()), (2, ""), "{}", wrong.err);
    assert!(wrong.err.contains("10.0.0.0/8"), "{}", wrong.err);
}

#[rstest]
#[case::no_origin("cors-origin = [\"shop.example\"]", "cors-origin")]
#[case::no_proxy("trusted-proxy = [\"10.0.0.0/33\"]", "trusted-proxy")]
#[case::unknown_name("lisen = \"127.0.0.1:0\"", "lisen")]
#[case::no_toml("listen 127.0.0.1:0", "serve.toml")]
#[case::no_address("listen = \"nowhere\"", "127.0.0.1:8080")]
#[case::no_number("grace = \"soon\"", "grace")]
#[case::negative("grace = -1", "grace")]
#[case::no_events("events-batch = 0", "events-batch")]
#[case::no_format("log = \"xml\"", "xml")]
#[case::no_server("server = \"nginx\"", "nginx")]
#[case::no_key("tls-cert = \"cert.pem\"", "--tls-key")]
fn invalid_config_file_is_refused_with_one_line(#[case] file: &str, #[case] message: &str) {
    let workspace = Workspace::with_products(&[]);
    fs::write(workspace.path().join("serve.toml"), file).unwrap();
    let output = workspace.run("serve --config serve.toml");
    assert_eq!((output.status, output.out.as_str()), (2, ""), "{}", output.err);
    assert!(output.err.contains(message), "{}", output.err);
    assert_eq!(output.err.trim().lines().count(), 1, "{}", output.err);
}

#[rstest]
#[case::no_file("serve --config nowhere.toml", 2, "nowhere.toml")]
#[case::no_address("serve --listen localhost:80", 2, "127.0.0.1:8080")]
#[case::no_format("serve --log xml", 2, "logfmt")]
#[case::too_long("serve --grace 4000", 2, "3600")]
#[case::no_server("serve --server nginx", 2, "hyper, tiny")]
#[case::tiny_on_an_open_port("serve --server tiny --listen 0.0.0.0:80", 2, "--server tiny")]
#[case::tiny_on_a_unix_socket("serve --server tiny --listen unix:a.sock", 2, "--server tiny")]
#[case::certificate_without_key("serve --tls-cert a", 2, "--tls-cert needs --tls-key")]
#[case::key_without_certificate("serve --tls-key a", 2, "--tls-key needs --tls-cert")]
#[case::tiny_with_tls("serve --server tiny --tls-cert a --tls-key b", 2, "needs --server hyper")]
#[case::unix_with_tls("serve --listen unix:a.sock --tls-cert a --tls-key b", 2, "unix socket")]
#[case::no_certificate("serve --tls-cert nowhere.pem --tls-key b", 2, "nowhere.pem")]
#[case::not_ours("serve --listen 192.0.2.1:8080", 1, "192.0.2.1:8080")]
fn invalid_flag_is_refused(#[case] line: &str, #[case] status: i32, #[case] message: &str) {
    let output = Workspace::with_products(&[]).run(line);
    assert_eq!((output.status, output.out.as_str()), (status, ""), "{}", output.err);
    assert!(output.err.contains(message), "{}", output.err);
}

#[test]
fn port_in_use_is_reported() {
    let workspace = Workspace::with_products(&[]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let stderr = workspace.run(&format!("serve --listen {address}"));
    assert_eq!(stderr.status, 1, "{}", stderr.err);
    let sentence = format!("commerce: cannot listen at {address}: ");
    assert!(stderr.err.starts_with(&sentence), "{}", stderr.err);
    assert!(is_open(&address), "the other one is left alone");
}

const PASSWORD: &str = "canary-password";
const KEY: &str = "canary-key";
const QUERY: &str = "canary-query";
const WRONG_TOKEN: &str = "cs_canary-token";

/// Sends every kind of secret to a server: its log has a line for each request and contains no
/// secret.
#[rstest]
#[case::logfmt("logfmt")]
#[case::json("json")]
fn log_has_one_line_a_request_and_no_secrets(#[case] format: &str) {
    let workspace = Workspace::with_products(&[(10, 100)]);
    let server = Server::with(&workspace, &["--log", format]);
    let client = &mut server.client();
    let login = json!({"login": "kim", "password": PASSWORD});
    let mut who = login.clone();
    who["name"] = json!("Kim");
    let mut asked = Vec::new();
    let mut request = |name: &str, request: Request, status: u16| {
        let response = client.send(&request.with("X-Request-Id", name));
        assert_eq!(response.status, status, "{name}: {}", response.body);
        assert_eq!(response.header("X-Request-Id"), Some(name));
        asked.push((name.to_owned(), status));
        response
    };
    request("register", Request::post("/v1/customers", &who), 201);
    let session = request("log-in", Request::post("/v1/sessions", &login), 201).json();
    let token = session["token"].as_str().unwrap();
    let wrong = json!({"login": "kim", "password": format!("{PASSWORD}-wrong")});
    request("wrong", Request::post("/v1/sessions", &wrong), 401);
    let charge =
        Request::post("/v1/customers/me/charges", &json!({"amount": 100})).key(KEY).by(token);
    request("charge", charge.clone(), 201);
    request("charge-again", charge, 201);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let order = json!({"items": [{"product_id": 1, "quantity": 1}]});
    let order =
        Request::post("/v1/customers/me/orders", &order).key(format!("{KEY}-order")).by(token);
    request("order", order.with("traceparent", trace), 201);
    request("query", Request::get(format!("/v1/products?limit={QUERY}")), 422);
    request("too-long", Request::get(format!("/{}", "a".repeat(3_000))), 431);
    request("nowhere", Request::get(format!("/nowhere?{QUERY}")), 404);
    request("stranger", Request::get("/v1/customers/me").by(WRONG_TOKEN), 401);
    request("log-out", Request::new("DELETE", "/v1/sessions/current").by(token), 204);
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
    // The store keeps idempotency keys, but neither tokens nor passwords.
    for file in fs::read_dir(workspace.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        for secret in [token, token.trim_start_matches("cs_"), PASSWORD, QUERY, WRONG_TOKEN] {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{} holds {secret}", path.display());
        }
    }
    workspace.audit();
}
