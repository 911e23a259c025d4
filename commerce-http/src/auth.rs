//! Who may do what: the one place that says so. A handler is called only with what was found here.

use crate::api::HandlerError;
use crate::context::Rejection;
use crate::message::Request;
use crate::problem::HttpError;
use crate::route::{Auth, Route};
use commerce_core::{Caller, CustomerId, Order, OrderId, Refusal, Role, Shop};
use matchit::Params;
use serde_json::Value;

/// Who was let in, to whose data.
pub(crate) struct AuthContext<'r> {
    pub(crate) token: Option<&'r str>,
    pub(crate) caller: Option<Caller>,
    /// Whose data it is about: the customer of the path or of the body, or the caller.
    pub(crate) customer: CustomerId,
    /// The order it is about.
    pub(crate) order: Option<Order>,
}

/// Lets a request in, or says why not.
pub(crate) fn authorize<'r>(
    shop: &Shop,
    route: &Route,
    request: &'r Request,
    path: &Params<'_, '_>,
) -> Result<AuthContext<'r>, HandlerError> {
    if route.access == Auth::Public {
        let customer = CustomerId::new(0);
        return Ok(AuthContext { token: None, caller: None, customer, order: None });
    }
    let token = bearer(request).ok_or(Refusal::Unauthenticated)?;
    let caller = shop.caller(token)?;
    let mut admitted = AuthContext {
        token: Some(token),
        caller: Some(caller),
        customer: caller.customer_id,
        order: None,
    };
    match route.access {
        // What the body says is known later: see `name`.
        Auth::Public | Auth::Authenticated | Auth::SelfOrAdminBody => {}
        Auth::Admin if caller.role == Role::Admin => {}
        Auth::Admin => return Err(Refusal::Forbidden.into()),
        Auth::OwnerWithGateway if !shop.has_gateway() && caller.role != Role::Admin => {
            return Err(Refusal::Forbidden.into());
        }
        Auth::OwnerWithGateway | Auth::Customer => admitted.customer = customer(caller, path)?,
        Auth::Order => admitted.order = Some(order(shop, caller, path)?),
    }
    Ok(admitted)
}

/// Takes in the customer whom the body names, where it may name one.
pub(crate) fn name(
    admitted: &mut AuthContext<'_>,
    route: &Route,
    body: &Value,
) -> Result<(), HandlerError> {
    let named = body.get("customer_id").and_then(Value::as_i64).map(CustomerId::new);
    let (Auth::SelfOrAdminBody, Some(caller), Some(named)) = (route.access, admitted.caller, named)
    else {
        return Ok(());
    };
    admitted.customer = named;
    if caller.may_act_for(named) { Ok(()) } else { Err(Refusal::Forbidden.into()) }
}

/// The customer of the path, when the caller may act for them.
fn customer(caller: Caller, path: &Params<'_, '_>) -> Result<CustomerId, HandlerError> {
    let text = path.get("customer_id").unwrap_or_default();
    if text == "me" {
        return Ok(caller.customer_id);
    }
    let customer = number(text).map(CustomerId::new);
    let customer = customer.ok_or_else(|| {
        HandlerError::fault(HttpError::NoSuchPath, "a customer is named by a number, or by me")
    })?;
    if caller.may_act_for(customer) { Ok(customer) } else { Err(Refusal::Forbidden.into()) }
}

/// The order of the path. Whose it is not learns no more than if there were none.
fn order(shop: &Shop, caller: Caller, path: &Params<'_, '_>) -> Result<Order, HandlerError> {
    let id = path.get("order_id").and_then(number).map(OrderId::new);
    let order_id = id.ok_or_else(|| {
        HandlerError::fault(HttpError::NoSuchPath, "an order is named by a number")
    })?;
    let order = shop.order(order_id).map_err(Rejection::from)?;
    let theirs = caller.may_act_for(order.customer_id);
    theirs.then_some(order).ok_or_else(|| Refusal::OrderNotFound { order_id }.into())
}

/// The ids of a path but the customer's; `None` when one is no number.
pub(crate) fn ids<'k>(path: &Params<'k, '_>) -> Option<Vec<(&'k str, i64)>> {
    let others = path.iter().filter(|(name, _)| *name != "customer_id");
    others.map(|(name, text)| number(text).map(|id| (name, id))).collect()
}

/// The greatest id of the document: the greatest integer that every JSON reader keeps whole.
const MAX_ID: i64 = 9_007_199_254_740_991;

/// An id as it is written: digits, and no zero in front.
fn number(text: &str) -> Option<i64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok()).flatten().filter(|id| *id <= MAX_ID)
}

/// Whether the value of an `Authorization` header is of the scheme that is used here.
pub(crate) fn is_bearer(value: &str) -> bool {
    value.split(' ').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("Bearer"))
}

/// The token of a request.
fn bearer(request: &Request) -> Option<&str> {
    let mut sent = request.values("Authorization");
    let (scheme, token) = sent.next()?.split_once(' ')?;
    if sent.next().is_some() {
        return None;
    }
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}
