//! Contests between clients of two servers on one store: the outcome is exact.

use crate::http::client::{Client, Request, Response};
use crate::http::server::Server;
use crate::http::workspace::Workspace;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;
use std::thread;

/// The number of concurrent clients, half of them at each server.
const CLIENTS: usize = 8;

/// Sends all requests by clients that start at the same time; returns the responses in the order of
/// the requests.
fn send_all(servers: &[Server; 2], requests: &[Request]) -> Vec<Response> {
    let start = Barrier::new(CLIENTS);
    let addresses = servers.each_ref().map(|server| &server.address);
    let ask_part = &|client: usize| {
        let mut wire = Client::new(addresses[client % 2]);
        start.wait();
        let mine = requests.iter().enumerate().skip(client).step_by(CLIENTS);
        mine.map(|(index, request)| (index, wire.send(request))).collect::<Vec<_>>()
    };
    let mut responses: Vec<(usize, Response)> = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || ask_part(client))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    responses.sort_by_key(|(workspace, _)| *workspace);
    responses.into_iter().map(|(_, response)| response).collect()
}

/// Counts the outcomes.
fn tally(responses: &[Response]) -> BTreeMap<(u16, String), usize> {
    let mut tally = BTreeMap::new();
    for response in responses {
        *tally.entry(response.outcome()).or_default() += 1;
    }
    tally
}

fn tallied(outcomes: &[(u16, &str, usize)]) -> BTreeMap<(u16, String), usize> {
    outcomes.iter().map(|(status, code, count)| ((*status, (*code).to_owned()), *count)).collect()
}

/// Starts one server with each HTTP library.
fn two_servers(workspace: &Workspace) -> [Server; 2] {
    ["hyper", "tiny"].map(|server| Server::with(workspace, &["--server", server]))
}

#[test]
fn last_units_are_sold_exactly_by_two_servers() {
    let workspace = Workspace::with_products(&[(10, 50)]);
    workspace.add_customers(20, 1_000_000);
    let admin = workspace.admin_token();
    let servers = two_servers(&workspace);
    let order = |number: usize| {
        let target = format!("/v1/customers/{}/orders", number % 20 + 1);
        let body = json!({"items": [{"product_id": 1, "quantity": 1}]});
        Request::post(target, &body).key(format!("unit-{number}")).by(&admin)
    };
    let requests: Vec<Request> = (0..400).map(order).collect();
    let responses = send_all(&servers, &requests);
    assert_eq!(tally(&responses), tallied(&[(201, "", 50), (409, "insufficient_stock", 350)]));
    for response in responses.iter().filter(|response| response.status == 409) {
        let short = json!([{"product_id": 1, "requested": 1, "available": 0}]);
        assert_eq!(response.json()["shortages"], short);
    }
    let paid = responses.iter().filter(|response| response.status == 201).map(Response::json);
    let paid: Vec<_> = paid.collect();
    assert!(paid.iter().all(|order| order["status"] == "paid" && order["total"] == 10));
    let ids: BTreeSet<i64> = paid.iter().filter_map(|order| order["id"].as_i64()).collect();
    assert_eq!(ids.len(), 50);
    for server in &servers {
        let product = server.client().send(&Request::get("/v1/products/1")).json();
        assert_eq!(product["stock"], 0);
        let top = server.client().send(&Request::get("/v1/bestsellers")).json();
        assert_eq!(top["items"][0]["units_sold"], 50);
    }
    Server::stop_both(servers);
    workspace.audit();
}

#[test]
fn last_coupons_are_given_out_exactly_by_two_servers() {
    let workspace = Workspace::with_products(&[]);
    workspace.add_customers(300, 0);
    workspace.json("coupon add Spring --quantity 100 --amount 5");
    let admin = workspace.admin_token();
    let servers = two_servers(&workspace);
    let claim = |customer: i64| {
        let body = json!({"customer_id": customer});
        Request::post("/v1/coupons/1/claims", &body).key("claim").by(&admin)
    };
    let requests: Vec<Request> = (1..=300).map(claim).collect();
    let responses = send_all(&servers, &requests);
    assert_eq!(tally(&responses), tallied(&[(201, "", 100), (409, "coupon_sold_out", 200)]));
    let owned = responses.iter().filter(|response| response.status == 201).map(Response::json);
    let mut ranks: Vec<i64> = owned.filter_map(|owned| owned["rank"].as_i64()).collect();
    ranks.sort_unstable();
    assert_eq!(ranks, (1..=100).collect::<Vec<_>>());
    for server in &servers {
        assert_eq!(server.client().send(&Request::get("/v1/coupons/1")).json()["issued"], 100);
    }
    Server::stop_both(servers);
    workspace.audit();
}

#[test]
fn one_balance_is_spent_exactly_by_two_servers() {
    let workspace = Workspace::with_products(&[(10, 1_000)]);
    workspace.add_customers(1, 100);
    let admin = workspace.admin_token();
    let servers = two_servers(&workspace);
    let spend = |number: usize| {
        let request = if number.is_multiple_of(3) {
            Request::post("/v1/customers/1/debits", &json!({"amount": 10}))
        } else {
            let body = json!({"items": [{"product_id": 1, "quantity": 1}]});
            Request::post("/v1/customers/1/orders", &body)
        };
        request.key(format!("spend-{number}")).by(&admin)
    };
    let requests: Vec<Request> = (0..100).map(spend).collect();
    let responses = send_all(&servers, &requests);
    assert_eq!(tally(&responses), tallied(&[(201, "", 10), (409, "insufficient_balance", 90)]));
    for response in responses.iter().filter(|response| response.status == 409) {
        let problem = response.json();
        assert_eq!((&problem["balance"], &problem["required"]), (&0.into(), &10.into()));
    }
    let client = &mut servers[1].client();
    let balance = client.send(&Request::get("/v1/customers/1/balance").by(&admin)).json();
    assert_eq!(balance, json!({"customer_id": 1, "balance": 0, "debt": 0, "currency": "KRW"}));
    let ledger = client.send(&Request::get("/v1/customers/1/ledger?limit=100").by(&admin)).json();
    let after = ledger["items"].as_array().unwrap().iter();
    let after: Vec<i64> = after.filter_map(|entry| entry["balance_after"].as_i64()).collect();
    assert_eq!(after, (0..=10).map(|steps| steps * 10).collect::<Vec<_>>(), "newest first");
    Server::stop_both(servers);
    workspace.audit();
}

#[test]
fn one_key_has_one_effect_at_two_servers() {
    let workspace = Workspace::with_products(&[(10, 1_000), (10, 0)]);
    workspace.add_customers(1, 1_000);
    let admin = workspace.admin_token();
    let servers = two_servers(&workspace);
    let order = |product: i64, key: &str| {
        let body = json!({"items": [{"product_id": product, "quantity": 1}]});
        Request::post("/v1/customers/1/orders", &body).key(key).by(&admin)
    };
    for round in 0..20 {
        let requests = vec![order(1, &format!("same-{round}")); CLIENTS];
        let responses = send_all(&servers, &requests);
        assert_eq!(tally(&responses), tallied(&[(201, "", CLIENTS)]));
        let bodies: BTreeSet<&String> = responses.iter().map(|response| &response.body).collect();
        assert_eq!(bodies.len(), 1, "{bodies:?}");
        assert_eq!(responses.iter().filter(|response| response.replayed()).count(), CLIENTS - 1);
    }
    // A refusal is replayed like any result. Only the request id differs.
    let responses = send_all(&servers, &vec![order(2, "refused"); CLIENTS]);
    assert_eq!(tally(&responses), tallied(&[(409, "insufficient_stock", CLIENTS)]));
    assert_eq!(responses.iter().filter(|response| response.replayed()).count(), CLIENTS - 1);
    let bodies = responses.iter().map(|response| {
        let mut body = response.json();
        body["request_id"] = json!(null);
        body.to_string()
    });
    assert_eq!(bodies.collect::<BTreeSet<_>>().len(), 1);
    // The same key with another request, at either server.
    for server in &servers {
        let other = server.client().send(&order(2, "same-0"));
        assert_eq!(other.outcome(), (422, "idempotency_key_reused".to_owned()));
    }
    let balance = servers[0].client().send(&Request::get("/v1/customers/1/balance").by(&admin));
    assert_eq!(balance.json()["balance"], 1_000 - 20 * 10);
    Server::stop_both(servers);
    workspace.audit();
}

#[test]
fn parts_of_one_order_are_cancelled_exactly_by_two_servers() {
    let workspace = Workspace::with_products(&[(17, 100)]);
    workspace.add_customers(1, 1_000);
    workspace.json("coupon add Spring --quantity 1 --percent 7");
    workspace.json("coupon claim 1 1");
    let admin = workspace.admin_token();
    let servers = two_servers(&workspace);
    let body = json!({"items": [{"product_id": 1, "quantity": 40}], "owned_coupon_id": 1, "payment": "later"});
    let order = Request::post("/v1/customers/1/orders", &body).key("order").by(&admin);
    assert_eq!(servers[0].client().send(&order).status, 201);
    let is_lost = |number: usize| number.is_multiple_of(7);
    // Between the parts some pay, and in the end some cancel all that is left.
    let call = |number: usize| {
        let request = match number {
            10 | 20 | 30 => Request::post("/v1/orders/1/payment", &json!({})),
            56.. => Request::post("/v1/orders/1/cancellation", &json!({})),
            _ => {
                let items = json!([{"product_id": 1, "quantity": 1}]);
                let body = json!({"items": items, "keep_stock": is_lost(number)});
                Request::post("/v1/orders/1/cancellation", &body)
            }
        };
        request.key(format!("call-{number}")).by(&admin)
    };
    let requests: Vec<Request> = (1..60).map(call).collect();
    let responses = send_all(&servers, &requests);
    let known = ["items_not_cancellable", "order_not_cancellable", "order_not_payable"];
    for response in responses.iter().filter(|response| response.status >= 300) {
        let (status, code) = response.outcome();
        assert!(status == 409 && known.contains(&code.as_str()), "{status} {code}");
    }
    let done = |number: &usize| responses[number - 1].status < 300;
    let lost = (1..56).filter(|number| is_lost(*number)).filter(done).count();
    let client = &mut servers[1].client();
    let order = client.send(&Request::get("/v1/orders/1").by(&admin)).json();
    assert_eq!(order["status"], "cancelled");
    assert_eq!(order["lines"][0]["cancelled_quantity"], 40);
    let product = client.send(&Request::get("/v1/products/1")).json();
    assert_eq!(product["stock"], 100 - lost);
    let balance = client.send(&Request::get("/v1/customers/1/balance").by(&admin)).json();
    assert_eq!(balance["balance"], 1_000);
    let coupons = client.send(&Request::get("/v1/customers/1/coupons").by(&admin)).json();
    assert_eq!(coupons["items"][0]["status"], "held");
    // A repeated key has its old answer to the byte.
    let answered = requests.iter().zip(&responses).filter(|(_, response)| response.status < 300);
    for (request, response) in answered {
        let again = client.send(request);
        assert_eq!((again.status, &again.body), (response.status, &response.body));
    }
    Server::stop_both(servers);
    workspace.audit();
}
