//! The responses of operations. Those that several operations share are components.

use super::{one_of_problems, page, pascal, problems, reference, shared};
use crate::problem::{HttpError, Problem};
use crate::route::{Auth, KeyRule, Method, Route};
use commerce_core::Code;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The key of the responses to requests that are validate in form, which are the same for every operation.
const ANY_4XX: &str = "4XX";

/// A response of an operation.
struct Response {
    /// A status, or a range of them.
    status: String,
    /// The name of its component, if several operations have it.
    name: String,
    content: Value,
}

/// What the responses of all operations have in common.
pub(super) struct Responses {
    shared: Map<String, Value>,
    samples: BTreeMap<&'static str, Vec<Problem>>,
}

impl Responses {
    pub(super) fn of(routes: &[Route]) -> Self {
        let (mut uses, mut samples) = (BTreeMap::<String, (Value, usize)>::new(), BTreeMap::new());
        for route in routes {
            for Response { name, content, .. } in responses(route) {
                let (first, count) = uses.entry(name).or_insert_with(|| (content.clone(), 0));
                // Another response of the same name stays where it is.
                *count = count.saturating_add(usize::from(*first == content));
            }
            let problems = problems_of(route).into_iter();
            samples.extend(problems.filter_map(|samples| Some((samples.first()?.code, samples))));
        }
        let several = uses.into_iter().filter(|(_, (_, count))| *count > 1);
        Self { shared: several.map(|(name, (content, _))| (name, content)).collect(), samples }
    }

    /// The schemas of all problems, by their codes: so a code is what a discriminator looks for.
    pub(super) fn schemas(&self) -> impl Iterator<Item = (String, Value)> {
        self.samples.iter().map(|(code, samples)| ((*code).to_owned(), problems::schema(samples)))
    }

    /// The responses that several operations have, by the names of their components.
    pub(super) fn shared(&self) -> &Map<String, Value> {
        &self.shared
    }

    /// All responses of one operation.
    pub(super) fn of_route(&self, route: &Route) -> Map<String, Value> {
        let index = |Response { status, name, content }| {
            let is_shared = self.shared.get(&name) == Some(&content);
            (status, if is_shared { shared("responses", &name) } else { content })
        };
        responses(route).into_iter().map(index).collect()
    }
}

/// The statuses that an operation can be answered with. Requests with another method belong to no operation.
pub(crate) fn statuses(route: &Route) -> Vec<u16> {
    let mut statuses = vec![route.status];
    statuses.extend(route.waits.then_some(202));
    statuses.extend(may_be_unchanged(route).then_some(304));
    let problems = problems_of(route);
    let failed = problems.iter().filter_map(|samples| Some(samples.first()?.status));
    statuses.extend(failed.filter(|status| *status != HttpError::MethodNotAllowed.table().0));
    statuses
}

pub(super) fn may_be_unchanged(route: &Route) -> bool {
    route.is_tagged() && route.method == Method::Get
}

fn responses(route: &Route) -> Vec<Response> {
    let mut responses = vec![success(route)];
    if route.waits {
        let mut waiting = success(route);
        waiting.content["description"] =
            "Pending: read `Location` later, or repeat with the same key.".into();
        responses.push(Response { status: "202".to_owned(), ..waiting });
    }
    if may_be_unchanged(route) {
        let (status, name) = ("304".to_owned(), "NotModified".to_owned());
        let description = "The client has the current answer.";
        let content =
            json!({ "description": description, "headers": header_references(&["ETag"]) });
        responses.push(Response { status, name, content });
    }
    responses.extend(failures(route));
    responses
}

fn success(route: &Route) -> Response {
    let (status, keyed) = (route.status.to_string(), route.key != KeyRule::None);
    let answer = match (route.answer, route.list) {
        (Some(item), true) => Some(page(item)),
        (answer, _) => answer.map(str::to_owned),
    };
    let mut content = json!({ "description": "Done." });
    if route.status != 204 {
        let plain = if route.media == "application/json" { "object" } else { "string" };
        let schema =
            answer.as_ref().map_or_else(|| json!({ "type": plain }), |answer| reference(answer));
        content["content"] = json!({ route.media: { "schema": schema } });
    }
    let headers = [
        (route.status == 201, "Location"),
        (keyed, "Idempotency-Replayed"),
        (route.is_tagged(), "ETag"),
    ];
    let headers: Vec<&str> =
        headers.into_iter().filter_map(|(has, name)| has.then_some(name)).collect();
    if !headers.is_empty() {
        content["headers"] = header_references(&headers);
    }
    let created = if route.status == 201 { "Created" } else { "" };
    let name = format!("{created}{}", answer.as_deref().unwrap_or("Done"));
    Response { status, name: component(&name, keyed), content }
}

/// The name of a component. What is repeated for a key has a header more.
fn component(name: &str, is_kept: bool) -> String {
    format!("{name}{}", if is_kept { "ForKey" } else { "" })
}

/// The headers of responses, which are components all of them.
pub(super) fn headers() -> Value {
    let text = |required: bool, description: &str| json!({ "description": description, "required": required, "schema": { "type": "string" } });
    let seconds = json!({ "type": "integer", "format": "int64", "minimum": 0 });
    json!({
        "X-Request-Id": text(true, "The name of the request in the log."),
        "Location": text(true, "The place where it is found from now on."),
        "Replayed": text(false, "`true` if this is the answer that the key got before."),
        "ETag": text(true, "The version of it, for `If-None-Match` and `If-Match`."),
        "WWW-Authenticate": text(true, "The scheme that is wanted: `Bearer`."),
        "Allow": text(false, "With 405: the methods that the path takes."),
        "Retry-After": { "description": "Seconds to wait.", "required": true, "schema": seconds },
    })
}

fn header_references(names: &[&str]) -> Value {
    // The longest name stands in most responses.
    let component =
        |name: &str| if name == "Idempotency-Replayed" { "Replayed" } else { name }.to_owned();
    let headers: Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), shared("headers", &component(name))))
        .collect();
    json!(headers)
}

/// The failures of a route, one a status.
fn failures(route: &Route) -> Vec<Response> {
    // Without a key, a body or a query there is little to get validate.
    let bare = route.key == KeyRule::None && route.body.is_none() && route.query.is_empty();
    let problems = problems_of(route);
    let mut by_status: BTreeMap<String, Vec<&Problem>> = BTreeMap::new();
    for problem in problems.iter().filter_map(|samples| samples.first()) {
        let (any, particular) = match problem.status {
            // The key is missing, or the request is malformed in another way.
            400 if problem.code == HttpError::KeyMissing.table().1 => (false, true),
            400 => (true, route.key != KeyRule::None),
            412 => (true, route.is_conditional()),
            422 => (problem.code == Code::InvalidRequest.as_str(), !bare),
            405 | 408 | 413 | 415 | 431 => (true, false),
            _ => (false, true),
        };
        if any {
            by_status.entry(ANY_4XX.to_owned()).or_default().push(problem);
        }
        if particular {
            by_status.entry(problem.status.to_string()).or_default().push(problem);
        }
    }
    by_status.into_iter().map(|(status, problems)| failure(route, status, &problems)).collect()
}

fn failure(route: &Route, status: String, problems: &[&Problem]) -> Response {
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
    let is_kept = route.key != KeyRule::None && is_kept(&status, &codes);
    let (description, schema) = match problems {
        [problem] => (format!("{}.", problem.title), reference(problem.code)),
        _ => ("Refused.".to_owned(), one_of_problems(&codes)),
    };
    let mut headers = Vec::new();
    match status.as_str() {
        "401" => headers.push("WWW-Authenticate"),
        ANY_4XX => headers.extend(["Allow", "X-Request-Id"]),
        "429" | "503" => headers.push("Retry-After"),
        _ => {}
    }
    if is_kept {
        headers.push("Idempotency-Replayed");
    }
    // Its first problem is the most particular one.
    let name = match codes.first() {
        Some(code) if status != ANY_4XX => pascal(code),
        _ => "Any4XX".to_owned(),
    };
    let mut content = json!({
        "description": description,
        "content": { "application/problem+json": { "schema": schema } },
    });
    if !headers.is_empty() {
        content["headers"] = header_references(&headers);
    }
    Response { status, name: component(&name, is_kept), content }
}

/// Whether a key keeps one of these answers: those that rules give once the customer and the order are known.
fn is_kept(status: &str, codes: &[&str]) -> bool {
    let never = [Code::CustomerNotFound, Code::OrderNotFound].map(Code::as_str);
    let not_found = HttpError::NoSuchPath.table().1;
    match status {
        "402" | "409" => true,
        "404" => codes.iter().any(|code| *code != not_found && !never.contains(code)),
        _ => false,
    }
}

/// Samples of every problem a route can give: what its rules refuse, and what follows from how it is called.
fn problems_of(route: &Route) -> Vec<Vec<Problem>> {
    let mut codes: Vec<Code> = route.codes.to_vec();
    let mut faults = Vec::new();
    if route.access != Auth::Public {
        codes.push(Code::Unauthenticated);
    }
    if !matches!(route.access, Auth::Public | Auth::Authenticated | Auth::Order) {
        codes.push(Code::Forbidden);
    }
    if route.path.contains('{') {
        faults.push(HttpError::NoSuchPath);
    }
    if route.key != KeyRule::None {
        faults.push(HttpError::KeyMissing);
        codes.push(Code::IdempotencyKeyReused);
    }
    faults.extend([
        HttpError::Malformed,
        HttpError::MethodNotAllowed,
        HttpError::TooSlow,
        HttpError::BodyTooLarge,
        HttpError::NotJson,
        HttpError::HeadTooLarge,
    ]);
    // A body or a parameter that is not asked for is refused as well.
    codes.extend([Code::InvalidRequest, Code::PreconditionFailed, Code::Busy, Code::Storage]);
    let of_rules = codes.into_iter().map(problems::of_code);
    of_rules.chain(faults.into_iter().map(|fault| vec![problems::of_fault(fault)])).collect()
}
