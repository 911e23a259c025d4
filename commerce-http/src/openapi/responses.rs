//! The responses of operations. Responses that several operations share are components.

use super::{component_reference, one_of_problems, page, pascal, problems, reference};
use crate::problem::{HttpError, Problem};
use crate::route::{Auth, KeyRule, Method, Route};
use commerce_core::Code;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The status range of malformed requests. Their responses are the same for every operation.
const ANY_4XX: &str = "4XX";

/// A response of an operation.
struct Response {
    /// A status or a range of statuses.
    status: String,
    /// The name of its component, if several operations share it.
    name: String,
    content: Value,
}

/// The components that responses share.
pub(super) struct Responses {
    shared: Map<String, Value>,
    examples: BTreeMap<&'static str, Vec<Problem>>,
}

impl Responses {
    pub(super) fn of(routes: &[Route]) -> Self {
        let (mut uses, mut examples) = (BTreeMap::<String, (Value, usize)>::new(), BTreeMap::new());
        for route in routes {
            for Response { name, content, .. } in responses(route) {
                let (first, count) = uses.entry(name).or_insert_with(|| (content.clone(), 0));
                // A different response with the same name is inlined.
                *count = count.saturating_add(usize::from(*first == content));
            }
            let problems = problems_of(route).into_iter();
            examples.extend(problems.filter_map(|of_code| Some((of_code.first()?.code, of_code))));
        }
        let several = uses.into_iter().filter(|(_, (_, count))| *count > 1);
        Self { shared: several.map(|(name, (content, _))| (name, content)).collect(), examples }
    }

    /// The schemas of all problems, named after their codes, the values of the discriminator.
    pub(super) fn schemas(&self) -> impl Iterator<Item = (String, Value)> {
        self.examples.iter().map(|(code, of_code)| ((*code).to_owned(), problems::schema(of_code)))
    }

    /// The responses that several operations share, by component name.
    pub(super) fn shared(&self) -> &Map<String, Value> {
        &self.shared
    }

    /// All responses of one operation.
    pub(super) fn of_route(&self, route: &Route) -> Map<String, Value> {
        let entry = |Response { status, name, content }| {
            let is_shared = self.shared.get(&name) == Some(&content);
            (status, if is_shared { component_reference("responses", &name) } else { content })
        };
        responses(route).into_iter().map(entry).collect()
    }
}

/// The statuses of an operation. 405 is absent, because a request with another method belongs to no operation.
pub(crate) fn statuses(route: &Route) -> Vec<u16> {
    let mut statuses = vec![route.status];
    statuses.extend(route.may_be_pending.then_some(202));
    statuses.extend(may_be_not_modified(route).then_some(304));
    let problems = problems_of(route);
    let failed = problems.iter().filter_map(|of_code| Some(of_code.first()?.status));
    statuses.extend(failed.filter(|status| *status != HttpError::MethodNotAllowed.table().0));
    statuses
}

pub(super) fn may_be_not_modified(route: &Route) -> bool {
    route.has_etag() && route.method == Method::Get
}

fn responses(route: &Route) -> Vec<Response> {
    let mut responses = vec![success(route)];
    if route.may_be_pending {
        let mut waiting = success(route);
        waiting.content["description"] =
            "Pending: poll `Location`, or retry with the same key.".into();
        responses.push(Response { status: "202".to_owned(), ..waiting });
    }
    if may_be_not_modified(route) {
        let (status, name) = ("304".to_owned(), "NotModified".to_owned());
        let description = "Not modified.";
        let content =
            json!({ "description": description, "headers": header_references(&["ETag"]) });
        responses.push(Response { status, name, content });
    }
    responses.extend(failures(route));
    responses
}

fn success(route: &Route) -> Response {
    let (status, keyed) = (route.status.to_string(), route.key != KeyRule::None);
    let schema_name = match (route.response, route.is_list) {
        (Some(item), true) => Some(page(item)),
        (name, _) => name.map(str::to_owned),
    };
    let mut content = json!({ "description": "OK." });
    if route.status != 204 {
        let plain = if route.media_type == "application/json" { "object" } else { "string" };
        let schema =
            schema_name.as_ref().map_or_else(|| json!({ "type": plain }), |name| reference(name));
        content["content"] = json!({ route.media_type: { "schema": schema } });
        if route.has_csv {
            content["content"]["text/csv"] = json!({ "schema": { "type": "string" } });
        }
    }
    let headers = [
        (route.status == 201, "Location"),
        (keyed, "Idempotency-Replayed"),
        (route.has_etag(), "ETag"),
    ];
    let headers: Vec<&str> =
        headers.into_iter().filter_map(|(has, name)| has.then_some(name)).collect();
    if !headers.is_empty() {
        content["headers"] = header_references(&headers);
    }
    let created = if route.status == 201 { "Created" } else { "" };
    let name = format!("{created}{}", schema_name.as_deref().unwrap_or("Done"));
    Response { status, name: component(&name, keyed), content }
}

/// The name of a component. Responses that a key replays have one more header.
fn component(name: &str, is_replayable: bool) -> String {
    format!("{name}{}", if is_replayable { "ForKey" } else { "" })
}

/// The header components.
pub(super) fn headers() -> Value {
    let text = |required: bool, description: &str| json!({ "description": description, "required": required, "schema": { "type": "string" } });
    let seconds = json!({ "type": "integer", "format": "int64", "minimum": 0 });
    json!({
        "X-Request-Id": text(true, "The request id in the log."),
        "Location": text(true, "The URL of the resource."),
        "Replayed": text(false, "`true` for a replayed response."),
        "ETag": text(true, "The version, for `If-None-Match` and `If-Match`."),
        "WWW-Authenticate": text(true, "`Bearer`."),
        "Allow": text(false, "With 405: the supported methods."),
        "Retry-After": { "description": "Seconds to wait.", "required": true, "schema": seconds },
    })
}

fn header_references(names: &[&str]) -> Value {
    // The longest name occurs in most responses, so its component has a short one.
    let component =
        |name: &str| if name == "Idempotency-Replayed" { "Replayed" } else { name }.to_owned();
    let headers: Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), component_reference("headers", &component(name))))
        .collect();
    json!(headers)
}

/// The error responses of a route, one per status.
fn failures(route: &Route) -> Vec<Response> {
    // Without a key, a body or a query, few requests are invalid: their errors are in the common range.
    let bare = route.key == KeyRule::None && route.body.is_none() && route.query.is_empty();
    let problems = problems_of(route);
    let mut by_status: BTreeMap<String, Vec<&Problem>> = BTreeMap::new();
    for problem in problems.iter().filter_map(|of_code| of_code.first()) {
        let (is_common, is_specific) = match problem.status {
            // A missing key is specific to the route; other malformed requests are common.
            400 if problem.code == HttpError::KeyMissing.code() => (false, true),
            400 => (true, route.key != KeyRule::None),
            412 => (true, route.is_conditional()),
            422 => (problem.code == Code::InvalidRequest.as_str(), !bare),
            405 | 408 | 413 | 415 | 431 => (true, false),
            _ => (false, true),
        };
        if is_common {
            by_status.entry(ANY_4XX.to_owned()).or_default().push(problem);
        }
        if is_specific {
            by_status.entry(problem.status.to_string()).or_default().push(problem);
        }
    }
    by_status.into_iter().map(|(status, problems)| failure(route, status, &problems)).collect()
}

fn failure(route: &Route, status: String, problems: &[&Problem]) -> Response {
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
    let is_replayable = route.key != KeyRule::None && is_replayable(&status, &codes);
    let (description, schema) = match problems {
        [problem] => (format!("{}.", problem.title), reference(problem.code)),
        _ => ("Error.".to_owned(), one_of_problems(&codes)),
    };
    let mut headers = Vec::new();
    match status.as_str() {
        "401" => headers.push("WWW-Authenticate"),
        ANY_4XX => headers.extend(["Allow", "X-Request-Id"]),
        "429" | "503" => headers.push("Retry-After"),
        _ => {}
    }
    if is_replayable {
        headers.push("Idempotency-Replayed");
    }
    // The first problem is the most specific one.
    let name = match codes.first() {
        // Most operations refer to these two: short names keep the document small.
        Some(code) if status != ANY_4XX => pascal(code.trim_start_matches("idempotency_")),
        _ => "Any4XX".to_owned(),
    };
    let mut content = json!({
        "description": description,
        "content": { "application/problem+json": { "schema": schema } },
    });
    if !headers.is_empty() {
        content["headers"] = header_references(&headers);
    }
    Response { status, name: component(&name, is_replayable), content }
}

/// Returns true if a key replays one of these errors: those of rules after the customer and the order are known.
fn is_replayable(status: &str, codes: &[&str]) -> bool {
    let never = [Code::CustomerNotFound, Code::OrderNotFound].map(Code::as_str);
    let not_found = HttpError::PathNotFound.code();
    match status {
        "402" | "409" => true,
        "404" => codes.iter().any(|code| *code != not_found && !never.contains(code)),
        _ => false,
    }
}

/// Examples of all problems of a route: those of its rules, and those that follow from `auth`, `key` and `body`.
pub(crate) fn problems_of(route: &Route) -> Vec<Vec<Problem>> {
    let mut codes: Vec<Code> = route.codes.to_vec();
    let mut errors = Vec::new();
    if route.auth != Auth::Public {
        codes.push(Code::Unauthenticated);
    }
    if !matches!(route.auth, Auth::Public | Auth::Authenticated | Auth::Order) {
        codes.push(Code::Forbidden);
    }
    if route.path.contains('{') {
        errors.push(HttpError::PathNotFound);
    }
    if route.key != KeyRule::None {
        errors.push(HttpError::KeyMissing);
        codes.push(Code::IdempotencyKeyReused);
    }
    errors.extend([
        HttpError::Malformed,
        HttpError::MethodNotAllowed,
        HttpError::BodyTimeout,
        HttpError::BodyTooLarge,
        HttpError::NotJson,
        HttpError::HeadTooLarge,
    ]);
    // Unknown bodies and parameters are rejected too.
    codes.extend([Code::InvalidRequest, Code::PreconditionFailed, Code::Busy, Code::Storage]);
    let library = codes.into_iter().map(problems::of_code);
    library.chain(errors.into_iter().map(|error| vec![problems::of_http(error)])).collect()
}
