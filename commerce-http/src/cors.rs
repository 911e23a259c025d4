//! Cross-origin resource sharing (CORS): the origins whose pages may call the API from a browser.
//!
//! The page itself sends the token, not the browser, so no response allows credentials. That makes `*` safe here.

use crate::context::Success;
use crate::message::Request;
use std::fmt;
use std::str::FromStr;

/// Request headers that a page may send beyond the safelisted ones.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, \
                               X-Request-Id, traceparent";
/// Response headers that a page may read beyond the safelisted ones.
const RESPONSE_HEADERS: &str = "ETag, Location, Idempotency-Replayed, X-Request-Id, Retry-After, \
                              WWW-Authenticate, Allow";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// Seconds that a browser may cache a preflight: the maximum of Chromium.
const MAX_AGE: &str = "7200";

/// An origin with pages that may call the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Every origin.
    Any,
    /// One origin as a browser writes it: `https://shop.example`, with the port unless it is the default.
    One(String),
}

/// The error of parsing an [`Origin`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseOriginError;

impl fmt::Display for ParseOriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an origin is written https://shop.example or http://localhost:3000, in lower case, without a path and \
             without the default port; * is all of them",
        )
    }
}

impl std::error::Error for ParseOriginError {}

impl FromStr for Origin {
    type Err = ParseOriginError;

    /// Accepts only the spelling that browsers send: any other would never match.
    fn from_str(text: &str) -> Result<Self, ParseOriginError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, authority) = text.split_once("://").ok_or(ParseOriginError)?;
        let default_port = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return Err(ParseOriginError),
        };
        let is_allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte)
        };
        if authority.is_empty()
            || !authority.bytes().all(is_allowed)
            || authority.ends_with(default_port)
        {
            return Err(ParseOriginError);
        }
        Ok(Self::One(text.to_owned()))
    }
}

/// The value of `Access-Control-Allow-Origin` for a request, if its origin is allowed.
fn allowed(origins: &[Origin], request: &Request) -> Option<String> {
    let origin = request.header("Origin")?;
    origins.iter().find_map(|allowed| match allowed {
        Origin::Any => Some("*".to_owned()),
        Origin::One(known) => (known == origin).then(|| known.clone()),
    })
}

/// The response to a preflight request of an allowed origin. Preflights are answered before routing, so that a page
/// can read the 404 of an unknown path.
pub(crate) fn preflight(origins: &[Origin], request: &Request) -> Option<Success> {
    let is_preflight = request.method == "OPTIONS"
        && request.header("Access-Control-Request-Method").is_some()
        && allowed(origins, request).is_some();
    is_preflight.then(|| {
        Success::no_content()
            .with("Access-Control-Allow-Methods", METHODS)
            .with("Access-Control-Allow-Headers", REQUEST_HEADERS)
            .with("Access-Control-Max-Age", MAX_AGE)
    })
}

/// Adds the headers that let an allowed page read the response.
pub(crate) fn share(origins: &[Origin], request: &Request, mut response: Success) -> Success {
    if origins.is_empty() {
        return response;
    }
    // A cache must not serve the response for one origin to another.
    response = response.with("Vary", "Origin");
    match allowed(origins, request) {
        Some(origin) => response
            .with("Access-Control-Allow-Origin", origin)
            .with("Access-Control-Expose-Headers", RESPONSE_HEADERS),
        None => response,
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
    fn origin_accepts_only_browser_spelling(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<Origin>().is_ok(), valid);
    }
}
