//! The service: from a request to a response, by way of the route table. No socket in sight.
//!
//! Whatever the way of a request, it passes here: its route is found, who calls is asked and whether they
//! may, key, query and body are read, and only then the handler sees it. Then it is counted and logged.

use crate::access_log::{Entry, Log};
use crate::auth;
use crate::context::{self, REPLAYED, Rejection, RequestContext, Success};
use crate::cors::{self, Origin};
use crate::message::{Connections, Request, Response, Service, TransportError};
use crate::metrics::Metrics;
use crate::openapi::{self, Documents};
use crate::pages::{self, PAGES, Page};
use crate::problem::{HttpError, Problem};
use crate::query;
use crate::request_id::{RequestIds, TraceContext};
use crate::route::{KeyRule, Method, Route};
use crate::routes::ROUTES;
use crate::schema;
use crate::target;
use crate::{etag, json};
use commerce_core::{Caller, Code, Error, Key, Refusal, Shop};
use matchit::Router;
use serde_json::Value;
use std::borrow::Cow;
use std::time::Instant;

/// The HTTP service of a shop.
pub struct Api {
    pub(crate) shop: Shop,
    pub(crate) metrics: Metrics,
    /// The OpenAPI document, in both renderings.
    pub(crate) documents: Documents,
    places: Router<RouteEntry>,
    origins: Vec<Origin>,
    log: Log,
    ids: RequestIds,
}

/// What is at a path.
enum RouteEntry {
    /// Routes, one a method.
    Routes(Vec<&'static Route>),
    /// A page for people.
    Page(&'static Page),
    /// What the codes of problems mean: all of them, or the one of the path.
    Problems,
}

/// How a request ended, for the log and the figures.
#[derive(Default)]
struct RequestRecord {
    route: Option<&'static Route>,
    caller: Option<Caller>,
    code: Option<&'static str>,
    /// Why the store failed.
    detail: Option<String>,
}

/// Why a request was turned down.
pub(crate) enum HandlerError {
    /// An error of the library.
    Rejection(Rejection),
    /// Something that only HTTP knows.
    Problem(Box<Problem>),
    /// The path has other methods than that.
    Method(String),
}

impl<E: Into<Rejection>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::Rejection(error.into())
    }
}

impl HandlerError {
    pub(crate) fn fault(fault: HttpError, detail: impl Into<String>) -> Self {
        Self::Problem(Box::new(Problem::fault(fault, detail)))
    }
}

impl Api {
    /// The service of that shop.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers, or the route table contradicts itself.
    pub fn new(shop: Shop, log: Log) -> Result<Self, String> {
        let mut places = Router::new();
        for page in PAGES {
            places.insert(page.path, RouteEntry::Page(page)).map_err(|error| error.to_string())?;
        }
        for path in ["/problems", "/problems/{code}"] {
            places.insert(path, RouteEntry::Problems).map_err(|error| error.to_string())?;
        }
        let mut first: Vec<&str> = Vec::new();
        for route in ROUTES {
            if !first.contains(&route.path) {
                first.push(route.path);
                let routes = ROUTES.iter().filter(|other| other.path == route.path).collect();
                let inserted = places.insert(route.path, RouteEntry::Routes(routes));
                inserted.map_err(|error| format!("{}: {error}", route.path))?;
            }
        }
        let (documents, origins) = (openapi::documents(ROUTES), Vec::new());
        let (metrics, ids) = (Metrics::new(ROUTES), RequestIds::new()?);
        Ok(Self { shop, metrics, documents, places, origins, log, ids })
    }

    /// With the origins whose pages may call from a browser; none unless told.
    #[must_use]
    pub fn with_origins(self, origins: Vec<Origin>) -> Self {
        Self { origins, ..self }
    }

    /// The shop.
    #[must_use]
    pub fn shop(&self) -> &Shop {
        &self.shop
    }

    /// Writes a line into the log about what is done beside requests.
    pub fn note(&self, message: &str, detail: &str) {
        self.log.note(self.shop.now(), message, detail);
    }

    fn handle(
        &self,
        request: &Request,
        trail: &TraceContext,
        ended: &mut RequestRecord,
    ) -> Result<Success, HandlerError> {
        if let Some(reply) = cors::preflight(&self.origins, request) {
            return Ok(reply);
        }
        let (path, query) = target::split(&request.target);
        let path = target::normal(path);
        let nothing_there =
            || HandlerError::fault(HttpError::NoSuchPath, "nothing is here: see /docs");
        let found = self.places.at(&path).map_err(|_| nothing_there())?;
        let method = if request.method == "HEAD" { "GET" } else { &request.method };
        let route = match found.value {
            RouteEntry::Page(page) if method == "GET" => return Ok(page.reply()),
            RouteEntry::Problems if method == "GET" => {
                let accept = request.values("Accept").collect::<Vec<_>>().join(",");
                let page = pages::problems(found.params.get("code"), &accept);
                return page.ok_or_else(nothing_there);
            }
            RouteEntry::Page(_) | RouteEntry::Problems => {
                return method_not_allowed(method, &[Method::Get]);
            }
            RouteEntry::Routes(routes) => {
                let Some(route) = routes.iter().find(|route| route.method.name() == method) else {
                    let methods: Vec<_> = routes.iter().map(|route| route.method).collect();
                    return method_not_allowed(method, &methods);
                };
                route
            }
        };
        ended.route = Some(route);
        let path = auth::ids(&found.params).ok_or_else(nothing_there);
        let mut admitted = auth::authorize(&self.shop, route, request, &found.params)?;
        ended.caller = admitted.caller;
        let path = path?;
        let query = query::read(route, query)?;
        let key = key(route, request)?;
        let versions = etag::if_match(route, request)?;
        let body = body(route, request)?;
        auth::name(&mut admitted, route, &body)?;
        let call = RequestContext {
            api: self,
            request,
            path,
            query,
            key,
            versions,
            body,
            trace: Some(trail.trace.as_ref().unwrap_or(&trail.id).clone()),
            token: admitted.token,
            customer: admitted.customer,
            order: admitted.order,
        };
        let mut reply = (route.handler)(&call)?;
        ended.detail = reply.detail.take();
        Ok(if route.is_tagged() { etag::tag(reply, route, request) } else { reply })
    }

    /// The answer that says why a request was turned down.
    fn error_response(
        &self,
        stop: HandlerError,
        request: &Request,
        trail: &TraceContext,
        ended: &mut RequestRecord,
    ) -> Success {
        let mut headers: Vec<(&'static str, Cow<'static, str>)> = Vec::new();
        let mut problem = match stop {
            HandlerError::Rejection(Rejection { error, replayed }) => {
                if replayed {
                    headers.push((REPLAYED, "true".into()));
                }
                if let Error::Refused(
                    Refusal::TooManyRequests { retry_after }
                    | Refusal::TooManyPendingCharges { retry_after },
                ) = &error
                {
                    headers.push(("Retry-After", retry_after.to_string().into()));
                }
                if let Error::Store(failure) = &error {
                    ended.detail = Some(failure.to_string());
                }
                Problem::of(&error, self.shop.currency())
            }
            HandlerError::Problem(problem) => {
                // Who sends notices shows nobody the answer, and the operator looks here.
                if ended.route.is_some_and(|route| route.proof.is_some()) {
                    ended.detail = Some(problem.detail.clone());
                }
                *problem
            }
            HandlerError::Method(allowed) => {
                let detail = format!("this path takes {allowed}");
                headers.push(("Allow", allowed.into()));
                Problem::fault(HttpError::MethodNotAllowed, detail)
            }
        };
        if problem.status == 401 {
            // A client that sent a token learns that it is the token (RFC 6750, 3.1).
            let sent = problem.code == Code::Unauthenticated.as_str()
                && request.values("Authorization").any(auth::is_bearer);
            let challenge = if sent { "Bearer error=\"invalid_token\"" } else { "Bearer" };
            headers.push(("WWW-Authenticate", challenge.into()));
        }
        if problem.code == HttpError::NotJson.table().1 {
            // RFC 7694: what a body may be encoded with.
            headers.push(("Accept-Encoding", "identity".into()));
        }
        if problem.status == 503 {
            headers.push(("Retry-After", "1".into()));
        }
        ended.code = Some(problem.code);
        problem.numbers.insert("request_id".to_owned(), trail.id.clone().into());
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        headers.push(("Content-Type", "application/problem+json".into()));
        Success { status: problem.status, headers, body: Cow::Owned(body), detail: None }
    }

    fn finish(
        &self,
        request: &Request,
        trail: TraceContext,
        begun: Instant,
        ended: &RequestRecord,
        reply: Success,
    ) -> Response {
        let took = begun.elapsed();
        let operation = ended.route.map_or("none", |route| route.operation);
        let replayed = reply.headers.iter().any(|(name, _)| *name == REPLAYED);
        self.metrics.count(operation, reply.status, took, ended.code, replayed);
        self.log.write(&Entry {
            at: self.shop.now(),
            request: &trail.id,
            method: &request.method,
            path: shown(&request.target),
            operation,
            status: reply.status,
            code: ended.code,
            detail: ended.detail.as_deref(),
            took,
            customer: ended.caller.map(|caller| caller.customer_id),
            trace: trail.trace.as_deref(),
        });
        // What is answered is somebody's own, or true now and not later.
        let mut reply = reply.with("X-Content-Type-Options", "nosniff");
        if !reply.headers.iter().any(|(name, _)| *name == "Cache-Control") {
            reply = reply.with(
                "Cache-Control",
                if ended.route.is_some_and(Route::may_be_cached) { "no-cache" } else { "no-store" },
            );
        }
        let reply = cors::share(&self.origins, request, reply);
        reply.with("X-Request-Id", trail.id).into_response()
    }
}

/// What of a target is logged. One that is no path may hold a password, as a URL's place may.
fn shown(target: &str) -> &str {
    let (path, _) = target::split(target);
    if path.starts_with('/') { path } else { "-" }
}

/// Answers `OPTIONS`, and turns down what the path does not take.
fn method_not_allowed(method: &str, methods: &[Method]) -> Result<Success, HandlerError> {
    let mut names: Vec<&str> = methods.iter().map(|method| method.name()).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    let allowed = names.join(", ");
    match method {
        "OPTIONS" => Ok(Success::nothing().with("Allow", allowed)),
        _ => Err(HandlerError::Method(allowed)),
    }
}

fn key(route: &Route, request: &Request) -> Result<Option<Key>, HandlerError> {
    if route.key == KeyRule::None {
        return Ok(None);
    }
    let mut keys = request.values("Idempotency-Key");
    let sent = keys.next();
    if keys.next().is_some() {
        let detail = "Idempotency-Key comes twice: send one";
        return Err(HandlerError::fault(HttpError::KeyMissing, detail));
    }
    match (sent, route.key) {
        (Some(text), _) => Ok(Some(
            context::key(text).map_err(|problem| HandlerError::Problem(Box::new(problem)))?,
        )),
        (None, KeyRule::Required) => Err(HandlerError::fault(
            HttpError::KeyMissing,
            "the header Idempotency-Key is missing: choose a key for each thing that is to happen once, \
             and send it again when you try again",
        )),
        (None, KeyRule::Optional | KeyRule::None) => Ok(None),
    }
}

fn body(route: &Route, request: &Request) -> Result<Value, HandlerError> {
    let plain = |encoding: &str| encoding.trim().eq_ignore_ascii_case("identity");
    if !request.values("Content-Encoding").all(plain) {
        let detail = "bodies are not decompressed here: send it as it is, without Content-Encoding";
        return Err(HandlerError::fault(HttpError::NotJson, detail));
    }
    if route.proof.is_some() {
        return Ok(Value::Null);
    }
    let wanted = schema::find(route.body.unwrap_or("Nothing"));
    if request.body.is_empty() && schema::is_optional(wanted) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    if request.body.is_empty() {
        return Err(HandlerError::fault(
            HttpError::Malformed,
            "the body is missing: send a JSON object",
        ));
    }
    let media = request.header("Content-Type").unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/json") {
        let detail = "send the body as JSON, with Content-Type: application/json";
        return Err(HandlerError::fault(HttpError::NotJson, detail));
    }
    let body = json::parse(&request.body)
        .map_err(|said| HandlerError::fault(HttpError::Malformed, said))?;
    let validate = schema::validate(wanted, &body);
    if validate.is_empty() {
        return Ok(body);
    }
    Err(Refusal::InvalidRequest { errors: validate }.into())
}

impl Service for Api {
    fn answer(&self, request: &Request) -> Response {
        let begun = Instant::now();
        let _running = self.metrics.running();
        let trail = TraceContext::of(request, &self.ids);
        let mut ended = RequestRecord::default();
        let reply = match self.handle(request, &trail, &mut ended) {
            Ok(reply) => reply,
            Err(stop) => self.error_response(stop, request, &trail, &mut ended),
        };
        self.finish(request, trail, begun, &ended, reply)
    }

    fn reject(&self, why: TransportError, request: &Request) -> Response {
        let stop = match why {
            TransportError::Malformed => HandlerError::fault(
                HttpError::Malformed,
                "the request is not HTTP/1.1 as it is taken here: send a path, one Host, and one \
                 Content-Length",
            ),
            TransportError::TooSlow => HandlerError::fault(
                HttpError::TooSlow,
                "the body did not come in time: send it again",
            ),
            TransportError::BodyTooLarge { limit } => {
                HandlerError::Problem(Box::new(Problem::body_too_large(limit)))
            }
            TransportError::HeadTooLarge => HandlerError::fault(
                HttpError::HeadTooLarge,
                "path and headers are too large: send less",
            ),
            TransportError::Overloaded => Error::from(commerce_core::StoreError::Busy).into(),
        };
        let begun = Instant::now();
        let trail = TraceContext::of(request, &self.ids);
        let mut ended = RequestRecord::default();
        let reply = self.error_response(stop, request, &trail, &mut ended);
        self.finish(request, trail, begun, &ended, reply)
    }

    fn observe(&self, connections: Connections) {
        self.metrics.observe(connections);
    }
}

#[cfg(test)]
mod tests;
