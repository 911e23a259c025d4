//! Roles, tokens of programs and the log of changes, on the command line and at two servers on one store.

use crate::http::client::Request;
use crate::http::server::Server;
use crate::http::workspace::Workspace;
use serde_json::json;

#[test]
fn token_of_a_program_is_made_used_and_revoked_on_the_command_line() {
    let workspace = Workspace::with_products(&[(100, 5)]);
    workspace.add_customers(1, 1_000);
    let servers = [Server::start(&workspace), Server::start(&workspace)];
    let created = workspace.json("token create till --role clerk --days 30 --key a");
    let token = created["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("ct_"), "{created}");
    let again = workspace.run("token create till --role clerk --days 30 --key a");
    assert_eq!((again.status, again.out.as_str()), (3, ""), "{}", again.err);
    assert!(again.err.contains("token 1 cannot be shown again: revoke it"), "{}", again.err);
    let again = workspace.json("token create till --role clerk --days 30 --key a");
    assert!(again["id"] == 1 && again["token"].is_null(), "{again}");
    let new = workspace.run("token create other --role reader");
    assert!(new.out.starts_with("ct_") && new.out.lines().count() == 1, "{}", new.out);
    assert!(new.err.contains("token 2"), "{}", new.err);

    let order = json!({"items": [{"product_id": 1, "quantity": 1}]});
    let order = Request::post("/v1/customers/1/orders", &order).key("a").by(&token);
    assert_eq!(servers[0].client().send(&order).status, 201);
    let balance = Request::get("/v1/customers/1/balance").by(&token);
    assert_eq!(servers[1].client().send(&balance).status, 200);
    let price = json!({"price": 120});
    let price = Request::new("PATCH", "/v1/products/1").body(&price).by(&token);
    assert_eq!(servers[0].client().send(&price).outcome(), (403, "forbidden".to_owned()));

    workspace.json("product update 1 --price 120");
    let listed = workspace.run("token list").out;
    assert!(
        listed.contains("till") && listed.contains("valid") && !listed.contains("ct_"),
        "{listed}"
    );
    assert!(!workspace.json("token list")["items"][0]["last_used_on"].is_null());
    workspace.json("token revoke 1");
    for server in &servers {
        assert_eq!(server.client().send(&balance).outcome(), (401, "unauthenticated".to_owned()));
    }
    let unknown = workspace.run("--json token revoke 9");
    assert_eq!(unknown.status, 3, "{}", unknown.err);

    let of_token = workspace.json("log --actor token:1");
    assert_eq!(of_token["items"][0]["action"], "order.placed");
    assert_eq!(of_token["items"].as_array().unwrap().len(), 1);
    let text = workspace.run("log --actor cli --limit 2").out;
    assert!(text.contains("token.revoked") && text.contains("price 100 -> 120"), "{text}");
    let all = workspace.run("--json log --limit 100").out;
    assert!(!all.contains(&token) && !all.contains("till"), "{all}");
    let wrong = workspace.run("log --actor boss");
    assert_eq!(wrong.status, 2);
    assert!(wrong.err.contains("cli, customer:ID or token:ID"), "{}", wrong.err);
    let [one, other] = servers;
    one.stop();
    other.stop();
    workspace.audit();
}

#[test]
fn last_admin_keeps_the_role_on_the_command_line() {
    let workspace = Workspace::with_products(&[]);
    workspace.json("admin create boss");
    let refused = workspace.run("customer role 1 clerk");
    assert_eq!(refused.status, 3, "{}", refused.err);
    assert!(refused.err.contains("make another customer an admin first"), "{}", refused.err);
    workspace.json("customer add Kim");
    let without_login = workspace.run("customer role 2 admin");
    assert!(without_login.err.contains("no login"), "{}", without_login.err);
    let set = "--json customer login 2 kim --role admin --password-file -";
    let set = workspace.fed(set, "correct horse\n");
    assert_eq!(set.status, 0, "{}", set.err);
    assert_eq!(workspace.json("customer role 1 clerk")["role"], "clerk");
    // A new password leaves the role as it is.
    let set = workspace.fed("--json customer login 2 kim --password-file -", "battery staple\n");
    assert!(set.out.contains("\"role\":\"admin\""), "{}", set.out);
    let log = workspace.run("log --limit 3").out;
    assert!(log.contains("role admin -> clerk") && log.contains("role customer -> admin"), "{log}");
    workspace.audit();
}
