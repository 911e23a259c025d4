//! Lists of the back office.

use super::*;
use commerce_core::AdjustStock;
use commerce_core::UpdateProduct;

impl World {
    fn list(&self, target: &str) -> Seen {
        self.call("GET", target, &self.admin, "", &Value::Null)
    }

    fn ids(&self, target: &str) -> Vec<i64> {
        let seen = self.list(target);
        assert_eq!(seen.status, 200, "{seen:?}");
        let items = seen.body["items"].as_array().unwrap();
        items.iter().map(|item| item["id"].as_i64().unwrap()).collect()
    }
}

#[rstest]
#[case::all("", &[3, 2, 1])]
#[case::paid("status=paid", &[3, 2])]
#[case::pending("status=pending", &[1])]
#[case::customer("customer_id=2", &[])]
#[case::product("product_id=1", &[3, 2, 1])]
#[case::unknown_product("product_id=2", &[])]
#[case::coupon("coupon_id=1", &[3])]
#[case::reference("reference=PO-1", &[])]
#[case::from("from=2030-01-01T00:00:00Z", &[])]
#[case::together("status=paid&coupon_id=1&customer_id=1&to=2030-01-01T00:00:00%2B09:00", &[3])]
fn orders_are_filtered(#[case] query: &str, #[case] expected: &[i64]) {
    let world = world();
    world.post(
        "/v1/customers/1/orders",
        "two",
        &json!({"items": [{"product_id": 1, "quantity": 1}]}),
    );
    let with_coupon = json!({"items": [{"product_id": 1, "quantity": 1}], "owned_coupon_id": 1});
    world.post("/v1/customers/1/orders", "three", &with_coupon);
    assert_eq!(world.ids(&format!("/v1/orders?{query}")), expected);
}

#[rstest]
#[case::status("/v1/orders?status=lost", "/status")]
#[case::window("/v1/orders?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "/from")]
#[case::id("/v1/orders?product_id=0", "/product_id")]
#[case::charge_status("/v1/charges?status=paid", "/status")]
#[case::products("/v1/products?status=gone", "/status")]
#[case::search("/v1/customers?search=", "/search")]
#[case::other_list("/v1/orders?cursor=charges-1", "/cursor")]
fn invalid_filter_is_refused(#[case] target: &str, #[case] pointer: &str) {
    let seen = world().list(target);
    assert_eq!((seen.status, seen.code()), (422, "invalid_request"), "{seen:?}");
    assert_eq!(seen.body["errors"][0]["pointer"], pointer);
}

/// The tag is that of what is shown: an admin changes a product by the tag that an admin got.
#[test]
fn low_stock_threshold_is_shown_to_staff_only() {
    let world = world();
    let path = "/v1/products/1";
    let low = json!({ "low_stock_threshold": 1 });
    assert_eq!(world.call("PATCH", path, &world.admin, "low", &low).status, 200);
    let get = |path: &str, token: &str| world.call("GET", path, token, "", &Value::Null);
    let show = |token: &str| {
        let (one, all) = (get(path, token), get("/v1/products", token));
        let field = "low_stock_threshold";
        assert_eq!(one.body[field], all.body["items"][0][field]);
        (one.body[field].clone(), one.header("ETag").unwrap().to_owned())
    };
    let (hidden, public_tag) = show("");
    assert!(hidden.is_null());
    for token in [world.kim.as_str(), "cs_0123456789"] {
        assert_eq!(show(token), (Value::Null, public_tag.clone()));
    }
    let (_, tag) = show(&world.admin);
    for token in [&world.reader, &world.clerk, &world.tokens[0]] {
        assert_eq!(show(token), (json!(1), tag.clone()));
    }
    for (sent, status) in [(&public_tag, 412), (&tag, 200)] {
        let admin = format!("Bearer {}", world.admin);
        let headers = [
            ("Authorization", admin.as_str()),
            ("Content-Type", "application/json"),
            ("If-Match", sent.as_str()),
        ];
        assert_eq!(world.send("PATCH", path, &headers, br#"{"price":4600}"#).status, status);
    }
}

#[test]
fn cursor_of_another_filter_is_refused() {
    let world = world();
    for number in 0..2 {
        let order = json!({"items": [{"product_id": 1, "quantity": 1}]});
        world.post("/v1/customers/1/orders", &number.to_string(), &order);
    }
    let page = world.list("/v1/orders?status=paid&limit=1");
    let cursor = page.body["next_cursor"].as_str().unwrap();
    assert_eq!(world.ids(&format!("/v1/orders?status=paid&cursor={cursor}")), [2]);
    let other = world.list(&format!("/v1/orders?status=pending&cursor={cursor}"));
    assert_eq!((other.status, other.code()), (422, "invalid_request"));
    assert_eq!(other.body["errors"][0]["pointer"], "/cursor");
}

#[test]
fn archived_products_are_listed_for_staff_only() {
    let world = world();
    let shop = world.api.shop();
    shop.call(AddProduct::new("Tea pot", Money::from_minor(1), 1)).run().unwrap();
    shop.call(UpdateProduct::archive(commerce_core::ProductId::new(1))).run().unwrap();
    let status = |token: &str| {
        let seen = world.call("GET", "/v1/products?status=all", token, "", &Value::Null);
        (seen.status, seen.code().to_owned())
    };
    assert_eq!(status(""), (401, "unauthenticated".to_owned()));
    assert_eq!(status(&world.kim), (403, "forbidden".to_owned()));
    assert_eq!(status(&world.admin).0, 200);
    assert_eq!(world.ids("/v1/products?status=all"), [1, 2]);
    assert_eq!(world.ids("/v1/products?status=archived&search=TEA"), [1]);
    assert_eq!(world.ids("/v1/products?search=TEA"), [2]);
    let low = json!({ "low_stock_threshold": 1 });
    assert_eq!(world.call("PATCH", "/v1/products/2", &world.admin, "low", &low).status, 200);
    assert_eq!(world.ids("/v1/products?low_stock=true"), [2]);
    assert_eq!(world.call("GET", "/v1/products?low_stock=true", "", "", &Value::Null).status, 401);
    // An encoded name is the same parameter.
    let encoded = world.call("GET", "/v1/products?st%61tus=all", "", "", &Value::Null);
    assert_eq!(encoded.status, 401);
    let public = world.call("GET", "/v1/products?search=pot", "", "", &Value::Null);
    assert_eq!((public.status, &public.body["items"][0]["id"]), (200, &json!(2)));
}

#[test]
fn movements_show_adjustments_with_their_actor_and_orders() {
    let world = world();
    let stock = json!({"delta": 5, "reason": "delivery"});
    world.call("POST", "/v1/products/1/stock", &world.admin, "add", &stock);
    let adjustment = AdjustStock {
        product_id: commerce_core::ProductId::new(1),
        delta: -1,
        reason: "broken".into(),
    };
    let actor = Some(commerce_core::Actor::Cli);
    world.api.shop().call(adjustment).actor(actor).run().unwrap();
    let seen = world.list("/v1/products/1/movements?limit=10");
    let items = seen.body["items"].as_array().unwrap();
    let short =
        |item: &Value| (item["delta"].as_i64().unwrap(), item["stock_after"].as_i64().unwrap());
    let mut changes: Vec<i64> = items.iter().map(|item| short(item).0).collect();
    changes.sort_unstable();
    assert_eq!(changes, [-1, -1, 5, 10], "{seen:?}");
    assert_eq!(short(&items[0]).1, 13);
    let broken = items.iter().find(|item| item["reason"] == "broken").unwrap();
    assert_eq!(broken["actor"], "cli");
    let ordered = items.iter().find(|item| item["reason"] == "ordered").unwrap();
    assert_eq!((&ordered["order_id"], &ordered["actor"]), (&json!(1), &Value::Null));
    let unknown = world.list("/v1/products/9/movements");
    assert_eq!((unknown.status, unknown.code()), (404, "product_not_found"));
}

#[test]
fn customers_charges_and_claims_are_listed() {
    let world = world();
    assert_eq!(world.ids("/v1/customers?search=KIM"), [1]);
    assert_eq!(world.ids("/v1/customers"), [1, 2, 3, 4, 5]);
    let claims = world.list("/v1/coupons/1/claims");
    assert_eq!(
        (&claims.body["items"][0]["rank"], &claims.body["items"][0]["customer_id"]),
        (&json!(1), &json!(1))
    );
    world.post("/v1/customers/1/charges", "charge", &json!({"amount": 5}));
    assert_eq!(world.ids("/v1/charges?status=succeeded&customer_id=1"), [2, 1]);
    assert_eq!(world.ids("/v1/charges?status=failed"), Vec::<i64>::new());
    let unknown = world.list("/v1/charges?customer_id=9");
    assert_eq!((unknown.status, unknown.code()), (404, "customer_not_found"));
}
