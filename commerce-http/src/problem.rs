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
}

/// The one table of what the library can say.
#[must_use]
pub const fn status_of(code: Code) -> Status {
    let (http, exit, title) = match code {
        Code::InvalidRequest => (422, 2, "The request is not valid"),
        Code::CustomerNotFound => (404, 3, "No such customer"),
        Code::CustomerExists => (409, 3, "The customer exists already"),
        Code::ProductNotFound => (404, 3, "No such product"),
        Code::ProductExists => (409, 3, "The product exists already"),
        Code::ProductArchived => (409, 3, "The product is no longer sold"),
        Code::OrderNotFound => (404, 3, "No such order"),
        Code::ChargeNotFound => (404, 3, "No such charge"),
        Code::CouponNotFound => (404, 3, "No such coupon"),
        Code::InsufficientBalance => (409, 3, "The balance is too small"),
        Code::BalanceLimit => (409, 3, "The balance would be too large"),
        Code::InsufficientStock => (409, 3, "Too little stock"),
        Code::NotInCart => (409, 3, "Not in the cart"),
        Code::CartEmpty => (409, 3, "The cart is empty"),
        Code::CouponSoldOut => (409, 3, "All coupons are given out"),
        Code::CouponAlreadyClaimed => (409, 3, "The coupon was claimed already"),
        Code::CouponNotStarted => (409, 3, "The coupon has not started"),
        Code::CouponExpired => (409, 3, "The coupon is over"),
        Code::CouponAlreadyUsed => (409, 3, "The coupon is used"),
        Code::CouponNotApplicable => (409, 3, "The coupon does not apply"),
        Code::OrderNotPayable => (409, 3, "The order cannot be paid"),
        Code::OrderNotCancellable => (409, 3, "The order cannot be cancelled"),
        Code::IdempotencyKeyReused => (422, 3, "The key was used for another request"),
        Code::ChargeDeclined => (402, 3, "The charge was declined"),
        Code::LoginTaken => (409, 3, "The login is taken"),
        Code::Unauthenticated => (401, 3, "Who are you?"),
        Code::InvalidCredentials => (401, 3, "Login or password is wrong"),
        Code::Forbidden => (403, 3, "Not allowed"),
        Code::TooManyRequests => (429, 1, "Too many requests"),
        Code::Busy => (503, 1, "Busy"),
        Code::Storage => (503, 1, "The store failed"),
    };
    Status { http, exit, title }
}

/// What is wrong with a request before any rule looks at it. Only HTTP has these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Malformed,
    KeyMissing,
    NoSuchPath,
    MethodNotAllowed,
    TooSlow,
    BodyTooLarge,
    NotJson,
    HeadTooLarge,
}

impl Fault {
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

    /// Status, code and title.
    pub(crate) const fn table(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Malformed => (400, "malformed_request", "The request cannot be read"),
            Self::KeyMissing => (400, "idempotency_key_missing", "No usable idempotency key"),
            Self::NoSuchPath => (404, "not_found", "Nothing is at this path"),
            Self::MethodNotAllowed => (405, "method_not_allowed", "Not with this method"),
            Self::TooSlow => (408, "request_timeout", "The request took too long"),
            Self::BodyTooLarge => (413, "payload_too_large", "The body is too large"),
            Self::NotJson => (415, "unsupported_media_type", "The body is not JSON"),
            Self::HeadTooLarge => (431, "headers_too_large", "Path or headers are too large"),
        }
    }
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
    /// Names the kind of problem for good.
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
            Error::Store(StoreError::Busy | StoreError::Unknown(_)) => error.to_string(),
            // Why is for the operator, who has it in the log: it may name files and servers.
            Error::Store(_) | _ => "the store cannot be used: try again in a while".to_owned(),
        };
        Self::new(error, detail)
    }

    pub(crate) fn fault(fault: Fault, detail: impl Into<String>) -> Self {
        let (status, code, title) = fault.table();
        Self::with(status, code, title, detail.into())
    }

    pub(crate) fn with(
        status: u16,
        code: &'static str,
        title: &'static str,
        detail: String,
    ) -> Self {
        let r#type = format!("urn:commerce:problem:{code}");
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
