//! What a request is called in logs and traces: its own names for it, when they are fit to be repeated.

use crate::message::Request;
use std::sync::atomic::{AtomicU64, Ordering};

/// The longest name of a request that is taken over.
const MAX_ID: usize = 64;

/// What a request is called.
pub(crate) struct TraceContext {
    /// Its `X-Request-Id`, or one that was made up.
    pub(crate) id: String,
    /// Its W3C `traceparent`.
    pub(crate) trace: Option<String>,
}

impl TraceContext {
    pub(crate) fn of(request: &Request, ids: &RequestIds) -> Self {
        let id = request.header("X-Request-Id").filter(|id| is_valid(id));
        let trace = request.header("traceparent").filter(|trace| is_trace(trace));
        Self { id: id.map_or_else(|| ids.next(), str::to_owned), trace: trace.map(str::to_owned) }
    }
}

fn is_valid(id: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(fit)
}

/// `version-trace-parent-flags`, in lower-case hexadecimal digits; all zeros name nothing.
fn is_trace(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths = [2, 32, 16, 2];
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| part.len() == length)
        && parts.iter().all(|part| part.bytes().all(hexadecimal))
        && parts.iter().skip(1).take(2).all(|part| part.bytes().any(|byte| byte != b'0'))
        && parts.first() != Some(&"ff")
}

/// Names for requests that bring none: random for each process, then counted.
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
    fn traces(#[case] text: &str, #[case] fit: bool) {
        assert_eq!(is_trace(text), fit);
    }

    #[rstest]
    #[case("a-1_B", true)]
    #[case("", false)]
    #[case("a b", false)]
    #[case("a\r\nSet-Cookie: b", false)]
    #[case(&"a".repeat(65), false)]
    fn names(#[case] id: &str, #[case] fit: bool) {
        assert_eq!(is_valid(id), fit);
    }
}
