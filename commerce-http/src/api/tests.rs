//! Tests of the service without sockets. They are compiled twice: as `tests` all requests go through
//! [`Service::answer`], as `tests_of_start` through [`Service::start`] and an executor.

use super::*;
use crate::access_log::LogFormat;
use crate::route::Auth;
use commerce_core::{
    AddCoupon, AddCustomer, AddProduct, ChargeResult, ClaimCoupon, CollectRequest, Currency,
    CustomerId, Discount, InvalidWebhook, ManualClock, MemoryStore, Money, NewLogin, NewToken,
    PasswordHash, PayWhen, PaymentGateway, PlaceOrder, RefundRequest, Role, ShopBuilder,
    SimulatedGateway, Store, Timestamp, WebhookEvent, WebhookNotice,
};
use rstest::rstest;
use serde_json::json;
use std::sync::{Arc, Mutex};

#[path = "tests/clients.rs"]
mod clients;
#[path = "tests/customers.rs"]
mod customers;
#[path = "tests/exports.rs"]
mod exports;
#[path = "tests/lists.rs"]
mod lists;
#[path = "tests/logins.rs"]
mod logins;
#[path = "tests/refunds.rs"]
mod refunds;
#[path = "tests/reports.rs"]
mod reports;
#[path = "tests/start.rs"]
mod start;
#[path = "tests/streams.rs"]
mod streams;

/// True for the tests that go through [`Service::start`].
const STARTS: bool = module_path!().as_bytes().len() > "commerce_http::api::tests".len();

/// A shop with data: Kim is customer 1 with a balance, Lee is 2, an admin is 3, a reader 4, a clerk 5. Product 1 is tea, coupon 1 is a
/// fixed discount; Kim owns one and has the pending order 1.
struct World {
    api: Arc<Api>,
    clock: Arc<ManualClock>,
    lines: Arc<Mutex<Vec<String>>>,
    kim: String,
    lee: String,
    reader: String,
    clerk: String,
    admin: String,
    /// Tokens of programs: a reader's, a clerk's and an admin's.
    tokens: [String; 3],
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// The simulated gateway with a record of references and with webhooks: the signature is `bank`, the body
/// `REFERENCE AMOUNT`.
#[derive(Default)]
struct Bank(Mutex<Vec<String>>);

impl PaymentGateway for Bank {
    fn name(&self) -> &'static str {
        "bank"
    }

    fn collect(&self, request: &CollectRequest) -> ChargeResult {
        self.0.lock().unwrap().push(request.reference.clone());
        SimulatedGateway.collect(request)
    }

    /// 402 is declined, 408 has no answer in its second.
    fn refund(&self, request: &RefundRequest) -> ChargeResult {
        match request.amount.minor() {
            402 => ChargeResult::Declined { reason: "no".to_owned() },
            408 if request.now == request.created_at => {
                ChargeResult::Unknown { detail: "no answer".to_owned() }
            }
            _ => ChargeResult::Paid,
        }
    }

    fn parse_webhook(
        &self,
        signature: Option<&str>,
        body: &[u8],
        _now: Timestamp,
    ) -> Result<Option<WebhookEvent>, InvalidWebhook> {
        if signature != Some("bank") {
            return Err(InvalidWebhook("not the bank's".to_owned()));
        }
        let event = std::str::from_utf8(body).unwrap().split_once(' ');
        Ok(event.map(|(reference, amount)| WebhookEvent {
            reference: reference.to_owned(),
            amount: Money::from_minor(amount.parse().unwrap()),
            currency: Currency::KRW,
            notice: WebhookNotice::Charge(ChargeResult::Paid),
        }))
    }
}

fn world() -> World {
    world_of(Shop::builder().gateway(Arc::new(SimulatedGateway)))
}

fn world_of(builder: ShopBuilder) -> World {
    world_on(MemoryStore::new(Currency::KRW), builder)
}

fn world_on(store: impl Store + 'static, builder: ShopBuilder) -> World {
    let clock = Arc::new(ManualClock::new(Timestamp::from_unix(1_800_000_000)));
    let shop = builder.clock(Arc::clone(&clock)).open(store);
    let balance = Money::from_minor(100_000);
    let kim = shop.call(AddCustomer { balance, ..AddCustomer::new("Kim") }).run().unwrap().id;
    let lee = shop.call(AddCustomer::new("Lee")).run().unwrap().id;
    let staff = |login: &str, role| {
        let (login, password) = (login.to_owned(), PasswordHash::new("$argon2id$..."));
        let login = Some(NewLogin { login, password, role: Some(role) });
        shop.call(AddCustomer { login, ..AddCustomer::new("Staff") }).run().unwrap().id
    };
    let admin = staff("admin", Role::Admin);
    let (reader, clerk) = (staff("reader", Role::Reader), staff("clerk", Role::Clerk));
    let tea = shop.call(AddProduct::new("Tea", Money::from_minor(4_500), 10)).run().unwrap().id;
    let coupon = AddCoupon {
        below_minimum: commerce_core::BelowMinimum::Keep,
        name: "Spring".to_owned(),
        discount: Discount::Fixed { amount: Money::from_minor(500) },
        min_order_amount: None,
        quantity: 5,
        valid_from: None,
        valid_until: None,
    };
    let coupon_id = shop.call(coupon).run().unwrap().id;
    shop.call(ClaimCoupon { coupon_id, customer_id: kim }).key(&key("claim")).run().unwrap();
    let order = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(kim, [(tea, 1)]) };
    shop.place_order(order, &key("order")).unwrap();
    let token = |customer| shop.open_session(customer, 600).unwrap().token;
    let (kim, lee, admin) = (token(kim), token(lee), token(admin));
    let (reader, clerk) = (token(reader), token(clerk));
    let tokens = [Role::Reader, Role::Clerk, Role::Admin].map(|role| {
        let new = NewToken { name: "till".to_owned(), role, days: None };
        shop.create_token(None, &new, None).result.unwrap().token.unwrap()
    });
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = Arc::clone(&lines);
    let log = Log::new(
        LogFormat::Logfmt,
        Box::new(move |line| sink.lock().unwrap().push(line.to_owned())),
    );
    let api = Arc::new(Api::new(shop, log).unwrap());
    World { api, clock, lines, kim, lee, reader, clerk, admin, tokens }
}

/// A response with a parsed body.
#[derive(Debug)]
struct Seen {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl World {
    fn respond(&self, request: Request) -> Response {
        if STARTS { start::finish(&self.api, request) } else { self.api.answer(&request) }
    }

    fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Seen {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let request = Request {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: headers.collect(),
            body: body.to_owned(),
            peer: None,
        };
        let response = self.respond(request);
        let body = serde_json::from_slice(&response.body).unwrap_or_default();
        let headers = response.headers.into_iter().map(|(name, value)| (name, value.into_owned()));
        let seen = Seen { status: response.status, headers: headers.collect(), body };
        self.assert_documented(method, target, &seen);
        seen
    }

    /// Checks that the route of a request documents the code of its response.
    fn assert_documented(&self, method: &str, target: &str, seen: &Seen) {
        let path = target.split('?').next().unwrap();
        let Ok(RouteEntry::Routes(routes)) = self.api.router.at(path).map(|found| found.value)
        else {
            return;
        };
        let method = if method == "HEAD" { "GET" } else { method };
        let Some(route) = routes.iter().find(|route| route.method.name() == method) else { return };
        let documented: Vec<_> =
            openapi::problems_of(route).iter().flatten().map(|problem| problem.code).collect();
        let is_known = seen.code().is_empty() || documented.contains(&seen.code());
        assert!(is_known, "{} documents {documented:?}, not {seen:?}", route.operation);
    }

    /// Sends a call with a token, a key and a JSON body; empty ones are omitted.
    fn call(&self, method: &str, target: &str, token: &str, key: &str, body: &Value) -> Seen {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Content-Type", "application/json")];
        if !token.is_empty() {
            headers.push(("Authorization", bearer.as_str()));
        }
        if !key.is_empty() {
            headers.push(("Idempotency-Key", key));
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, target, &headers, body.as_bytes())
    }

    /// Makes the calls that the example of a route needs before it.
    fn prepare(&self, route: &Route) {
        let (method, target, body) = match route.operation {
            "removeCartItem" | "clearCart" => {
                ("PUT", "/v1/customers/1/cart/items/1", json!({ "quantity": 1 }))
            }
            "getDebit" => ("POST", "/v1/customers/1/debits", json!({ "amount": 5 })),
            "listRefunds" => ("POST", "/v1/customers/1/charges/1/refunds", json!({ "amount": 5 })),
            _ => return,
        };
        let seen = self.call(method, target, &self.admin, "prepare", &body);
        assert!(seen.status < 300, "{}: {seen:?}", route.operation);
    }

    fn get(&self, target: &str) -> Seen {
        self.call("GET", target, &self.kim, "", &Value::Null)
    }

    fn post(&self, target: &str, key: &str, body: &Value) -> Seen {
        self.call("POST", target, &self.kim, key, body)
    }
}

/// The OpenAPI document.
fn document() -> Value {
    serde_json::from_slice(&world().api.state.documents.current).unwrap()
}

/// An example path and body of a route, about Kim.
fn example(route: &Route) -> (String, Value) {
    // The debit comes after the opening charge in the ledger.
    let path = route.path.replace("{debit_id}", "2").replace("{kind}", "orders");
    let path = path.replace("{session_id}", "0f1e2d3c4b5a6978");
    let path = [
        "customer_id",
        "product_id",
        "coupon_id",
        "owned_coupon_id",
        "order_id",
        "charge_id",
        "token_id",
    ]
    .iter()
    .fold(path, |path, name| path.replace(&format!("{{{name}}}"), "1"));
    let body = route.body.map_or(Value::Null, |name| schema::find(name)["example"].clone());
    (path, body)
}

/// Returns the members of a response that its schema does not have, as JSON pointers.
fn undocumented(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let schema = schema::resolved(schema);
    let fits = |branch: &&Value| schema::validate(branch, value).is_empty();
    if let Some(branches) = schema["oneOf"].as_array() {
        let branch = branches.iter().find(fits);
        return branch.map_or_else(Vec::new, |branch| undocumented(branch, value, at));
    }
    let parts = schema["allOf"].as_array().into_iter().flatten().map(schema::resolved);
    let parts: Vec<&Value> = parts.chain([schema]).collect();
    let member = |(name, value): (&String, &Value)| {
        let pointer = schema::member_pointer(at, name);
        match parts.iter().find_map(|part| part["properties"].get(name)) {
            Some(schema) => undocumented(schema, value, &pointer),
            // An open map.
            None if schema["additionalProperties"].is_object() => Vec::new(),
            None => vec![pointer],
        }
    };
    match value {
        Value::Object(members) => members.iter().flat_map(member).collect(),
        Value::Array(items) => {
            items.iter().flat_map(|item| undocumented(&schema["items"], item, at)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// Covers the whole route table with every kind of caller, so a new route without a permission check fails here.
#[test]
fn every_route_enforces_its_permissions() {
    for route in ROUTES {
        let world = world();
        let (path, mut body) = example(route);
        if route.auth == Auth::SelfOrBody {
            body["customer_id"] = 1.into();
        }
        let status = |token: &str| {
            let seen = world.call(route.method.name(), &path, token, "walk", &body);
            (seen.status, seen.code().to_owned())
        };
        let operation = route.operation;
        if route.auth == Auth::Public {
            let closed = ["unauthenticated", "forbidden"];
            assert!(!closed.contains(&status("").1.as_str()), "{operation}");
            continue;
        }
        for token in ["", "cs_0123456789", "ct_0123456789", "x y"] {
            assert_eq!(status(token), (401, "unauthenticated".to_owned()), "{operation}");
        }
        let refused = match route.auth {
            Auth::Order => (404, "order_not_found".to_owned()),
            _ => (403, "forbidden".to_owned()),
        };
        let least = route.least_staff_role();
        let owns = route.auth != Auth::Public && !matches!(route.auth, Auth::Staff(_));
        let callers = [
            (&world.kim, owns),
            (&world.lee, route.auth == Auth::Session),
            (&world.reader, route.auth == Auth::Session || Role::Reader >= least),
            (&world.clerk, route.auth == Auth::Session || Role::Clerk >= least),
            // A token has no session; where a customer is named, it is staff.
            (&world.tokens[0], route.auth != Auth::Session && Role::Reader >= least),
            (&world.tokens[1], route.auth != Auth::Session && Role::Clerk >= least),
            (&world.tokens[2], route.auth != Auth::Session),
            (&world.admin, true),
        ];
        for (caller, (token, is_allowed)) in callers.into_iter().enumerate() {
            let seen = status(token);
            assert_eq!(seen != refused, is_allowed, "{operation} by caller {caller}: {seen:?}");
            assert_ne!(seen.0, 401, "{operation} by caller {caller}");
        }
    }
}

/// The test above compares the routes with the route table; this one compares the table with the contract.
#[test]
fn least_roles_of_routes_are_those_of_the_contract() {
    let operations = |least: Role| -> Vec<&str> {
        let staff = ROUTES.iter().filter(|route| route.auth == Auth::Staff(least));
        staff.map(|route| route.operation).collect()
    };
    let admin = [
        "setRole",
        "addProduct",
        "changeProduct",
        "addCoupon",
        "changeCoupon",
        "listTokens",
        "createToken",
        "getToken",
        "revokeToken",
    ];
    assert_eq!(operations(Role::Admin), admin);
    assert_eq!(operations(Role::Clerk), ["refundCharge", "adjustStock"]);
    let reader = operations(Role::Reader);
    let reads = |name: &str| ["report", "list", "export"].iter().any(|verb| name.starts_with(verb));
    assert!(reader.iter().all(|name| reads(name)), "{reader:?}");
    let of_customers = ROUTES.iter().filter(|route| route.auth == Auth::Customer);
    for route in of_customers {
        let reads = route.method == Method::Get;
        let least = if reads { Role::Reader } else { Role::Clerk };
        assert_eq!(route.least_staff_role(), least, "{}", route.operation);
    }
}

#[test]
fn every_route_returns_its_documented_response_to_an_admin() {
    for route in ROUTES {
        let world = world();
        let (path, body) = example(route);
        // Passwords and tokens of the examples are not those of this shop.
        let secret =
            ["logIn", "register", "changePassword", "revokeSession", "handleStripeWebhook"];
        if secret.contains(&route.operation) {
            continue;
        }
        world.prepare(route);
        let seen = world.call(route.method.name(), &path, &world.admin, "once", &body);
        assert_eq!(seen.status, route.status, "{}: {seen:?}", route.operation);
        assert_eq!(seen.header("Location").is_some(), seen.status == 201, "{}", route.operation);
        let Some(schema) = route.response else { continue };
        let items = if route.is_list {
            seen.body["items"].as_array().cloned().unwrap()
        } else {
            vec![seen.body]
        };
        for item in items {
            let errors = schema::validate(schema::find(schema), &item);
            assert!(errors.is_empty(), "{}: {errors:?} in {item}", route.operation);
            let unknown = undocumented(schema::find(schema), &item, "");
            assert!(unknown.is_empty(), "{}: {schema} has no {unknown:?}", route.operation);
        }
    }
}

#[test]
fn openapi_has_every_route_once_and_resolves_all_references() {
    let document = document();
    let operations: Vec<&Value> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|path| path.as_object().unwrap())
        .filter(|(name, _)| *name != "parameters")
        .map(|(_, operation)| operation)
        .collect();
    assert_eq!(operations.len(), ROUTES.len());
    let mut names: Vec<&str> =
        operations.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ROUTES.len());
    for reference in document.to_string().split("\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

/// Visits every object in a document outside examples.
fn each_object(value: &Value, visit: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            visit(members);
            let members = members.iter().filter(|(name, _)| !name.starts_with("example"));
            members.for_each(|(_, member)| each_object(member, visit));
        }
        Value::Array(items) => items.iter().for_each(|item| each_object(item, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Generators use 32 bits for integers without a format, and guess values without a type.
#[test]
fn openapi_integers_have_a_format_and_values_a_type() {
    let api = world().api;
    for text in [&api.state.documents.current, &api.state.documents.rendering_3_0] {
        let document: Value = serde_json::from_slice(text).unwrap();
        each_object(&document, &mut |schema| {
            if schema.get("type") == Some(&json!("integer")) {
                let is_status = schema.get("description") == Some(&json!("The HTTP status."));
                let format = if is_status { "int32" } else { "int64" };
                assert_eq!(schema.get("format"), Some(&json!(format)), "{schema:?}");
            }
            if schema.get("const").is_some_and(|only| !only.is_object())
                || schema.get("enum").is_some_and(Value::is_array)
            {
                assert!(schema.get("type").is_some_and(Value::is_string), "{schema:?}");
            }
        });
    }
}

/// Amounts have the named money types, or null beside 64 bits: they fit, and are exact in every JSON parser.
#[test]
fn openapi_amounts_have_money_types() {
    let document = document();
    let money =
        ["Money", "SignedMoney", "Amount"].map(|name| format!("{}{name}", schema::REFERENCE));
    let names = [
        "amount",
        "average_order",
        "balance",
        "balance_after",
        "charged",
        "debited",
        "debt",
        "debts",
        "discount",
        "discounts",
        "disputed",
        "due",
        "gross",
        "max_amount",
        "min_order_amount",
        "net",
        "outstanding",
        "price",
        "refundable",
        "refunded",
        "refunds",
        "required",
        "returned",
        "spent",
        "subtotal",
        "total",
        "unit_price",
    ];
    let mut found = 0;
    each_object(&document["components"]["schemas"], &mut |schema| {
        let Some(Value::Object(properties)) = schema.get("properties") else { return };
        for (name, member) in properties.iter().filter(|(name, _)| names.contains(&name.as_str())) {
            let plain = member["oneOf"].get(0).unwrap_or(member);
            let is_discount = *plain == json!({ "$ref": format!("{}Discount", schema::REFERENCE) });
            let is_money = money.iter().any(|reference| plain["$ref"] == **reference);
            let is_nullable = *member == json!({ "type": ["integer", "null"], "format": "int64" });
            assert!(is_money || is_discount || is_nullable, "{name}: {member}");
            found += 1;
        }
    });
    assert!(found > 20, "{found}");
}

/// Generators derive clumsy names for anonymous schemas.
#[test]
fn openapi_response_schemas_are_named() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    for name in ["OrderPage", "ProductPage", "OrderLine", "CartItem", "NewOrderItem", "Money"] {
        assert!(schemas[name].is_object(), "{name}");
    }
    for route in ROUTES {
        let operation = &document["paths"][route.path][route.method.name().to_lowercase()];
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = response["$ref"].as_str().map_or(response, |reference| {
                document.pointer(reference.trim_start_matches('#')).unwrap()
            });
            let media = response["content"].as_object().into_iter().flatten();
            let is_json = |media: &str| media.ends_with("/json") || media.ends_with("+json");
            for (_, media) in media.filter(|(media, _)| is_json(media)) {
                let schema = &media["schema"];
                let is_open = *schema == json!({ "type": "object" });
                let named = schema["$ref"].is_string() || schema["oneOf"].is_array();
                assert!(named || is_open, "{} {status}: {schema}", route.operation);
            }
        }
    }
}

/// A short document can be read as a whole. A plain route adds 300 to 500 bytes to it, a schema 400, a page of it 200, a
/// code 60.
#[test]
fn openapi_documents_stay_below_80_000_bytes() {
    let api = world().api;
    for text in [&api.state.documents.current, &api.state.documents.rendering_3_0] {
        assert!(text.len() <= 80_000, "{}", text.len());
    }
}

/// The documented response of an operation for a status.
fn documented(document: &Value, route: &Route, status: u16) -> Value {
    let operation = &document["paths"][route.path][route.method.name().to_lowercase()];
    let responses = &operation["responses"];
    let response = match &responses[status.to_string()] {
        Value::Null => &responses[format!("{}XX", status / 100)],
        response => response,
    };
    let Some(reference) = response["$ref"].as_str() else { return response.clone() };
    document.pointer(reference.trim_start_matches('#')).unwrap().clone()
}

/// Each operation documents its statuses, and its errors as problems.
#[test]
fn openapi_operations_have_their_statuses() {
    let document = document();
    for route in ROUTES {
        for status in openapi::statuses(route) {
            let response = documented(&document, route, status);
            let problem = &response["content"]["application/problem+json"]["schema"]["$ref"];
            let is_problem = *problem == format!("{}Problem", schema::REFERENCE);
            assert!(response.is_object(), "{} {status}", route.operation);
            assert_eq!(is_problem, status >= 400, "{} {status}", route.operation);
        }
    }
}

/// An operation lists the codes of its rules, except that of an id in its path.
#[test]
fn openapi_operations_list_their_refusals() {
    let document = document();
    let codes = |path: &str, method: &str| {
        let text = document["paths"][path][method]["description"].as_str().unwrap();
        text.split_once("Errors: ").map(|(_, codes)| codes.to_owned())
    };
    assert_eq!(
        codes("/v1/orders/{order_id}/payment", "post").unwrap(),
        "order_not_payable, insufficient_balance."
    );
    assert_eq!(codes("/v1/customers/{customer_id}/coupons/{owned_coupon_id}", "get"), None);
    let claim = codes("/v1/coupons/{coupon_id}/claims", "post").unwrap();
    assert!(claim.contains("customer_not_found") && !claim.contains("coupon_not_found"));
    let known = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    for code in ROUTES.iter().flat_map(openapi::refusals) {
        assert!(known.as_array().unwrap().contains(&json!(code.as_str())), "{code}");
    }
}

/// The documented problem has the codes and the members of the errors of HTTP.
#[test]
fn openapi_problem_fits_the_responses_of_http_errors() {
    let world = world();
    let document = document();
    let json = [("Content-Type", "application/json")];
    let reject = |reason| {
        let response = world.api.reject(reason, &Request::default());
        serde_json::from_slice(&response.body).unwrap()
    };
    let bearer = format!("Bearer {}", world.kim);
    let keyless = [("Authorization", bearer.as_str()), json[0]];
    let responses: [Value; 8] = [
        world.send("POST", "/v1/sessions", &json, b"").body,
        world.send("POST", "/v1/customers/me/charges", &keyless, b"{}").body,
        world.get("/v1/nothing").body,
        world.post("/v1/bestsellers", "", &json!({})).body,
        world.send("POST", "/v1/sessions", &[], b"{}").body,
        reject(TransportError::TooSlow),
        reject(TransportError::BodyTooLarge { limit: 65_536 }),
        reject(TransportError::HeadTooLarge),
    ];
    let mut codes: Vec<String> = Vec::new();
    let problem = &document["components"]["schemas"]["Problem"];
    for response in responses {
        assert_eq!(schema::validate(problem, &response), [], "{response}");
        assert_eq!(undocumented(problem, &response, ""), [""; 0], "{response}");
        codes.push(response["code"].as_str().unwrap().to_owned());
    }
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), HttpError::ALL.len());
}

#[rstest]
#[case::unknown_path("GET", "/v1/nothing", "", 404, "not_found")]
#[case::trailing_slash("GET", "/v1/products/", "", 404, "not_found")]
#[case::id_not_a_number("GET", "/v1/products/tea", "", 404, "not_found")]
#[case::leading_zero("GET", "/v1/products/01", "", 404, "not_found")]
#[case::id_too_large("GET", "/v1/products/99999999999999999999", "", 404, "not_found")]
#[case::unknown_product("GET", "/v1/products/9", "", 404, "product_not_found")]
#[case::unsupported_method("PATCH", "/v1/bestsellers", "", 405, "method_not_allowed")]
#[case::unknown_method("BREW", "/v1/products", "", 405, "method_not_allowed")]
#[case::unknown_parameter("DELETE", "/v1/customers/me/cart?a=b", "", 422, "invalid_request")]
#[case::duplicate_parameter("GET", "/v1/products?limit=1&limit=2", "", 422, "invalid_request")]
#[case::limit_too_large("GET", "/v1/products?limit=101", "", 422, "invalid_request")]
#[case::limit_not_a_number("GET", "/v1/products?limit=ten", "", 422, "invalid_request")]
#[case::invalid_cursor("GET", "/v1/products?cursor=abc", "", 422, "invalid_request")]
#[case::cursor_with_plus("GET", "/v1/products?cursor=%2B5", "", 422, "invalid_request")]
#[case::cursor_with_leading_zero("GET", "/v1/products?cursor=05", "", 422, "invalid_request")]
#[case::invalid_timestamp("GET", "/v1/bestsellers?at=noon", "", 422, "invalid_request")]
#[case::zero_days("GET", "/v1/bestsellers?days=0", "", 422, "invalid_request")]
#[case::no_body("POST", "/v1/customers/me/charges", "", 400, "malformed_request")]
#[case::invalid_json("POST", "/v1/customers/me/charges", "amount=5", 400, "malformed_request")]
#[case::duplicate_member(
    "POST",
    "/v1/customers/me/charges",
    r#"{"amount":1,"amount":2}"#,
    400,
    "malformed_request"
)]
#[case::nan("POST", "/v1/customers/me/charges", r#"{"amount":NaN}"#, 400, "malformed_request")]
#[case::body_is_a_list("POST", "/v1/customers/me/charges", "[1]", 422, "invalid_request")]
#[case::amount_is_a_string(
    "POST",
    "/v1/customers/me/charges",
    r#"{"amount":"1"}"#,
    422,
    "invalid_request"
)]
#[case::amount_is_a_fraction(
    "POST",
    "/v1/customers/me/charges",
    r#"{"amount":1.5}"#,
    422,
    "invalid_request"
)]
#[case::beyond_2_to_53(
    "POST",
    "/v1/customers/me/charges",
    r#"{"amount":9007199254740993}"#,
    422,
    "invalid_request"
)]
#[case::beyond_i64(
    "POST",
    "/v1/customers/me/charges",
    r#"{"amount":9223372036854775808}"#,
    422,
    "invalid_request"
)]
#[case::unknown_member(
    "POST",
    "/v1/customers/me/charges",
    r#"{"amount":1,"currency":"KRW"}"#,
    422,
    "invalid_request"
)]
#[case::unexpected_body("POST", "/v1/orders/1/payment", r#"{"now":true}"#, 422, "invalid_request")]
#[case::empty_order("POST", "/v1/customers/me/orders", r#"{"items":[]}"#, 422, "invalid_request")]
#[case::items_and_cart(
    "POST",
    "/v1/customers/me/orders",
    r#"{"items":[{"product_id":1,"quantity":1}],"cart":true}"#,
    422,
    "invalid_request"
)]
#[case::empty_cart("POST", "/v1/customers/me/orders", r#"{"cart":true}"#, 409, "cart_empty")]
#[case::debit_beyond_balance(
    "POST",
    "/v1/customers/me/debits",
    r#"{"amount":100001}"#,
    409,
    "insufficient_balance"
)]
#[case::order_beyond_stock(
    "POST",
    "/v1/customers/me/orders",
    r#"{"items":[{"product_id":1,"quantity":11}]}"#,
    409,
    "insufficient_stock"
)]
fn invalid_request_gets_a_documented_problem(
    #[case] method: &str,
    #[case] target: &str,
    #[case] body: &str,
    #[case] status: u16,
    #[case] code: &str,
) {
    let world = world();
    let bearer = format!("Bearer {}", world.kim);
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json; charset=utf-8"),
        ("Idempotency-Key", "k"),
    ];
    let seen = world.send(method, target, &headers, body.as_bytes());
    assert_eq!((seen.status, seen.code()), (status, code), "{seen:?}");
    assert_eq!(seen.header("Content-Type"), Some("application/problem+json"));
    assert_eq!(seen.body["status"], status);
    assert_eq!(seen.body["request_id"].as_str(), seen.header("X-Request-Id"));
    assert_eq!(seen.header("Allow").is_some(), status == 405);
    let document = document();
    let problem = &document["components"]["schemas"]["Problem"];
    assert_eq!(schema::validate(problem, &seen.body), [], "{seen:?}");
    assert_eq!(undocumented(problem, &seen.body, ""), [""; 0], "{seen:?}");
    if code == "invalid_request" {
        assert!(seen.body["errors"][0]["pointer"].is_string(), "{seen:?}");
    }
}

/// The document marks a body as optional exactly where a call without one is accepted.
#[test]
fn body_is_optional_where_documented() {
    let world = world();
    let document = document();
    for route in ROUTES.iter().filter(|route| route.body.is_some()) {
        let (path, _) = example(route);
        let method = route.method.name();
        let seen = world.call(method, &path, &world.admin, route.operation, &Value::Null);
        let body = &document["paths"][route.path][method.to_lowercase()]["requestBody"];
        let accepted = ![400, 422].contains(&seen.status);
        assert_eq!(body["required"], !accepted, "{}: {seen:?}", route.operation);
    }
}

#[test]
fn body_with_another_media_type_is_rejected() {
    let world = world();
    let bearer = format!("Bearer {}", world.kim);
    for media in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let headers =
            [("Authorization", bearer.as_str()), ("Content-Type", media), ("Idempotency-Key", "k")];
        let seen = world.send("POST", "/v1/customers/me/charges", &headers, br#"{"amount":5}"#);
        assert_eq!((seen.status, seen.code()), (415, "unsupported_media_type"));
    }
}

#[test]
fn invalid_request_lists_all_errors_with_pointers() {
    let body = json!({ "items": [{ "product_id": 1, "quantity": 0 }, { "product_id": "x" }] });
    let seen = world().post("/v1/customers/me/orders", "k", &body);
    let pointers: Vec<&str> = seen.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["/items/0/quantity", "/items/1/quantity", "/items/1/product_id"]);
}

/// The response stays small for a query of errors only, and pointers are escaped.
#[test]
fn query_errors_are_limited_and_have_escaped_pointers() {
    let world = world();
    let errors = |query: &str| {
        let target = format!("/v1/customers/me/cart?{query}");
        world.call("DELETE", &target, &world.kim, "", &Value::Null).body["errors"].clone()
    };
    let many = errors(&"a&".repeat(1_000));
    assert_eq!(many.as_array().unwrap().len(), schema::MAX_ERRORS);
    assert_eq!(errors("a/b~c=1")[0]["pointer"], "/a~1b~0c");
}

#[rstest]
#[case::paid(20_000, 201, "succeeded", 201, "succeeded")]
#[case::declined(402_402, 402, "charge_declined", 402, "charge_declined")]
#[case::lost(408_408, 202, "pending", 201, "succeeded")]
#[case::broken(500_500, 202, "pending", 402, "charge_declined")]
fn charge_response_follows_the_gateway_result(
    #[case] amount: i64,
    #[case] at_first: u16,
    #[case] result: &str,
    #[case] later: u16,
    #[case] result_later: &str,
) {
    let world = world();
    let body = json!({ "amount": amount, "payment_method": "card" });
    let charge = || world.post("/v1/customers/me/charges", "a", &body);
    let first = charge();
    let result_of = |seen: &Seen| {
        let status = seen.body["status"].as_str().map(str::to_owned);
        status.unwrap_or_else(|| seen.code().to_owned())
    };
    assert_eq!((first.status, result_of(&first)), (at_first, result.to_owned()));
    world.clock.set(Timestamp::from_unix(1_800_000_001));
    let second = charge();
    assert_eq!((second.status, result_of(&second)), (later, result_later.to_owned()));
    assert_eq!(
        second.header(REPLAYED).is_some(),
        at_first != 202,
        "only a settled charge is stored"
    );

    let id = &second.body[if later == 402 { "charge_id" } else { "id" }];
    let location = format!("/v1/customers/1/charges/{id}");
    if later == 201 {
        assert_eq!(second.header("Location"), Some(location.as_str()));
    } else {
        assert!(second.body["reason"].as_str().unwrap().contains("this amount"));
    }
    let shown = world.get(&location);
    assert_eq!(shown.body["status"], if later == 402 { "failed" } else { "succeeded" });
    let errors = schema::validate(schema::find("Charge"), &shown.body);
    assert!(errors.is_empty(), "{errors:?}");
    let lee = world.call("GET", &location, &world.lee, "", &Value::Null);
    assert_eq!((lee.status, lee.code()), (403, "forbidden"));
    let other = world.call("GET", &location.replace("/1/", "/me/"), &world.lee, "", &Value::Null);
    assert_eq!((other.status, other.code()), (404, "charge_not_found"));
}

#[test]
fn charge_without_gateway_is_for_staff_only() {
    let world = world_of(Shop::builder());
    let body = json!({ "amount": 500 });
    let kim = world.post("/v1/customers/me/charges", "a", &body);
    assert_eq!((kim.status, kim.code()), (403, "forbidden"));
    let reader = world.call("POST", "/v1/customers/1/charges", &world.reader, "a", &body);
    assert_eq!((reader.status, reader.code()), (403, "forbidden"));
    let clerk = world.call("POST", "/v1/customers/1/charges", &world.clerk, "a", &body);
    assert_eq!((clerk.status, &clerk.body["balance"]), (201, &100_500.into()));
    let body = json!({ "amount": 500, "payment_method": "card" });
    let refused = world.call("POST", "/v1/customers/1/charges", &world.admin, "b", &body);
    assert_eq!((refused.status, refused.code()), (422, "invalid_request"));
}

#[test]
fn webhook_needs_a_valid_signature_and_no_token() {
    let bank = Arc::new(Bank::default());
    let world = world_of(Shop::builder().gateway(Arc::<Bank>::clone(&bank)));
    let charge = world.post("/v1/customers/me/charges", "a", &json!({ "amount": 408_408 }));
    assert_eq!(charge.status, 202);
    let line = || world.lines.lock().unwrap().last().cloned().unwrap();
    assert!(line().contains(" detail=\"the simulated gateway gives no answer"), "{}", line());
    let reference = bank.0.lock().unwrap().pop().unwrap();
    let webhook = |signature: &str, body: &str| {
        let headers = [("Stripe-Signature", signature)];
        let seen = world.send("POST", "/v1/webhooks/stripe", &headers, body.as_bytes());
        (seen.status, seen.code().to_owned())
    };
    let balance = || world.get("/v1/customers/me/balance").body["balance"].as_i64().unwrap();
    let bad = (400, "malformed_request".to_owned());
    let done = (204, String::new());
    assert_eq!(webhook("thief", &format!("{reference} 408408")), bad);
    assert!(line().contains(": not the bank's\""), "{}", line());
    assert_eq!(webhook("bank", &format!("{reference} 408409")), bad, "another amount");
    assert_eq!(webhook("bank", "hello"), done, "an irrelevant event");
    assert_eq!(balance(), 100_000);
    assert_eq!(webhook("bank", "unknown 5"), done);
    assert!(line().contains("there is no charge of reference"), "{}", line());
    for _ in 0..2 {
        assert_eq!(webhook("bank", &format!("{reference} 408408")), done);
        assert_eq!(balance(), 508_408);
    }
    let without = world_of(Shop::builder());
    let seen = without.send("POST", "/v1/webhooks/stripe", &[], b"{}");
    assert_eq!((seen.status, seen.code()), (400, "malformed_request"));
}

#[test]
fn money_moves_once_per_idempotency_key() {
    let world = world();
    let charges = "/v1/customers/me/charges";
    let body = json!({ "amount": 500 });
    let missing = world.post(charges, "", &body);
    assert_eq!((missing.status, missing.code()), (400, "idempotency_key_missing"));
    let invalid = world.post(charges, "two words", &body);
    assert_eq!((invalid.status, invalid.code()), (400, "idempotency_key_missing"));

    let bearer = format!("Bearer {}", world.kim);
    let twice = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", "a"),
        ("Idempotency-Key", "b"),
    ];
    let twice = world.send("POST", charges, &twice, br#"{"amount":500}"#);
    assert_eq!((twice.status, twice.code()), (400, "idempotency_key_missing"));

    let first = world.post(charges, "a", &body);
    assert_eq!((first.status, first.header(REPLAYED)), (201, None));
    // A quoted string, as in structured headers, is the same key.
    let again = world.post(charges, "\"a\"", &body);
    assert_eq!((again.status, again.header(REPLAYED)), (201, Some("true")));
    assert_eq!(again.body, first.body);
    let other = world.post(charges, "a", &json!({ "amount": 600 }));
    assert_eq!((other.status, other.code()), (422, "idempotency_key_reused"));

    let order = json!({ "items": [{ "product_id": 1, "quantity": 99 }] });
    let refused = world.post("/v1/customers/me/orders", "b", &order);
    assert_eq!(refused.body["shortages"][0]["available"], 9);
    let again = world.post("/v1/customers/me/orders", "b", &order);
    assert_eq!((again.status, again.header(REPLAYED)), (409, Some("true")));
    assert_eq!(world.get("/v1/customers/me/balance").body["balance"], 100_500);
}

#[test]
fn get_with_current_etag_returns_304() {
    let world = world();
    let tag = world.get("/v1/products/1").header("ETag").unwrap().to_owned();
    let get = |known: &str| world.send("GET", "/v1/products/1", &[("If-None-Match", known)], b"");
    for known in [tag.as_str(), "*", &format!("\"other\", W/{tag}")] {
        let seen = get(known);
        assert_eq!(
            (seen.status, &seen.body, seen.header("ETag")),
            (304, &Value::Null, Some(tag.as_str()))
        );
    }
    world.post("/v1/orders/1/cancellation", "k", &Value::Null);
    assert_eq!(get(&tag).body["stock"], 10, "the stock has changed");
}

#[test]
fn options_and_head_follow_from_the_routes() {
    let world = world();
    let seen = world.send("OPTIONS", "/v1/products/1", &[], b"");
    assert_eq!((seen.status, seen.header("Allow")), (204, Some("GET, PATCH, HEAD, OPTIONS")));
    let head = world.send("HEAD", "/v1/products/1", &[], b"");
    assert_eq!((head.status, head.header("Content-Type")), (200, Some("application/json")));
    assert_eq!(world.send("HEAD", "/v1/sessions", &[], b"").status, 405);
}

#[test]
fn request_id_and_traceparent_are_kept() {
    let world = world();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let bearer = format!("Bearer {}", world.kim);
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Idempotency-Key", "a"),
        ("X-Request-Id", "till-7"),
        ("traceparent", trace),
    ];
    let seen = world.send("POST", "/v1/orders/1/payment", &headers, b"");
    assert_eq!((seen.status, seen.header("X-Request-Id")), (200, Some("till-7")));
    let events = world.api.shop().events(&commerce_core::PageRequest::default()).unwrap();
    assert_eq!(events.items[0].trace.as_deref(), Some(trace));
    let line = world.lines.lock().unwrap().last().unwrap().clone();
    for part in ["request=till-7", "operation=payOrder", "status=200", "customer=1", trace] {
        assert!(line.contains(part), "{line}");
    }
    let forged = world.send("GET", "/healthz", &[("X-Request-Id", "a\r\nb")], b"");
    assert_ne!(forged.header("X-Request-Id"), Some("a\r\nb"));
}

#[test]
fn log_lines_contain_no_secrets() {
    let world = world();
    let new = json!({ "login": "park", "password": "correct horse", "name": "Park" });
    assert_eq!(world.call("POST", "/v1/customers", "", "", &new).status, 201);
    let login = json!({ "login": "park", "password": "correct horse" });
    let session = world.call("POST", "/v1/sessions", "", "", &login);
    let token = session.body["token"].as_str().unwrap().to_owned();
    world.call(
        "POST",
        "/v1/customers/me/charges?token=hidden",
        &token,
        "secret-key",
        &json!({ "amount": 5 }),
    );
    world.call("DELETE", "/v1/sessions/current", &token, "", &Value::Null);
    let gone = world.call("GET", "/v1/customers/me", &token, "", &Value::Null);
    let challenge = Some("Bearer error=\"invalid_token\"");
    assert_eq!((gone.status, gone.header("WWW-Authenticate")), (401, challenge));
    world.call("GET", "http://park:hidden@shop/v1/products", "", "", &Value::Null);
    let lines = world.lines.lock().unwrap().join("\n");
    for secret in ["correct horse", token.as_str(), "secret-key", "hidden"] {
        assert!(!lines.contains(secret), "{lines}");
    }
}

#[test]
fn only_clerks_claim_coupons_for_others() {
    let world = world();
    let claim = |token: &str, key: &str, customer: i64| {
        let body = json!({ "customer_id": customer });
        world.call("POST", "/v1/coupons/1/claims", token, key, &body)
    };
    assert_eq!(claim(&world.kim, "a", 2).code(), "forbidden");
    assert_eq!(claim(&world.reader, "a", 2).code(), "forbidden");
    let claimed = claim(&world.clerk, "b", 2);
    assert_eq!((claimed.status, &claimed.body["customer_id"]), (201, &json!(2)));
    assert_eq!(claim(&world.lee, "c", 2).code(), "coupon_already_claimed");
}

#[test]
fn session_expires() {
    let world = world();
    assert_eq!(world.get("/v1/customers/me").body["id"], 1);
    world.clock.set(Timestamp::from_unix(1_800_000_600));
    assert_eq!(world.get("/v1/customers/me").code(), "unauthenticated");
}

#[test]
fn metrics_have_no_ids() {
    let world = world();
    world.get("/v1/products/1");
    world.get("/v1/products/77");
    world.post("/v1/customers/me/charges", "a", &json!({ "amount": 408_408 }));
    world.get("/");
    let request = Request { method: "GET".into(), target: "/metrics".into(), ..Request::default() };
    let text = String::from_utf8(world.respond(request).body.into_owned()).unwrap();
    for line in [
        "commerce_http_requests_total{operation=\"getProduct\",status=\"200\"} 1",
        "commerce_http_requests_total{operation=\"getProduct\",status=\"404\"} 1",
        "commerce_http_requests_total{operation=\"charge\",status=\"202\"} 1",
        "commerce_http_requests_total{operation=\"none\",status=\"302\"} 1",
        "commerce_http_request_seconds_count{operation=\"getProduct\"} 2",
        "commerce_refusals_total{code=\"product_not_found\"} 1",
        "commerce_batch_commands_bucket{le=\"1\"}",
        "commerce_charges_pending 1",
        "commerce_refunds_pending 0",
        "commerce_outbox_events 0",
        "commerce_outbox_parked 0",
        "commerce_deliveries_total{outcome=\"delivered\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("products/"), "{text}");
}

#[test]
fn transport_rejections_are_problem_documents() {
    let world = world();
    for (reason, status) in [
        (TransportError::Malformed, 400),
        (TransportError::TooSlow, 408),
        (TransportError::BodyTooLarge { limit: 65_536 }, 413),
        (TransportError::HeadTooLarge, 431),
        (TransportError::Overloaded, 503),
    ] {
        let headers = vec![("x-request-id".to_owned(), "mine".to_owned())];
        let target = "/v1/customers".to_owned();
        let request = Request { method: "POST".into(), target, headers, ..Request::default() };
        let response = world.api.reject(reason, &request);
        let header = |name| response.headers.iter().find(|(sent, _)| *sent == name);
        assert_eq!(response.status, status);
        assert_eq!(header("Retry-After").is_some(), status == 503);
        assert_eq!(header("X-Request-Id").unwrap().1, "mine");
        let problem: Value = serde_json::from_slice(&response.body).unwrap();
        let named = problem["detail"].as_str().unwrap().contains("65536");
        assert_eq!((problem["limit"] == 65_536, named), (status == 413, status == 413));
    }
}

#[test]
fn admin_gets_404_for_an_unknown_customer() {
    let world = world();
    let unknown = CustomerId::new(99);
    let seen = world.call(
        "GET",
        &format!("/v1/customers/{unknown}/balance"),
        &world.admin,
        "",
        &Value::Null,
    );
    assert_eq!((seen.status, seen.code()), (404, "customer_not_found"));
}

#[test]
fn id_beyond_2_to_53_is_not_found() {
    let world = world();
    for (id, code) in
        [(9_007_199_254_740_991_i64, "product_not_found"), (9_007_199_254_740_992, "not_found")]
    {
        let seen = world.get(&format!("/v1/products/{id}"));
        assert_eq!((seen.status, seen.code()), (404, code), "{id}");
    }
}

/// Staff of a higher role are out of reach for changes that could lock them out; orders for them are not.
#[test]
fn clerk_does_not_change_staff_of_a_higher_role() {
    let protected = ROUTES.iter().filter(|route| route.protects_seniors);
    let protected: Vec<_> = protected.map(|route| route.operation).collect();
    assert_eq!(protected, ["changeCustomer", "revokeSession"]);

    let world = world();
    let sessions = world.call("GET", "/v1/customers/3/sessions", &world.admin, "", &Value::Null);
    let session = sessions.body["items"][0]["id"].as_str().unwrap().to_owned();
    let end = format!("/v1/customers/3/sessions/{session}");
    let name = json!({ "name": "Root" });
    for token in [&world.clerk, &world.tokens[1]] {
        let status = |method: &str, path: &str, body: &Value| {
            let seen = world.call(method, path, token, "", body);
            (seen.status, seen.code().to_owned())
        };
        let forbidden = (403, "forbidden".to_owned());
        assert_eq!(status("PATCH", "/v1/customers/3", &name), forbidden);
        assert_eq!(status("DELETE", &end, &Value::Null), forbidden);
        // Staff of the same role or a lower one, and customers.
        for customer in [1, 4, 5] {
            assert_eq!(status("PATCH", &format!("/v1/customers/{customer}"), &name).0, 200);
        }
        assert_eq!(status("PATCH", "/v1/customers/99", &name).1, "customer_not_found");
    }
    let order = json!({ "items": [{ "product_id": 1, "quantity": 1 }], "payment": "later" });
    let placed = world.call("POST", "/v1/customers/3/orders", &world.clerk, "o", &order);
    assert_eq!(placed.status, 201, "{placed:?}");
    for token in [&world.tokens[2], &world.admin] {
        assert_eq!(world.call("PATCH", "/v1/customers/3", token, "", &name).status, 200);
    }
    assert_eq!(world.call("DELETE", &end, &world.admin, "", &Value::Null).status, 204);
}

/// A role that is given or taken counts from the next request on, in sessions that are open already.
#[test]
fn role_is_that_of_the_moment_in_open_sessions() {
    let world = world();
    let reports = |token: &str| world.call("GET", "/v1/reports/stock", token, "", &Value::Null);
    let set = |customer: i64, role: &str| {
        let path = format!("/v1/customers/{customer}/role");
        world.call("PUT", &path, &world.admin, "", &json!({ "role": role }))
    };
    assert_eq!(reports(&world.reader).status, 200);
    assert_eq!(set(4, "customer").body["role"], "customer");
    assert_eq!(reports(&world.reader).code(), "forbidden");
    assert_eq!(set(4, "clerk").status, 200);
    assert_eq!(reports(&world.reader).status, 200);
    let last = set(3, "clerk");
    assert_eq!((last.status, last.code()), (409, "last_admin"));
}

/// A token acts for customers whom the request names, and has no customer of its own.
#[test]
fn token_of_a_program_is_refused_where_a_customer_calls() {
    let world = world();
    let clerk = &world.tokens[1];
    for (method, path, body) in [
        ("GET", "/v1/customers/me", Value::Null),
        ("GET", "/v1/sessions/current", Value::Null),
        ("POST", "/v1/coupons/1/claims", json!({})),
    ] {
        let seen = world.call(method, path, clerk, "a", &body);
        assert_eq!((seen.status, seen.code()), (403, "forbidden"), "{path}");
        assert!(seen.body["detail"].as_str().unwrap().starts_with("a token has no "), "{seen:?}");
    }
    let claimed =
        world.call("POST", "/v1/coupons/1/claims", clerk, "a", &json!({ "customer_id": 2 }));
    assert_eq!((claimed.status, &claimed.body["customer_id"]), (201, &json!(2)));
}

#[test]
fn token_is_shown_once_and_refused_once_revoked() {
    let world = world();
    let admin = |method: &str, path: &str, key: &str, body: &Value| {
        world.call(method, path, &world.admin, key, body)
    };
    let new = json!({ "name": "till", "role": "reader", "days": 30 });
    let created = admin("POST", "/v1/tokens", "a", &new);
    let token = created.body["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("ct_") && token.len() == 67, "{token}");
    let again = admin("POST", "/v1/tokens", "a", &new);
    assert_eq!((again.status, again.header(REPLAYED)), (201, Some("true")));
    assert_eq!((&again.body["id"], &again.body["token"]), (&created.body["id"], &Value::Null));
    let path = created.header("Location").unwrap();
    let read = || world.call("GET", "/v1/customers/1/balance", &token, "", &Value::Null);
    assert_eq!(read().status, 200);
    // The use is recorded by a call of its own, which the next call waits for.
    let shown = || admin("GET", path, "", &Value::Null).body;
    assert_eq!(
        admin("PUT", "/v1/customers/1/role", "", &json!({ "role": "customer" })).status,
        200
    );
    assert_eq!((&shown()["last_used_on"], &shown()["token"]), (&json!("2027-01-15"), &Value::Null));
    let line = world.lines.lock().unwrap().iter().find(|line| line.contains(" token=")).cloned();
    assert!(line.unwrap().contains(" token=4"));
    assert_eq!(admin("DELETE", path, "", &Value::Null).status, 204);
    assert_eq!((read().status, read().code()), (401, "unauthenticated"));
    assert_eq!(admin("DELETE", "/v1/tokens/99", "", &Value::Null).code(), "token_not_found");

    let log = admin("GET", "/v1/audit-log", "", &Value::Null);
    let entries: Vec<_> = log.body["items"].as_array().unwrap().iter().take(2).collect();
    let actions: Vec<_> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    // The role was the same before.
    assert_eq!(actions, ["token.revoked", "token.created"]);
    assert!(entries.iter().all(|entry| entry["actor"] == "customer:3"), "{entries:?}");
    let everything = format!("{} {}", log.body, world.lines.lock().unwrap().join(" "));
    assert!(!everything.contains(&token), "{everything}");
}

/// Every change by staff and programs is in the trail; those by customers for themselves are not.
#[test]
fn audit_log_names_the_caller_of_each_change() {
    let world = world();
    let order = json!({ "items": [{ "product_id": 1, "quantity": 1 }] });
    let orders = "/v1/customers/1/orders";
    let charge = json!({ "amount": 500 });
    for (method, path, token, body) in [
        ("POST", orders, &world.kim, &order),
        ("POST", orders, &world.clerk, &order),
        ("POST", orders, &world.tokens[1], &order),
        ("POST", "/v1/customers/1/charges", &world.kim, &charge),
        ("POST", "/v1/customers/1/charges", &world.clerk, &charge),
        ("POST", "/v1/products/1/stock", &world.admin, &json!({ "delta": 2, "reason": "found" })),
        ("PATCH", "/v1/products/1", &world.admin, &json!({ "price": 5_000 })),
    ] {
        let key = format!("{path} {}", token.len()).replace(' ', "-") + &token[3..9];
        let seen = world.call(method, path, token, &key, body);
        assert!(seen.status < 300, "{seen:?}");
    }
    let log = |query: &str| -> Vec<String> {
        let path = format!("/v1/audit-log?{query}");
        let seen = world.call("GET", &path, &world.reader, "", &Value::Null);
        let text = |entry: &Value| {
            let part = |name: &str| entry[name].as_str().unwrap().to_owned();
            format!("{} {} {} {}", part("actor"), part("action"), part("subject"), entry["changes"])
        };
        seen.body["items"].as_array().unwrap().iter().map(text).collect()
    };
    let expected = [
        r#"customer:3 product.updated product:1 {"price":{"from":4500,"to":5000}}"#,
        r#"customer:3 stock.adjusted product:1 {"delta":2}"#,
        r#"customer:5 charge.opened charge:3 {"amount":500}"#,
        "token:2 order.placed order:4 {}",
        "customer:5 order.placed order:3 {}",
    ];
    assert_eq!(log(""), expected);
    assert_eq!(log("actor=customer:5"), [expected[2], expected[4]]);
    assert_eq!(log("from=2027-01-16T00:00:00Z"), [""; 0]);
    let wrong = world.call("GET", "/v1/audit-log?actor=boss", &world.reader, "", &Value::Null);
    assert_eq!((wrong.status, wrong.code()), (422, "invalid_request"));
    let detail = wrong.body["detail"].as_str().unwrap();
    assert!(detail.contains("cli, customer:ID or token:ID"), "{detail}");
}
