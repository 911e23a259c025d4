//! RFC 9457 problem documents, and the tables from errors to statuses.

use commerce_core::{Code, Currency, Error, StoreError};
use serde::Serialize;
use serde_json::{Map, Value};

/// What an error code means outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The HTTP status.
    pub http: u16,
    /// The exit status of the command line: 1 the service failed, 2 wrong usage, 3 refused by a rule.
    pub exit: u8,
    /// A short title for people, the same for every problem of that code.
    pub title: &'static str,
    /// What it means and what to do, for people.
    pub help: &'static str,
}

/// The one table of what the library can say.
#[must_use]
pub const fn status_of(code: Code) -> Status {
    let (http, exit, title) = match code {
        Code::InvalidRequest => (422, 2, "Invalid request"),
        Code::CustomerNotFound => (404, 3, "Unknown customer"),
        Code::CustomerExists => (409, 3, "Customer id in use"),
        Code::ProductNotFound => (404, 3, "Unknown product"),
        Code::ProductExists => (409, 3, "Product id in use"),
        Code::ProductArchived => (409, 3, "Archived product"),
        Code::OrderNotFound => (404, 3, "Unknown order"),
        Code::ChargeNotFound => (404, 3, "Unknown charge"),
        Code::DebitNotFound => (404, 3, "Unknown debit"),
        Code::CouponNotFound => (404, 3, "Unknown coupon"),
        Code::InsufficientBalance => (409, 3, "Insufficient balance"),
        Code::BalanceLimit => (409, 3, "Balance limit"),
        Code::InsufficientStock => (409, 3, "Insufficient stock"),
        Code::NotInCart => (409, 3, "Product not in the cart"),
        Code::CartEmpty => (409, 3, "Empty cart"),
        Code::CouponSoldOut => (409, 3, "Sold-out coupon"),
        Code::CouponAlreadyClaimed => (409, 3, "Coupon already claimed"),
        Code::CouponNotStarted => (409, 3, "Coupon before its start"),
        Code::CouponExpired => (409, 3, "Expired coupon"),
        Code::CouponAlreadyUsed => (409, 3, "Coupon already used"),
        Code::CouponNotApplicable => (409, 3, "Inapplicable coupon"),
        Code::OrderNotPayable => (409, 3, "Order not payable"),
        Code::OrderNotCancellable => (409, 3, "Order not cancellable"),
        Code::IdempotencyKeyReused => (422, 3, "Idempotency key reused"),
        Code::PreconditionFailed => (412, 3, "Outdated version"),
        Code::ChargeDeclined => (402, 3, "Declined charge"),
        Code::LoginTaken => (409, 3, "Login in use"),
        Code::Unauthenticated => (401, 3, "Authentication required"),
        Code::InvalidCredentials => (401, 3, "Invalid credentials"),
        Code::Forbidden => (403, 3, "Insufficient permission"),
        Code::TooManyRequests => (429, 1, "Too many requests"),
        Code::Busy => (503, 1, "Busy service"),
        Code::Storage => (503, 1, "Store failure"),
    };
    Status { http, exit, title, help: help_of(code) }
}

/// What a code means and what to do.
const fn help_of(code: Code) -> &'static str {
    match code {
        Code::InvalidRequest => "The request itself makes no sense. Correct what `errors` names.",
        Code::CustomerNotFound => "There is no such customer. Check the id.",
        Code::CustomerExists => "A customer with that id is there already. Leave the id out.",
        Code::ProductNotFound => "Some of the products do not exist. Check the ids.",
        Code::ProductExists => "A product with that id is there already. Leave the id out.",
        Code::ProductArchived => {
            "Some of the products are no longer sold. Leave it out, or have it sold again."
        }
        Code::OrderNotFound => "There is no such order. Check the id.",
        Code::ChargeNotFound => {
            "There is no such charge, or it is not this customer's. Check the id."
        }
        Code::DebitNotFound => {
            "There is no such debit, or it is not this customer's. Check the id."
        }
        Code::CouponNotFound => {
            "There is no such coupon, or it is not this customer's. Check the id, or claim one."
        }
        Code::InsufficientBalance => "The balance is too small. Charge the difference.",
        Code::BalanceLimit => {
            "The balance would grow beyond what a balance may hold. Move less, or use some first."
        }
        Code::InsufficientStock => {
            "There are too few units; every product that is short is named. Order what is available."
        }
        Code::NotInCart => "The product is not in the cart. Look at the cart.",
        Code::CartEmpty => "The cart that was to be ordered is empty. Put something in.",
        Code::CouponSoldOut => {
            "Every coupon of the campaign was given out. There is nothing to do."
        }
        Code::CouponAlreadyClaimed => "The customer has one of these already. Use the one named.",
        Code::CouponNotStarted => "The campaign has not begun. Claim or use it from then on.",
        Code::CouponExpired => "The campaign is over. There is nothing to do.",
        Code::CouponAlreadyUsed => {
            "Another order holds or has used the coupon. Cancel that order, or take another coupon."
        }
        Code::CouponNotApplicable => "The order is too small for the coupon. Order for more.",
        Code::OrderNotPayable => {
            "The order is not waiting to be paid. Paid: there is nothing to do. Else place it again."
        }
        Code::OrderNotCancellable => "The order has ended already. There is nothing to do.",
        Code::IdempotencyKeyReused => "The key was used for another request. Take a new key.",
        Code::PreconditionFailed => {
            "What is to be changed no longer has the version that `If-Match` names, or has no version. Read it again, and repeat the change with its new `ETag`."
        }
        Code::ChargeDeclined => {
            "The payment gateway did not give the money; `reason` is its own. Use another means of payment, with a new key."
        }
        Code::LoginTaken => "Another customer logs in by that name. Choose another.",
        Code::Unauthenticated => "The token is missing, unknown or no longer good. Log in.",
        Code::InvalidCredentials => "Login or password is wrong. Check both.",
        Code::Forbidden => "It is another customer's, or for admins only. Ask an admin.",
        Code::TooManyRequests => {
            "It was tried too often, or ten charges of the customer are pending. Try again in that many seconds; for charges, an operator can run `commerce charges settle`."
        }
        Code::Busy => "Others held the store for too long. Try again with the same key.",
        Code::Storage => {
            "The store failed: full, unreachable, damaged, or the outcome of a commit is not known. Try again with the same key; see the operator."
        }
    }
}

/// What is wrong with a request before any rule looks at it. Only HTTP has these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpError {
    Malformed,
    KeyMissing,
    NoSuchPath,
    MethodNotAllowed,
    TooSlow,
    BodyTooLarge,
    NotJson,
    HeadTooLarge,
}

impl HttpError {
    /// Every fault there is.
    pub(crate) const ALL: [Self; 8] = [
        Self::Malformed,
        Self::KeyMissing,
        Self::NoSuchPath,
        Self::MethodNotAllowed,
        Self::TooSlow,
        Self::BodyTooLarge,
        Self::NotJson,
        Self::HeadTooLarge,
    ];

    /// Status, code, title and help.
    pub(crate) const fn table(self) -> (u16, &'static str, &'static str, &'static str) {
        match self {
            Self::Malformed => (
                400,
                "malformed_request",
                "Malformed request",
                "The request cannot be read: its framing, its JSON, or a notice of a payment gateway. Send it as the document describes it.",
            ),
            Self::KeyMissing => (
                400,
                "idempotency_key_missing",
                "Missing idempotency key",
                "The call moves money, stock or coupons, and the header `Idempotency-Key` is missing or unusable. Choose a key for each thing that is to happen once, and send it again with every retry.",
            ),
            Self::NoSuchPath => (
                404,
                "not_found",
                "Unknown path",
                "There is nothing at this path. Look for the call in `/docs`.",
            ),
            Self::MethodNotAllowed => (
                405,
                "method_not_allowed",
                "Unsupported method",
                "The path does not take this method. Use one of those that `Allow` names.",
            ),
            Self::TooSlow => (
                408,
                "request_timeout",
                "Request timeout",
                "The body did not arrive in time. Send it again.",
            ),
            Self::BodyTooLarge => (
                413,
                "payload_too_large",
                "Body too large",
                "The body has more bytes than `limit`. Send less at a time.",
            ),
            Self::NotJson => (
                415,
                "unsupported_media_type",
                "Unsupported media type",
                "The body is not JSON, or is compressed. Send plain JSON with `Content-Type: application/json`.",
            ),
            Self::HeadTooLarge => (
                431,
                "headers_too_large",
                "Headers too large",
                "Path and query, or the headers, are larger than is taken. Send less of them.",
            ),
        }
    }
}

/// One kind of problem, for people.
pub(crate) struct Kind {
    pub(crate) code: &'static str,
    pub(crate) status: u16,
    pub(crate) title: &'static str,
    pub(crate) help: &'static str,
}

/// Every kind of problem there is.
pub(crate) fn kinds() -> impl Iterator<Item = Kind> {
    let of_rules = Code::ALL.into_iter().map(|code| {
        let Status { http, title, help, .. } = status_of(code);
        Kind { code: code.as_str(), status: http, title, help }
    });
    of_rules.chain(HttpError::ALL.into_iter().map(|fault| {
        let (status, code, title, help) = fault.table();
        Kind { code, status, title, help }
    }))
}

/// An error as an RFC 9457 problem document.
///
/// ```
/// use commerce_core::{CustomerId, Refusal};
/// use commerce_http::Problem;
/// let refusal = Refusal::CustomerNotFound { customer_id: CustomerId::new(7) };
/// let problem = serde_json::to_value(Problem::new(&refusal.into(), "no customer 7".to_owned())).unwrap();
/// assert_eq!(problem["code"], "customer_not_found");
/// assert_eq!(problem["status"], 404);
/// assert_eq!(problem["customer_id"], 7);
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    /// The kind of problem, as a URL that opens the page about it.
    pub r#type: String,
    /// The same for every problem of that kind.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time and what to do, for a person.
    pub detail: String,
    /// The kind of problem, for a program.
    pub code: &'static str,
    /// The numbers to act on.
    #[serde(flatten)]
    pub numbers: Map<String, Value>,
}

impl Problem {
    /// The problem document of an error, with the sentence that a person is shown.
    #[must_use]
    pub fn new(error: &Error, detail: String) -> Self {
        let code = error.code();
        let status = status_of(code);
        let mut problem = Self::with(status.http, code.as_str(), status.title, detail);
        if let Error::Refused(refusal) = error
            && let Ok(Value::Object(mut numbers)) = serde_json::to_value(refusal)
        {
            numbers.remove("code");
            problem.numbers = numbers;
        }
        problem
    }

    /// The problem document of an error, with amounts as that currency writes them.
    pub(crate) fn of(error: &Error, currency: Currency) -> Self {
        let detail = match error {
            Error::Refused(refusal) => refusal.sentence(currency),
            Error::Store(
                StoreError::Busy | StoreError::OutOfMemory | StoreError::CommitUnknown(_),
            ) => error.to_string(),
            Error::Store(StoreError::Replaced(_)) => {
                "the files of the store were removed or replaced while the service had them open: \
                 nothing is saved until it is started again"
                    .to_owned()
            }
            // Why is for the operator, who has it in the log: it may name files and servers.
            Error::Store(_) | _ => "the store cannot be used: try again in a while".to_owned(),
        };
        Self::new(error, detail)
    }

    pub(crate) fn fault(fault: HttpError, detail: impl Into<String>) -> Self {
        let (status, code, title, _) = fault.table();
        Self::with(status, code, title, detail.into())
    }

    /// The problem of a body beyond that many bytes.
    pub(crate) fn body_too_large(limit: usize) -> Self {
        let detail = format!("a body may have {limit} bytes at most: send less at a time");
        let mut problem = Self::fault(HttpError::BodyTooLarge, detail);
        problem.numbers.insert("limit".to_owned(), limit.into());
        problem
    }

    pub(crate) fn with(
        status: u16,
        code: &'static str,
        title: &'static str,
        detail: String,
    ) -> Self {
        let r#type = format!("/problems/{code}");
        Self { r#type, title, status, detail, code, numbers: Map::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_sound_status() {
        for code in Code::ALL {
            let status = status_of(code);
            assert!((400..600).contains(&status.http), "{code}");
            assert!((1..=3).contains(&status.exit), "{code}");
            assert_eq!(status.exit == 1, code.is_retryable(), "{code}");
            assert_eq!(matches!(status.http, 429 | 503), code.is_retryable(), "{code}");
        }
    }

    #[test]
    fn a_failure_has_no_numbers() {
        let problem = Problem::new(&StoreError::Busy.into(), "busy".to_owned());
        let json = serde_json::to_value(problem).unwrap();
        let names: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(names, ["code", "detail", "status", "title", "type"]);
    }
}
