//! A route: one call of the API, with all there is to know about it. The router, the check of who may
//! do what, and the OpenAPI document are all drawn from it.

use crate::context::{HandlerResult, RequestContext};
use commerce_core::Code;

/// A method that routes have. `HEAD` and `OPTIONS` follow from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    /// Anybody.
    Public,
    /// Whoever has a token.
    Authenticated,
    /// The customer of the path, and admins.
    Customer,
    /// The customer of the path where a gateway collects what they put onto their balance, and admins.
    OwnerWithGateway,
    /// Whoever has a token, for themselves; the body of an admin may name another customer.
    SelfOrAdminBody,
    /// The customer whose order it is, and admins. To others there is no such order.
    Order,
    /// Admins.
    Admin,
}

/// Whether the call carries an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyRule {
    /// It is of no use.
    None,
    /// It is honoured.
    Optional,
    /// Money, stock or coupons move: without a key it is refused.
    Required,
}

/// What a call does with the versions of what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    /// What it is about has none.
    None,
    /// Answers have an `ETag`.
    Given,
    /// So they have, and `If-Match` is honoured.
    Honoured,
}

/// A parameter of the query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// The name of its schema.
    pub(crate) schema: &'static str,
    pub(crate) description: &'static str,
    /// The name of its component in the document, when several calls take it.
    pub(crate) shared: Option<&'static str>,
}

/// One call of the API.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) summary: &'static str,
    /// Sentences about what is particular to the call, for the document.
    pub(crate) details: &'static str,
    pub(crate) access: Auth,
    pub(crate) key: KeyRule,
    pub(crate) query: &'static [Parameter],
    /// The schema of the body.
    pub(crate) body: Option<&'static str>,
    /// The handler wants the body as it was sent, and judges it by this header.
    pub(crate) proof: Option<&'static str>,
    /// The status when all goes well, and the schema of what is answered: an item of a list when `list`.
    pub(crate) status: u16,
    pub(crate) answer: Option<&'static str>,
    pub(crate) list: bool,
    /// The same is answered with 202 while somebody outside has yet to say what came of it.
    pub(crate) waits: bool,
    /// Of another type than JSON.
    pub(crate) media: &'static str,
    /// What it does with versions.
    pub(crate) versions: Versions,
    /// What rules may say, beyond what follows from access, key and body.
    pub(crate) codes: &'static [Code],
    pub(crate) handler: fn(&RequestContext<'_>) -> HandlerResult,
}

impl Route {
    /// A route that anybody may call, without a body, answered with that.
    pub(crate) const fn new(
        method: Method,
        path: &'static str,
        operation: &'static str,
        summary: &'static str,
        handler: fn(&RequestContext<'_>) -> HandlerResult,
    ) -> Self {
        Self {
            method,
            path,
            operation,
            summary,
            details: "",
            access: Auth::Public,
            key: KeyRule::None,
            query: &[],
            body: None,
            proof: None,
            status: 200,
            answer: None,
            list: false,
            waits: false,
            media: "application/json",
            versions: Versions::None,
            codes: &[],
            handler,
        }
    }

    pub(crate) const fn about(self, details: &'static str) -> Self {
        Self { details, ..self }
    }

    pub(crate) const fn auth(self, access: Auth) -> Self {
        Self { access, ..self }
    }

    pub(crate) const fn key(self, key: KeyRule) -> Self {
        Self { key, ..self }
    }

    pub(crate) const fn query(self, query: &'static [Parameter]) -> Self {
        Self { query, ..self }
    }

    pub(crate) const fn request_body(self, body: &'static str) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(crate) const fn signed_by(self, header: &'static str) -> Self {
        Self { proof: Some(header), ..self }
    }

    pub(crate) const fn response(self, status: u16, answer: &'static str) -> Self {
        Self { status, answer: Some(answer), ..self }
    }

    pub(crate) const fn paginated(self, item: &'static str) -> Self {
        Self { answer: Some(item), list: true, query: PAGE, ..self }
    }

    pub(crate) const fn no_content(self) -> Self {
        Self { status: 204, ..self }
    }

    pub(crate) const fn or_accepted(self) -> Self {
        Self { waits: true, ..self }
    }

    pub(crate) const fn media(self, media: &'static str) -> Self {
        Self { media, ..self }
    }

    pub(crate) const fn etag(self) -> Self {
        Self { versions: Versions::Given, ..self }
    }

    /// It changes something with an `ETag`, answers with the new one, and honours `If-Match`.
    pub(crate) const fn conditional(self) -> Self {
        Self { versions: Versions::Honoured, ..self }
    }

    /// Whether answers have an `ETag`.
    pub(crate) fn is_tagged(&self) -> bool {
        self.versions != Versions::None
    }

    /// Whether `If-Match` makes the change depend on the version that it names.
    pub(crate) fn is_conditional(&self) -> bool {
        self.versions == Versions::Honoured
    }

    /// Whether a cache may keep the answer, as long as it asks whether that is still the current one.
    pub(crate) fn may_be_cached(&self) -> bool {
        self.is_tagged() && self.method == Method::Get && self.access == Auth::Public
    }

    pub(crate) const fn errors(self, codes: &'static [Code]) -> Self {
        Self { codes, ..self }
    }
}

const PAGE: &[Parameter] = &[
    Parameter {
        name: "limit",
        schema: "PageLimit",
        description: "The most items of the page.",
        shared: Some("Limit"),
    },
    Parameter {
        name: "cursor",
        schema: "Cursor",
        description: "The next_cursor of the page before.",
        shared: Some("Cursor"),
    },
];

/// The parameters of best sellers.
pub(crate) const BEST_SELLERS: &[Parameter] = &[
    Parameter {
        name: "days",
        schema: "WindowDays",
        description: "The length of the window in days of 24 hours.",
        shared: None,
    },
    Parameter { name: "limit", schema: "Ranks", description: "The most ranks.", shared: None },
    Parameter {
        name: "at",
        schema: "Instant",
        description: "The end of the window, that second included; now when absent.",
        shared: None,
    },
];
