//! Authentication and authorization. All checks of permissions are in this file; a handler receives only data
//! that its caller may see.

use crate::error::{HandlerError, Rejection};
use crate::message::Request;
use crate::problem::{HttpError, Problem};
use crate::route::{Auth, Route};
use crate::target;
use commerce_core::{Caller, CustomerId, Error, Order, OrderId, Refusal, Role, Shop};
use matchit::Params;
use serde_json::Value;

/// The caller of an authorized request, and the data that the request may touch.
pub(crate) struct AuthContext<'r> {
    pub(crate) token: Option<&'r str>,
    pub(crate) caller: Option<Caller>,
    /// The customer in the path or in the body, or else the caller; 0 if there is none.
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
    if route.auth == Auth::Public && !is_for_staff(route, request) {
        let (customer, caller) = (CustomerId::new(0), staff(shop, route, request)?);
        return Ok(AuthContext { token: None, caller, customer, order: None });
    }
    let token = bearer(request).ok_or(Refusal::Unauthenticated)?;
    let caller = shop.caller(token)?;
    let mut auth = AuthContext {
        token: Some(token),
        caller: Some(caller),
        customer: caller.customer_id().unwrap_or(CustomerId::new(0)),
        order: None,
    };
    let least = route.least_staff_role();
    match route.auth {
        // The customer in the body is checked after parsing: see `authorize_body_customer`.
        Auth::SelfOrBody => {}
        Auth::Session if caller.customer_id().is_some() => {}
        Auth::Session => return Err(has_no_customer(shop, "a token has no session: log in")),
        // A parameter for staff.
        Auth::Public => permit(caller.is_at_least(Role::Reader))?,
        Auth::Staff(_) => {
            permit(caller.is_at_least(least))?;
            if path.get("customer_id").is_some() {
                auth.customer = customer(shop, caller, least, path)?;
            }
        }
        Auth::OwnerWithGateway => {
            permit(shop.has_gateway() || caller.is_at_least(least))?;
            auth.customer = customer(shop, caller, least, path)?;
        }
        Auth::Customer => auth.customer = customer(shop, caller, least, path)?,
        Auth::Order => auth.order = Some(order(shop, caller, least, path)?),
    }
    if route.protects_seniors && caller.customer_id() != Some(auth.customer) {
        permit(!is_senior(shop, auth.customer, caller)?)?;
    }
    Ok(auth)
}

/// The caller of a public route, if the route shows more to staff and the caller is one of them.
fn staff(shop: &Shop, route: &Route, request: &Request) -> Result<Option<Caller>, Error> {
    let Some(token) = bearer(request).filter(|_| route.shows_more_to_staff) else {
        return Ok(None);
    };
    match shop.caller(token) {
        Ok(caller) => Ok(Some(caller).filter(|caller| caller.is_at_least(Role::Reader))),
        Err(Error::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn permit(is_allowed: bool) -> Result<(), Refusal> {
    if is_allowed { Ok(()) } else { Err(Refusal::Forbidden) }
}

/// Returns true if a customer has a higher role than the caller. The handler refuses an unknown customer.
fn is_senior(shop: &Shop, customer: CustomerId, caller: Caller) -> Result<bool, Error> {
    match shop.customer(customer) {
        Ok(customer) => Ok(!caller.is_at_least(customer.role)),
        Err(Error::Refused(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The refusal of a token where a customer calls.
fn has_no_customer(shop: &Shop, detail: &str) -> HandlerError {
    let problem = Problem::of(&Refusal::Forbidden.into(), shop.currency());
    HandlerError::problem(Problem { detail: detail.to_owned(), ..problem })
}

/// Returns true if a request has a parameter for staff.
fn is_for_staff(route: &Route, request: &Request) -> bool {
    let (_, query) = target::split(&request.target);
    route.has_staff_parameters()
        && form_urlencoded::parse(query.as_bytes()).any(|(name, _)| {
            route.query.iter().any(|parameter| parameter.for_staff && parameter.name == name)
        })
}

/// Takes the customer from the body, if the route allows one there, and checks that the caller may act for them. Checks that
/// staff send the member that only staff may send.
pub(crate) fn authorize_body_customer(
    shop: &Shop,
    auth: &mut AuthContext<'_>,
    route: &Route,
    body: &Value,
) -> Result<(), HandlerError> {
    let Some(caller) = auth.caller else { return Ok(()) };
    if let Some((name, least)) = route.staff_member {
        let is_sent = body.get(name).is_some_and(|value| *value != false);
        permit(!is_sent || caller.is_at_least(least))?;
    }
    if route.auth != Auth::SelfOrBody {
        return Ok(());
    }
    let named = body.get("customer_id").and_then(Value::as_i64).map(CustomerId::new);
    let customer = named.or_else(|| caller.customer_id()).ok_or_else(|| {
        has_no_customer(shop, "a token has no customer: name one in customer_id of the body")
    })?;
    permit(caller.is_customer_or(customer, route.least_staff_role()))?;
    auth.customer = customer;
    Ok(())
}

/// The customer in the path, if the caller may act for them.
fn customer(
    shop: &Shop,
    caller: Caller,
    least: Role,
    path: &Params<'_, '_>,
) -> Result<CustomerId, HandlerError> {
    let text = path.get("customer_id").unwrap_or_default();
    if text == "me" {
        let no_customer = "a token has no customer: name one by number in the path, instead of me";
        return caller.customer_id().ok_or_else(|| has_no_customer(shop, no_customer));
    }
    let customer = id(text).map(CustomerId::new);
    let customer = customer.ok_or_else(|| {
        HandlerError::http(HttpError::PathNotFound, "a customer is named by a number, or by me")
    })?;
    permit(caller.is_customer_or(customer, least))?;
    Ok(customer)
}

/// The order in the path, if the caller may act for its customer; otherwise it is refused as not found, so that order
/// ids do not leak.
fn order(
    shop: &Shop,
    caller: Caller,
    least: Role,
    path: &Params<'_, '_>,
) -> Result<Order, HandlerError> {
    let order_id = path.get("order_id").and_then(id).map(OrderId::new);
    let order_id = order_id.ok_or_else(|| {
        HandlerError::http(HttpError::PathNotFound, "an order is named by a number")
    })?;
    let order = shop.order(order_id).map_err(Rejection::from)?;
    let is_allowed = caller.is_customer_or(order.customer_id, least);
    is_allowed.then_some(order).ok_or_else(|| Refusal::OrderNotFound { order_id }.into())
}

/// The ids in a path except the customer's, that of a session as the number of its digits; `None` if one is not a number.
pub(crate) fn ids<'k>(path: &Params<'k, '_>) -> Option<Vec<(&'k str, i64)>> {
    let others = path.iter().filter(|(name, _)| !["customer_id", "kind"].contains(name));
    let parse = |name, text| if name == "session_id" { session_number(text) } else { id(text) };
    others.map(|(name, text)| parse(name, text).map(|id| (name, id))).collect()
}

/// The greatest id of the document: the greatest integer that every JSON reader parses exactly (2^53 - 1).
const MAX_ID: i64 = 9_007_199_254_740_991;

/// Parses an id in canonical form: digits without a leading zero.
fn id(text: &str) -> Option<i64> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    canonical.then(|| text.parse().ok()).flatten().filter(|id| *id <= MAX_ID)
}

/// Parses the id of a session: 16 hexadecimal digits in lower case.
fn session_number(text: &str) -> Option<i64> {
    let number = u64::from_str_radix(text, 16).ok()?.cast_signed();
    (session_id(number) == text).then_some(number)
}

/// Returns the id of a session with the number from [`ids`].
pub(crate) fn session_id(number: i64) -> String {
    format!("{:016x}", number.cast_unsigned())
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
