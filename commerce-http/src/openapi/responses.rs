//! The responses of operations. Responses that several operations share are components.
//!
//! All errors of all operations are two components with one schema. Their codes tell them apart, and an operation
//! lists the codes of its own in its description. So an error costs the document its code, and an operation two
//! references.

use super::{component_reference, page, problems, reference};
use crate::problem::{HttpError, Problem};
use crate::route::{Auth, KeyRule, Method, Route};
use commerce_core::Code;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The description of the errors of all operations.
const STATUSES: &str = "\
400 malformed, 402 declined, 409 refused, 412 outdated `ETag`, 415 not JSON, 422 invalid; others by their names.";

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
    problems: BTreeMap<&'static str, Vec<Problem>>,
}

impl Responses {
    pub(super) fn of(routes: &[Route]) -> Self {
        let (mut uses, mut problems) = (BTreeMap::<String, (Value, usize)>::new(), BTreeMap::new());
        for route in routes {
            for Response { name, content, .. } in responses(route) {
                let (first, count) = uses.entry(name).or_insert_with(|| (content.clone(), 0));
                // A different response with the same name is inlined.
                *count = count.saturating_add(usize::from(*first == content));
            }
            let of_route = problems_of(route).into_iter();
            problems.extend(of_route.filter_map(|of_code| Some((of_code.first()?.code, of_code))));
        }
        let several = uses.into_iter().filter(|(_, (_, count))| *count > 1);
        Self { shared: several.map(|(name, (content, _))| (name, content)).collect(), problems }
    }

    /// The schema of the problems of all operations.
    pub(super) fn problem_schema(&self) -> Value {
        problems::schema(&self.problems)
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
        responses.push(Response { status: "202".to_owned(), ..success(route) });
    }
    if may_be_not_modified(route) {
        let (status, name) = ("304".to_owned(), "NotModified".to_owned());
        let description = "Not modified.";
        let content =
            json!({ "description": description, "headers": header_references(&["ETag"]) });
        responses.push(Response { status, name, content });
    }
    responses.extend(failures());
    responses
}

fn success(route: &Route) -> Response {
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
    if route.has_etag() {
        content["headers"] = header_references(&["ETag"]);
    }
    let name = schema_name.as_deref().unwrap_or("Done").to_owned();
    Response { status: route.status.to_string(), name, content }
}

/// The header components.
pub(super) fn headers() -> Value {
    let text = |required: bool, description: &str| {
        let mut header = json!({ "description": description, "schema": { "type": "string" } });
        if required {
            header["required"] = true.into();
        }
        header
    };
    let seconds = json!({ "type": "integer", "format": "int64", "minimum": 0 });
    json!({
        "X-Request-Id": text(true, "The request id in the log."),
        "ETag": text(true, "The version, for `If-None-Match` and `If-Match`."),
        "WWW-Authenticate": text(false, "With 401: `Bearer`."),
        "Retry-After": { "description": "With 429 and 503: seconds to wait.", "schema": seconds },
    })
}

fn header_references(names: &[&str]) -> Value {
    let headers: Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), component_reference("headers", name)))
        .collect();
    json!(headers)
}

/// The error responses, the same for every operation. A range stands for the statuses of the request, since each code has
/// one status and clients decide by the code; 503 means something else to them, a retry.
fn failures() -> [Response; 2] {
    let failure = |status: &str, description: &str, headers: &[&str], example: Option<Code>| {
        let example = example.and_then(|code| problems::of_code(code).into_iter().next());
        let mut media = json!({ "schema": reference("Problem") });
        if let Some(example) = example {
            media["example"] = json!(example);
        }
        let content = json!({
            "description": description,
            "headers": header_references(headers),
            "content": { "application/problem+json": media },
        });
        Response { status: status.to_owned(), name: status.to_owned(), content }
    };
    let headers = ["Retry-After", "WWW-Authenticate", "X-Request-Id"];
    [
        failure("4XX", STATUSES, &headers, Some(Code::InsufficientStock)),
        failure("503", "Unavailable: retry with the same key.", &["Retry-After"], None),
    ]
}

/// Examples of all problems of a route: those of its rules, and those that follow from `auth`, `key` and `body`.
pub(crate) fn problems_of(route: &Route) -> Vec<Vec<Problem>> {
    let mut codes: Vec<Code> = route.codes.to_vec();
    let mut errors = Vec::new();
    if route.has_staff_parameters() {
        codes.extend([Code::Unauthenticated, Code::Forbidden]);
    }
    if route.auth != Auth::Public {
        codes.push(Code::Unauthenticated);
    }
    if !matches!(route.auth, Auth::Public | Auth::Order) || route.staff_member.is_some() {
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
