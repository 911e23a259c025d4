//! Serialization of responses. That of `tiny_http` passes line breaks in header values (response splitting), cannot
//! announce that the connection closes, and takes several writes.

use crate::message::Response;
use chrono::DateTime;
use commerce_core::Timestamp;
use std::io::Write;

/// The maximum size of a body that is sent in one write with its head.
const SMALL: usize = 16 * 1024;

/// The properties of a request that shape its response.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ResponseMode {
    /// The method is `HEAD`: no body.
    pub(super) head: bool,
    /// The connection closes after the response.
    pub(super) closes: bool,
    /// The version is HTTP/1.0, which needs an explicit `keep-alive`.
    pub(super) old: bool,
}

/// Serializes a response: head and small body, and the body separately if it is too large to copy.
pub(super) fn render<'a>(
    response: &'a Response,
    mode: ResponseMode,
    date: &str,
) -> (Vec<u8>, &'a [u8]) {
    let status = response.status;
    let bare = status < 200 || status == 204 || status == 304;
    let body: &[u8] = if bare || mode.head { &[] } else { &response.body };
    let (small, large) = if body.len() <= SMALL { (body, &[][..]) } else { (&[][..], body) };
    let mut bytes = Vec::with_capacity(small.len().saturating_add(256));
    let reason = tiny_http::StatusCode(status).default_reason_phrase();
    // Writing to memory cannot fail.
    let _ = write!(bytes, "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\n");
    for (name, value) in &response.headers {
        line(&mut bytes, name, value);
    }
    if !bare {
        let _ = write!(bytes, "Content-Length: {}\r\n", response.body.len());
    }
    if mode.closes {
        bytes.extend_from_slice(b"Connection: close\r\n");
    } else if mode.old {
        bytes.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(small);
    (bytes, large)
}

/// Writes a header line. Control and non-ASCII characters become question marks.
fn line(bytes: &mut Vec<u8>, name: &str, value: &str) {
    let safe = |byte: u8| if (b' '..=b'~').contains(&byte) { byte } else { b'?' };
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend(value.bytes().map(safe));
    bytes.extend_from_slice(b"\r\n");
}

/// Formats a date for HTTP: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn http_date(now: Timestamp) -> String {
    let now = DateTime::from_timestamp(now.unix(), 0).unwrap_or_default();
    now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::{ResponseMode, http_date, render};
    use crate::message::Response;
    use commerce_core::Timestamp;

    fn rendered(
        status: u16,
        headers: &[(&'static str, &'static str)],
        mode: ResponseMode,
    ) -> String {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).into())).collect();
        let response = Response { status, headers, body: b"{}"[..].into() };
        String::from_utf8(render(&response, mode, "now").0).unwrap()
    }

    #[test]
    fn response_has_content_length_and_connection_headers() {
        let plain = rendered(200, &[("X-A", "b")], ResponseMode::default());
        assert_eq!(plain, "HTTP/1.1 200 OK\r\nDate: now\r\nX-A: b\r\nContent-Length: 2\r\n\r\n{}");
        let last = rendered(400, &[], ResponseMode { closes: true, ..ResponseMode::default() });
        assert!(last.contains("\r\nConnection: close\r\n"));
        let old = rendered(200, &[], ResponseMode { old: true, ..ResponseMode::default() });
        assert!(old.contains("\r\nConnection: keep-alive\r\n"));
    }

    #[test]
    fn response_to_head_204_and_304_has_no_body() {
        let head = rendered(200, &[], ResponseMode { head: true, ..ResponseMode::default() });
        assert!(head.ends_with("Content-Length: 2\r\n\r\n"));
        for status in [204, 304] {
            let bare = rendered(status, &[], ResponseMode::default());
            assert!(bare.ends_with("\r\n\r\n") && !bare.contains("Content-Length"), "{bare}");
        }
    }

    #[test]
    fn header_value_cannot_split_the_response() {
        let split =
            rendered(200, &[("Location", "/a\r\nSet-Cookie: b\u{e9}")], ResponseMode::default());
        assert!(split.contains("\r\nLocation: /a??Set-Cookie: b??\r\n"), "{split}");
    }

    #[test]
    fn http_date_formats_rfc_9110_dates() {
        for (seconds, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(http_date(Timestamp::from_unix(seconds)), date);
        }
    }
}
