//! Logging in and out, at two servers on one store and from the command line.

use crate::http::client::{Ask, Client};
use crate::http::place::Place;
use crate::http::server::{Server, wait_until};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

fn log_in(login: &str, password: &str) -> Ask {
    Ask::post("/v1/sessions", &json!({"login": login, "password": password}))
}

fn register(client: &mut Client, login: &str, password: &str) {
    let who = json!({"login": login, "password": password, "name": "Kim"});
    let answer = client.ask(&Ask::post("/v1/customers", &who));
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert!(!answer.body.contains(password), "{}", answer.body);
}

fn token_of(client: &mut Client, login: &str, password: &str) -> String {
    let answer = client.ask(&log_in(login, password));
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()["token"].as_str().unwrap().to_owned()
}

#[test]
fn a_token_is_good_at_every_server_and_ends_at_once() {
    let place = Place::with_products(&[]);
    let servers = [Server::start(&place), Server::start(&place)];
    let [one, other] = &mut servers.each_ref().map(Server::client);
    register(one, "kim", "correct horse");
    let token = token_of(other, "kim", "correct horse");
    let me = Ask::get("/v1/customers/me").by(&token);
    assert_eq!((one.ask(&me).status, other.ask(&me).status), (200, 200));
    assert_eq!(one.ask(&me).json()["login"], "kim");
    let second = token_of(one, "kim", "correct horse");
    assert_eq!(one.ask(&Ask::new("DELETE", "/v1/sessions/current").by(&token)).status, 204);
    for client in [&mut *other, &mut *one] {
        assert_eq!(client.ask(&me).outcome(), (401, "unauthenticated".to_owned()));
        let challenge = Some("Bearer error=\"invalid_token\"");
        assert_eq!(client.ask(&me).header("WWW-Authenticate"), challenge);
        let me = Ask::get("/v1/customers/me").by(&second);
        assert_eq!(client.ask(&me).status, 200, "only that session ended");
    }
    let again = json!({"login": "kim", "password": "another horse", "name": "Kim"});
    let again = other.ask(&Ask::post("/v1/customers", &again));
    assert_eq!(again.outcome(), (409, "login_taken".to_owned()));
    Server::stop_both(servers);
    place.audit();
}

#[test]
fn guessing_is_slowed_at_every_server() {
    let place = Place::with_products(&[]);
    let servers = [Server::start(&place), Server::start(&place)];
    let [one, other] = &mut servers.each_ref().map(Server::client);
    register(one, "kim", "correct horse");
    for login in ["kim", "nobody"] {
        for _ in 0..6 {
            let answer = one.ask(&log_in(login, "wrong horse"));
            assert_eq!(answer.outcome(), (401, "invalid_credentials".to_owned()), "{login}");
        }
        // A wait may just have ended when a try comes; the next one is then longer. By itself the
        // other server would let six go by.
        let mut tries = (0..4).map(|_| other.ask(&log_in(login, "wrong horse")));
        let slowed = tries.find(|answer| answer.status == 429).unwrap();
        assert_eq!(slowed.outcome(), (429, "too_many_requests".to_owned()));
        let wait: u64 = slowed.header("Retry-After").unwrap().parse().unwrap();
        assert!((1..=900).contains(&wait), "{wait}");
        assert_eq!(slowed.json()["retry_after"], wait);
    }
    // Others are not in its way, and the right password is good again after a while.
    register(one, "lee", "correct horse");
    token_of(other, "lee", "correct horse");
    wait_until("let in", || one.ask(&log_in("kim", "correct horse")).status == 201);
    let answer = other.ask(&log_in("kim", "wrong horse"));
    assert_eq!(answer.status, 401, "what failed before is forgotten: {}", answer.body);
    Server::stop_both(servers);
    place.audit();
}

#[test]
fn logins_are_given_at_the_command_line() {
    let place = Place::with_products(&[]);
    place.add_customers(1, 0);
    let server = Server::start(&place);
    let client = &mut server.client();

    let made = place.json("admin create boss");
    assert_eq!((&made["login"], &made["role"]), (&json!("boss"), &json!("admin")));
    let boss = token_of(client, "boss", made["password"].as_str().unwrap());
    let customer = client.ask(&Ask::get("/v1/customers/1").by(&boss));
    assert_eq!((customer.status, &customer.json()["role"]), (200, &json!("customer")));

    let given = place.fed("--json customer login 1 kim --password-file -", "correct horse\n");
    assert_eq!(given.status, 0, "{}", given.err);
    assert!(!given.out.contains("horse"), "{}", given.out);
    let kim = token_of(client, "kim", "correct horse");
    let mine = Ask::get("/v1/customers/me").by(&kim);
    assert_eq!(client.ask(&mine).json()["id"], 1);
    let theirs = Ask::get(format!("/v1/customers/{}", made["id"])).by(&kim);
    assert_eq!(client.ask(&theirs).outcome(), (403, "forbidden".to_owned()));

    // Another password ends what was open by the old one.
    let file = place.path().join("password");
    fs::write(&file, "battery staple\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = place.run("customer login 1 kim --password-file password");
    assert_eq!((refused.status, refused.out.as_str()), (2, ""), "{}", refused.err);
    assert!(refused.err.contains("chmod 600 password"), "{}", refused.err);
    assert_eq!(client.ask(&mine).status, 200);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    place.json("customer login 1 kim --password-file password");
    assert_eq!(client.ask(&mine).status, 401);
    assert_eq!(client.ask(&log_in("kim", "correct horse")).status, 401);
    token_of(client, "kim", "battery staple");

    // A file of an editor that writes a byte order mark and ends lines as Windows does.
    fs::write(&file, "\u{feff}battery staple 2\r\n").unwrap();
    place.json("customer login 1 kim --password-file password");
    token_of(client, "kim", "battery staple 2");
    fs::write(&file, "\u{feff}\n").unwrap();
    let refused = place.run("customer login 1 kim --password-file password");
    assert_eq!((refused.status, refused.out.as_str()), (2, ""), "{}", refused.err);

    // A login that failed too often can be unlocked, and by a new password too.
    for lift in ["unlock 1", "login 1 kim --password-file -"] {
        let mut tries = (0..20).map(|_| client.ask(&log_in("kim", "a wrong guess")));
        assert!(tries.any(|answer| answer.status == 429));
        let lifted = place.fed(&format!("--json customer {lift}"), "battery staple 2");
        assert_eq!(lifted.status, 0, "{}", lifted.err);
        token_of(client, "kim", "battery staple 2");
    }
    place.json("customer add Nologin");
    let refused = place.run("customer unlock 3");
    assert_eq!(refused.status, 2, "{}", refused.err);

    // Tokens without a password: the first admin, somebody by login, nobody.
    let admin = place.admin_token();
    assert_eq!(client.ask(&Ask::get("/v1/customers/1").by(&admin)).status, 200);
    let token = place.json("admin token kim --days 2");
    assert_eq!(token["customer_id"], 1);
    assert_eq!(place.run("admin token nobody").status, 3);
    server.stop();
    place.audit();
}

/// Right and wrong passwords, one after the other and several at once.
#[test]
fn passwords_are_checked_in_memory_that_is_used_again() {
    let place = Place::with_products(&[]);
    let server = Server::start(&place);
    register(&mut server.client(), "kim", "correct horse");
    let address = &server.address;
    std::thread::scope(|scope| {
        for caller in 0..4 {
            scope.spawn(move || {
                let client = &mut Client::new(address);
                for number in 0..10 {
                    let unknown = log_in(&format!("unknown-{caller}-{number}"), "wrong horse");
                    assert_eq!(client.ask(&unknown).status, 401);
                    token_of(client, "kim", "correct horse");
                }
            });
        }
    });
    let used = server.kibibytes("VmRSS");
    assert!(used < 128 * 1024, "{used} KiB are used");
    server.stop();
}

/// Memory that cannot be had is neither a wrong password nor a failed attempt.
#[test]
fn without_memory_for_a_password_the_answer_is_busy() {
    let place = Place::with_products(&[]);
    place.json("customer add Kim");
    let given = place.fed("customer login 1 kim --password-file -", "correct horse\n");
    assert_eq!(given.status, 0, "{}", given.err);
    let mut serve = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    // Else glibc has address space in reserve for each thread, and a limit has no effect at once.
    let server = Server::run(serve.env("MALLOC_ARENA_MAX", "1"));
    let client = &mut server.client();
    let limit = |bytes: &str| {
        let process = server.process().to_string();
        let limit = format!("--as={bytes}");
        let prlimit = Command::new("prlimit").args(["--pid", &process, &limit]).status().unwrap();
        assert!(prlimit.success());
    };
    // All of its threads have started and have read the store once, so that a request takes no more memory.
    let address = &server.address;
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(move || {
                let client = &mut Client::new(address);
                for _ in 0..4 {
                    assert_eq!(client.ask(&Ask::get("/v1/products")).status, 200);
                }
            });
        }
    });
    // Less than the 19 MiB of a hash, and more than all else that a login takes.
    limit(&format!("{}:unlimited", (server.kibibytes("VmSize") + 18 * 1024) * 1024));
    for _ in 0..10 {
        let answer = client.ask(&log_in("kim", "correct horse"));
        assert_eq!(answer.outcome(), (503, "busy".to_owned()), "{}", answer.body);
        assert!(answer.header("Retry-After").is_some());
    }
    limit("unlimited:unlimited");
    token_of(client, "kim", "correct horse");
    server.stop();
}
