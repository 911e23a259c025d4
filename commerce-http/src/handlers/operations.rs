//! The service index, health checks, metrics and the OpenAPI document.

use crate::context::{HandlerResult, RequestContext, Success};
use commerce_core::Currency;
use serde::Serialize;
use serde_json::json;

/// The entry point for clients.
#[derive(Serialize)]
struct Index {
    name: &'static str,
    version: &'static str,
    currency: Currency,
    links: Links,
}

#[derive(Serialize)]
struct Links {
    products: &'static str,
    bestsellers: &'static str,
    coupons: &'static str,
    customers: &'static str,
    sessions: &'static str,
    openapi: &'static str,
    docs: &'static str,
    problems: &'static str,
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have the same type")]
pub(crate) fn index(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&Index {
        name: "commerce",
        version: env!("CARGO_PKG_VERSION"),
        currency: call.shop().currency(),
        links: Links {
            products: "/v1/products",
            bestsellers: "/v1/bestsellers",
            coupons: "/v1/coupons",
            customers: "/v1/customers",
            sessions: "/v1/sessions",
            openapi: "/openapi.json",
            docs: "/docs",
            problems: "/problems",
        },
    }))
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have the same type")]
pub(crate) fn alive(_call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&json!({ "status": "ok" })))
}

pub(crate) fn ready(call: &RequestContext<'_>) -> HandlerResult {
    call.shop().ready()?;
    Ok(Success::ok(&json!({ "status": "ok" })))
}

pub(crate) fn metrics(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::text(
        "text/plain; version=0.0.4; charset=utf-8",
        call.state.metrics.render(call.shop())?.into_bytes(),
    ))
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have the same type")]
pub(crate) fn document(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::text("application/json", &*call.state.documents.current))
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have the same type")]
pub(crate) fn document_3_0(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::text("application/json", &*call.state.documents.rendering_3_0))
}
