//! The OpenAPI 3.1 document, drawn from the route table.

mod problems;
mod rendering_3_0;
mod responses;

use crate::route::{Auth, KeyRule, Parameter, Route};
use crate::schema::{self, REFERENCE};
use responses::Responses;
pub(crate) use responses::statuses;
use serde_json::{Map, Value, json};

const DESCRIPTION: &str = "\
An order service: prepaid balances, stock, carts, coupons, orders, best sellers.

Money is a whole number in minor units of the store's one currency: 1250 is 12.50 USD. Instants are RFC 3339 in UTC.

Log in with `POST /v1/sessions` and send the token as `Authorization: Bearer TOKEN`. `me` in a path is the caller.

Calls that move money, stock or coupons carry an `Idempotency-Key` of the client's choice. The same key and body get \
the first answer again, with `Idempotency-Replayed: true`, and change nothing.

Lists are paginated: send `next_cursor` as `cursor`; it is null on the last page. Problems are RFC 9457 documents with \
a permanent `code`. Ignore members you do not know.";

/// Both renderings of the document.
pub(crate) struct Documents {
    /// OpenAPI 3.1.
    pub(crate) current: Vec<u8>,
    /// OpenAPI 3.0.3.
    pub(crate) rendering_3_0: Vec<u8>,
}

/// The documents of these routes.
pub(crate) fn documents(routes: &[Route]) -> Documents {
    let document = document(routes);
    Documents {
        rendering_3_0: rendering_3_0::rendering(&document).to_string().into_bytes(),
        current: document.to_string().into_bytes(),
    }
}

fn document(routes: &[Route]) -> Value {
    let responses = Responses::of(routes);
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.name().to_lowercase()] = operation(route, &responses);
    }
    let mut schemas = schemas(routes);
    schemas.extend(responses.schemas());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "commerce",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "contact": { "name": "The operator of this server" },
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "This server." }],
        "security": [{ "bearer": [] }],
        "tags": tags(routes),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": shared_parameters(routes),
            "headers": responses::headers(),
            "responses": responses.shared(),
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

/// The subjects of the calls, in the order of the routes; `paths` cannot keep it.
fn tags(routes: &[Route]) -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    for name in routes.iter().map(|route| tag(route.path)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let described = |name| json!({ "name": name, "description": about(name) });
    names.into_iter().map(described).collect()
}

/// The description of a tag.
fn about(tag: &str) -> &'static str {
    match tag {
        "customers" => "Owners of a balance, a cart, coupons and orders.",
        "sessions" => "Logging in and out.",
        "balance" => "The prepaid money of a customer.",
        "charges" => "Money put onto a balance through the payment gateway.",
        "debits" => "Money used from a balance outside an order.",
        "ledger" => "The history of a balance, which is only ever added to.",
        "payments" => "Payments and refunds of orders.",
        "products" => "Names, prices and stock.",
        "bestsellers" => "Products ranked by the units paid for.",
        "cart" => "Products that a customer may order later. A cart reserves nothing.",
        "coupons" => "Campaigns, and the coupons that customers claim from them.",
        "orders" => "Placing, paying and cancelling orders.",
        "webhooks" => "Notices of payment gateways.",
        _ => "The state of the server, and its description.",
    }
}

/// The schemas that the document refers to, and a page of each kind that is listed.
fn schemas(routes: &[Route]) -> Map<String, Value> {
    let mut schemas = schema::all().clone();
    // The form of requests without a body, which no operation refers to.
    schemas.remove("Nothing");
    for schema in schemas.values_mut().filter_map(Value::as_object_mut) {
        if let Some(example) = schema.remove("example") {
            schema.insert("examples".to_owned(), json!([example]));
        }
    }
    for item in routes.iter().filter(|route| route.list).filter_map(|route| route.answer) {
        schemas.insert(
            page(item),
            json!({
                "type": "object",
                "required": ["items", "next_cursor"],
                "properties": {
                    "items": { "type": "array", "items": reference(item) },
                    "next_cursor": { "type": ["string", "null"] },
                },
            }),
        );
    }
    schemas
}

/// The name of the schema for a page of these.
fn page(item: &str) -> String {
    format!("{item}Page")
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{REFERENCE}{name}") })
}

/// A reference to a component that is no schema.
fn shared(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

/// A name in `snake_case` as the names of components are written.
fn pascal(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            first.to_uppercase() + rest
        })
        .collect()
}

/// One of the problems of these codes. Their schemas have the names of the codes, so no mapping is needed.
fn one_of_problems(codes: &[&str]) -> Value {
    let one_of: Vec<Value> = codes.iter().map(|code| reference(code)).collect();
    json!({ "oneOf": one_of, "discriminator": { "propertyName": "code" } })
}

fn operation(route: &Route, responses: &Responses) -> Value {
    let mut operation = json!({
        "operationId": route.operation,
        "summary": route.summary,
        "description": description(route),
        "tags": [tag(route.path)],
        "responses": responses.of_route(route),
    });
    let parameters = parameters(route);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if route.access == Auth::Public {
        operation["security"] = json!([]);
    }
    if route.proof.is_some() {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": { "type": "object" } } },
        });
    }
    if let Some(body) = route.body {
        let required = !schema::is_optional(schema::find(body));
        operation["requestBody"] = json!({
            "required": required,
            "content": { "application/json": { "schema": reference(body) } },
        });
    }
    operation
}

/// What is particular to a call, and the callers that may make it.
fn description(route: &Route) -> String {
    let callers = match (route.access, route.proof) {
        (_, Some(_)) => "Signed by the gateway.",
        (Auth::Public, _) => "Public.",
        (Auth::Authenticated, _) => "Any token.",
        (Auth::Customer | Auth::Order, _) => "Owner or admin.",
        (Auth::OwnerWithGateway, _) => "Owner, if there is a payment gateway, or admin.",
        (Auth::SelfOrAdminBody, _) => "Any token; an admin may name another customer.",
        (Auth::Admin, _) => "Admin.",
    };
    format!("{} {callers}", route.details).trim().to_owned()
}

/// The subject of a path: the part after the version, or after the customer.
fn tag(path: &str) -> &str {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let (first, second) = (parts.next(), parts.next());
    match (first, second, parts.nth(1)) {
        (Some("v1"), Some("customers"), Some(what)) | (Some("v1"), Some(what), _) => what,
        _ => "operations",
    }
}

fn parameters(route: &Route) -> Vec<Value> {
    let mut parameters: Vec<Value> =
        path_parameters(route.path).map(|name| shared("parameters", &pascal(name))).collect();
    for parameter in route.query {
        parameters.push(match parameter.shared {
            Some(name) => shared("parameters", name),
            None => query_parameter(parameter),
        });
    }
    if let Some(header) = route.proof {
        parameters.push(json!({
            "name": header, "in": "header", "required": true, "schema": { "type": "string" },
            "description": "The signature of the body.",
        }));
    }
    if responses::may_be_unchanged(route) {
        parameters.push(shared("parameters", "IfNoneMatch"));
    }
    if route.is_conditional() {
        parameters.push(shared("parameters", "IfMatch"));
    }
    match route.key {
        KeyRule::None => {}
        KeyRule::Optional => parameters.push(shared("parameters", "OptionalIdempotencyKey")),
        KeyRule::Required => parameters.push(shared("parameters", "IdempotencyKey")),
    }
    parameters
}

/// The names of the variable parts of a path.
fn path_parameters(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn query_parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name, "in": "query",
        "schema": reference(parameter.schema), "description": parameter.description,
    })
}

/// The parameters that several calls take, by the names of their components.
fn shared_parameters(routes: &[Route]) -> Map<String, Value> {
    let header = |name: &str, required: bool, schema: Value, description: &str| {
        json!({
            "name": name, "in": "header", "required": required, "schema": schema,
            "description": description,
        })
    };
    let mut shared = Map::new();
    for name in routes.iter().flat_map(|route| path_parameters(route.path)) {
        let (schema, description, example) = match name {
            "customer_id" => ("CustomerRef", "A customer's id, or `me`.", json!("me")),
            _ => ("Id", "Its id.", json!(1)),
        };
        shared.insert(
            pascal(name),
            json!({
                "name": name, "in": "path", "required": true, "schema": reference(schema),
                "description": description, "example": example,
            }),
        );
    }
    for parameter in routes.iter().flat_map(|route| route.query) {
        if let Some(name) = parameter.shared {
            shared.insert(name.to_owned(), query_parameter(parameter));
        }
    }
    let described = "The same key until there is an answer.";
    for (name, required) in [("IdempotencyKey", true), ("OptionalIdempotencyKey", false)] {
        let key = header("Idempotency-Key", required, reference("IdempotencyKey"), described);
        shared.insert(name.to_owned(), key);
    }
    let conditions = [
        ("IfNoneMatch", "If-None-Match", "The `ETag` that the client has; 304 if it is current."),
        ("IfMatch", "If-Match", "The `ETag` that was read; 412 if it has changed."),
    ];
    for (name, field, described) in conditions {
        let tag = header(field, false, json!({ "type": "string" }), described);
        shared.insert(name.to_owned(), tag);
    }
    shared
}
