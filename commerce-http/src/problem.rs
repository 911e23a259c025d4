//! RFC 9457 problem documents, and the HTTP status of each error.

use commerce_core::{Code, Currency, Error, ErrorClass, StoreError};
use serde::Serialize;
use serde_json::{Map, Value};

/// The HTTP status of a code.
#[must_use]
pub const fn http_status(code: Code) -> u16 {
    match code.class() {
        ErrorClass::Invalid | ErrorClass::KeyReused => 422,
        ErrorClass::NotFound => 404,
        ErrorClass::Conflict => 409,
        ErrorClass::Precondition => 412,
        ErrorClass::Declined => 402,
        ErrorClass::Unauthenticated => 401,
        ErrorClass::Forbidden => 403,
        ErrorClass::RateLimited => 429,
        ErrorClass::Unavailable => 503,
    }
}

/// A defect of a request that is found before any rule runs. Only HTTP has these codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpError {
    Malformed,
    KeyMissing,
    PathNotFound,
    MethodNotAllowed,
    BodyTimeout,
    BodyTooLarge,
    NotJson,
    HeadTooLarge,
}

impl HttpError {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Malformed,
        Self::KeyMissing,
        Self::PathNotFound,
        Self::MethodNotAllowed,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::NotJson,
        Self::HeadTooLarge,
    ];

    /// Status, code, title, meaning and remedy.
    pub(crate) const fn table(
        self,
    ) -> (u16, &'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Malformed => (
                400,
                "malformed_request",
                "Malformed request",
                "The request cannot be parsed: its framing, its JSON, or a gateway's webhook.",
                "Send it as the document describes it.",
            ),
            Self::KeyMissing => (
                400,
                "idempotency_key_missing",
                "Missing idempotency key",
                "The call moves money, stock or coupons, and the header `Idempotency-Key` is missing or invalid.",
                "Choose a key for each intended effect, and repeat it with every retry.",
            ),
            Self::PathNotFound => (
                404,
                "not_found",
                "Unknown path",
                "There is no resource at this path.",
                "Find the call in `/docs`.",
            ),
            Self::MethodNotAllowed => (
                405,
                "method_not_allowed",
                "Unsupported method",
                "The path does not support this method.",
                "Use a method from the header `Allow`.",
            ),
            Self::BodyTimeout => (
                408,
                "request_timeout",
                "Request timeout",
                "The body did not arrive in time.",
                "Send it again.",
            ),
            Self::BodyTooLarge => (
                413,
                "payload_too_large",
                "Body too large",
                "The body has more than `limit` bytes.",
                "Send less at a time.",
            ),
            Self::NotJson => (
                415,
                "unsupported_media_type",
                "Unsupported media type",
                "The body is not JSON, or is compressed.",
                "Send plain JSON with `Content-Type: application/json`.",
            ),
            Self::HeadTooLarge => (
                431,
                "headers_too_large",
                "Headers too large",
                "The path with its query, or the headers, exceed their limits.",
                "Shorten them.",
            ),
        }
    }

    /// The code.
    pub(crate) const fn code(self) -> &'static str {
        self.table().1
    }
}

/// A kind of problem as documented: on the pages at `/problems` and in `docs/errors.md`.
pub(crate) struct Kind {
    pub(crate) code: &'static str,
    pub(crate) status: u16,
    pub(crate) title: &'static str,
    /// Its meaning and what to do.
    pub(crate) help: String,
}

/// All kinds of problems: those of the library, then those of HTTP.
pub(crate) fn kinds() -> impl Iterator<Item = Kind> {
    let library = Code::ALL.into_iter().map(|code| Kind {
        code: code.as_str(),
        status: http_status(code),
        title: code.title(),
        help: format!("{} {}", code.meaning(), code.remedy()),
    });
    library.chain(HttpError::ALL.into_iter().map(|error| {
        let (status, code, title, meaning, remedy) = error.table();
        Kind { code, status, title, help: format!("{meaning} {remedy}") }
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
    /// The path of the page about this kind of problem.
    pub r#type: String,
    /// The title, the same for every problem with that code.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// An explanation of this occurrence and what to do, for a person.
    pub detail: String,
    /// The error code, for a program.
    pub code: &'static str,
    /// The fields of the refusal.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl Problem {
    /// The problem document of an error, with the sentence for a person.
    #[must_use]
    pub fn new(error: &Error, detail: String) -> Self {
        let mut problem = Self::with_code(error.code(), detail);
        if let Error::Refused(refusal) = error
            && let Ok(Value::Object(mut fields)) = serde_json::to_value(refusal)
        {
            fields.remove("code");
            problem.fields = fields;
        }
        problem
    }

    /// The problem document of an error, with amounts formatted in that currency.
    pub(crate) fn of(error: &Error, currency: Currency) -> Self {
        let detail = match error {
            Error::Refused(refusal) => refusal.sentence(currency),
            // Its cause may name a server, as below.
            Error::Store(StoreError::Busy(_)) => StoreError::Busy(None).to_string(),
            Error::Store(
                StoreError::Overloaded | StoreError::OutOfMemory | StoreError::CommitUnknown(_),
            ) => error.to_string(),
            Error::Store(StoreError::Replaced(_)) => {
                "the files of the store were removed or replaced while the service had them open: \
                 nothing is saved until the operator puts them back or restarts the service"
                    .to_owned()
            }
            // The cause may name files and servers: only the log has it, for the operator.
            Error::Store(_) | _ => {
                "the store cannot be used: try again in a while, with the same key; the operator \
                 finds the cause in the log"
                    .to_owned()
            }
        };
        Self::new(error, detail)
    }

    /// A problem with a code of the library and no fields.
    pub(crate) fn with_code(code: Code, detail: String) -> Self {
        Self::with(http_status(code), code.as_str(), code.title(), detail)
    }

    pub(crate) fn of_http(error: HttpError, detail: impl Into<String>) -> Self {
        let (status, code, title, ..) = error.table();
        Self::with(status, code, title, detail.into())
    }

    /// The problem of a body larger than `limit` bytes.
    pub(crate) fn body_too_large(limit: usize) -> Self {
        let detail = format!("a body may have {limit} bytes at most: send less at a time");
        let mut problem = Self::of_http(HttpError::BodyTooLarge, detail);
        problem.fields.insert("limit".to_owned(), limit.into());
        problem
    }

    fn with(status: u16, code: &'static str, title: &'static str, detail: String) -> Self {
        let r#type = format!("/problems/{code}");
        Self { r#type, title, status, detail, code, fields: Map::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retryable_codes_have_429_or_503() {
        for code in Code::ALL {
            let status = http_status(code);
            assert!((400..600).contains(&status), "{code}");
            assert_eq!(matches!(status, 429 | 503), code.is_retryable(), "{code}");
        }
    }

    #[test]
    fn store_failure_problem_has_no_fields() {
        let problem = Problem::new(&StoreError::Busy(None).into(), "busy".to_owned());
        let json = serde_json::to_value(problem).unwrap();
        let names: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(names, ["code", "detail", "status", "title", "type"]);
    }
}
