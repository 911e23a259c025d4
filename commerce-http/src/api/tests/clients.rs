//! Tests of client-facing conventions: entity tags, CORS, currencies, HTTP conventions, metrics.

use super::*;
use crate::cors::Origin;
use crate::problem::{http_status, kinds};
use commerce_core::ErrorClass;

impl World {
    /// Sends a call of the admin with further headers.
    fn admin(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &Value) -> Seen {
        let bearer = format!("Bearer {}", self.admin);
        let own = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, target, &[&own[..], headers].concat(), body.as_bytes())
    }

    fn metrics(&self) -> String {
        let (method, target) = ("GET".to_owned(), "/metrics".to_owned());
        let response = self.respond(Request { method, target, ..Request::default() });
        String::from_utf8(response.body.into_owned()).unwrap()
    }
}

/// Optimistic concurrency: the second writer does not overwrite the first.
#[test]
fn if_match_rejects_the_second_writer() {
    let world = world();
    let read = world.get("/v1/products/1").header("ETag").unwrap().to_owned();
    let change = |tag: &str, price: i64| {
        world.admin("PATCH", "/v1/products/1", &[("If-Match", tag)], &json!({ "price": price }))
    };
    let first = change(&read, 4_600);
    assert_eq!((first.status, &first.body["price"]), (200, &json!(4_600)));
    let second = change(&read, 4_400);
    assert_eq!((second.status, second.code()), (412, "precondition_failed"), "{second:?}");
    let now = world.get("/v1/products/1");
    assert_eq!(now.body["price"], 4_600);
    assert_eq!(now.header("ETag"), first.header("ETag"), "the response has the new tag");
    let tag = now.header("ETag").unwrap();
    assert_eq!(change(&format!("\"other\", {tag}"), 4_400).status, 200);
    assert_eq!(change("*", 4_300).status, 200);
    assert_eq!(change(&format!("W/{tag}"), 4_200).status, 412, "weak tags never match");
    assert_eq!(change("nonsense", 4_200).status, 412);
    let unknown = json!({ "price": 1 });
    let unknown = world.admin("PATCH", "/v1/products/9", &[("If-Match", tag)], &unknown);
    assert_eq!(unknown.code(), "product_not_found");
}

/// The resource of a conditional route: the longest prefix of its path that can be read.
fn resource_of(route: &Route) -> &'static Route {
    let is_of = |read: &&Route| read.method == Method::Get && route.path.starts_with(read.path);
    ROUTES.iter().filter(is_of).max_by_key(|read| read.path.len()).unwrap()
}

/// Every resource with a tag honours it in every call that changes the resource.
#[test]
fn if_match_is_honoured_once_per_tag() {
    for route in ROUTES.iter().filter(|route| route.is_conditional()) {
        let operation = route.operation;
        let world = world();
        world.prepare(route);
        let (resource, _) = example(resource_of(route));
        let read = || world.admin("GET", &resource, &[], &Value::Null);
        let tag = read().header("ETag").unwrap().to_owned();
        let (target, body) = example(route);
        let call = |tag: &str, key: &str| {
            let headers = [("If-Match", tag), ("Idempotency-Key", key)];
            world.admin(route.method.name(), &target, &headers, &body)
        };
        let failed = (412, "precondition_failed");
        let stale = call("\"0123456789abcdef0123456789abcdef\"", "a");
        assert_eq!((stale.status, stale.code()), failed, "{operation}: {stale:?}");
        let now = read();
        assert_eq!(
            now.header("ETag"),
            Some(tag.as_str()),
            "{operation}: rejected without a change"
        );
        // A failed precondition leaves the key unused, so that the corrected call can use it.
        let done = call(&tag, "a");
        assert_eq!(done.status, 200, "{operation}: {done:?}");
        assert_eq!(done.header("ETag"), read().header("ETag"), "{operation} returns the new tag");
        assert_ne!(done.header("ETag"), Some(tag.as_str()), "{operation} changes the tag");
        // A retry after a lost response is replayed despite its old tag.
        let again = call(&tag, "a");
        let replayed = (again.status, again.header(REPLAYED));
        assert_eq!(replayed, (200, Some("true")), "{operation}: {again:?}");
        let other = call(&tag, "b");
        assert_eq!((other.status, other.code()), failed, "{operation}: {other:?}");
    }
}

/// An unsupported condition is rejected, never ignored.
#[test]
fn if_match_on_resource_without_etag_is_rejected() {
    let world = world();
    for route in
        ROUTES.iter().filter(|route| route.method != Method::Get && !route.is_conditional())
    {
        let (path, body) = example(route);
        let headers = [("If-Match", "\"0\""), ("Idempotency-Key", "a")];
        let seen = world.admin(route.method.name(), &path, &headers, &body);
        assert_eq!((seen.status, seen.code()), (412, "precondition_failed"), "{}", route.operation);
    }
}

#[test]
fn if_match_lets_one_of_eight_concurrent_writers_win() {
    let world = world();
    let tag = world.get("/v1/products/1").header("ETag").unwrap().to_owned();
    let won = std::thread::scope(|scope| {
        let (world, tag) = (&world, &tag);
        let change = |price: i64| {
            let headers = [("If-Match", tag.as_str())];
            world.admin("PATCH", "/v1/products/1", &headers, &json!({ "price": price })).status
        };
        let all: Vec<_> = (1..=8).map(|price| scope.spawn(move || change(price))).collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(|status| *status == 200).count()
    });
    assert_eq!(won, 1);
}

const SHOP: &str = "https://shop.example";

fn shared(origins: &[&str]) -> World {
    let mut world = world();
    let origins = origins.iter().map(|origin| origin.parse::<Origin>().unwrap()).collect();
    let api = Arc::into_inner(world.api).unwrap();
    world.api = Arc::new(api.with_origins(origins));
    world
}

#[test]
fn cors_lets_an_allowed_origin_call_and_read_responses() {
    let world = shared(&["http://localhost:3000", SHOP]);
    let preflight = [
        ("Origin", SHOP),
        ("Access-Control-Request-Method", "PATCH"),
        ("Access-Control-Request-Headers", "authorization,if-match,idempotency-key"),
    ];
    for target in ["/v1/products/1", "/v1/customers/me/cart", "/v1/nothing"] {
        let seen = world.send("OPTIONS", target, &preflight, b"");
        assert_eq!(seen.status, 204, "{target}");
        assert_eq!(seen.header("Access-Control-Allow-Origin"), Some(SHOP));
        assert_eq!(seen.header("Vary"), Some("Origin"));
        for (name, expected) in [
            ("Access-Control-Allow-Methods", "GET POST PUT PATCH DELETE"),
            ("Access-Control-Allow-Headers", "Authorization Content-Type Idempotency-Key If-Match"),
        ] {
            let actual = seen.header(name).unwrap();
            for word in expected.split(' ') {
                assert!(actual.split(", ").any(|name| name == word), "{word} is not in {actual}");
            }
        }
    }
    // Errors too, otherwise the page could not read their cause.
    for (method, target, status) in [
        ("GET", "/v1/products", 200),
        ("GET", "/v1/customers/me", 401),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/products", 405),
    ] {
        let seen = world.send(method, target, &[("Origin", SHOP)], b"");
        assert_eq!(seen.status, status);
        assert_eq!(seen.header("Access-Control-Allow-Origin"), Some(SHOP), "{target}");
        let exposed = seen.header("Access-Control-Expose-Headers").unwrap();
        for name in ["ETag", "Location", "Idempotency-Replayed", "X-Request-Id", "Retry-After"] {
            assert!(exposed.contains(name), "{name}");
        }
    }
    let request =
        Request { headers: vec![("origin".to_owned(), SHOP.to_owned())], ..Request::default() };
    let overloaded = world.api.reject(TransportError::Overloaded, &request);
    assert!(overloaded.headers.iter().any(|(name, _)| *name == "Access-Control-Allow-Origin"));
}

#[test]
fn cors_blocks_other_origins() {
    let preflight = |origin| [("Origin", origin), ("Access-Control-Request-Method", "POST")];
    for (world, origin) in [
        (shared(&[SHOP]), "https://evil.example"),
        (shared(&[SHOP]), "https://shop.example.evil.example"),
        (shared(&[SHOP]), "null"),
        (shared(&[]), SHOP),
    ] {
        let listed = !world.api.origins.is_empty();
        for (method, target) in [("OPTIONS", "/v1/products"), ("GET", "/v1/products")] {
            let seen = world.send(method, target, &preflight(origin), b"");
            assert_eq!(seen.header("Access-Control-Allow-Origin"), None, "{origin}");
            assert_eq!(seen.header("Access-Control-Allow-Methods"), None, "{origin}");
            // Otherwise a cache would serve the response for one origin to another.
            assert_eq!(seen.header("Vary").is_some(), listed);
        }
    }
    let any = shared(&["*"]).send("GET", "/v1/products", &[("Origin", "https://a.example")], b"");
    assert_eq!(any.header("Access-Control-Allow-Origin"), Some("*"));
    assert_eq!(any.header("Access-Control-Allow-Credentials"), None);
}

#[test]
fn amounts_come_with_their_currency() {
    let world = world();
    for target in ["/v1", "/v1/products/1", "/v1/bestsellers", "/v1/coupons/1"] {
        let seen = world.send("GET", target, &[], b"");
        assert_eq!((seen.status, &seen.body["currency"]), (200, &json!("KRW")), "{target}");
    }
    for target in
        ["/v1/products", "/v1/coupons", "/v1/customers/me/orders", "/v1/customers/me/ledger"]
    {
        let items = world.get(target).body["items"].clone();
        assert_eq!(items[0]["currency"], "KRW", "{target}");
    }
    for target in ["/v1/orders/1", "/v1/customers/me/cart", "/v1/customers/me/balance"] {
        assert_eq!(world.get(target).body["currency"], "KRW", "{target}");
    }
    let links = world.get("/v1").body["links"].clone();
    for (name, link) in links.as_object().unwrap() {
        let status = world.send("GET", link.as_str().unwrap(), &[], b"").status;
        assert!([200, 401, 405].contains(&status), "{name} is broken: {status}");
    }
}

/// The `Location` of a created resource can be read by its owner only.
#[rstest]
#[case::session("/v1/sessions", json!({"login": "park", "password": "correct horse"}))]
#[case::claim("/v1/coupons/1/claims", json!({}))]
#[case::debit("/v1/customers/me/debits", json!({"amount": 5}))]
#[case::charge("/v1/customers/me/charges", json!({"amount": 5}))]
#[case::order("/v1/customers/me/orders", json!({"items": [{"product_id": 1, "quantity": 1}]}))]
fn location_header_leads_to_the_created_resource(#[case] target: &str, #[case] body: Value) {
    let world = world();
    let new = json!({ "login": "park", "password": "correct horse", "name": "Park" });
    assert_eq!(world.call("POST", "/v1/customers", "", "", &new).status, 201);
    let token = if target.ends_with("/claims") { &world.lee } else { &world.kim };
    let created = world.call("POST", target, token, "a", &body);
    assert_eq!(created.status, 201, "{created:?}");
    let location = created.header("Location").unwrap();
    let owner_token = created.body["token"].as_str().unwrap_or(token);
    let read = world.call("GET", location, owner_token, "", &Value::Null);
    assert_eq!(read.status, 200, "{location}: {read:?}");
    for name in ["id", "customer_id", "amount", "expires_at", "total"] {
        assert_eq!(read.body[name], created.body[name], "{location}: {name}");
    }
    // Other customers cannot read it.
    if !location.starts_with("/v1/sessions") {
        let other_token = if token == &world.kim { &world.lee } else { &world.kim };
        let other = world.call("GET", location, other_token, "", &Value::Null);
        assert!([403, 404].contains(&other.status), "{other:?}");
        let mine = location
            .replace("/customers/1/", "/customers/me/")
            .replace("/customers/2/", "/customers/me/");
        assert!(
            [403, 404].contains(&world.call("GET", &mine, other_token, "", &Value::Null).status)
        );
    }
}

#[test]
fn problem_type_is_the_path_of_a_page() {
    let world = world();
    let seen = world.send("GET", "/v1/customers/me", &[], b"");
    assert_eq!(seen.body["title"], "Authentication required");
    let path = seen.body["type"].as_str().unwrap();
    let page = world.send("GET", path, &[("Accept", "text/html,*/*;q=0.8")], b"");
    assert_eq!((page.status, page.header("Content-Type")), (200, Some("text/html; charset=utf-8")));
    for kind in kinds() {
        let path = format!("/problems/{}", kind.code);
        let seen = world.send("GET", &path, &[], b"");
        assert_eq!((seen.status, &seen.body["code"]), (200, &json!(kind.code)));
        assert_eq!((&seen.body["type"], &seen.body["status"]), (&json!(path), &json!(kind.status)));
        assert!(seen.body["help"].as_str().unwrap().ends_with('.'), "{}", kind.code);
        assert!(!kind.title.contains(['?', '.']) && kind.title.len() < 30, "{}", kind.title);
    }
    let all = world.send("GET", "/problems", &[], b"");
    assert_eq!(all.body["items"].as_array().unwrap().len(), kinds().count());
    assert_eq!(world.send("GET", "/problems/nothing", &[], b"").status, 404);
    assert_eq!(world.send("POST", "/problems", &[], b"").status, 405);
}

/// The rows of `docs/errors.md` are those of the tables of codes. After a change, paste the rows of the message.
#[test]
fn errors_guide_has_the_rows_of_the_tables() {
    let guide = include_str!("../../../../docs/errors.md");
    let exit = |code: Code| match code.class() {
        ErrorClass::RateLimited | ErrorClass::Unavailable => 1,
        ErrorClass::Invalid => 2,
        _ => 3,
    };
    let library = Code::ALL.into_iter().map(|code| {
        let fields: Vec<String> = code.fields().iter().map(|name| format!("`{name}`")).collect();
        let fields = if fields.is_empty() { "-".to_owned() } else { fields.join(", ") };
        let retry = if code.is_retryable() { "yes" } else { "no" };
        let (status, exit) = (http_status(code), exit(code));
        let (meaning, remedy) = (code.meaning(), code.remedy());
        format!("| `{code}` | {status} | {exit} | {retry} | {fields} | {meaning} | {remedy} |\n")
    });
    let http = HttpError::ALL.into_iter().map(|error| {
        let (status, code, _, meaning, remedy) = error.table();
        format!("| `{code}` | {status} | {meaning} | {remedy} |\n")
    });
    for rows in [library.collect::<String>(), http.collect()] {
        assert!(guide.contains(&rows), "docs/errors.md does not have these rows:\n{rows}");
    }
}

#[test]
fn challenge_distinguishes_an_invalid_token_from_none() {
    let world = world();
    let challenge = |headers: &[(&str, &str)]| {
        let seen = world.send("GET", "/v1/customers/me", headers, b"");
        assert_eq!(seen.status, 401);
        seen.header("WWW-Authenticate").unwrap().to_owned()
    };
    assert_eq!(challenge(&[]), "Bearer");
    assert_eq!(challenge(&[("Authorization", "Basic a2lt")]), "Bearer");
    for token in ["Bearer nonsense", "bearer cs_0123456789"] {
        assert_eq!(challenge(&[("Authorization", token)]), "Bearer error=\"invalid_token\"");
    }
    let login = json!({ "login": "kim", "password": "wrong horse" });
    let rejected = world.call("POST", "/v1/sessions", "", "", &login);
    assert_eq!((rejected.status, rejected.header("WWW-Authenticate")), (401, Some("Bearer")));
}

#[test]
fn equivalent_paths_reach_the_same_route() {
    let world = world();
    for target in [
        "/v1/%70roducts/1",
        "/%76%31/products/%31",
        "http://shop.example/v1/products/1",
        "HTTPS://shop.example:8443/v1/products/1?utm_source=mail",
        "/v1/products/1?utm_source=mail&utm_source=mail&fbclid",
    ] {
        let seen = world.get(target);
        assert_eq!((seen.status, &seen.body["id"]), (200, &json!(1)), "{target}");
    }
    for target in ["/v1/products%2F1", "/v1/products/%2531", "ftp://shop.example/v1/products/1"] {
        assert_eq!(world.get(target).status, 404, "{target}");
    }
    // Calls that change something reject unknown parameters.
    let body = json!({ "amount": 5 });
    let strict = world.post("/v1/customers/me/charges?utm_source=mail", "a", &body);
    assert_eq!((strict.status, strict.code()), (422, "invalid_request"));
}

#[test]
fn compressed_body_is_rejected_with_accept_encoding() {
    let world = world();
    let send = |encoding: &str| {
        let headers = [("Content-Encoding", encoding), ("Idempotency-Key", "a")];
        world.admin("POST", "/v1/customers/1/charges", &headers, &json!({ "amount": 5 }))
    };
    for encoding in ["gzip", "br", "identity, gzip"] {
        let seen = send(encoding);
        assert_eq!((seen.status, seen.code()), (415, "unsupported_media_type"));
        assert_eq!(seen.header("Accept-Encoding"), Some("identity"));
    }
    assert_eq!(send("identity").status, 201);
}

#[test]
fn unescaped_plus_in_a_timestamp_gets_a_hint() {
    let seen = world().get("/v1/bestsellers?at=2026-01-01T00:00:00+09:00");
    assert_eq!(seen.status, 422);
    assert!(seen.body["detail"].as_str().unwrap().contains("%2B"), "{seen:?}");
    let other = world().get("/v1/bestsellers?at=noon");
    assert!(!other.body["detail"].as_str().unwrap().contains("%2B"), "{other:?}");
}

#[test]
fn cursor_is_valid_for_its_own_list_only() {
    let world = world();
    for name in ["Bowl", "Cup"] {
        let new = json!({ "name": name, "price": 1, "stock": 1 });
        assert_eq!(world.admin("POST", "/v1/products", &[], &new).status, 201);
    }
    for key in ["a", "b"] {
        world.post("/v1/customers/me/charges", key, &json!({ "amount": 5 }));
        world.call("POST", "/v1/customers/2/charges", &world.admin, key, &json!({ "amount": 5 }));
    }
    let lists = [
        "/v1/products",
        "/v1/coupons",
        "/v1/customers/1/ledger",
        "/v1/customers/2/ledger",
        "/v1/customers/1/payments",
        "/v1/customers/1/orders",
        "/v1/customers/1/coupons",
    ];
    for from in ["/v1/products", "/v1/customers/1/ledger"] {
        let first = world.admin("GET", &format!("{from}?limit=1"), &[], &Value::Null);
        let cursor = first.body["next_cursor"].as_str().unwrap_or_else(|| panic!("{first:?}"));
        for list in lists {
            let seen = world.admin("GET", &format!("{list}?cursor={cursor}"), &[], &Value::Null);
            let expected = if list == from { (200, "") } else { (422, "invalid_request") };
            assert_eq!((seen.status, seen.code()), expected, "{cursor} at {list}");
        }
    }
}

/// A hundred large orders are many megabytes: a page has fewer items, and its cursor continues.
#[test]
fn pagination_is_bounded_in_bytes_and_complete() {
    let world = world();
    let shop = world.api.shop();
    let name = "\u{10348}".repeat(200);
    let product = |_| {
        let new = AddProduct::new(&name, Money::from_minor(1), 1_000);
        shop.call(new).run().unwrap().id
    };
    let products: Vec<_> = (0..400).map(product).collect();
    for number in 0..9 {
        let lines: Vec<_> = products.iter().map(|id| (*id, 1)).collect();
        let order =
            PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(CustomerId::new(1), lines) };
        shop.place_order(order, &key(&format!("large-{number}"))).unwrap();
    }
    let (mut ids, mut target) = (Vec::new(), "/v1/customers/me/orders?limit=100".to_owned());
    loop {
        let seen = world.get(&target);
        let size = seen.body.to_string().len();
        assert!(size < commerce_core::limits::MAX_PAGE_BYTES + 1_024, "{size}");
        let items = seen.body["items"].as_array().unwrap();
        assert!(!items.is_empty());
        ids.extend(items.iter().map(|order| order["id"].as_i64().unwrap()));
        let Some(cursor) = seen.body["next_cursor"].as_str() else { break };
        target = format!("/v1/customers/me/orders?limit=100&cursor={cursor}");
    }
    assert_eq!(ids, (1..=10).rev().collect::<Vec<_>>());
}

#[test]
fn metrics_are_exported_from_the_start() {
    let world = world();
    let text = world.metrics();
    for line in [
        "commerce_build_info{version=\"",
        "commerce_http_requests_total{operation=\"placeOrder\",status=\"201\"} 0",
        "commerce_http_requests_total{operation=\"placeOrder\",status=\"409\"} 0",
        "commerce_http_requests_total{operation=\"none\",status=\"404\"} 0",
        "commerce_http_request_seconds_bucket{operation=\"placeOrder\",le=\"0.005\"} 0",
        "commerce_http_request_seconds_count{operation=\"placeOrder\"} 0",
        "commerce_refusals_total{code=\"insufficient_stock\"} 0",
        "commerce_refusals_total{code=\"not_found\"} 0",
        "commerce_replays_total 0",
        "commerce_http_requests_in_flight 1",
        "commerce_http_connections_open 0",
        "commerce_http_connections_refused_total{reason=\"too_slow\"} 0",
        "commerce_queue_commands 0",
        "commerce_queue_wait_seconds_bucket{le=\"10\"} ",
        "commerce_store_bytes 0",
        "commerce_store_log_bytes 0",
        "commerce_store_machines_down 0",
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "process_max_fds ",
        "process_start_time_seconds ",
    ] {
        assert!(text.lines().any(|actual| actual.starts_with(line)), "{line} is not in\n{text}");
    }
    for edge in
        ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]
    {
        let bucket = format!("commerce_commit_seconds_bucket{{le=\"{edge}\"}}");
        assert!(text.contains(&bucket), "{bucket}");
    }
    // A number from the system, not the 0 of an unavailable one.
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().split('.').next().unwrap().parse::<u64>().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 1 << 20);
    assert!(value("process_start_time_seconds") > 1_600_000_000);
    assert!(value("process_open_fds ") > 2);
}

#[test]
fn metrics_count_replays_and_connections() {
    let world = world();
    for _ in 0..3 {
        world.post("/v1/customers/me/charges", "a", &json!({ "amount": 5 }));
    }
    for _ in 0..2 {
        world.api.observe(Connections { open: 7, too_slow: 1, ..Connections::default() });
    }
    let text = world.metrics();
    for line in [
        "commerce_replays_total 2",
        "commerce_http_connections_open 7",
        "commerce_http_connections_refused_total{reason=\"too_slow\"} 2",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} is not in\n{text}");
    }
}
