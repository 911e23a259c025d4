//! The service: from a request to a response through the route table, without sockets.
//!
//! Every request takes the same steps: routing, authorization, idempotency key, query and body, then the handler,
//! then metrics and log. They are one future. [`Service::answer`] polls it on a thread that may block, so that it is ready
//! at once; [`Service::start`] leaves it to an executor while it waits for a commit.

use crate::access_log::{self, Entry, Log};
use crate::auth;
use crate::client::TrustedProxy;
use crate::context::{self, REPLAYED, RequestContext, StreamWriter, Success, WaitMode};
use crate::cors::{self, Origin};
use crate::error::{HandlerError, Rejection};
use crate::message::{Answer, Body, Connections, Request, Response, Service, TransportError};
use crate::metrics::Metrics;
use crate::openapi;
use crate::pages::{self, PAGES, Page};
use crate::problem::{HttpError, Problem};
use crate::query;
use crate::request_id::{RequestIds, TraceContext};
use crate::route::{Handler, KeyRule, Method, Route};
use crate::routes::ROUTES;
use crate::schema;
use crate::state::AppState;
use crate::stream::{Counted, Streams};
use crate::target;
use crate::{etag, json};
use commerce_core::{Caller, Code, Error, ExportKind, Key, Refusal, Role, Shop, StoreError};
use matchit::Router;
use serde_json::Value;
use std::borrow::Cow;
use std::io::{self, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// The HTTP service of a shop. Clones share it.
#[derive(Clone)]
pub struct Api {
    pub(crate) state: AppState,
    router: Arc<Router<RouteEntry>>,
    origins: Arc<[Origin]>,
    log: Arc<Log>,
    ids: Arc<RequestIds>,
}

/// The target of a path.
enum RouteEntry {
    /// Routes, one per method.
    Routes(Vec<&'static Route>),
    /// A page for people.
    Page(&'static Page),
    /// The documentation of error codes: all of them, or the one in the path.
    Problems,
}

/// The facts about a request for the log and the metrics.
struct RequestRecord {
    started: Instant,
    route: Option<&'static Route>,
    caller: Option<Caller>,
    code: Option<&'static str>,
    /// The cause of a failure, for the log only.
    detail: Option<String>,
    /// The bytes of a stream.
    bytes: Option<u64>,
}

impl RequestRecord {
    fn start() -> Self {
        let started = Instant::now();
        Self { started, route: None, caller: None, code: None, detail: None, bytes: None }
    }
}

impl Api {
    /// Creates the service of a shop.
    ///
    /// # Errors
    ///
    /// If the system has no entropy, or the route table contains conflicting paths.
    pub fn new(shop: impl Into<Arc<Shop>>, log: Log) -> Result<Self, String> {
        let operations: Vec<(&'static str, Vec<u16>)> =
            ROUTES.iter().map(|route| (route.operation, openapi::statuses(route))).collect();
        let state = AppState {
            shop: shop.into(),
            metrics: Metrics::new(&operations).into(),
            documents: &openapi::DOCUMENTS,
            trusted_proxies: Arc::default(),
            streams: Streams::default(),
        };
        let (router, ids) = (router()?.into(), RequestIds::new()?.into());
        Ok(Self { state, router, origins: Arc::default(), log: log.into(), ids })
    }

    /// Sets the origins of pages that may call from a browser (CORS). Default: none.
    #[must_use]
    pub fn with_origins(self, origins: Vec<Origin>) -> Self {
        Self { origins: origins.into(), ..self }
    }

    /// Sets the proxies that are believed about the address of a client. Default: none.
    #[must_use]
    pub fn with_trusted_proxies(mut self, proxies: Vec<TrustedProxy>) -> Self {
        self.state.trusted_proxies = proxies.into();
        self
    }

    /// The shop.
    #[must_use]
    pub fn shop(&self) -> &Arc<Shop> {
        &self.state.shop
    }

    /// Logs a message that belongs to no request, such as one about the work of a background job.
    pub fn note(&self, message: &str, detail: &str) {
        self.log.note(self.shop().now(), message, detail);
    }

    /// Returns true if the answer may block its thread.
    fn blocks(&self, request: &Request) -> bool {
        let (path, _) = target::split(&request.target);
        let path = target::normalize(path);
        let Ok(matched) = self.router.at(&path) else { return false };
        let RouteEntry::Routes(routes) = matched.value else { return false };
        route(routes, request)
            .is_some_and(|route| route.handler.blocks(self.shop().reads_locally()))
    }

    async fn respond(&self, request: &Request, wait_mode: WaitMode) -> Response {
        let mut record = RequestRecord::start();
        let _in_flight = self.state.metrics.start_request();
        let trace = TraceContext::of(request, &self.ids);
        let response = match self.handle(request, wait_mode, &trace, &mut record).await {
            Ok(response) => response,
            Err(error) => self.error_response(error, request, &trace, &mut record),
        };
        self.finish(request, trace, record, response)
    }

    async fn handle(
        &self,
        request: &Request,
        wait_mode: WaitMode,
        trace: &TraceContext,
        record: &mut RequestRecord,
    ) -> Result<Success, HandlerError> {
        if let Some(response) = cors::preflight(&self.origins, request) {
            return Ok(response);
        }
        let (path, query) = target::split(&request.target);
        let path = target::normalize(path);
        let not_found =
            || HandlerError::http(HttpError::PathNotFound, "nothing is here: see /docs");
        let matched = self.router.at(&path).map_err(|_| not_found())?;
        let method = routed_method(request);
        let route = match matched.value {
            RouteEntry::Page(page) if method == "GET" => return Ok(page.response()),
            RouteEntry::Problems if method == "GET" => {
                let accept = request.values("Accept").collect::<Vec<_>>().join(",");
                let page = pages::problems(matched.params.get("code"), &accept);
                return page.ok_or_else(not_found);
            }
            RouteEntry::Page(_) | RouteEntry::Problems => {
                return method_not_allowed(method, &[Method::Get]);
            }
            RouteEntry::Routes(routes) => {
                let Some(route) = route(routes, request) else {
                    let methods: Vec<_> = routes.iter().map(|route| route.method).collect();
                    return method_not_allowed(method, &methods);
                };
                route
            }
        };
        record.route = Some(route);
        let ids = auth::ids(&matched.params).ok_or_else(not_found);
        // Authorization comes before a malformed id is reported.
        let mut auth = auth::authorize(self.shop(), route, request, &matched.params)?;
        record.caller = auth.caller;
        let path = ids?;
        let kind = matched.params.get("kind").map(ExportKind::from_word);
        if kind == Some(None) {
            return Err(not_found());
        }
        let kind = kind.flatten();
        let query = query::read(route, query)?;
        let key = key(route, request)?;
        let versions = etag::if_match(route, request)?;
        let body = body(route, request)?;
        auth::authorize_body_customer(self.shop(), &mut auth, route, &body)?;
        let context = RequestContext {
            state: &self.state,
            wait_mode,
            request,
            path,
            kind,
            query,
            key,
            versions,
            body,
            trace,
            actor: auth.caller.map(|caller| caller.actor),
            is_staff: auth.caller.is_some_and(|caller| caller.is_at_least(Role::Reader)),
            token: auth.token,
            customer: auth.customer,
            order: auth.order,
        };
        let mut response = match route.handler {
            Handler::Fixed(handler) | Handler::Read(handler) | Handler::Blocking(handler) => {
                handler(&context)?
            }
            Handler::Submit(handler) => handler(&context)?.await?,
        };
        if let Some(write) = response.stream.take() {
            let place = self.state.streams.enter()?;
            response.stream = Some(Box::new(move |out| {
                let _place = place;
                write(out)
            }));
        }
        record.detail = response.log_detail.take();
        // The bytes of a stream are not known yet.
        let has_etag = route.has_etag() && response.stream.is_none();
        Ok(if has_etag { etag::tag(response, route, request) } else { response })
    }

    /// The response to a request that failed: a problem document, with the headers of its status.
    fn error_response(
        &self,
        error: HandlerError,
        request: &Request,
        trace: &TraceContext,
        record: &mut RequestRecord,
    ) -> Success {
        let mut headers: Vec<(&'static str, Cow<'static, str>)> = Vec::new();
        let mut problem = match error {
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
                    record.detail = Some(failure.to_string());
                }
                Problem::of(&error, self.shop().currency())
            }
            HandlerError::Problem(problem) => {
                // The sender of a webhook does not show the response to anyone; the operator reads the log.
                if record.route.is_some_and(|route| route.signature.is_some()) {
                    record.detail = Some(problem.detail.clone());
                }
                *problem
            }
            HandlerError::Method(allowed) => {
                let detail = format!("this path takes {allowed}");
                headers.push(("Allow", allowed.into()));
                Problem::of_http(HttpError::MethodNotAllowed, detail)
            }
        };
        if problem.status == 401 {
            // A client that sent a token learns that the token is invalid (RFC 6750, 3.1).
            let sent = problem.code == Code::Unauthenticated.as_str()
                && request.values("Authorization").any(auth::is_bearer);
            let challenge = if sent { "Bearer error=\"invalid_token\"" } else { "Bearer" };
            headers.push(("WWW-Authenticate", challenge.into()));
        }
        if problem.code == HttpError::NotJson.code() {
            // RFC 7694: the supported content codings.
            headers.push(("Accept-Encoding", "identity".into()));
        }
        if problem.status == 503 {
            headers.push(("Retry-After", "1".into()));
        }
        record.code = Some(problem.code);
        problem.fields.insert("request_id".to_owned(), trace.id.clone().into());
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        headers.push(("Content-Type", "application/problem+json".into()));
        Success {
            status: problem.status,
            headers,
            body: Cow::Owned(body),
            stream: None,
            log_detail: None,
        }
    }

    /// Completes the headers of a response. Counts and logs its request: now, or at the end of a stream.
    fn finish(
        &self,
        request: &Request,
        trace: TraceContext,
        record: RequestRecord,
        response: Success,
    ) -> Response {
        // Responses are personal, or soon out of date: shared caches must not keep them.
        let mut response = response.with("X-Content-Type-Options", "nosniff");
        if !response.headers.iter().any(|(name, _)| *name == "Cache-Control") {
            let cacheable = record.route.is_some_and(Route::is_cacheable);
            response =
                response.with("Cache-Control", if cacheable { "no-cache" } else { "no-store" });
        }
        let mut response =
            cors::share(&self.origins, request, response).with("X-Request-Id", trace.id.clone());
        let stream = response.stream.take();
        let is_sent = stream.is_some() && request.method != "HEAD";
        let mut response = response.into_response();
        if !is_sent {
            self.report(request, &trace, &record, &response);
        }
        if let Some(write) = stream {
            response.body = Body::Stream(if is_sent {
                let (api, request) = (self.clone(), request.clone());
                Box::new(move |out| api.write(write, out, &request, trace, record))
            } else {
                Box::new(|_| Ok(()))
            });
        }
        response
    }

    /// Writes a stream. The error is a problem document, unless the client takes no more: then it is never sent.
    fn write(
        &self,
        write: StreamWriter,
        out: &mut dyn Write,
        request: &Request,
        trace: TraceContext,
        mut record: RequestRecord,
    ) -> Result<(), Response> {
        let _in_flight = self.state.metrics.start_request();
        let mut counted = Counted::new(out);
        let written = write(&mut counted);
        let Counted { bytes, refused, .. } = counted;
        record.bytes = Some(bytes);
        match written {
            Err(error) if refused.is_none() => {
                let unknown = |error: io::Error| StoreError::Unavailable(error.to_string()).into();
                let error: Error = error.downcast().unwrap_or_else(unknown);
                let response = self.error_response(error.into(), request, &trace, &mut record);
                Err(self.finish(request, trace, record, response))
            }
            written => {
                record.detail = refused.or(record.detail);
                let body = Body::from(b"".as_slice());
                let response = Response { status: 200, headers: Vec::new(), body };
                self.report(request, &trace, &record, &response);
                written.map_err(|_| response)
            }
        }
    }

    fn report(
        &self,
        request: &Request,
        trace: &TraceContext,
        record: &RequestRecord,
        response: &Response,
    ) {
        let duration = record.started.elapsed();
        let operation = record.route.map_or("none", |route| route.operation);
        let replayed = response.headers.iter().any(|(name, _)| *name == REPLAYED);
        self.state.metrics.count(operation, response.status, duration, record.code, replayed);
        self.log.write(&Entry {
            at: self.shop().now(),
            request: &trace.id,
            method: &request.method,
            path: loggable_path(&request.target),
            operation,
            status: response.status,
            code: record.code,
            detail: record.detail.as_deref(),
            duration,
            bytes: record.bytes,
            actor: record.caller.map(|caller| caller.actor),
            client: access_log::names_client(response.status)
                .then(|| self.state.client_of(request)),
            trace: trace.parent.as_deref(),
        });
    }
}

/// Polls a future without being woken.
fn poll_once<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Builds the router from the pages and the route table.
fn router() -> Result<Router<RouteEntry>, String> {
    let mut router = Router::new();
    let mut insert = |path: &'static str, entry| {
        router.insert(path, entry).map_err(|error| format!("{path}: {error}"))
    };
    for page in PAGES {
        insert(page.path, RouteEntry::Page(page))?;
    }
    for path in ["/problems", "/problems/{code}"] {
        insert(path, RouteEntry::Problems)?;
    }
    let mut paths: Vec<&str> = Vec::new();
    for route in ROUTES {
        if !paths.contains(&route.path) {
            paths.push(route.path);
            let at_path = ROUTES.iter().filter(|other| other.path == route.path).collect();
            insert(route.path, RouteEntry::Routes(at_path))?;
        }
    }
    Ok(router)
}

/// The method by which a request is routed: `HEAD` is a `GET` without its body.
fn routed_method(request: &Request) -> &str {
    if request.method == "HEAD" { "GET" } else { &request.method }
}

/// The route of a request among those of its path.
fn route(routes: &[&'static Route], request: &Request) -> Option<&'static Route> {
    let method = routed_method(request);
    routes.iter().find(|route| route.method.name() == method).copied()
}

/// The part of a target that is logged: a path. Anything else may hold a password, as the authority of a URL may.
fn loggable_path(target: &str) -> &str {
    let (path, _) = target::split(target);
    if path.starts_with('/') { path } else { "-" }
}

/// Answers `OPTIONS`, and rejects methods that the path does not support.
fn method_not_allowed(method: &str, methods: &[Method]) -> Result<Success, HandlerError> {
    let mut names: Vec<&str> = methods.iter().map(|method| method.name()).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    let allowed = names.join(", ");
    match method {
        "OPTIONS" => Ok(Success::no_content().with("Allow", allowed)),
        _ => Err(HandlerError::Method(allowed)),
    }
}

/// Reads the idempotency key.
fn key(route: &Route, request: &Request) -> Result<Option<Key>, HandlerError> {
    if route.key == KeyRule::None {
        return Ok(None);
    }
    let mut keys = request.values("Idempotency-Key");
    let first = keys.next();
    if keys.next().is_some() {
        let detail = "Idempotency-Key comes twice: send one";
        return Err(HandlerError::http(HttpError::KeyMissing, detail));
    }
    match (first, route.key) {
        (Some(text), _) => context::key(text).map(Some).map_err(HandlerError::problem),
        (None, KeyRule::Required) => Err(HandlerError::http(
            HttpError::KeyMissing,
            "the header Idempotency-Key is missing: choose a key for each intended effect, and \
             repeat it with every retry",
        )),
        (None, KeyRule::Optional | KeyRule::None) => Ok(None),
    }
}

/// Reads the body and validates it against the schema of the route.
fn body(route: &Route, request: &Request) -> Result<Value, HandlerError> {
    let is_identity = |encoding: &str| encoding.trim().eq_ignore_ascii_case("identity");
    if !request.values("Content-Encoding").all(is_identity) {
        let detail =
            "compressed bodies are not supported: send the body as it is, without Content-Encoding";
        return Err(HandlerError::http(HttpError::NotJson, detail));
    }
    if route.signature.is_some() {
        return Ok(Value::Null);
    }
    let schema = schema::find(route.body.unwrap_or("Nothing"));
    if request.body.is_empty() && schema::is_optional(schema) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    if request.body.is_empty() {
        let detail = "the body is missing: send a JSON object";
        return Err(HandlerError::http(HttpError::Malformed, detail));
    }
    let media = request.header("Content-Type").unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/json") {
        let detail = "send the body as JSON, with Content-Type: application/json";
        return Err(HandlerError::http(HttpError::NotJson, detail));
    }
    let body = json::parse(&request.body)
        .map_err(|detail| HandlerError::http(HttpError::Malformed, detail))?;
    let errors = schema::validate(schema, &body);
    if errors.is_empty() { Ok(body) } else { Err(Refusal::InvalidRequest { errors }.into()) }
}

impl Service for Api {
    fn answer(&self, request: &Request) -> Response {
        let mut response = pin!(self.respond(request, WaitMode::Block));
        loop {
            // Ready the first time, since every wait blocks the thread.
            if let Poll::Ready(response) = poll_once(response.as_mut()) {
                return response;
            }
        }
    }

    fn start(self: Arc<Self>, request: Arc<Request>) -> Answer {
        if self.blocks(&request) {
            return Answer::Blocking(Box::new(move || self.answer(&request)));
        }
        let mut response = Box::pin(async move { self.respond(&request, WaitMode::Await).await });
        match poll_once(response.as_mut()) {
            Poll::Ready(response) => Answer::Ready(response),
            // The executor polls it again, with a waker.
            Poll::Pending => Answer::Pending(response),
        }
    }

    fn reject(&self, reason: TransportError, request: &Request) -> Response {
        let error = match reason {
            TransportError::Malformed => HandlerError::http(
                HttpError::Malformed,
                "the request is not valid HTTP/1.1: send a path, one Host, and one Content-Length",
            ),
            TransportError::TooOld => HandlerError::http(
                HttpError::Malformed,
                "the answer is a stream: ask for it with HTTP/1.1",
            ),
            TransportError::TooSlow => HandlerError::http(
                HttpError::BodyTimeout,
                "the body did not come in time: send it again",
            ),
            TransportError::BodyTooLarge { limit } => {
                HandlerError::problem(Problem::body_too_large(limit))
            }
            TransportError::HeadTooLarge => HandlerError::http(
                HttpError::HeadTooLarge,
                "path and headers are too large: send less",
            ),
            TransportError::Overloaded => Error::from(StoreError::Busy(None)).into(),
        };
        let mut record = RequestRecord::start();
        let trace = TraceContext::of(request, &self.ids);
        let response = self.error_response(error, request, &trace, &mut record);
        self.finish(request, trace, record, response)
    }

    fn observe(&self, connections: Connections) {
        self.state.metrics.observe(connections);
    }
}

#[cfg(test)]
mod tests;

/// The same tests, through the other method of the service.
#[cfg(test)]
#[path = "api/tests.rs"]
#[expect(clippy::duplicate_mod, reason = "each test runs through both methods")]
mod tests_of_start;
