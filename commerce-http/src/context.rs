//! The context that a handler receives, and its result.

use crate::error::{HandlerError, Rejection};
use crate::message::{self, Response};
use crate::problem::{HttpError, Problem};
use crate::request_id::TraceContext;
use crate::state::AppState;
use commerce_core::{
    Actor, BestSellersRequest, Client, CustomerId, Error, ExportKind, InCurrency, Key, Operation,
    Order, Outcome, Page, PageRequest, Refusal, Shop, Timestamp, Version,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::borrow::Cow;
use std::future::ready;
use std::io::{self, Write};
use std::pin::Pin;

/// The way of waiting for the commit of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitMode {
    /// The thread waits, and may commit by itself.
    Block,
    /// The task is woken.
    Await,
}

/// A request to a route, parsed and authorized.
pub(crate) struct RequestContext<'a> {
    pub(crate) state: &'a AppState,
    pub(crate) wait_mode: WaitMode,
    /// The request as sent.
    pub(crate) request: &'a message::Request,
    /// The ids in the path.
    pub(crate) path: Vec<(&'a str, i64)>,
    /// The kind of rows in the path.
    pub(crate) kind: Option<ExportKind>,
    /// The query parameters, validated against their schemas.
    pub(crate) query: Vec<(String, String)>,
    /// The body, validated against its schema.
    pub(crate) body: Value,
    pub(crate) key: Option<Key>,
    /// The versions in `If-Match`; any version if absent.
    pub(crate) versions: Option<Vec<Version>>,
    pub(crate) trace: &'a TraceContext,
    /// The author of changes; `None` for a public call.
    pub(crate) actor: Option<Actor>,
    /// The caller is staff.
    pub(crate) is_staff: bool,
    /// The bearer token.
    pub(crate) token: Option<&'a str>,
    /// The customer whose data the request touches.
    pub(crate) customer: CustomerId,
    /// The order in the path.
    pub(crate) order: Option<Order>,
}

/// The size of most JSON documents, which are thus written without growing.
const USUAL_BODY: usize = 1024;

/// The result of a handler.
pub(crate) type HandlerResult = Result<Success, HandlerError>;

/// The result of a handler that submits an operation: the rendered outcome, once it is known.
pub(crate) type Submission<'a> =
    Result<Pin<Box<dyn Future<Output = HandlerResult> + Send + 'a>>, HandlerError>;

/// The argument of a handler that submits an operation. Its renderer lives as long as the request.
pub(crate) type Call<'a> = &'a RequestContext<'a>;

/// A function that writes a body piece by piece. An error that is an [`Error`] of the library becomes its problem.
pub(crate) type StreamWriter = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// A successful response.
pub(crate) struct Success {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, Cow<'static, str>)>,
    pub(crate) body: Cow<'static, [u8]>,
    /// Writes a body in place of `body`.
    pub(crate) stream: Option<StreamWriter>,
    /// A sentence for the log that the client does not receive.
    pub(crate) log_detail: Option<String>,
}

impl Success {
    /// 200 with a JSON document.
    pub(crate) fn ok(body: &impl Serialize) -> Self {
        Self::json(200, body)
    }

    /// 201 with a JSON document and its location.
    pub(crate) fn created(body: &impl Serialize, location: String) -> Self {
        Self::json(201, body).with("Location", location)
    }

    /// 202 with a JSON document; the outcome appears later at the location.
    pub(crate) fn accepted(body: &impl Serialize, location: String) -> Self {
        Self::json(202, body).with("Location", location)
    }

    /// 204.
    pub(crate) fn no_content() -> Self {
        Self {
            status: 204,
            headers: Vec::new(),
            body: Cow::Borrowed(&[]),
            stream: None,
            log_detail: None,
        }
    }

    /// 200 with a body of that media type, already serialized.
    pub(crate) fn text(media: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Self {
        let headers = vec![("Content-Type", Cow::Borrowed(media))];
        Self { status: 200, headers, body: body.into(), stream: None, log_detail: None }
    }

    /// 200 with a body of that media type and of any length, which a function writes. It runs after the handler, on a
    /// thread for blocking work, as [`Stream`](message::Stream) describes.
    pub(crate) fn stream(
        media: &'static str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    ) -> Self {
        Self { stream: Some(Box::new(write)), ..Self::text(media, b"".as_slice()) }
    }

    fn json(status: u16, document: &impl Serialize) -> Self {
        let mut body = Vec::with_capacity(USUAL_BODY);
        // Serialization cannot fail: plain structs with string keys, written to memory.
        let _ = serde_json::to_writer(&mut body, document);
        let headers = vec![("Content-Type", Cow::Borrowed("application/json"))];
        Self { status, headers, body: Cow::Owned(body), stream: None, log_detail: None }
    }

    /// Adds a sentence for the log.
    pub(crate) fn logged(mut self, detail: String) -> Self {
        self.log_detail = Some(detail);
        self
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn into_response(self) -> Response {
        Response { status: self.status, headers: self.headers, body: self.body.into() }
    }
}

impl RequestContext<'_> {
    pub(crate) fn shop(&self) -> &Shop {
        &self.state.shop
    }

    /// The client that sent the request, to be served in its turn.
    pub(crate) fn client(&self) -> Client {
        let client = self.state.client_of(self.request);
        self.state.metrics.count_client(client.source);
        client.client()
    }

    /// Adds the currency to a body with amounts.
    pub(crate) fn priced<T>(&self, body: T) -> InCurrency<T> {
        self.shop().in_currency(body)
    }

    /// 200 with a page of bodies, each with the currency of its amounts.
    pub(crate) fn priced_page<T: Serialize>(&self, page: Page<T>) -> Success {
        Success::ok(&page.map(|item| self.priced(item)))
    }

    /// An id in the path. The router guarantees that it is there.
    pub(crate) fn id<I: From<i64>>(&self, name: &str) -> I {
        let entry = self.path.iter().find(|(known, _)| *known == name);
        I::from(entry.map_or(0, |(_, id)| *id))
    }

    /// Deserializes the body.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        // The body matches its schema; only values that no schema can exclude fail here.
        T::deserialize(&self.body).map_err(|error| Refusal::invalid("", error.to_string()).into())
    }

    /// A query parameter.
    pub(crate) fn parameter<T>(&self, name: &str) -> Result<Option<T>, Error>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let Some((_, text)) = self.query.iter().find(|(known, _)| known == name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|error: T::Err| {
            Refusal::invalid(&format!("/{name}"), format!("{name} is {text:?}: {error}")).into()
        })
    }

    /// The pagination parameters.
    pub(crate) fn page(&self) -> Result<PageRequest, Error> {
        let default = PageRequest::default();
        let limit = self.parameter("limit")?.unwrap_or(default.limit);
        Ok(PageRequest { limit, cursor: self.parameter("cursor")? })
    }

    /// A query parameter that is a word of an enum.
    pub(crate) fn word<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(word) = self.parameter::<String>(name)? else { return Ok(None) };
        let word = T::deserialize(Value::String(word.replace('-', "_")));
        // The query matches its schema, which has the same words.
        let invalid = |error: serde_json::Error| {
            Refusal::invalid(&format!("/{name}"), error.to_string()).into()
        };
        word.map(Some).map_err(invalid)
    }

    /// The parameters of best sellers.
    pub(crate) fn best_sellers(&self) -> Result<BestSellersRequest, Error> {
        let default = BestSellersRequest::default();
        Ok(BestSellersRequest {
            by: self.word("by")?.unwrap_or(default.by),
            days: self.parameter("days")?.unwrap_or(default.days),
            limit: self.parameter("limit")?.unwrap_or(default.limit),
            at: self.parameter::<Timestamp>("at")?,
        })
    }

    /// Submits an operation with the key, versions and trace of the request, and renders its output.
    #[expect(clippy::unnecessary_wraps, reason = "handlers return it as it is")]
    pub(crate) fn submit<'a, R: Operation<Output: 'a>>(
        &'a self,
        operation: R,
        render: impl FnOnce(&R::Output) -> Success + Send + 'a,
    ) -> Submission<'a> {
        let mut call = self.shop().call(operation).trace(Some(self.trace.for_events().to_owned()));
        call = call.actor(self.actor);
        if let Some(key) = &self.key {
            call = call.key(key);
        }
        if let Some(versions) = &self.versions {
            call = call.only_if(versions.clone());
        }
        Ok(match self.wait_mode {
            WaitMode::Block => Box::pin(ready(respond(call.outcome(), render))),
            WaitMode::Await => {
                let pending = call.submit();
                Box::pin(async { respond(pending.outcome_async().await, render) })
            }
        })
    }
}

/// Renders an outcome, and marks replays of a stored answer.
pub(crate) fn respond<T>(outcome: Outcome<T>, render: impl FnOnce(&T) -> Success) -> HandlerResult {
    let Outcome { result, replayed, .. } = outcome;
    let response = render(&result.map_err(|error| Rejection { error, replayed })?);
    Ok(if replayed { response.with(REPLAYED, "true") } else { response })
}

/// The header of a replayed answer, successful or not.
pub(crate) const REPLAYED: &str = "Idempotency-Replayed";

/// Parses an idempotency key: bare, or a quoted string as in structured headers (RFC 8941).
pub(crate) fn key(text: &str) -> Result<Key, Problem> {
    let text = text.trim();
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    Key::new(bare).ok_or_else(|| {
        let detail = format!(
            "Idempotency-Key must have 1 to {} visible ASCII characters: choose one for each thing \
             that is to happen once",
            Key::MAX_LENGTH
        );
        Problem::of_http(HttpError::KeyMissing, detail)
    })
}
