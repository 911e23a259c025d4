//! The OpenAPI 3.1 document, generated from the route table.

mod problems;
mod rendering_3_0;
mod responses;

use crate::route::{Auth, KeyRule, Parameter, Route};
use crate::routes::ROUTES;
use crate::schema::{self, REFERENCE};
use crate::state::Documents;
use commerce_core::Code;
use responses::Responses;
#[cfg(test)]
pub(crate) use responses::problems_of;
pub(crate) use responses::statuses;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

const DESCRIPTION: &str = "\
Money is an integer in minor units of the store's currency: 1250 is 12.50 USD or 1250 KRW.

Log in with `POST /v1/sessions` and send `Authorization: Bearer TOKEN`.

Calls that move money, stock or coupons need an `Idempotency-Key` chosen by the client. A retry with the same key and \
body replays the first response and changes nothing. 201 and 202 have a `Location`.

Lists are paginated: send `next_cursor` as `cursor`; it is null on the last page. Errors are RFC 9457 problems with a \
permanent `code`; an id in a path that does not exist is 404, such as `order_not_found`; a change for an erased customer is `customer_erased`. Ignore unknown members.";

/// The documents of the route table, generated once for all services of a process.
pub(crate) static DOCUMENTS: LazyLock<Documents> = LazyLock::new(|| {
    let document = document(ROUTES);
    Documents {
        rendering_3_0: rendering_3_0::rendering(&document).to_string().into_bytes(),
        current: document.to_string().into_bytes(),
    }
});

fn document(routes: &[Route]) -> Value {
    let responses = Responses::of(routes);
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.name().to_lowercase()] = operation(route, &responses);
    }
    for (path, item) in &mut paths {
        share_path_parameters(path, item);
    }
    let mut schemas = schemas(routes);
    schemas.insert("Problem".to_owned(), responses.problem_schema());
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "commerce",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "contact": { "name": "The operator of this server" },
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
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
                    "description": "A token of POST /v1/sessions, or from the operator.",
                },
            },
        },
    });
    remove_unused_schemas(&mut document);
    document
}

/// Moves the variable parts of a path from its operations to the path, if it has several.
fn share_path_parameters(path: &str, item: &mut Value) {
    let operations = item.as_object_mut().filter(|operations| operations.len() > 1);
    let shared: Vec<Value> = path_parameters(path).map(path_parameter).collect();
    let Some(operations) = operations.filter(|_| !shared.is_empty()) else { return };
    for operation in operations.values_mut().filter_map(Value::as_object_mut) {
        if let Some(own) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
            own.retain(|parameter| !shared.contains(parameter));
            if own.is_empty() {
                operation.remove("parameters");
            }
        }
    }
    operations.insert("parameters".to_owned(), shared.into());
}

/// Removes schemas that nothing refers to: those that are written out at their only use.
fn remove_unused_schemas(document: &mut Value) {
    let text = document.to_string();
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.retain(|name, _| text.contains(&reference(name).to_string()));
    }
}

/// The tags in the order of the routes, which the object `paths` does not preserve.
fn tags(routes: &[Route]) -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    for name in routes.iter().map(|route| tag(route.path)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let tag = |name| json!({ "name": name, "description": tag_description(name) });
    names.into_iter().map(tag).collect()
}

fn tag_description(tag: &str) -> &'static str {
    match tag {
        "customers" | "password" => "Accounts.",
        "role" | "tokens" | "audit-log" => "Staff.",
        "sessions" => "Log in and out.",
        "balance" => "Prepaid balances.",
        "charges" => "Top-ups and their refunds.",
        "debits" => "Debits outside an order.",
        "ledger" => "The history of a balance.",
        "payments" => "Payments and refunds of orders.",
        "products" => "Names, prices and stock.",
        "bestsellers" => "Ranked products.",
        "cart" => "A cart reserves nothing.",
        "coupons" => "Campaigns and claimed coupons.",
        "orders" => "Place, pay and cancel orders.",
        "exports" => "Rows as files.",
        "reports" => "Statistics.",
        "webhooks" => "Webhooks of payment gateways.",
        _ => "Health, metrics and documentation.",
    }
}

/// The schemas of requests and responses, with a page schema for each listed item.
fn schemas(routes: &[Route]) -> Map<String, Value> {
    let mut schemas = schema::all().clone();
    for schema in schemas.values_mut() {
        // A request has the limits of its values, which a reference has.
        if schema["additionalProperties"] != false {
            shorten_nullable(schema);
        }
    }
    for schema in schemas.values_mut().filter_map(Value::as_object_mut) {
        if let Some(example) = schema.remove("example") {
            schema.insert("examples".to_owned(), json!([example]));
        }
    }
    for item in routes.iter().filter(|route| route.is_list).filter_map(|route| route.response) {
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

/// Replaces a choice between a number, or a timestamp, and null by its type, which is shorter than the reference.
fn shorten_nullable(schema: &mut Value) {
    let plain = ["Id", "Count", "Amount", "Money", "Instant"].map(reference);
    let members = schema.get_mut("properties").and_then(Value::as_object_mut);
    for member in members.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
        let Some([target, null]) = member.get("oneOf").and_then(Value::as_array).map(Vec::as_slice)
        else {
            continue;
        };
        if null["type"] == "null" && plain.contains(target) {
            let target = schema::resolved(target);
            let (kind, format) = (json!([target["type"], "null"]), target["format"].clone());
            member.remove("oneOf");
            member.insert("type".to_owned(), kind);
            member.insert("format".to_owned(), format);
        }
    }
}

/// The name of the page schema of an item.
fn page(item: &str) -> String {
    format!("{item}Page")
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{REFERENCE}{name}") })
}

/// A reference to a component other than a schema.
fn component_reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

/// Converts `snake_case` to `PascalCase`, the style of component names.
fn pascal(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            first.to_uppercase() + rest
        })
        .collect()
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
    if route.auth == Auth::Public && route.has_staff_parameters() {
        operation["security"] = json!([{}, { "bearer": [] }]);
    } else if route.auth == Auth::Public {
        operation["security"] = json!([]);
    }
    if route.signature.is_some() {
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

/// The details of a call, and the callers that may use it.
fn description(route: &Route) -> String {
    let staff = route.least_staff_role();
    let callers = match (route.auth, route.signature) {
        (_, Some(_)) => "Signed by the gateway.".to_owned(),
        (Auth::Public, _) => "Public.".to_owned(),
        (Auth::Session, _) => "Any customer.".to_owned(),
        (Auth::Customer | Auth::Order, _) => format!("Owner or {staff}."),
        (Auth::OwnerWithGateway, _) => format!("Owner, if there is a payment gateway, or {staff}."),
        (Auth::SelfOrBody, _) => format!("Any customer; a {staff} names another."),
        (Auth::Staff(_), _) => format!("From {staff} up."),
    };
    let codes: Vec<&str> = refusals(route).map(Code::as_str).collect();
    let errors =
        if codes.is_empty() { String::new() } else { format!("Errors: {}.", codes.join(", ")) };
    format!("{} {callers} {errors}", route.details).trim().to_owned()
}

/// The codes of the rules of a route, without those that the document describes once: of an id in its path, and of an
/// erased customer.
pub(crate) fn refusals(route: &Route) -> impl Iterator<Item = Code> {
    let is_of_path = |code: &Code| {
        let entity = code.as_str().strip_suffix("_not_found");
        entity.is_some_and(|entity| route.path.contains(&format!("{entity}_id}}")))
    };
    let is_common = move |code: &Code| is_of_path(code) || *code == Code::CustomerErased;
    route.codes.iter().copied().filter(move |code| !is_common(code))
}

/// The tag of a path: the segment after the version, or after the customer.
fn tag(path: &str) -> &str {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let (first, second) = (parts.next(), parts.next());
    match (first, second, parts.nth(1)) {
        (Some("v1"), Some("customers"), Some(resource)) | (Some("v1"), Some(resource), _) => {
            resource
        }
        _ => "operations",
    }
}

fn parameters(route: &Route) -> Vec<Value> {
    let mut parameters: Vec<Value> = path_parameters(route.path).map(path_parameter).collect();
    for parameter in route.query {
        parameters.push(match parameter.shared {
            Some(name) => component_reference("parameters", name),
            None => query_parameter(parameter),
        });
    }
    if let Some(header) = route.signature {
        parameters.push(json!({
            "name": header, "in": "header", "required": true, "schema": { "type": "string" },
            "description": "The signature of the body.",
        }));
    }
    if responses::may_be_not_modified(route) {
        parameters.push(component_reference("parameters", "IfNoneMatch"));
    }
    if route.is_conditional() {
        parameters.push(component_reference("parameters", "IfMatch"));
    }
    match route.key {
        KeyRule::None => {}
        KeyRule::Optional => parameters.push(component_reference("parameters", "OptionalKey")),
        KeyRule::Required => parameters.push(component_reference("parameters", "Key")),
    }
    parameters
}

/// The names of the variable parts of a path.
fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn path_parameter(name: &str) -> Value {
    component_reference("parameters", &pascal(name))
}

fn query_parameter(parameter: &Parameter) -> Value {
    // A named type of one parameter only makes its callers convert a number or a text.
    let schema = match schema::find(parameter.schema) {
        schema if schema.get("enum").is_none() && !is_shared(parameter.schema) => schema.clone(),
        _ => reference(parameter.schema),
    };
    let mut document = json!({ "name": parameter.name, "in": "query", "schema": schema });
    if !parameter.description.is_empty() {
        document["description"] = parameter.description.into();
    }
    document
}

/// Returns true if another schema refers to this one.
fn is_shared(name: &str) -> bool {
    let reference = reference(name).to_string();
    schema::all().values().any(|schema| schema.to_string().contains(&reference))
}

/// The parameters that several calls share, by component name.
fn shared_parameters(routes: &[Route]) -> Map<String, Value> {
    let header = |name: &str, required: bool, schema: Value, description: &str| {
        let mut header = json!({
            "name": name, "in": "header", "schema": schema, "description": description,
        });
        if required {
            header["required"] = true.into();
        }
        header
    };
    let mut shared = Map::new();
    for name in routes.iter().flat_map(|route| path_parameters(route.path)) {
        let (schema, example) = match name {
            "customer_id" => ("CustomerRef", json!("me")),
            "session_id" => ("SessionId", json!("0f1e2d3c4b5a6978")),
            _ => ("Id", json!(1)),
        };
        // The page fills in the example.
        let mut parameter = json!({
            "name": name, "in": "path", "required": true, "schema": reference(schema), "example": example,
        });
        if name == "customer_id" {
            parameter["description"] = "A customer's id, or `me`.".into();
        }
        if name == "kind" {
            parameter["schema"] = reference("ExportKind");
            parameter["example"] = "orders".into();
        }
        shared.insert(pascal(name), parameter);
    }
    for parameter in routes.iter().flat_map(|route| route.query) {
        if let Some(name) = parameter.shared {
            shared.insert(name.to_owned(), query_parameter(parameter));
        }
    }
    let described = "Reuse it for retries. A replayed response has `Idempotency-Replayed: true`.";
    for (name, required) in [("Key", true), ("OptionalKey", false)] {
        let described = if required { described } else { "As where it is required." };
        let key = header("Idempotency-Key", required, reference("IdempotencyKey"), described);
        shared.insert(name.to_owned(), key);
    }
    let conditions = [
        ("IfNoneMatch", "If-None-Match", "The cached `ETag`; 304 if current."),
        ("IfMatch", "If-Match", "The `ETag` that was read; 412 if changed."),
    ];
    for (name, field, described) in conditions {
        let tag = header(field, false, json!({ "type": "string" }), described);
        shared.insert(name.to_owned(), tag);
    }
    shared
}
