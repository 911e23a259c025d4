//! Logins and log-outs, at two servers on one store and from the command line.

use crate::http::client::{Client, Request};
use crate::http::server::{Server, wait_until};
use crate::http::workspace::Workspace;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn log_in(login: &str, password: &str) -> Request {
    Request::post("/v1/sessions", &json!({"login": login, "password": password}))
}

fn register(client: &mut Client, login: &str, password: &str) {
    let who = json!({"login": login, "password": password, "name": "Kim"});
    let response = client.send(&Request::post("/v1/customers", &who));
    assert_eq!(response.status, 201, "{}", response.body);
    assert!(!response.body.contains(password), "{}", response.body);
}

fn token_of(client: &mut Client, login: &str, password: &str) -> String {
    let response = client.send(&log_in(login, password));
    assert_eq!(response.status, 201, "{}", response.body);
    response.json()["token"].as_str().unwrap().to_owned()
}

#[test]
fn token_is_valid_at_every_server_and_revoked_at_once() {
    let workspace = Workspace::with_products(&[]);
    let servers = [Server::start(&workspace), Server::start(&workspace)];
    let [one, other] = &mut servers.each_ref().map(Server::client);
    register(one, "kim", "correct horse");
    let token = token_of(other, "kim", "correct horse");
    let me = Request::get("/v1/customers/me").by(&token);
    assert_eq!((one.send(&me).status, other.send(&me).status), (200, 200));
    assert_eq!(one.send(&me).json()["login"], "kim");
    let second = token_of(one, "kim", "correct horse");
    assert_eq!(one.send(&Request::new("DELETE", "/v1/sessions/current").by(&token)).status, 204);
    for client in [&mut *other, &mut *one] {
        assert_eq!(client.send(&me).outcome(), (401, "unauthenticated".to_owned()));
        let challenge = Some("Bearer error=\"invalid_token\"");
        assert_eq!(client.send(&me).header("WWW-Authenticate"), challenge);
        let me = Request::get("/v1/customers/me").by(&second);
        assert_eq!(client.send(&me).status, 200, "only that session ended");
    }
    let again = json!({"login": "kim", "password": "another horse", "name": "Kim"});
    let again = other.send(&Request::post("/v1/customers", &again));
    assert_eq!(again.outcome(), (409, "login_taken".to_owned()));
    Server::stop_both(servers);
    workspace.audit();
}

#[test]
fn failed_logins_are_rate_limited_at_every_server() {
    let workspace = Workspace::with_products(&[]);
    let servers = [Server::start(&workspace), Server::start(&workspace)];
    let [one, other] = &mut servers.each_ref().map(Server::client);
    register(one, "kim", "correct horse");
    for login in ["kim", "nobody"] {
        for _ in 0..6 {
            let response = one.send(&log_in(login, "wrong horse"));
            assert_eq!(response.outcome(), (401, "invalid_credentials".to_owned()), "{login}");
        }
        // A pause may just have ended at an attempt; the next pause is then longer. The other
        // server by itself would allow six attempts.
        let mut tries = (0..4).map(|_| other.send(&log_in(login, "wrong horse")));
        let slowed = tries.find(|response| response.status == 429).unwrap();
        assert_eq!(slowed.outcome(), (429, "too_many_requests".to_owned()));
        let wait: u64 = slowed.header("Retry-After").unwrap().parse().unwrap();
        assert!((1..=900).contains(&wait), "{wait}");
        assert_eq!(slowed.json()["retry_after"], wait);
    }
    // Other logins are not affected, and the correct password works again after a while.
    register(one, "lee", "correct horse");
    token_of(other, "lee", "correct horse");
    wait_until("let in", || one.send(&log_in("kim", "correct horse")).status == 201);
    let response = other.send(&log_in("kim", "wrong horse"));
    assert_eq!(response.status, 401, "what failed before is forgotten: {}", response.body);
    Server::stop_both(servers);
    workspace.audit();
}

#[test]
fn cli_sets_and_unlocks_logins() {
    let workspace = Workspace::with_products(&[]);
    workspace.add_customers(1, 0);
    let server = Server::start(&workspace);
    let client = &mut server.client();

    let created = workspace.json("admin create boss");
    assert_eq!((&created["login"], &created["role"]), (&json!("boss"), &json!("admin")));
    let boss = token_of(client, "boss", created["password"].as_str().unwrap());
    let customer = client.send(&Request::get("/v1/customers/1").by(&boss));
    assert_eq!((customer.status, &customer.json()["role"]), (200, &json!("customer")));

    let login_set =
        workspace.fed("--json customer login 1 kim --password-file -", "correct horse\n");
    assert_eq!(login_set.status, 0, "{}", login_set.err);
    assert!(!login_set.out.contains("horse"), "{}", login_set.out);
    let kim = token_of(client, "kim", "correct horse");
    let mine = Request::get("/v1/customers/me").by(&kim);
    assert_eq!(client.send(&mine).json()["id"], 1);
    let theirs = Request::get(format!("/v1/customers/{}", created["id"])).by(&kim);
    assert_eq!(client.send(&theirs).outcome(), (403, "forbidden".to_owned()));

    // A new password revokes the sessions of the old one.
    let file = workspace.path().join("password");
    fs::write(&file, "battery staple\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = workspace.run("customer login 1 kim --password-file password");
    assert_eq!((refused.status, refused.out.as_str()), (2, ""), "{}", refused.err);
    assert!(refused.err.contains("chmod 600 password"), "{}", refused.err);
    assert_eq!(client.send(&mine).status, 200);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    workspace.json("customer login 1 kim --password-file password");
    assert_eq!(client.send(&mine).status, 401);
    assert_eq!(client.send(&log_in("kim", "correct horse")).status, 401);
    token_of(client, "kim", "battery staple");

    // A file with a byte order mark and CR LF, as some editors write it.
    fs::write(&file, "\u{feff}battery staple 2\r\n").unwrap();
    workspace.json("customer login 1 kim --password-file password");
    token_of(client, "kim", "battery staple 2");
    fs::write(&file, "\u{feff}\n").unwrap();
    let refused = workspace.run("customer login 1 kim --password-file password");
    assert_eq!((refused.status, refused.out.as_str()), (2, ""), "{}", refused.err);

    // A rate-limited login can be unlocked, also by a new password.
    for lift in ["unlock 1", "login 1 kim --password-file -"] {
        let mut tries = (0..20).map(|_| client.send(&log_in("kim", "a wrong guess")));
        assert!(tries.any(|response| response.status == 429));
        let lifted = workspace.fed(&format!("--json customer {lift}"), "battery staple 2");
        assert_eq!(lifted.status, 0, "{}", lifted.err);
        token_of(client, "kim", "battery staple 2");
    }
    workspace.json("customer add Nologin");
    let refused = workspace.run("customer unlock 3");
    assert_eq!(refused.status, 2, "{}", refused.err);

    // Tokens without a password: for the first admin, for a login, and for an unknown login.
    let admin = workspace.admin_token();
    assert_eq!(client.send(&Request::get("/v1/customers/1").by(&admin)).status, 200);
    let token = workspace.json("admin token kim --days 2");
    assert_eq!(token["customer_id"], 1);
    assert_eq!(workspace.run("admin token nobody").status, 3);
    server.stop();
    workspace.audit();
}

/// Ends the threads of a scope, also when an assertion fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Over sockets, behind a proxy: 24 connections from one address send wrong passwords as fast as they can. A client at
/// another address gets in at the first attempt, each time.
#[test]
fn flood_of_wrong_passwords_keeps_no_other_address_out() {
    let workspace = Workspace::with_products(&[]);
    let server = Server::with(&workspace, &["--trusted-proxy", "127.0.0.1"]);
    let client = &mut server.client();
    register(client, "kim", "correct horse");
    let (address, stop) = (&server.address, &AtomicBool::new(false));
    let shed = &AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for connection in 0..24 {
            scope.spawn(move || {
                let client = &mut Client::new(address);
                for attempt in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // Each attempt uses a new login, so that back-off does not slow the flood.
                    let wrong = log_in(&format!("flood-{connection}-{attempt}"), "wrong horse");
                    let response = client.send(&wrong.with("X-Forwarded-For", "192.0.2.1"));
                    match response.outcome() {
                        (401, code) => assert_eq!(code, "invalid_credentials"),
                        (503, code) => {
                            assert_eq!(code, "busy");
                            shed.fetch_add(1, Ordering::Relaxed);
                        }
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
        let _stop = StopOnDrop(stop);
        wait_until("flooded", || shed.load(Ordering::Relaxed) > 0);
        for _ in 0..10 {
            let honest = log_in("kim", "correct horse");
            let response = client.send(&honest.with("X-Forwarded-For", "198.51.100.1"));
            assert_eq!(response.status, 201, "{}", response.body);
        }
    });
    server.stop();
    workspace.audit();
}

/// Correct and wrong passwords, one after the other and concurrently.
#[test]
fn password_hashing_reuses_its_memory() {
    let workspace = Workspace::with_products(&[]);
    let server = Server::start(&workspace);
    register(&mut server.client(), "kim", "correct horse");
    let address = &server.address;
    std::thread::scope(|scope| {
        for caller in 0..4 {
            scope.spawn(move || {
                let client = &mut Client::new(address);
                for number in 0..10 {
                    let unknown = log_in(&format!("unknown-{caller}-{number}"), "wrong horse");
                    assert_eq!(client.send(&unknown).status, 401);
                    token_of(client, "kim", "correct horse");
                }
            });
        }
    });
    let used = server.kibibytes("VmRSS");
    assert!(used < 128 * 1024, "{used} KiB are used");
    server.stop();
}

/// An allocation failure is neither a wrong password nor a failed attempt.
#[test]
fn login_without_memory_for_a_hash_returns_busy() {
    let workspace = Workspace::with_products(&[]);
    workspace.json("customer add Kim");
    let login_set = workspace.fed("customer login 1 kim --password-file -", "correct horse\n");
    assert_eq!(login_set.status, 0, "{}", login_set.err);
    let mut serve = workspace.command(&["serve", "--listen", "127.0.0.1:0"]);
    // Otherwise glibc reserves address space for each thread, and a limit has no immediate effect.
    let server = Server::run(serve.env("MALLOC_ARENA_MAX", "1"));
    let client = &mut server.client();
    let limit = |bytes: &str| {
        let process = server.process().to_string();
        let limit = format!("--as={bytes}");
        let prlimit = Command::new("prlimit").args(["--pid", &process, &limit]).status().unwrap();
        assert!(prlimit.success());
    };
    // All threads have started and have read the store once, so that a request needs no further
    // memory.
    let address = &server.address;
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(move || {
                let client = &mut Client::new(address);
                for _ in 0..4 {
                    assert_eq!(client.send(&Request::get("/v1/products")).status, 200);
                }
            });
        }
    });
    // Less than the 19 MiB of a hash, and more than a login needs otherwise.
    limit(&format!("{}:unlimited", (server.kibibytes("VmSize") + 18 * 1024) * 1024));
    for _ in 0..10 {
        let response = client.send(&log_in("kim", "correct horse"));
        assert_eq!(response.outcome(), (503, "busy".to_owned()), "{}", response.body);
        assert!(response.header("Retry-After").is_some());
    }
    limit("unlimited:unlimited");
    token_of(client, "kim", "correct horse");
    server.stop();
}
