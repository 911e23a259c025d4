//! Parses and validates request heads, for both servers. Every ambiguous framing is rejected, against request
//! smuggling.
//!
//! The libraries accept repeated lengths, and both framings at once. A proxy in front may interpret them differently,
//! and then a request could hide in the body of the previous one.

use super::Settings;
use crate::message::{Request, Response, Service, TransportError};
use crate::target;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The longest registered method (`UPDATEREDIRECTREF`) has 17 letters.
const METHOD_LENGTH: usize = 20;
/// The maximum length of each part of a rejected head that is passed on, in characters.
const MAX_REPORTED: usize = 256;

/// The length of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
}

/// Validates a head: its size, its parts, its framing, and the length of the body.
pub(super) fn validate(
    request: &Request,
    is_1_1: bool,
    settings: &Settings,
) -> Result<Framing, TransportError> {
    let size = request.headers.iter().map(|(name, value)| name.len().saturating_add(value.len()));
    if request.target.len() > settings.max_target
        || request.headers.len() > settings.max_headers
        || size.fold(0, usize::saturating_add) > settings.max_header_bytes
    {
        return Err(TransportError::HeadTooLarge);
    }
    if !well_formed(request, is_1_1) {
        return Err(TransportError::Malformed);
    }
    framing(request, is_1_1, settings.max_body)
}

/// Returns true if one of the options in a header (`Connection`, `Expect`) is that word.
pub(super) fn has_option(request: &Request, header: &str, word: &str) -> bool {
    let mut options = request.values(header).flat_map(|value| value.split(','));
    options.any(|option| option.trim().eq_ignore_ascii_case(word))
}

/// The response of the service to a request that is rejected, with its truncated head.
pub(super) fn reject(service: &dyn Service, reason: TransportError, request: &Request) -> Response {
    let reject = || service.reject(reason, &truncated(request));
    let empty = |_| Response { status: 503, headers: Vec::new(), body: b""[..].into() };
    catch_unwind(AssertUnwindSafe(reject)).unwrap_or_else(empty)
}

/// The truncated head of a rejected request, which may be of any size.
fn truncated(request: &Request) -> Request {
    let beginning = |text: &str| text.chars().take(MAX_REPORTED).collect();
    let is_short = |(name, value): &&(String, String)| name.len().max(value.len()) <= MAX_REPORTED;
    Request {
        method: beginning(&request.method),
        target: beginning(&request.target),
        headers: request.headers.iter().filter(is_short).cloned().collect(),
        body: Vec::new(),
        peer: request.peer,
    }
}

/// Returns true if every part is well-formed. HTTP/1.1 needs one `Host` (RFC 9112, 3.2); no version allows two.
/// Header values may hold any text (`obs-text`), but no control characters.
fn well_formed(request: &Request, is_1_1: bool) -> bool {
    let method = request.method.len() <= METHOD_LENGTH && is_token(&request.method);
    let origin = request.target.starts_with('/') || request.target == "*";
    let absolute = request.target.contains("://") && target::is_absolute(&request.target);
    let target = (origin || absolute) && request.target.bytes().all(|byte| byte.is_ascii_graphic());
    // A bare line feed does not end a line for `tiny_http`, but may do so for a proxy.
    let headers = request.headers.iter().all(|(name, value)| {
        is_token(name) && value.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control())
    });
    let hosts = request.values("Host").count();
    method && target && headers && (hosts == 1 || hosts == 0 && !is_1_1)
}

/// The framing of the body.
fn framing(request: &Request, chunks: bool, limit: usize) -> Result<Framing, TransportError> {
    let mut lengths = request.values("Content-Length");
    let mut encodings = request.values("Transfer-Encoding");
    match (lengths.next(), lengths.next(), encodings.next(), encodings.next()) {
        (None, None, None, None) => Ok(Framing::Length(0)),
        (Some(length), None, None, None) => digits(length, limit).map(Framing::Length),
        (None, None, Some(encoding), None)
            if chunks && encoding.eq_ignore_ascii_case("chunked") =>
        {
            Ok(Framing::Chunked)
        }
        _ => Err(TransportError::Malformed),
    }
}

/// Parses a length within the limit: digits only.
fn digits(text: &str, limit: usize) -> Result<usize, TransportError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TransportError::Malformed);
    }
    let length = text.parse().ok().filter(|length| *length <= limit);
    length.ok_or(TransportError::BodyTooLarge { limit })
}

/// Returns true for the characters of methods and header names.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use super::{Framing, framing, has_option, truncated, well_formed};
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
        let too_large = Err(TransportError::BodyTooLarge { limit: 64 });
        for (headers, expected) in [
            (&[][..], Ok(Framing::Length(0))),
            (&[(length, "12")], Ok(Framing::Length(12))),
            (&[("content-length", "0")], Ok(Framing::Length(0))),
            (&[(length, "64")], Ok(Framing::Length(64))),
            (&[(encoding, "Chunked")], Ok(Framing::Chunked)),
            (&[(length, "65")], too_large),
            (&[(length, "99999999999999999999999")], too_large),
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
        assert!(is_valid(&[("Host", "a"), ("X-Note", "a\tb"), ("User-Agent", "한")]));
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
        for target in ["", "a", "/\u{1}", "/한", "ftp://a/", "http:a", "a:80"] {
            assert!(!is_valid(target), "{target}");
        }
    }

    #[test]
    fn connection_options_are_words_of_a_list() {
        let options = request(&[("connection", "X-Close, Keep-Alive"), ("Connection", "te")]);
        let has = |word| has_option(&options, "Connection", word);
        assert!(has("keep-alive") && has("TE") && !has("close"));
    }

    #[test]
    fn rejected_head_is_truncated() {
        let target = "한".repeat(300);
        let rejected = truncated(&Request { target, ..request(&[("a", &"x".repeat(300))]) });
        assert_eq!((rejected.target, rejected.headers.len()), ("한".repeat(256), 0));
    }
}
