//! A route: one call of the API with its permissions, parameters and responses. The router, authorization and the
//! OpenAPI document all read it.

use crate::context::{Call, HandlerResult, RequestContext, Submission};
use commerce_core::{Code, Role};

/// A method of a route. `HEAD` and `OPTIONS` are derived from the others.
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

/// The callers that may use a route. Where customers call for themselves, staff call for them: readers to read, clerks to
/// act (see [`Route::least_staff_role`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    /// Everyone, without a token.
    Public,
    /// Every customer with a session.
    Session,
    /// The customer in the path, and staff.
    Customer,
    /// The customer in the path if a payment gateway is configured, and staff.
    OwnerWithGateway,
    /// Every customer, for themselves. Staff may name another customer in the body.
    SelfOrBody,
    /// The owner of the order in the path, and staff. Others receive 404.
    Order,
    /// Staff of at least this role.
    Staff(Role),
}

/// The use of an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyRule {
    /// Ignored.
    None,
    /// Honoured if present.
    Optional,
    /// Required, because the call moves money, stock or coupons.
    Required,
}

/// The use of entity tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    /// No `ETag`.
    None,
    /// Responses have an `ETag`.
    Given,
    /// Responses have an `ETag`, and `If-Match` is honoured.
    Honoured,
}

/// A handler, by the wait that it may cause on its thread.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// Answers without the store.
    Fixed(fn(&RequestContext<'_>) -> HandlerResult),
    /// Reads from the store.
    Read(fn(&RequestContext<'_>) -> HandlerResult),
    /// Submits one operation, and renders its outcome after the commit.
    Submit(for<'a> fn(Call<'a>) -> Submission<'a>),
    /// Hashes a password, asks another party, computes a report or makes several calls.
    Blocking(fn(&RequestContext<'_>) -> HandlerResult),
}

impl Handler {
    /// Returns true if the request must not be answered on a thread of an executor. On a remote store, all reads are waits,
    /// and a token is read before an operation is submitted.
    pub(crate) fn blocks(self, reads_locally: bool) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Read(_) | Self::Submit(_) => !reads_locally,
            Self::Blocking(_) => true,
        }
    }
}

/// A query parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// The name of its schema.
    pub(crate) schema: &'static str,
    /// What its name and its schema leave open, if anything.
    pub(crate) description: &'static str,
    /// The name of its component in the document, if several calls share it.
    pub(crate) shared: Option<&'static str>,
    /// A public call with it is for staff.
    pub(crate) for_staff: bool,
}

/// A call of the API.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent marks of a row of the table")]
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) summary: &'static str,
    /// Further sentences for the document.
    pub(crate) details: &'static str,
    pub(crate) auth: Auth,
    pub(crate) key: KeyRule,
    pub(crate) query: &'static [Parameter],
    /// The schema of the request body.
    pub(crate) body: Option<&'static str>,
    /// The member of the body that only staff of at least a role may send, unless it is `false`.
    pub(crate) staff_member: Option<(&'static str, Role)>,
    /// Staff of a higher role than the caller are out of reach: a change of them could lock them out.
    pub(crate) protects_seniors: bool,
    /// A public route that shows more to staff: a valid token of theirs is enough, and none is needed.
    pub(crate) shows_more_to_staff: bool,
    /// The header with the signature of the body, which the handler verifies over the raw bytes.
    pub(crate) signature: Option<&'static str>,
    /// The status of success, and the schema of the response body, or of an item if `is_list`.
    pub(crate) status: u16,
    pub(crate) response: Option<&'static str>,
    pub(crate) is_list: bool,
    /// The response may be 202 while an external party has not answered.
    pub(crate) may_be_pending: bool,
    /// The media type of the response.
    pub(crate) media_type: &'static str,
    /// The response may also be comma-separated values.
    pub(crate) has_csv: bool,
    /// The use of entity tags.
    pub(crate) versions: Versions,
    /// The codes of its rules, beyond those that follow from `auth`, `key` and `body`.
    pub(crate) codes: &'static [Code],
    pub(crate) handler: Handler,
}

impl Route {
    /// A public route without a body.
    pub(crate) const fn new(
        method: Method,
        path: &'static str,
        operation: &'static str,
        summary: &'static str,
        handler: Handler,
    ) -> Self {
        Self {
            method,
            path,
            operation,
            summary,
            details: "",
            auth: Auth::Public,
            key: KeyRule::None,
            query: &[],
            body: None,
            staff_member: None,
            protects_seniors: false,
            shows_more_to_staff: false,
            signature: None,
            status: 200,
            response: None,
            is_list: false,
            may_be_pending: false,
            media_type: "application/json",
            has_csv: false,
            versions: Versions::None,
            codes: &[],
            handler,
        }
    }

    pub(crate) const fn about(self, details: &'static str) -> Self {
        Self { details, ..self }
    }

    pub(crate) const fn auth(self, auth: Auth) -> Self {
        Self { auth, ..self }
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

    pub(crate) const fn staff_member(self, name: &'static str, least: Role) -> Self {
        Self { staff_member: Some((name, least)), ..self }
    }

    /// Refuses a change of staff of a higher role than the caller's.
    pub(crate) const fn protects_seniors(self) -> Self {
        Self { protects_seniors: true, ..self }
    }

    /// Shows members for staff to callers with their token.
    pub(crate) const fn more_for_staff(self) -> Self {
        Self { shows_more_to_staff: true, ..self }
    }

    pub(crate) const fn signed_by(self, header: &'static str) -> Self {
        Self { signature: Some(header), ..self }
    }

    pub(crate) const fn response(self, status: u16, schema: &'static str) -> Self {
        Self { status, response: Some(schema), ..self }
    }

    pub(crate) const fn paginated(self, item: &'static str) -> Self {
        Self { response: Some(item), is_list: true, query: PAGE, ..self }
    }

    /// A report for readers, as JSON or comma-separated values.
    pub(crate) const fn report(self, schema: &'static str, query: &'static [Parameter]) -> Self {
        Self {
            auth: Auth::Staff(Role::Reader),
            response: Some(schema),
            query,
            has_csv: true,
            ..self
        }
    }

    /// The response may also be comma-separated values.
    pub(crate) const fn csv(self) -> Self {
        Self { has_csv: true, ..self }
    }

    pub(crate) const fn no_content(self) -> Self {
        Self { status: 204, ..self }
    }

    pub(crate) const fn or_accepted(self) -> Self {
        Self { may_be_pending: true, ..self }
    }

    pub(crate) const fn media_type(self, media_type: &'static str) -> Self {
        Self { media_type, ..self }
    }

    pub(crate) const fn etag(self) -> Self {
        Self { versions: Versions::Given, ..self }
    }

    /// Changes a resource with an `ETag`, returns the new one, and honours `If-Match`.
    pub(crate) const fn conditional(self) -> Self {
        Self { versions: Versions::Honoured, ..self }
    }

    /// Returns the least role of staff that may use the route, for any customer.
    pub(crate) fn least_staff_role(&self) -> Role {
        match (self.auth, self.method) {
            (Auth::Staff(role), _) => role,
            (_, Method::Get) => Role::Reader,
            _ => Role::Clerk,
        }
    }

    /// Returns true if a parameter makes the public call one for staff.
    pub(crate) fn has_staff_parameters(&self) -> bool {
        self.query.iter().any(|parameter| parameter.for_staff)
    }

    /// Returns true if responses have an `ETag`.
    pub(crate) fn has_etag(&self) -> bool {
        self.versions != Versions::None
    }

    /// Returns true if `If-Match` is honoured.
    pub(crate) fn is_conditional(&self) -> bool {
        self.versions == Versions::Honoured
    }

    /// Returns true if a shared cache may store the response and revalidate it.
    pub(crate) fn is_cacheable(&self) -> bool {
        self.has_etag() && self.method == Method::Get && self.auth == Auth::Public
    }

    pub(crate) const fn errors(self, codes: &'static [Code]) -> Self {
        Self { codes, ..self }
    }
}

const LIMIT: Parameter = shared("limit", "PageLimit", "Limit", "");
const CURSOR: Parameter =
    shared("cursor", "Cursor", "Cursor", "`next_cursor` of the previous page.");

const PAGE: &[Parameter] = &[LIMIT, CURSOR];

const OF_CUSTOMER: Parameter = shared("customer_id", "Id", "OfCustomer", "");

/// The query parameters of the orders of the shop.
pub(crate) const ORDERS: &[Parameter] = &[
    OF_CUSTOMER,
    own("status", "OrderStatus", ""),
    own("from", "Instant", "Placed after it."),
    own("to", "Instant", "Placed until then, that second included."),
    own("product_id", "Id", ""),
    own("reference", "SearchText", ""),
    own("coupon_id", "Id", "The campaign."),
    LIMIT,
    CURSOR,
];

/// The query parameters of the charges of the shop.
pub(crate) const CHARGES: &[Parameter] =
    &[OF_CUSTOMER, own("status", "ChargeStatus", ""), LIMIT, CURSOR];

const SEARCH: Parameter =
    shared("search", "SearchText", "Search", "A part of the name, in any case.");

/// The query parameters of products.
pub(crate) const PRODUCTS: &[Parameter] = &[
    SEARCH,
    for_staff("status", "ProductSelection", "For staff."),
    for_staff("low_stock", "LowStock", "For staff."),
    LIMIT,
    CURSOR,
];

/// The query parameters of customers.
pub(crate) const CUSTOMERS: &[Parameter] =
    &[own("search", "SearchText", "A part of the name or login, in any case."), LIMIT, CURSOR];

/// A parameter that several calls share, with the name of its component.
const fn shared(
    name: &'static str,
    schema: &'static str,
    component: &'static str,
    description: &'static str,
) -> Parameter {
    Parameter { name, schema, description, shared: Some(component), for_staff: false }
}

/// A parameter of one call.
const fn own(name: &'static str, schema: &'static str, description: &'static str) -> Parameter {
    Parameter { name, schema, description, shared: None, for_staff: false }
}

/// A parameter of a public call that makes it one for staff.
const fn for_staff(
    name: &'static str,
    schema: &'static str,
    description: &'static str,
) -> Parameter {
    Parameter { name, schema, description, shared: None, for_staff: true }
}

const DAYS: Parameter = shared(
    "days",
    "WindowDays",
    "Days",
    "The days of the window: 3 by default for best sellers, 28 for stock, otherwise 7.",
);
const RANKS: Parameter = shared(
    "limit",
    "Ranks",
    "Ranks",
    "The most items: 5 by default for best sellers, 10 for products, 100 for stock.",
);
const AT: Parameter = shared("at", "Instant", "At", "The last second of the window. Default: now.");
const FORMAT: Parameter = shared(
    "format",
    "ReportFormat",
    "Format",
    "`csv-bom` begins with a byte order mark, for spreadsheets. Default: by `Accept`.",
);
const PROVE: Parameter = shared(
    "prove",
    "Prove",
    "Prove",
    "Counts again, and lists the `differences`. Reads the whole store.",
);

/// The query parameters of best sellers.
pub(crate) const BEST_SELLERS: &[Parameter] = &[own("by", "BestSellersBy", ""), DAYS, RANKS, AT];

/// The query parameters of the sales report.
pub(crate) const SALES_REPORT: &[Parameter] = &[
    own("from", "Instant", "The instant right before the window."),
    own("to", "Instant", "The last second of the window. Default: now."),
    DAYS,
    own("by", "Period", "The length of the buckets."),
    own("zone", "ZoneName", "The zone of the days. Default: the shop's."),
    own("compare", "Compare", "The window that becomes `previous`."),
    own("basis", "Basis", "Cancelled orders: counted when cancelled, or taken out of the past."),
    FORMAT,
    PROVE,
];

/// The query parameters of exports.
pub(crate) const EXPORT: &[Parameter] = &[
    own("from", "Instant", "The instant right before the window."),
    own("to", "Instant", "The last second of the window."),
    own("format", "ExportFormat", "`csv-bom`: for spreadsheets."),
    own(
        "raw",
        "Raw",
        "Keeps texts that a spreadsheet runs as formulas; otherwise `'` precedes them.",
    ),
];

/// The query parameters of the product report.
pub(crate) const PRODUCT_REPORT: &[Parameter] =
    &[own("by", "RankBy", ""), DAYS, RANKS, AT, FORMAT, PROVE];

/// The query parameters of the stock report.
pub(crate) const STOCK_REPORT: &[Parameter] = &[DAYS, RANKS, FORMAT, PROVE];

/// The query parameters of the coupon report.
pub(crate) const COUPON_REPORT: &[Parameter] = &[FORMAT, PROVE];

/// The query parameters of the balance report.
pub(crate) const BALANCE_REPORT: &[Parameter] = &[AT, FORMAT, PROVE];

/// The query parameters of the audit trail.
pub(crate) const AUDIT_LOG: &[Parameter] =
    &[LIMIT, CURSOR, own("actor", "Actor", ""), own("from", "Instant", "The first instant.")];
