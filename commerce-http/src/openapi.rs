//! The OpenAPI 3.1 document, drawn from the route table.

use crate::problem::{Fault, Problem, status_of};
use crate::route::{Access, KeyRule, Method, Route};
use crate::schema::{self, REFERENCE};
use commerce_core::{Code, Key};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const DESCRIPTION: &str = "\
An order service: prepaid balances, stock, carts, coupons, orders, best sellers.

Money is a whole number in minor units of the store's one currency: 1250 is 12.50 USD, and 1250 KRW. Instants \
are RFC 3339 in UTC, to the second.

A customer logs in (`POST /v1/sessions`) and sends the token as `Authorization: Bearer TOKEN`. `me` in a path \
is whoever calls.

Calls that move money, stock or coupons carry an `Idempotency-Key` of your choosing: sent again with the same \
key and body, a call is answered as the first time, with `Idempotency-Replayed: true`, and changes nothing.

Lists come in pages: send `next_cursor` as `cursor` to go on. Problems are RFC 9457 documents; `code` names the \
problem for good.";

/// The document of these routes.
pub(crate) fn document(routes: &[Route]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.name().to_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "commerce",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags(routes),
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of POST /v1/sessions, or of `commerce admin token`.",
                },
            },
        },
    })
}

/// What there are calls about, in the order of the routes; `paths` cannot keep it.
fn tags(routes: &[Route]) -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    for name in routes.iter().map(|route| tag(route.path)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().map(|name| json!({ "name": name })).collect()
}

/// The schemas, and a list of each kind that is listed.
fn schemas() -> Map<String, Value> {
    let mut schemas = schema::all().clone();
    for schema in schemas.values_mut().filter_map(Value::as_object_mut) {
        if let Some(example) = schema.remove("example") {
            schema.insert("examples".to_owned(), json!([example]));
        }
    }
    schemas
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{REFERENCE}{name}") })
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [tag(route.path)],
        "parameters": parameters(route),
        "responses": responses(route),
    });
    if route.access != Access::Public {
        operation["security"] = json!([{ "bearer": [] }]);
    }
    if route.access == Access::Admin {
        operation["description"] = "For admins.".into();
    }
    if let Some(header) = route.proof {
        operation["description"] =
            format!("`{header}` proves who sent it; no token is asked for.").into();
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": { "type": "object" } } },
        });
    }
    if let Some(body) = route.body {
        let required = !schema::may_be_left_out(schema::named(body));
        operation["requestBody"] = json!({
            "required": required,
            "content": { "application/json": { "schema": reference(body) } },
        });
    }
    operation
}

/// What a path is about: the part after the version, or after the customer.
fn tag(path: &str) -> &str {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let (first, second) = (parts.next(), parts.next());
    match (first, second, parts.nth(1)) {
        (Some("v1"), Some("customers"), Some(what)) | (Some("v1"), Some(what), _) => what,
        _ => "operations",
    }
}

fn parameters(route: &Route) -> Vec<Value> {
    let mut parameters = Vec::new();
    for part in route.path.split('/') {
        if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            let schema = match name {
                "customer_id" => json!({ "type": "string", "pattern": "^(me|[1-9][0-9]{0,14})$" }),
                _ => reference("Id"),
            };
            let (description, example) = match name {
                "customer_id" => ("A customer's id, or `me`.", json!("me")),
                _ => ("Its id.", json!(1)),
            };
            parameters.push(json!({
                "name": name, "in": "path", "required": true, "schema": schema,
                "description": description, "example": example,
            }));
        }
    }
    for parameter in route.query {
        parameters.push(json!({
            "name": parameter.name, "in": "query", "required": false,
            "schema": reference(parameter.schema), "description": parameter.description,
        }));
    }
    if let Some(header) = route.proof {
        parameters.push(json!({
            "name": header, "in": "header", "required": true, "schema": { "type": "string" },
            "description": "The signature of the body.",
        }));
    }
    if route.is_conditional() {
        parameters.push(json!({
            "name": "If-Match", "in": "header", "required": false, "schema": { "type": "string" },
            "description": "The `ETag` of what was read: when it has changed since, the answer is 412 and nothing changes.",
        }));
    }
    if route.key != KeyRule::None {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": route.key == KeyRule::Required,
            "schema": { "type": "string", "minLength": 1, "maxLength": Key::MAX_LENGTH, "pattern": "^[!-~]+$" },
            "description": "Names what is to happen once. Quoted or bare.",
        }));
    }
    parameters
}

fn responses(route: &Route) -> Value {
    let mut responses: BTreeMap<String, Value> = BTreeMap::new();
    responses.insert(route.status.to_string(), success(route));
    if route.waits {
        let mut waiting = success(route);
        waiting["description"] =
            "Nobody knows yet: look at `Location` later, or send the same again with the same key."
                .into();
        responses.insert("202".to_owned(), waiting);
    }
    if route.is_tagged() && route.method == Method::Get {
        responses.insert("304".to_owned(), json!({ "description": "It is as you have it." }));
    }
    let mut problems: BTreeMap<u16, Vec<Problem>> = BTreeMap::new();
    for problem in problems_of(route) {
        problems.entry(problem.status).or_default().push(problem);
    }
    for (status, problems) in problems {
        responses.insert(status.to_string(), failure(status, &problems));
    }
    json!(responses)
}

fn success(route: &Route) -> Value {
    let mut response = json!({ "description": route.summary });
    let schema = match (route.answer, route.media) {
        (None, _) if route.status == 204 => return json!({ "description": "Done." }),
        (None, "application/json") => json!({ "type": "object" }),
        (None, _) => json!({ "type": "string" }),
        (Some(item), _) if route.list => json!({
            "type": "object",
            "required": ["items", "next_cursor"],
            "properties": {
                "items": { "type": "array", "items": reference(item) },
                "next_cursor": { "description": "Where to go on; null at the end.", "type": ["string", "null"] },
            },
        }),
        (Some(answer), _) => reference(answer),
    };
    response["content"] = json!({ route.media: { "schema": schema } });
    let mut headers = json!({});
    let text =
        |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    if route.status == 201 {
        headers["Location"] = text("Where it is found from now on.");
    }
    if route.key != KeyRule::None {
        headers["Idempotency-Replayed"] =
            text("`true` when the key was used before and this is the answer of then.");
    }
    if route.is_tagged() {
        headers["ETag"] = text("The version of it, for If-None-Match and If-Match.");
    }
    response["headers"] = headers;
    response
}

fn failure(status: u16, problems: &[Problem]) -> Value {
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
    let titles: Vec<String> =
        problems.iter().map(|problem| format!("`{}`: {}.", problem.code, problem.title)).collect();
    let examples: Map<String, Value> = problems
        .iter()
        .map(|problem| (problem.code.to_owned(), json!({ "value": problem })))
        .collect();
    let mut response = json!({
        "description": titles.join(" "),
        "content": {
            "application/problem+json": {
                "schema": {
                    "allOf": [reference("Problem"), { "properties": { "code": { "enum": codes } } }],
                },
                "examples": examples,
            },
        },
    });
    if matches!(status, 429 | 503) {
        response["headers"] = json!({ "Retry-After": { "description": "Seconds to wait.", "schema": { "type": "integer" } } });
    }
    response
}

/// Every problem a route can give: what its rules say, and what follows from how it is called.
fn problems_of(route: &Route) -> Vec<Problem> {
    let mut codes: Vec<Code> = route.codes.to_vec();
    let mut faults = vec![
        Fault::Malformed,
        Fault::BodyTooLarge,
        Fault::NotJson,
        Fault::HeadTooLarge,
        Fault::TooSlow,
    ];
    if route.access != Access::Public {
        codes.push(Code::Unauthenticated);
    }
    if !matches!(route.access, Access::Public | Access::Caller | Access::Order) {
        codes.push(Code::Forbidden);
    }
    if route.is_conditional() {
        codes.push(Code::PreconditionFailed);
    }
    if route.path.contains('{') {
        faults.push(Fault::NoSuchPath);
    }
    if route.key != KeyRule::None {
        faults.push(Fault::KeyMissing);
        codes.push(Code::IdempotencyKeyReused);
    }
    // A body or a parameter that is not asked for is told as well.
    codes.extend([Code::InvalidRequest, Code::Busy, Code::Storage]);
    let of_rules = codes.into_iter().map(|code| {
        let status = status_of(code);
        Problem::with(status.http, code.as_str(), status.title, format!("{}.", status.title))
    });
    of_rules.chain(faults.into_iter().map(|fault| Problem::fault(fault, fault.table().2))).collect()
}
