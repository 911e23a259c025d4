//! Entity tags of answers: a client that has the current answer is not sent it again, and one that changes
//! something can have it changed only if it is still what the client has read. A tag is drawn from the answer
//! itself: nothing is stored for it, and it is never out of date.

use crate::api::HandlerError;
use crate::context::Success;
use crate::message::Request;
use crate::problem::{Problem, status_of};
use crate::route::{Method, Route};
use commerce_core::{Code, Version};
use std::borrow::Cow;

/// Adds the tag, and leaves the body away when the client that reads has it.
pub(crate) fn tag(mut reply: Success, route: &Route, request: &Request) -> Success {
    let tag = format!("\"{}\"", Version::of_bytes(&reply.body));
    let has = |known: &str| known.trim() == "*" || tags(known).any(|known| known == tag);
    if route.method == Method::Get && request.values("If-None-Match").any(has) {
        reply.status = 304;
        reply.body = Cow::Borrowed(&[]);
        reply.headers.retain(|(name, _)| *name != "Content-Type");
    }
    reply.with("ETag", tag)
}

/// The tags of a header; that a tag is weak makes no difference to a client that reads.
fn tags(known: &str) -> impl Iterator<Item = &str> {
    known.split(',').map(|known| known.trim().trim_start_matches("W/"))
}

/// The versions that what the call changes may have; any when absent. A tag that was never given out is no version
/// and matches nothing, and so does a weak one (RFC 9110, 13.1.1).
pub(crate) fn if_match(
    route: &Route,
    request: &Request,
) -> Result<Option<Vec<Version>>, HandlerError> {
    let mut sent = request.values("If-Match").peekable();
    if sent.peek().is_none() || route.method == Method::Get {
        return Ok(None);
    }
    if !route.is_conditional() {
        let status = status_of(Code::PreconditionFailed);
        let detail = "what this call changes has no ETag: send it without If-Match".to_owned();
        let code = Code::PreconditionFailed.as_str();
        return Err(HandlerError::Problem(Box::new(Problem::with(
            status.http,
            code,
            status.title,
            detail,
        ))));
    }
    let mut versions = Vec::new();
    for tag in sent.flat_map(|tags| tags.split(',')).map(str::trim) {
        if tag == "*" {
            return Ok(None);
        }
        let bare = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        versions.extend(bare.and_then(|tag| tag.parse::<Version>().ok()));
    }
    Ok(Some(versions))
}
