//! Entity tags: conditional requests (`If-None-Match`) and optimistic concurrency (`If-Match`).
//!
//! A tag is a digest of the response body (its version): it needs no storage and is never stale.

use crate::context::Success;
use crate::error::HandlerError;
use crate::message::Request;
use crate::problem::Problem;
use crate::route::{Method, Route};
use commerce_core::{Code, Version};
use std::borrow::Cow;

/// Adds the tag, and answers 304 if the client has the current version.
pub(crate) fn tag(mut response: Success, route: &Route, request: &Request) -> Success {
    let tag = format!("\"{}\"", Version::of_bytes(&response.body));
    let matches = |header: &str| header.trim() == "*" || tags(header).any(|known| known == tag);
    if route.method == Method::Get && request.values("If-None-Match").any(matches) {
        response.status = 304;
        response.body = Cow::Borrowed(&[]);
        response.headers.retain(|(name, _)| *name != "Content-Type");
    }
    response.with("ETag", tag)
}

/// The tags of an `If-None-Match` header. Comparison is weak, so the `W/` prefix is dropped (RFC 9110, 13.1.2).
fn tags(header: &str) -> impl Iterator<Item = &str> {
    header.split(',').map(|tag| tag.trim().trim_start_matches("W/"))
}

/// The versions in `If-Match`; `None` for any version. Foreign and weak tags match nothing (RFC 9110, 13.1.1).
pub(crate) fn if_match(
    route: &Route,
    request: &Request,
) -> Result<Option<Vec<Version>>, HandlerError> {
    let mut headers = request.values("If-Match").peekable();
    if headers.peek().is_none() || route.method == Method::Get {
        return Ok(None);
    }
    if !route.is_conditional() {
        let detail = "this resource has no ETag: send the call without If-Match".to_owned();
        let problem = Problem::with_code(Code::PreconditionFailed, detail);
        return Err(HandlerError::problem(problem));
    }
    let mut versions = Vec::new();
    for tag in headers.flat_map(|tags| tags.split(',')).map(str::trim) {
        if tag == "*" {
            return Ok(None);
        }
        let bare = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        versions.extend(bare.and_then(|tag| tag.parse::<Version>().ok()));
    }
    Ok(Some(versions))
}
