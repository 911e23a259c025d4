//! Profiles, passwords and sessions of customers.

use super::*;
use commerce_core::Code;

const PASSWORD: &str = "correct horse";
const NEW_PASSWORD: &str = "battery staple";

impl World {
    fn log_in(&self, password: &str) -> Seen {
        let body = json!({ "login": "park", "password": password });
        self.call("POST", "/v1/sessions", "", "", &body)
    }

    /// Returns the token of a new session of Park.
    fn park(&self) -> String {
        let seen = self.log_in(PASSWORD);
        assert_eq!(seen.status, 201, "{seen:?}");
        seen.body["token"].as_str().unwrap().to_owned()
    }
}

fn world_with_park() -> World {
    let world = world();
    let body = json!({ "login": "park", "password": PASSWORD, "name": "Park" });
    assert_eq!(world.call("POST", "/v1/customers", "", "", &body).body["id"], 6);
    world
}

#[test]
fn customer_renames_themselves_and_only_admins_change_the_status() {
    let world = world_with_park();
    let park = world.park();
    let change = |token: &str, body: Value| {
        let seen = world.call("PATCH", "/v1/customers/6", token, "", &body);
        (seen.status, seen.body)
    };
    let (status, body) = change(&park, json!({ "name": "Park Jr." }));
    assert_eq!((status, &body["name"]), (200, &json!("Park Jr.")));
    assert_eq!(change(&world.clerk, json!({ "name": "Park" })).0, 200);
    assert_eq!(change(&world.kim, json!({ "name": "Kim" })).0, 403);
    for token in [&park, &world.clerk] {
        for body in [json!({ "status": "active" }), json!({ "name": "Park", "status": "disabled" })]
        {
            assert_eq!(change(token, body).0, 403);
        }
    }
    assert_eq!(change(&world.admin, json!({})).0, 422);
    assert_eq!(change(&world.admin, json!({ "status": "erased" })).0, 422);
    let (status, body) = change(&world.admin, json!({ "status": "disabled" }));
    assert_eq!((status, &body["status"]), (200, &json!("disabled")));
    let seen = world.call("GET", "/v1/customers/me", &park, "", &Value::Null);
    assert_eq!((seen.status, seen.code()), (401, "unauthenticated"));
    let seen = world.log_in(PASSWORD);
    assert_eq!((seen.status, seen.code()), (403, "customer_disabled"));
    let seen = world.log_in("a wrong guess");
    assert_eq!((seen.status, seen.code()), (401, "invalid_credentials"));
    assert_eq!(change(&world.admin, json!({ "status": "active" })).0, 200);
    world.park();
}

#[test]
fn password_change_needs_the_present_one_and_keeps_the_session() {
    let world = world_with_park();
    let (own, other) = (world.park(), world.park());
    let change = |token: &str, current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        let seen = world.call("POST", "/v1/customers/me/password", token, "", &body);
        (seen.status, seen.code().to_owned())
    };
    let code = |code: Code| code.as_str().to_owned();
    assert_eq!(change(&own, "a wrong guess", NEW_PASSWORD), (401, code(Code::InvalidCredentials)));
    assert_eq!(change(&own, PASSWORD, "password"), (422, code(Code::InvalidRequest)));
    // A session that was opened without a password has none to change.
    assert_eq!(change(&world.kim, PASSWORD, NEW_PASSWORD), (422, code(Code::InvalidRequest)));
    assert_eq!(change(&own, PASSWORD, NEW_PASSWORD), (204, String::new()));
    assert_eq!(world.call("GET", "/v1/customers/me", &own, "", &Value::Null).status, 200);
    assert_eq!(world.call("GET", "/v1/customers/me", &other, "", &Value::Null).status, 401);
    assert_eq!(world.log_in(PASSWORD).status, 401);
    assert_eq!(world.log_in(NEW_PASSWORD).status, 201);
    let lines = world.lines.lock().unwrap().join("\n");
    assert!(!lines.contains(PASSWORD) && !lines.contains(NEW_PASSWORD), "{lines}");
}

#[test]
fn sessions_are_listed_without_tokens_and_revoked() {
    let world = world_with_park();
    let (own, other) = (world.park(), world.park());
    let list = |token: &str, of: &str| {
        let target = format!("/v1/customers/{of}/sessions");
        world.call("GET", &target, token, "", &Value::Null)
    };
    let seen = list(&own, "me");
    let items = seen.body["items"].as_array().unwrap().clone();
    assert_eq!((seen.status, items.len()), (200, 2));
    for item in &items {
        let errors = schema::validate(schema::find("OpenSession"), item);
        assert!(errors.is_empty(), "{errors:?}");
    }
    let text = seen.body.to_string();
    assert!(!text.contains(&own) && !text.contains(&other), "{text}");
    let is_current = |item: &&Value| item["current"] == true;
    assert_eq!(items.iter().filter(is_current).count(), 1);
    let other_id = items.iter().find(|item| !is_current(item)).unwrap()["id"].as_str().unwrap();
    assert_eq!(list(&world.reader, "6").body["items"].as_array().unwrap().len(), 2);
    assert_eq!(list(&world.kim, "6").status, 403);

    let revoke = |token: &str, of: &str, id: &str| {
        let target = format!("/v1/customers/{of}/sessions/{id}");
        let seen = world.call("DELETE", &target, token, "", &Value::Null);
        (seen.status, seen.code().to_owned())
    };
    assert_eq!(revoke(&world.reader, "6", other_id).0, 403);
    assert_eq!(revoke(&world.kim, "me", other_id), (404, "session_not_found".to_owned()));
    for id in ["0", "0F1E2D3C4B5A6978", "0f1e2d3c4b5a69780"] {
        assert_eq!(revoke(&own, "me", id), (404, "not_found".to_owned()));
    }
    assert_eq!(revoke(&own, "me", other_id), (204, String::new()));
    assert_eq!(revoke(&own, "me", other_id), (404, "session_not_found".to_owned()));
    assert_eq!(list(&other, "me").status, 401);
    let own_id = list(&own, "me").body["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(revoke(&world.clerk, "6", &own_id).0, 204);
    assert_eq!(list(&own, "me").status, 401);
}
