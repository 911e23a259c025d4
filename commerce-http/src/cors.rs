//! Cross-origin resource sharing: which pages of other origins may call the API from a browser.
//!
//! A token is sent by the page itself, never by the browser, so no answer allows credentials; that is why `*` is
//! safe here.

use crate::context::Success;
use crate::message::Request;
use std::fmt;
use std::str::FromStr;

/// The headers of requests that a page may send beyond those that it always may.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, \
                               X-Request-Id, traceparent";
/// The headers of answers that a page may read beyond those that it always may.
const ANSWER_HEADERS: &str = "ETag, Location, Idempotency-Replayed, X-Request-Id, Retry-After, \
                              WWW-Authenticate, Allow";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// How many seconds a browser may remember what it may send: as long as Chromium does at most.
const MAX_AGE: &str = "7200";

/// An origin whose pages may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Any at all.
    Any,
    /// This one, as a browser writes it: `https://shop.example`, with the port where it is not the usual one.
    One(String),
}

/// A text that is not an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseOriginError;

impl fmt::Display for ParseOriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an origin is written https://shop.example or http://localhost:3000, in lower case, without a path and \
             without the usual port; * is all of them",
        )
    }
}

impl std::error::Error for ParseOriginError {}

impl FromStr for Origin {
    type Err = ParseOriginError;

    /// Takes only what a browser could send: another spelling would never match.
    fn from_str(text: &str) -> Result<Self, ParseOriginError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, index) = text.split_once("://").ok_or(ParseOriginError)?;
        let usual = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return Err(ParseOriginError),
        };
        let fits = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte)
        };
        if index.is_empty() || !index.bytes().all(fits) || index.ends_with(usual) {
            return Err(ParseOriginError);
        }
        Ok(Self::One(text.to_owned()))
    }
}

/// The origin of a request as the answer names it, when its pages may call.
fn allowed(origins: &[Origin], request: &Request) -> Option<String> {
    let origin = request.header("Origin")?;
    origins.iter().find_map(|allowed| match allowed {
        Origin::Any => Some("*".to_owned()),
        Origin::One(known) => (known == origin).then(|| known.clone()),
    })
}

/// The answer to a preflight: the question of a browser whether a page may send a request. It is given before the
/// path is looked up, so that a page can read the 404 of a path that is not there.
pub(crate) fn preflight(origins: &[Origin], request: &Request) -> Option<Success> {
    let asks = request.method == "OPTIONS"
        && request.header("Access-Control-Request-Method").is_some()
        && allowed(origins, request).is_some();
    asks.then(|| {
        Success::nothing()
            .with("Access-Control-Allow-Methods", METHODS)
            .with("Access-Control-Allow-Headers", REQUEST_HEADERS)
            .with("Access-Control-Max-Age", MAX_AGE)
    })
}

/// Lets the page that asked read the answer, where it may.
pub(crate) fn share(origins: &[Origin], request: &Request, mut reply: Success) -> Success {
    if origins.is_empty() {
        return reply;
    }
    // What is answered to one origin must not be kept for another.
    reply = reply.with("Vary", "Origin");
    match allowed(origins, request) {
        Some(origin) => reply
            .with("Access-Control-Allow-Origin", origin)
            .with("Access-Control-Expose-Headers", ANSWER_HEADERS),
        None => reply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("*", true)]
    #[case("https://shop.example", true)]
    #[case("http://localhost:3000", true)]
    #[case("http://[::1]:3000", true)]
    #[case("https://shop.example/", false)]
    #[case("https://Shop.example", false)]
    #[case("https://shop.example:443", false)]
    #[case("https://*.example", false)]
    #[case("https://a@shop.example", false)]
    #[case("shop.example", false)]
    #[case("ftp://shop.example", false)]
    #[case("https://", false)]
    #[case("null", false)]
    #[case("", false)]
    fn origins(#[case] text: &str, #[case] fits: bool) {
        assert_eq!(text.parse::<Origin>().is_ok(), fits);
    }
}
