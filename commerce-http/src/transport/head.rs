//! Parses and validates request heads. Every ambiguous framing is rejected, against request smuggling.
//!
//! `tiny_http` accepts several lengths (it takes the first), signs, and both framings at once. A proxy in front may
//! interpret them differently, and then a request could hide in the body of the previous one.

use super::Settings;
use crate::message::{Request, TransportError};
use crate::target;
use std::net::SocketAddr;
use tiny_http::HTTPVersion;

/// `tiny_http` reads bodies up to this size before it returns the request.
const READ_AHEAD: usize = 1024;
/// The longest registered method (`UPDATEREDIRECTREF`) has 17 letters.
const METHOD_LENGTH: usize = 20;

/// The maximum length of each part of a rejected head that is passed on, in bytes; heads are ASCII.
const MAX_REPORTED: usize = 256;
/// The maximum number of header lines of a rejected head that are passed on.
const MAX_REPORTED_LINES: usize = 64;

/// A valid head.
#[derive(Debug)]
pub(super) struct Head {
    /// The request, without its body.
    pub(super) request: Request,
    /// The length of the body; `None` if it is chunked.
    pub(super) length: Option<usize>,
}

/// Parses and validates the head.
pub(super) fn read(raw: &tiny_http::Request, settings: &Settings) -> Result<Head, TransportError> {
    if too_large(raw, settings) {
        return Err(TransportError::HeadTooLarge);
    }
    let request = Request {
        method: raw.method().as_str().to_owned(),
        target: raw.url().to_owned(),
        headers: raw.headers().iter().map(pair).collect(),
        body: Vec::new(),
        peer: raw.remote_addr().map(SocketAddr::ip),
    };
    let is_1_1 = *raw.http_version() == HTTPVersion(1, 1);
    if !well_formed(&request, is_1_1) {
        return Err(TransportError::Malformed);
    }
    let length = framing(&request, is_1_1, settings.max_body)?;
    if upgrades(raw) && length != Some(0) {
        // `tiny_http` would return the raw stream instead of the body.
        return Err(TransportError::Malformed);
    }
    if length.is_some_and(|length| length > settings.max_body) {
        return Err(TransportError::BodyTooLarge { limit: settings.max_body });
    }
    Ok(Head { request, length })
}

/// Returns true if bytes of the body are still on the connection, which must be closed unless they are read.
pub(super) fn unread(raw: &tiny_http::Request) -> bool {
    let has = |name: &'static str| raw.headers().iter().any(|header| header.field.equiv(name));
    has("Transfer-Encoding")
        || raw
            .body_length()
            .is_some_and(|length| length > READ_AHEAD || (length > 0 && has("Expect")))
}

/// Returns true if `tiny_http` closes the connection after this request, by its own rules.
pub(super) fn is_last(raw: &tiny_http::Request) -> bool {
    match connection(raw) {
        Some(value) if contains(value, "close") || contains(value, "upgrade") => true,
        Some(value) if contains(value, "keep-alive") => false,
        _ => *raw.http_version() == HTTPVersion(1, 0),
    }
}

/// Returns true if the client requests a protocol upgrade, which is not supported.
pub(super) fn upgrades(raw: &tiny_http::Request) -> bool {
    connection(raw).is_some_and(|value| contains(value, "upgrade"))
}

fn connection(raw: &tiny_http::Request) -> Option<&str> {
    let mut headers = raw.headers().iter();
    Some(headers.find(|header| header.field.equiv("Connection"))?.value.as_str())
}

fn contains(value: &str, word: &str) -> bool {
    value.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

fn pair(header: &tiny_http::Header) -> (String, String) {
    (header.field.as_str().as_str().to_owned(), header.value.as_str().to_owned())
}

/// Returns true if a head is too large. Checked before anything is copied.
fn too_large(raw: &tiny_http::Request, settings: &Settings) -> bool {
    let size = |header: &tiny_http::Header| {
        header.field.as_str().len().saturating_add(header.value.as_str().len())
    };
    raw.url().len() > settings.max_target
        || raw.headers().len() > settings.max_headers
        || raw.headers().iter().map(size).fold(0, usize::saturating_add) > settings.max_header_bytes
}

/// The truncated head of a rejected request, which may be of any size.
pub(super) fn truncated(raw: &tiny_http::Request) -> Request {
    let beginning = |text: &str| text.get(..MAX_REPORTED).unwrap_or(text).to_owned();
    let short = |header: &&tiny_http::Header| {
        header.field.as_str().len() <= MAX_REPORTED && header.value.as_str().len() <= MAX_REPORTED
    };
    Request {
        method: beginning(raw.method().as_str()),
        target: beginning(raw.url()),
        headers: raw.headers().iter().take(MAX_REPORTED_LINES).filter(short).map(pair).collect(),
        body: Vec::new(),
        peer: raw.remote_addr().map(SocketAddr::ip),
    }
}

/// Returns true if every part is well-formed. HTTP/1.1 needs one `Host` (RFC 9112, 3.2); no version allows two.
fn well_formed(request: &Request, is_1_1: bool) -> bool {
    let method = request.method.len() <= METHOD_LENGTH && is_token(&request.method);
    let origin = request.target.starts_with('/') || request.target == "*";
    let absolute = request.target.contains("://") && target::is_absolute(&request.target);
    let target = (origin || absolute) && request.target.bytes().all(|byte| byte.is_ascii_graphic());
    // A bare line feed does not end a line for `tiny_http`, but may do so for a proxy.
    let headers = request.headers.iter().all(|(name, value)| {
        is_token(name) && value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
    });
    let hosts = values(request, "Host").count();
    method && target && headers && (hosts == 1 || hosts == 0 && !is_1_1)
}

/// The length of the body; `None` if it is chunked.
fn framing(request: &Request, chunks: bool, limit: usize) -> Result<Option<usize>, TransportError> {
    let mut lengths = values(request, "Content-Length");
    let mut encodings = values(request, "Transfer-Encoding");
    match (lengths.next(), lengths.next(), encodings.next(), encodings.next()) {
        (None, None, None, None) => Ok(Some(0)),
        (Some(length), None, None, None) => digits(length, limit).map(Some),
        (None, None, Some(encoding), None)
            if chunks && encoding.eq_ignore_ascii_case("chunked") =>
        {
            Ok(None)
        }
        _ => Err(TransportError::Malformed),
    }
}

/// Parses a length: digits only. A length beyond `usize` is too large.
fn digits(text: &str, limit: usize) -> Result<usize, TransportError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TransportError::Malformed);
    }
    text.parse().map_err(|_| TransportError::BodyTooLarge { limit })
}

fn values<'a>(request: &'a Request, name: &'a str) -> impl Iterator<Item = &'a str> {
    let matching =
        request.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
    matching.map(|(_, value)| value.as_str())
}

fn is_token(text: &str) -> bool {
    let is = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is)
}

#[cfg(test)]
mod tests {
    use super::{framing, well_formed};
    use crate::message::{Request, TransportError};

    fn request(headers: &[(&str, &str)]) -> Request {
        let headers =
            headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Request { method: "POST".into(), target: "/".into(), headers, ..Request::default() }
    }

    #[test]
    fn framing_rejects_request_smuggling() {
        let (length, encoding) = ("Content-Length", "transfer-encoding");
        let malformed = Err(TransportError::Malformed);
        for (headers, expected) in [
            (&[][..], Ok(Some(0))),
            (&[(length, "12")], Ok(Some(12))),
            (&[("content-length", "0")], Ok(Some(0))),
            (&[(encoding, "Chunked")], Ok(None)),
            (
                &[(length, "99999999999999999999999")],
                Err(TransportError::BodyTooLarge { limit: 64 }),
            ),
            (&[(length, "5"), (encoding, "chunked")], malformed),
            (&[(length, "5"), ("content-length", "5")], malformed),
            (&[(length, "5, 5")], malformed),
            (&[(length, "+5")], malformed),
            (&[(length, "-5")], malformed),
            (&[(length, "0x5")], malformed),
            (&[(length, "")], malformed),
            (&[(encoding, "gzip, chunked")], malformed),
            (&[(encoding, "identity")], malformed),
            (&[(encoding, "chunked"), (encoding, "chunked")], malformed),
            (&[(encoding, "")], malformed),
        ] {
            assert_eq!(framing(&request(headers), true, 64), expected, "{headers:?}");
        }
        assert_eq!(framing(&request(&[(encoding, "chunked")]), false, 64), malformed, "HTTP/1.0");
    }

    #[test]
    fn head_with_hidden_lines_is_malformed() {
        let is_valid = |headers: &[(&str, &str)]| well_formed(&request(headers), true);
        assert!(is_valid(&[("Host", "a"), ("X-Note", "a\tb")]));
        for other in
            [("host", "b"), ("X", "a\nContent-Length: 5"), ("X", "a\0"), ("X\u{b}", "a"), ("", "a")]
        {
            assert!(!is_valid(&[("Host", "a"), other]), "{other:?}");
        }
    }

    #[test]
    fn head_needs_exactly_one_host_in_http_1_1() {
        assert!(!well_formed(&request(&[]), true));
        assert!(well_formed(&request(&[]), false));
        assert!(!well_formed(&request(&[("Host", "a"), ("Host", "a")]), false));
    }

    #[test]
    fn target_is_a_path_or_an_absolute_url() {
        let is_valid = |target: &str| {
            let target = target.to_owned();
            well_formed(&Request { target, ..request(&[("Host", "a")]) }, true)
        };
        for target in ["/", "*", "/a?b", "http://a/", "HTTPS://a"] {
            assert!(is_valid(target), "{target}");
        }
        for target in ["", "a", "/\u{1}", "ftp://a/", "http:a", "a:80"] {
            assert!(!is_valid(target), "{target}");
        }
    }
}
