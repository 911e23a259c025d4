//! `serve --demo`: what it prints can be pasted into a shell.

use crate::http::place::Place;
use crate::http::server::Server;
use rstest::rstest;
use serde_json::Value;
use std::process::{Command, Stdio};

/// What a line prints when it is pasted into a shell.
fn paste(line: &str) -> Value {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(127), "curl is needed for this test: {err}");
    assert!(output.status.success(), "{line}: {err}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs the three lines that are printed at the start; what they print.
fn try_out(server: &mut Server) -> [Value; 3] {
    server.wait_for_line(|line| line.contains("the token of customer 1: cs_").then_some(()));
    let line_with = |server: &mut Server, what: &str| {
        server.wait_for_line(|line| {
            (line.starts_with("curl ") && line.contains(what)).then(|| line.to_owned())
        })
    };
    ["/charges", "/orders", "/bestsellers"].map(|what| paste(&line_with(server, what)))
}

#[test]
fn the_lines_of_the_demo_work_and_go_on_working() {
    let place = Place::empty();
    for round in 1..=2 {
        let mut server = Server::with(&place, &["--demo"]);
        let [charge, order, best] = try_out(&mut server);
        assert_eq!((&charge["amount"], &charge["status"]), (&20_000.into(), &"succeeded".into()));
        assert_eq!(charge["balance"], 20_000 + (round - 1) * 11_000);
        assert_eq!((&order["status"], &order["total"]), (&"paid".into(), &9_000.into()));
        assert_eq!(best["items"][0]["units_sold"], 2 * round);
        // Pasted again they change nothing.
        let [same_charge, same_order, still_best] = try_out(&mut server);
        assert_eq!((same_charge, same_order), (charge, order));
        assert_eq!(still_best["items"], best["items"]);
        server.stop();
    }
    assert_eq!(place.json("product list")["items"].as_array().unwrap().len(), 5);
    assert_eq!(place.json("balance 1")["balance"], 22_000);
    place.audit();
}

#[test]
fn the_demo_works_on_a_unix_socket() {
    let place = Place::empty();
    let listen = format!("unix:{}", place.path().join("shop.sock").display());
    let mut server = Server::run(&mut place.command(&["serve", "--demo", "--listen", &listen]));
    let [_, order, best] = try_out(&mut server);
    assert_eq!((&order["status"], &best["items"][0]["rank"]), (&"paid".into(), &1.into()));
    server.stop();
    place.audit();
}

/// What is ordered is the demo's own product, whatever the store held before.
#[test]
fn the_demo_works_in_a_store_that_has_products() {
    let place = Place::with_products(&[(1_000_000, 0)]);
    let mut server = Server::with(&place, &["--demo"]);
    let [_, order, _] = try_out(&mut server);
    assert_eq!((&order["status"], &order["total"]), (&"paid".into(), &9_000.into()));
    server.stop();
    place.audit();
}

#[rstest]
#[case("none")]
#[case("stripe")]
fn the_demo_wants_the_gateway_that_its_calls_charge_with(#[case] gateway: &str) {
    // Were it not refused, it would end all the same: that address is nobody's.
    let line = format!("serve --demo --gateway {gateway} --listen 192.0.2.1:8080");
    let said = Place::empty().run(&line);
    assert_eq!((said.status, said.out.as_str()), (2, ""), "{}", said.err);
    assert!(said.err.contains("simulated"), "{}", said.err);
}
