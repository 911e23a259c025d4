//! Request ids and trace context: taken from the request if valid, generated otherwise.

use crate::message::Request;
use std::sync::atomic::{AtomicU64, Ordering};

/// The maximum length of an `X-Request-Id` from a client.
const MAX_ID: usize = 64;

/// The identifiers of a request in logs and traces.
pub(crate) struct TraceContext {
    /// The `X-Request-Id` of the request, or a generated one.
    pub(crate) id: String,
    /// The W3C `traceparent` of the request.
    pub(crate) parent: Option<String>,
}

impl TraceContext {
    /// The identifier that is stored with the events of a call.
    pub(crate) fn for_events(&self) -> &str {
        self.parent.as_ref().unwrap_or(&self.id)
    }

    pub(crate) fn of(request: &Request, ids: &RequestIds) -> Self {
        let id = request.header("X-Request-Id").filter(|id| is_valid(id));
        let parent = request.header("traceparent").filter(|parent| is_traceparent(parent));
        Self { id: id.map_or_else(|| ids.next(), str::to_owned), parent: parent.map(str::to_owned) }
    }
}

fn is_valid(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(is_allowed)
}

/// Returns true for `version-trace-parent-flags` in lower-case hexadecimal digits; ids of zeros are invalid.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths = [2, 32, 16, 2];
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| part.len() == length)
        && parts.iter().all(|part| part.bytes().all(hexadecimal))
        && parts.iter().skip(1).take(2).all(|part| part.bytes().any(|byte| byte != b'0'))
        && parts.first() != Some(&"ff")
}

/// Generates request ids: a random prefix per process, then a counter.
pub(crate) struct RequestIds {
    process: u64,
    count: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Result<Self, String> {
        let process = getrandom::u64().map_err(|error| format!("no random numbers: {error}"))?;
        Ok(Self { process, count: AtomicU64::new(1) })
    }

    fn next(&self) -> String {
        format!("{:016x}-{}", self.process, self.count.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[rstest]
    #[case(TRACE, true)]
    #[case("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false)]
    #[case("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false)]
    #[case("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false)]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", false)]
    #[case("", false)]
    fn traceparent_is_validated(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(is_traceparent(text), valid);
    }

    #[rstest]
    #[case("a-1_B", true)]
    #[case("", false)]
    #[case("a b", false)]
    #[case("a\r\nSet-Cookie: b", false)]
    #[case(&"a".repeat(65), false)]
    fn request_id_is_validated(#[case] id: &str, #[case] valid: bool) {
        assert_eq!(is_valid(id), valid);
    }
}
