//! What a handler is given, and what it gives back.

use crate::api::{Api, HandlerError};
use crate::message::{self, Response};
use crate::problem::{HttpError, Problem};
use commerce_core::{
    BestSellersRequest, CustomerId, Error, InCurrency, Key, Operation, Order, Outcome, Page,
    PageRequest, Refusal, Shop, Timestamp, Version,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::borrow::Cow;

/// One request to one route, read, and allowed.
pub(crate) struct RequestContext<'a> {
    pub(crate) api: &'a Api,
    /// The request as it was sent.
    pub(crate) request: &'a message::Request,
    /// The variable parts of the path that are numbers.
    pub(crate) path: Vec<(&'a str, i64)>,
    /// Parameters of the query, each known to the route and of the form it asks for.
    pub(crate) query: Vec<(String, String)>,
    /// The body, of the form that the route asks for.
    pub(crate) body: Value,
    pub(crate) key: Option<Key>,
    /// The versions that what it changes may have; any when absent.
    pub(crate) versions: Option<Vec<Version>>,
    /// The W3C `traceparent` of the request, or what the log calls it when it brought none: events keep it.
    pub(crate) trace: Option<String>,
    /// The token that came with the request.
    pub(crate) token: Option<&'a str>,
    /// Whose data the request is about.
    pub(crate) customer: CustomerId,
    /// The order the request is about, when it is about one.
    pub(crate) order: Option<Order>,
}

/// What a handler gives back.
pub(crate) type HandlerResult = Result<Success, HandlerError>;

/// An error, and whether it is one that was given before.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) error: Error,
    pub(crate) replayed: bool,
}

impl<E: Into<Error>> From<E> for Rejection {
    fn from(error: E) -> Self {
        Self { error: error.into(), replayed: false }
    }
}

/// An answer that is not a problem.
pub(crate) struct Success {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, Cow<'static, str>)>,
    pub(crate) body: Cow<'static, [u8]>,
    /// What the client is not told, for the log.
    pub(crate) detail: Option<String>,
}

impl Success {
    /// 200 with a document.
    pub(crate) fn ok(body: &impl Serialize) -> Self {
        Self::json(200, body)
    }

    /// 201 with a document that is found there from now on.
    pub(crate) fn created(body: &impl Serialize, location: String) -> Self {
        Self::json(201, body).with("Location", location)
    }

    /// 202 with a document that tells later, at that place, what came of it.
    pub(crate) fn accepted(body: &impl Serialize, location: String) -> Self {
        Self::json(202, body).with("Location", location)
    }

    /// 204.
    pub(crate) fn nothing() -> Self {
        Self { status: 204, headers: Vec::new(), body: Cow::Borrowed(&[]), detail: None }
    }

    /// 200 with what is no JSON, or was written as JSON already.
    pub(crate) fn text(media: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type", Cow::Borrowed(media))];
        Self { status: 200, headers, body: Cow::Owned(body.into()), detail: None }
    }

    fn json(status: u16, body: &impl Serialize) -> Self {
        // Plain structs with string keys: there is nothing that cannot be written.
        let body = serde_json::to_vec(body).unwrap_or_default();
        let headers = vec![("Content-Type", Cow::Borrowed("application/json"))];
        Self { status, headers, body: Cow::Owned(body), detail: None }
    }

    /// With a sentence for the log.
    pub(crate) fn logged(mut self, detail: String) -> Self {
        self.detail = Some(detail);
        self
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn into_response(self) -> Response {
        Response { status: self.status, headers: self.headers, body: self.body }
    }
}

impl RequestContext<'_> {
    pub(crate) fn shop(&self) -> &Shop {
        &self.api.shop
    }

    /// A body with the currency of its amounts.
    pub(crate) fn priced<T>(&self, body: T) -> InCurrency<T> {
        self.shop().in_currency(body)
    }

    /// A page of bodies, each with the currency of its amounts.
    pub(crate) fn priced_page<T: Serialize>(&self, page: Page<T>) -> Success {
        Success::ok(&page.map(|item| self.priced(item)))
    }

    /// A number of the path. Paths that lack it never come to the handler.
    pub(crate) fn id<I: From<i64>>(&self, name: &str) -> I {
        let found = self.path.iter().find(|(known, _)| *known == name);
        I::from(found.map_or(0, |(_, id)| *id))
    }

    /// The body as what the handler makes of it.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        // It has the form already; what is left are values that no schema can rule out.
        T::deserialize(&self.body).map_err(|error| Refusal::invalid("", error.to_string()).into())
    }

    fn parameter<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some((_, text)) = self.query.iter().find(|(known, _)| known == name) else {
            return Ok(None);
        };
        let validate = || Refusal::invalid(&format!("/{name}"), format!("{name} is {text:?}"));
        text.parse().map(Some).map_err(|_| validate().into())
    }

    /// The part of a list that is wanted.
    pub(crate) fn page(&self) -> Result<PageRequest, Error> {
        let usual = PageRequest::default();
        let limit = self.parameter("limit")?.unwrap_or(usual.limit);
        Ok(PageRequest { limit, cursor: self.parameter("cursor")? })
    }

    /// The best sellers that are wanted.
    pub(crate) fn best_sellers(&self) -> Result<BestSellersRequest, Error> {
        let usual = BestSellersRequest::default();
        Ok(BestSellersRequest {
            days: self.parameter("days")?.unwrap_or(usual.days),
            limit: self.parameter("limit")?.unwrap_or(usual.limit),
            at: self.parameter::<Timestamp>("at")?,
        })
    }

    /// Carries a request out with the key that came along, and gives the answer as the handler shows it.
    pub(crate) fn run<R: Operation>(
        &self,
        request: R,
        show: impl FnOnce(&R::Output) -> Success,
    ) -> HandlerResult {
        let mut call = self.shop().call(request).trace(self.trace.clone());
        if let Some(key) = &self.key {
            call = call.key(key);
        }
        if let Some(versions) = &self.versions {
            call = call.only_if(versions.clone());
        }
        respond(call.outcome(), show)
    }
}

/// An answer as the handler shows it, marked when it was given before.
pub(crate) fn respond<T>(outcome: Outcome<T>, show: impl FnOnce(&T) -> Success) -> HandlerResult {
    let Outcome { result, replayed } = outcome;
    let reply = show(&result.map_err(|error| Rejection { error, replayed })?);
    Ok(if replayed { reply.with(REPLAYED, "true") } else { reply })
}

/// The header of an answer that was given before. Refusals that were have it as well.
pub(crate) const REPLAYED: &str = "Idempotency-Replayed";

/// The key of a request: as it is, or as a quoted string the way structured headers write it.
pub(crate) fn key(text: &str) -> Result<Key, Problem> {
    let text = text.trim();
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    Key::new(bare).ok_or_else(|| {
        let detail = format!(
            "Idempotency-Key must have 1 to {} visible ASCII characters: choose one for each thing \
             that is to happen once",
            Key::MAX_LENGTH
        );
        Problem::fault(HttpError::KeyMissing, detail)
    })
}
