//! Logins while others flood the service with wrong passwords.

use super::*;
use crate::problem::http_status;
use commerce_core::limits::FREE_LOGIN_FAILURES;
use commerce_core::{Code, PasswordStats, SqliteStore, Store};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

const PASSWORD: &str = "correct horse";
const FLOOD: &str = "192.0.2.1";
const ELSEWHERE: &str = "198.51.100.1";

/// The bound on every wait, so that a failing test ends.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A service on a file, which a second connection can lock: attempts then hold their permits until it is unlocked.
struct Gated {
    api: Api,
    lines: Arc<Mutex<Vec<String>>>,
    folder: PathBuf,
}

impl Gated {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("commerce-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_unix(1_800_000_000)));
        let builder = Shop::builder().clock(clock).timeout(TIMEOUT);
        let shop = builder.open(SqliteStore::open(&folder.join("shop.db")).unwrap());
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = Arc::clone(&lines);
        let sink = Box::new(move |line: &str| sink.lock().unwrap().push(line.to_owned()));
        Self { api: Api::new(shop, Log::new(LogFormat::Logfmt, sink)).unwrap(), lines, folder }
    }

    fn gate(&self) -> SqliteStore {
        SqliteStore::open(&self.folder.join("shop.db")).unwrap()
    }

    fn post(&self, peer: &str, target: &str, body: &Value) -> Response {
        self.api.answer(&Request {
            method: "POST".to_owned(),
            target: target.to_owned(),
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: body.to_string().into_bytes(),
            peer: Some(peer.parse().unwrap()),
        })
    }

    fn log_in(&self, peer: &str, login: &str, password: &str) -> Response {
        self.post(peer, "/v1/sessions", &json!({ "login": login, "password": password }))
    }

    fn register(&self, peer: &str, login: &str) -> Response {
        let body = json!({ "login": login, "password": PASSWORD, "name": login });
        self.post(peer, "/v1/customers", &body)
    }

    fn wait_for_waiting(&self, count: usize) {
        let began = Instant::now();
        while self.api.shop().password_stats().waiting != count {
            assert!(began.elapsed() < TIMEOUT, "there are never {count} that wait");
            std::thread::yield_now();
        }
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn assert_busy(response: &Response) {
    let problem: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!((response.status, &problem["code"]), (503, &json!("busy")), "{problem}");
    assert_eq!(problem["detail"], StoreError::Overloaded.to_string());
    let retry_after = response.headers.iter().find(|(name, _)| *name == "Retry-After");
    assert_eq!(retry_after.unwrap().1, "1");
}

/// The flood has one address and four logins. Neither a login from elsewhere nor one from the same address is refused,
/// and each is served in its turn.
#[rstest]
#[case::few(24, 10)]
#[case::many(200, 186)]
fn flood_of_wrong_passwords_is_shed_and_honest_logins_are_not(
    #[case] connections: usize,
    #[case] shed: usize,
) {
    let world = &Gated::new(&format!("flood-{connections}"));
    assert_eq!(world.register(ELSEWHERE, "kim").status, 201);
    assert_eq!(world.register(FLOOD, "lee").status, 201);
    let store = world.gate();
    let (sender, flood) = channel();
    let next_of_flood = || flood.recv_timeout(TIMEOUT).unwrap();
    std::thread::scope(|scope| {
        let gate = store.begin().unwrap();
        for number in 0..connections {
            let sender = sender.clone();
            scope.spawn(move || {
                let login = format!("flood-{}", number % 4);
                sender.send(world.log_in(FLOOD, &login, "a wrong guess")).unwrap();
            });
        }
        // Two hold a permit, and twelve wait.
        (0..shed).for_each(|_| assert_busy(&next_of_flood()));
        world.wait_for_waiting(12);
        let elsewhere = scope.spawn(|| world.log_in(ELSEWHERE, "kim", PASSWORD));
        world.wait_for_waiting(13);
        let sign_up = scope.spawn(|| world.register("203.0.113.1", "oh"));
        world.wait_for_waiting(14);
        // The address has no place left: one of its own makes room.
        let same_address = scope.spawn(|| world.log_in(FLOOD, "lee", PASSWORD));
        assert_busy(&next_of_flood());
        drop(gate);
        for honest in [elsewhere, sign_up, same_address] {
            assert_eq!(honest.join().unwrap().status, 201);
        }
        for _ in 0..13 {
            assert_eq!(next_of_flood().status, http_status(Code::InvalidCredentials));
        }
    });
    let stats = world.api.shop().password_stats();
    let shed = u64::try_from(shed).unwrap().saturating_add(1);
    assert_eq!(stats, PasswordStats { waiting: 0, shed });
    let lines = world.lines.lock().unwrap();
    let end = "client=192.0.2.1 client_source=peer";
    let logged = lines.iter().filter(|line| line.contains(" code=busy ") && line.ends_with(end));
    assert_eq!(u64::try_from(logged.count()).unwrap(), shed, "{lines:#?}");
    let other = lines.iter().any(|line| line.contains(ELSEWHERE));
    assert!(!other, "addresses of successful calls are not logged");
}

/// All clients have one address, as behind a proxy without forwarded headers. The flood has as many logins as it likes,
/// and fills the places of the address. A login that came in from there before is still served.
#[test]
fn flood_of_other_logins_does_not_keep_a_known_login_out() {
    let world = &Gated::new("one-address");
    for login in ["kim", "lee"] {
        assert_eq!(world.register(FLOOD, login).status, 201);
    }
    assert_eq!(world.log_in(FLOOD, "kim", PASSWORD).status, 201);
    let store = world.gate();
    let (sender, flood) = channel();
    let next_of_flood = || flood.recv_timeout(TIMEOUT).unwrap();
    std::thread::scope(|scope| {
        let gate = store.begin().unwrap();
        for number in 0..40 {
            let sender = sender.clone();
            scope.spawn(move || {
                let login = format!("flood-{number}");
                sender.send(world.log_in(FLOOD, &login, "a wrong guess")).unwrap();
            });
        }
        // Two hold a permit, and twelve wait.
        (0..26).for_each(|_| assert_busy(&next_of_flood()));
        world.wait_for_waiting(12);
        assert_busy(&world.log_in(FLOOD, "lee", PASSWORD));
        let known = scope.spawn(|| world.log_in(FLOOD, "kim", PASSWORD));
        assert_busy(&next_of_flood());
        drop(gate);
        assert_eq!(known.join().unwrap().status, 201);
        for _ in 0..13 {
            assert_eq!(next_of_flood().status, http_status(Code::InvalidCredentials));
        }
    });
}

/// A login in back-off is refused before it waits for anything: it takes no place from others.
#[test]
fn login_that_has_to_wait_takes_no_place() {
    let world = Gated::new("back-off");
    for _ in 0..=FREE_LOGIN_FAILURES {
        assert_eq!(world.log_in(FLOOD, "kim", "a wrong guess").status, 401);
    }
    let store = world.gate();
    let gate = store.begin().unwrap();
    assert_eq!(world.log_in(FLOOD, "kim", PASSWORD).status, 429);
    drop(gate);
}

/// The addresses behind a trusted proxy are clients of their own, and metrics show how they were found.
#[test]
fn clients_behind_a_trusted_proxy_have_places_of_their_own() {
    let mut world = Gated::new("proxy");
    let proxies = vec!["10.0.0.0/8".parse().unwrap()];
    world.api = {
        let shop = Arc::clone(world.api.shop());
        let sink = Arc::clone(&world.lines);
        let sink = Box::new(move |line: &str| sink.lock().unwrap().push(line.to_owned()));
        Api::new(shop, Log::new(LogFormat::Json, sink)).unwrap().with_trusted_proxies(proxies)
    };
    let log_in = |peer: &str, client: &str| {
        world.api.answer(&Request {
            method: "POST".to_owned(),
            target: "/v1/sessions".to_owned(),
            headers: vec![
                ("Content-Type".to_owned(), "application/json".to_owned()),
                ("X-Forwarded-For".to_owned(), client.to_owned()),
            ],
            body: br#"{"login":"kim","password":"a wrong guess"}"#.to_vec(),
            peer: Some(peer.parse().unwrap()),
        })
    };
    for (peer, client, source) in
        [("10.0.0.1", "203.0.113.9", "forwarded"), ("192.0.2.1", "192.0.2.1", "ignored")]
    {
        assert_eq!(log_in(peer, "203.0.113.9").status, 401);
        let line: Value =
            serde_json::from_str(world.lines.lock().unwrap().last().unwrap()).unwrap();
        assert_eq!((&line["client"], &line["client_source"]), (&json!(client), &json!(source)));
        let metrics = world.api.answer(&Request {
            method: "GET".to_owned(),
            target: "/metrics".to_owned(),
            ..Request::default()
        });
        let metrics = String::from_utf8(metrics.body.into_owned()).unwrap();
        let counted = format!("commerce_login_clients_total{{source=\"{source}\"}} 1\n");
        assert!(metrics.contains(&counted), "{metrics}");
    }
}
