//! Authentication and authorization. All checks of permissions are in this file; a handler receives only data
//! that its caller may see.

use crate::error::{HandlerError, Rejection};
use crate::message::Request;
use crate::problem::HttpError;
use crate::route::{Auth, Route};
use commerce_core::{Caller, CustomerId, Order, OrderId, Refusal, Role, Shop};
use matchit::Params;
use serde_json::Value;

/// The caller of an authorized request, and the data that the request may touch.
pub(crate) struct AuthContext<'r> {
    pub(crate) token: Option<&'r str>,
    pub(crate) caller: Option<Caller>,
    /// The customer in the path or in the body, or else the caller.
    pub(crate) customer: CustomerId,
    /// The order in the path.
    pub(crate) order: Option<Order>,
}

/// Authenticates the caller of a request and checks that the caller may use the route.
pub(crate) fn authorize<'r>(
    shop: &Shop,
    route: &Route,
    request: &'r Request,
    path: &Params<'_, '_>,
) -> Result<AuthContext<'r>, HandlerError> {
    if route.auth == Auth::Public {
        let customer = CustomerId::new(0);
        return Ok(AuthContext { token: None, caller: None, customer, order: None });
    }
    let token = bearer(request).ok_or(Refusal::Unauthenticated)?;
    let caller = shop.caller(token)?;
    let mut auth = AuthContext {
        token: Some(token),
        caller: Some(caller),
        customer: caller.customer_id,
        order: None,
    };
    match route.auth {
        // The customer in the body is checked after parsing: see `authorize_body_customer`.
        Auth::Public | Auth::Authenticated | Auth::SelfOrAdminBody => {}
        Auth::Admin if caller.role == Role::Admin => {}
        Auth::Admin => return Err(Refusal::Forbidden.into()),
        Auth::OwnerWithGateway if !shop.has_gateway() && caller.role != Role::Admin => {
            return Err(Refusal::Forbidden.into());
        }
        Auth::OwnerWithGateway | Auth::Customer => auth.customer = customer(caller, path)?,
        Auth::Order => auth.order = Some(order(shop, caller, path)?),
    }
    Ok(auth)
}

/// Takes the customer from the body, if the route allows one there, and checks that the caller may act for them.
pub(crate) fn authorize_body_customer(
    auth: &mut AuthContext<'_>,
    route: &Route,
    body: &Value,
) -> Result<(), HandlerError> {
    let customer = body.get("customer_id").and_then(Value::as_i64).map(CustomerId::new);
    let (Auth::SelfOrAdminBody, Some(caller), Some(customer)) = (route.auth, auth.caller, customer)
    else {
        return Ok(());
    };
    auth.customer = customer;
    if caller.may_act_for(customer) { Ok(()) } else { Err(Refusal::Forbidden.into()) }
}

/// The customer in the path, if the caller may act for them.
fn customer(caller: Caller, path: &Params<'_, '_>) -> Result<CustomerId, HandlerError> {
    let text = path.get("customer_id").unwrap_or_default();
    if text == "me" {
        return Ok(caller.customer_id);
    }
    let customer = id(text).map(CustomerId::new);
    let customer = customer.ok_or_else(|| {
        HandlerError::http(HttpError::PathNotFound, "a customer is named by a number, or by me")
    })?;
    if caller.may_act_for(customer) { Ok(customer) } else { Err(Refusal::Forbidden.into()) }
}

/// The order in the path, if the caller may act for its customer; otherwise it is refused as not found, so that order
/// ids do not leak.
fn order(shop: &Shop, caller: Caller, path: &Params<'_, '_>) -> Result<Order, HandlerError> {
    let order_id = path.get("order_id").and_then(id).map(OrderId::new);
    let order_id = order_id.ok_or_else(|| {
        HandlerError::http(HttpError::PathNotFound, "an order is named by a number")
    })?;
    let order = shop.order(order_id).map_err(Rejection::from)?;
    let is_allowed = caller.may_act_for(order.customer_id);
    is_allowed.then_some(order).ok_or_else(|| Refusal::OrderNotFound { order_id }.into())
}

/// The ids in a path except the customer's; `None` if one is not a number.
pub(crate) fn ids<'k>(path: &Params<'k, '_>) -> Option<Vec<(&'k str, i64)>> {
    let others = path.iter().filter(|(name, _)| *name != "customer_id");
    others.map(|(name, text)| id(text).map(|id| (name, id))).collect()
}

/// The greatest id of the document: the greatest integer that every JSON reader parses exactly (2^53 - 1).
const MAX_ID: i64 = 9_007_199_254_740_991;

/// Parses an id in canonical form: digits without a leading zero.
fn id(text: &str) -> Option<i64> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    canonical.then(|| text.parse().ok()).flatten().filter(|id| *id <= MAX_ID)
}

/// Returns true if an `Authorization` header has the scheme `Bearer`.
pub(crate) fn is_bearer(value: &str) -> bool {
    value.split(' ').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("Bearer"))
}

/// The token of a request; `None` if there is none, or more than one `Authorization` header.
fn bearer(request: &Request) -> Option<&str> {
    let mut headers = request.values("Authorization");
    let (scheme, token) = headers.next()?.split_once(' ')?;
    if headers.next().is_some() {
        return None;
    }
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}
