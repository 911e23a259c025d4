//! Writes an answer. `tiny_http`'s own way sends line breaks in values as they are, cannot say that the
//! connection closes, and takes several writes.

use crate::message::Response;
use chrono::DateTime;
use commerce_core::Timestamp;
use std::io::Write;

/// Up to here a body is sent in one write with its head.
const SMALL: usize = 16 * 1024;

/// What of the request shapes the bytes of its answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ResponseMode {
    /// Asked with `HEAD`: no body.
    pub(super) head: bool,
    /// The connection closes after it.
    pub(super) closes: bool,
    /// Asked with HTTP/1.0, where a connection that stays must be named.
    pub(super) old: bool,
}

/// The answer as bytes: the first ones, and the body when it was too large to be copied to them.
pub(super) fn render<'a>(
    response: &'a Response,
    manner: ResponseMode,
    date: &str,
) -> (Vec<u8>, &'a [u8]) {
    let status = response.status;
    let bare = status < 200 || status == 204 || status == 304;
    let body: &[u8] = if bare || manner.head { &[] } else { &response.body };
    let (small, large) = if body.len() <= SMALL { (body, &[][..]) } else { (&[][..], body) };
    let mut bytes = Vec::with_capacity(small.len().saturating_add(256));
    let reason = tiny_http::StatusCode(status).default_reason_phrase();
    // Writing to memory does not fail.
    let _ = write!(bytes, "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\n");
    for (name, value) in &response.headers {
        line(&mut bytes, name, value);
    }
    if !bare {
        let _ = write!(bytes, "Content-Length: {}\r\n", response.body.len());
    }
    if manner.closes {
        bytes.extend_from_slice(b"Connection: close\r\n");
    } else if manner.old {
        bytes.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(small);
    (bytes, large)
}

/// A header line. What could end the line, or is no ASCII, becomes a question mark.
fn line(bytes: &mut Vec<u8>, name: &str, value: &str) {
    let safe = |byte: u8| if (b' '..=b'~').contains(&byte) { byte } else { b'?' };
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend(value.bytes().map(safe));
    bytes.extend_from_slice(b"\r\n");
}

/// The date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
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
        manner: ResponseMode,
    ) -> String {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).into())).collect();
        let response = Response { status, headers, body: b"{}"[..].into() };
        String::from_utf8(render(&response, manner, "now").0).unwrap()
    }

    #[test]
    fn an_answer_says_its_length_and_whether_the_connection_stays() {
        let plain = rendered(200, &[("X-A", "b")], ResponseMode::default());
        assert_eq!(plain, "HTTP/1.1 200 OK\r\nDate: now\r\nX-A: b\r\nContent-Length: 2\r\n\r\n{}");
        let last = rendered(400, &[], ResponseMode { closes: true, ..ResponseMode::default() });
        assert!(last.contains("\r\nConnection: close\r\n"));
        let old = rendered(200, &[], ResponseMode { old: true, ..ResponseMode::default() });
        assert!(old.contains("\r\nConnection: keep-alive\r\n"));
    }

    #[test]
    fn some_answers_have_no_body() {
        let head = rendered(200, &[], ResponseMode { head: true, ..ResponseMode::default() });
        assert!(head.ends_with("Content-Length: 2\r\n\r\n"));
        for status in [204, 304] {
            let bare = rendered(status, &[], ResponseMode::default());
            assert!(bare.ends_with("\r\n\r\n") && !bare.contains("Content-Length"), "{bare}");
        }
    }

    #[test]
    fn a_value_cannot_begin_a_line_of_its_own() {
        let split =
            rendered(200, &[("Location", "/a\r\nSet-Cookie: b\u{e9}")], ResponseMode::default());
        assert!(split.contains("\r\nLocation: /a??Set-Cookie: b??\r\n"), "{split}");
    }

    #[test]
    fn dates_are_written_as_http_has_them() {
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
