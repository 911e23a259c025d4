//! `serve --demo`: the printed lines work when pasted into a shell.

use crate::http::server::Server;
use crate::http::workspace::Workspace;
use rstest::rstest;
use serde_json::Value;
use std::process::{Command, Stdio};

/// Runs a line in a shell; returns its output.
fn paste(line: &str) -> Value {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(127), "curl is needed for this test: {err}");
    assert!(output.status.success(), "{line}: {err}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs the three lines printed at the start; returns their output.
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
fn demo_lines_work_and_can_be_repeated() {
    let workspace = Workspace::empty();
    for round in 1..=2 {
        let mut server = Server::with(&workspace, &["--demo"]);
        let [charge, order, best] = try_out(&mut server);
        assert_eq!((&charge["amount"], &charge["status"]), (&20_000.into(), &"succeeded".into()));
        assert_eq!(charge["balance"], 20_000 + (round - 1) * 11_000);
        assert_eq!((&order["status"], &order["total"]), (&"paid".into(), &9_000.into()));
        assert_eq!(best["items"][0]["units_sold"], 2 * round);
        // Repeated lines have no further effect.
        let [same_charge, same_order, still_best] = try_out(&mut server);
        assert_eq!((same_charge, same_order), (charge, order));
        assert_eq!(still_best["items"], best["items"]);
        server.stop();
    }
    assert_eq!(workspace.json("product list")["items"].as_array().unwrap().len(), 5);
    assert_eq!(workspace.json("balance 1")["balance"], 22_000);
    workspace.audit();
}

#[test]
fn demo_works_on_a_unix_socket() {
    let workspace = Workspace::empty();
    let listen = format!("unix:{}", workspace.path().join("shop.sock").display());
    let mut server = Server::run(&mut workspace.command(&["serve", "--demo", "--listen", &listen]));
    let [_, order, best] = try_out(&mut server);
    assert_eq!((&order["status"], &best["items"][0]["rank"]), (&"paid".into(), &1.into()));
    server.stop();
    workspace.audit();
}

/// The demo orders its own product, whatever the store had before.
#[test]
fn demo_works_in_a_store_with_products() {
    let workspace = Workspace::with_products(&[(1_000_000, 0)]);
    let mut server = Server::with(&workspace, &["--demo"]);
    let [_, order, _] = try_out(&mut server);
    assert_eq!((&order["status"], &order["total"]), (&"paid".into(), &9_000.into()));
    server.stop();
    workspace.audit();
}

#[rstest]
#[case("none")]
#[case("stripe")]
fn demo_requires_the_simulated_gateway(#[case] gateway: &str) {
    // If the command were not refused, it would still end: the address cannot be bound.
    let line = format!("serve --demo --gateway {gateway} --listen 192.0.2.1:8080");
    let output = Workspace::empty().run(&line);
    assert_eq!((output.status, output.out.as_str()), (2, ""), "{}", output.err);
    assert!(output.err.contains("simulated"), "{}", output.err);
}
