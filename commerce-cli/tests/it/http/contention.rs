//! Two servers on one store, and clients at both: what they contend for is given out exactly.

use crate::http::client::{Answer, Ask, Client};
use crate::http::place::Place;
use crate::http::server::Server;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;
use std::thread;

/// Clients that ask at the same time, half of them at each server.
const CLIENTS: usize = 8;

/// Has all that asked, by clients that start at once; the answers in the order of the asks.
fn ask_all(servers: &[Server; 2], asks: &[Ask]) -> Vec<Answer> {
    let start = Barrier::new(CLIENTS);
    let addresses = servers.each_ref().map(|server| &server.address);
    let ask_part = &|client: usize| {
        let mut wire = Client::new(addresses[client % 2]);
        start.wait();
        let mine = asks.iter().enumerate().skip(client).step_by(CLIENTS);
        mine.map(|(place, ask)| (place, wire.ask(ask))).collect::<Vec<_>>()
    };
    let mut answers: Vec<(usize, Answer)> = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || ask_part(client))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// How often each outcome came.
fn tally(answers: &[Answer]) -> BTreeMap<(u16, String), usize> {
    let mut tally = BTreeMap::new();
    for answer in answers {
        *tally.entry(answer.outcome()).or_default() += 1;
    }
    tally
}

fn tallied(outcomes: &[(u16, &str, usize)]) -> BTreeMap<(u16, String), usize> {
    outcomes.iter().map(|(status, code, count)| ((*status, (*code).to_owned()), *count)).collect()
}

fn two_servers(place: &Place) -> [Server; 2] {
    [Server::start(place), Server::start(place)]
}

#[test]
fn fifty_units_are_sold_fifty_times() {
    let place = Place::with_products(&[(10, 50)]);
    place.add_customers(20, 1_000_000);
    let admin = place.admin_token();
    let servers = two_servers(&place);
    let order = |number: usize| {
        let target = format!("/v1/customers/{}/orders", number % 20 + 1);
        let body = json!({"items": [{"product_id": 1, "quantity": 1}]});
        Ask::post(target, &body).key(format!("unit-{number}")).by(&admin)
    };
    let asks: Vec<Ask> = (0..400).map(order).collect();
    let answers = ask_all(&servers, &asks);
    assert_eq!(tally(&answers), tallied(&[(201, "", 50), (409, "insufficient_stock", 350)]));
    for answer in answers.iter().filter(|answer| answer.status == 409) {
        let short = json!([{"product_id": 1, "requested": 1, "available": 0}]);
        assert_eq!(answer.json()["shortages"], short);
    }
    let paid = answers.iter().filter(|answer| answer.status == 201).map(Answer::json);
    let paid: Vec<_> = paid.collect();
    assert!(paid.iter().all(|order| order["status"] == "paid" && order["total"] == 10));
    let ids: BTreeSet<i64> = paid.iter().filter_map(|order| order["id"].as_i64()).collect();
    assert_eq!(ids.len(), 50);
    for server in &servers {
        let product = server.client().ask(&Ask::get("/v1/products/1")).json();
        assert_eq!(product["stock"], 0);
        let top = server.client().ask(&Ask::get("/v1/bestsellers")).json();
        assert_eq!(top["items"][0]["units_sold"], 50);
    }
    Server::stop_both(servers);
    place.audit();
}

#[test]
fn a_hundred_coupons_go_to_the_first_hundred_of_three_hundred() {
    let place = Place::with_products(&[]);
    place.add_customers(300, 0);
    place.json("coupon add Spring --quantity 100 --amount 5");
    let admin = place.admin_token();
    let servers = two_servers(&place);
    let claim = |customer: i64| {
        let body = json!({"customer_id": customer});
        Ask::post("/v1/coupons/1/claims", &body).key("claim").by(&admin)
    };
    let asks: Vec<Ask> = (1..=300).map(claim).collect();
    let answers = ask_all(&servers, &asks);
    assert_eq!(tally(&answers), tallied(&[(201, "", 100), (409, "coupon_sold_out", 200)]));
    let owned = answers.iter().filter(|answer| answer.status == 201).map(Answer::json);
    let mut ranks: Vec<i64> = owned.filter_map(|owned| owned["rank"].as_i64()).collect();
    ranks.sort_unstable();
    assert_eq!(ranks, (1..=100).collect::<Vec<_>>());
    for server in &servers {
        assert_eq!(server.client().ask(&Ask::get("/v1/coupons/1")).json()["issued"], 100);
    }
    Server::stop_both(servers);
    place.audit();
}

#[test]
fn a_balance_good_for_ten_is_used_ten_times() {
    let place = Place::with_products(&[(10, 1_000)]);
    place.add_customers(1, 100);
    let admin = place.admin_token();
    let servers = two_servers(&place);
    let spend = |number: usize| {
        let ask = if number.is_multiple_of(3) {
            Ask::post("/v1/customers/1/debits", &json!({"amount": 10}))
        } else {
            let body = json!({"items": [{"product_id": 1, "quantity": 1}]});
            Ask::post("/v1/customers/1/orders", &body)
        };
        ask.key(format!("spend-{number}")).by(&admin)
    };
    let asks: Vec<Ask> = (0..100).map(spend).collect();
    let answers = ask_all(&servers, &asks);
    assert_eq!(tally(&answers), tallied(&[(201, "", 10), (409, "insufficient_balance", 90)]));
    for answer in answers.iter().filter(|answer| answer.status == 409) {
        let problem = answer.json();
        assert_eq!((&problem["balance"], &problem["required"]), (&0.into(), &10.into()));
    }
    let client = &mut servers[1].client();
    let balance = client.ask(&Ask::get("/v1/customers/1/balance").by(&admin)).json();
    assert_eq!(balance, json!({"customer_id": 1, "balance": 0, "currency": "KRW"}));
    let ledger = client.ask(&Ask::get("/v1/customers/1/ledger?limit=100").by(&admin)).json();
    let after = ledger["items"].as_array().unwrap().iter();
    let after: Vec<i64> = after.filter_map(|entry| entry["balance_after"].as_i64()).collect();
    assert_eq!(after, (0..=10).map(|steps| steps * 10).collect::<Vec<_>>(), "newest first");
    Server::stop_both(servers);
    place.audit();
}

#[test]
fn the_same_key_at_once_at_both_servers_has_one_effect() {
    let place = Place::with_products(&[(10, 1_000), (10, 0)]);
    place.add_customers(1, 1_000);
    let admin = place.admin_token();
    let servers = two_servers(&place);
    let order = |product: i64, key: &str| {
        let body = json!({"items": [{"product_id": product, "quantity": 1}]});
        Ask::post("/v1/customers/1/orders", &body).key(key).by(&admin)
    };
    for round in 0..20 {
        let asks = vec![order(1, &format!("same-{round}")); CLIENTS];
        let answers = ask_all(&servers, &asks);
        assert_eq!(tally(&answers), tallied(&[(201, "", CLIENTS)]));
        let bodies: BTreeSet<&String> = answers.iter().map(|answer| &answer.body).collect();
        assert_eq!(bodies.len(), 1, "{bodies:?}");
        assert_eq!(answers.iter().filter(|answer| answer.replayed()).count(), CLIENTS - 1);
    }
    // A refusal is an answer like any other. Only the name of the request differs.
    let answers = ask_all(&servers, &vec![order(2, "refused"); CLIENTS]);
    assert_eq!(tally(&answers), tallied(&[(409, "insufficient_stock", CLIENTS)]));
    assert_eq!(answers.iter().filter(|answer| answer.replayed()).count(), CLIENTS - 1);
    let bodies = answers.iter().map(|answer| {
        let mut body = answer.json();
        body["request_id"] = json!(null);
        body.to_string()
    });
    assert_eq!(bodies.collect::<BTreeSet<_>>().len(), 1);
    // The same key with another request, at either server.
    for server in &servers {
        let other = server.client().ask(&order(2, "same-0"));
        assert_eq!(other.outcome(), (422, "idempotency_key_reused".to_owned()));
    }
    let balance = servers[0].client().ask(&Ask::get("/v1/customers/1/balance").by(&admin));
    assert_eq!(balance.json()["balance"], 1_000 - 20 * 10);
    Server::stop_both(servers);
    place.audit();
}
