//! Serialization of responses after which the connection closes. That of `tiny_http` passes line breaks in header
//! values (response splitting), and cannot announce that the connection closes.

use crate::message::{Body, Response};
use commerce_core::{Clock, SystemClock};
use hyper::StatusCode;
use std::borrow::Cow;
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

/// Serializes a response, without its body if it answers `HEAD`. The body of a stream follows in chunks.
pub(super) fn render(response: &Response, is_head: bool) -> Vec<u8> {
    let status = StatusCode::from_u16(response.status).unwrap_or_default();
    let bare = matches!(response.status, ..200 | 204 | 304);
    let body: &[u8] = if bare || is_head { &[] } else { &response.body };
    let mut bytes = Vec::with_capacity(body.len().saturating_add(512));
    let seconds = u64::try_from(SystemClock.now().unix()).unwrap_or(0);
    let now = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
    let date = httpdate::fmt_http_date(now);
    // Writing to memory cannot fail.
    let _ = write!(bytes, "HTTP/1.1 {status}\r\nDate: {date}\r\n");
    for (name, value) in &response.headers {
        let _ = write!(bytes, "{name}: {}\r\n", safe(value));
    }
    if matches!(response.body, Body::Stream(_)) {
        bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    } else if !bare {
        let _ = write!(bytes, "Content-Length: {}\r\n", response.body.len());
    }
    bytes.extend_from_slice(b"Connection: close\r\n\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// A header value without control and non-ASCII characters, which become question marks.
pub(super) fn safe(value: &str) -> Cow<'_, str> {
    let is_safe = |character: char| (' '..='~').contains(&character);
    if value.chars().all(is_safe) {
        return value.into();
    }
    value.chars().map(|character| if is_safe(character) { character } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::message::Response;

    fn rendered(status: u16, headers: &[(&'static str, &'static str)], is_head: bool) -> String {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).into())).collect();
        let response = Response { status, headers, body: b"{}"[..].into() };
        let text = String::from_utf8(render(&response, is_head)).unwrap();
        let (before, after) = text.split_once("Date: ").unwrap();
        format!("{before}{}", after.split_once("\r\n").unwrap().1)
    }

    #[test]
    fn response_has_its_length_and_announces_the_close() {
        assert_eq!(
            rendered(200, &[("X-A", "b")], false),
            "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        );
    }

    #[test]
    fn response_to_head_204_and_304_has_no_body() {
        let head = rendered(200, &[], true);
        assert!(head.ends_with("Content-Length: 2\r\nConnection: close\r\n\r\n"), "{head}");
        for status in [204, 304] {
            let bare = rendered(status, &[], false);
            assert!(bare.ends_with("\r\n\r\n") && !bare.contains("Content-Length"), "{bare}");
        }
    }

    #[test]
    fn header_value_cannot_split_the_response() {
        let split = rendered(200, &[("Location", "/a\r\nSet-Cookie: b\u{e9}")], false);
        assert!(split.contains("\r\nLocation: /a??Set-Cookie: b?\r\n"), "{split}");
    }
}
