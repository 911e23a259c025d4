//! Tags of answers, so that who has the current one is not sent it again. A tag is drawn from the answer
//! itself: what is asked of the store is asked all the same, and no tag is ever out of date.

use crate::call::Reply;
use crate::message::Request;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// Adds the tag, and leaves the body away when the client has it.
pub(crate) fn tag(mut reply: Reply, request: &Request) -> Reply {
    let digest = Sha256::digest(&reply.body);
    let half = digest.iter().take(16).fold(0_u128, |half, byte| half << 8 | u128::from(*byte));
    let tag = format!("\"{half:032x}\"");
    if request.header("If-None-Match").is_some_and(|known| names(known, &tag)) {
        reply.status = 304;
        reply.body = Cow::Borrowed(&[]);
        reply.headers.retain(|(name, _)| *name != "Content-Type");
    }
    reply.with("ETag", tag)
}

/// Whether the tag is among those the client has.
fn names(known: &str, tag: &str) -> bool {
    let mut tags = known.split(',').map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}
