//! The schemas of problem documents: one for each code, with the numbers that code carries and an example.
//!
//! Members and examples are taken from sample errors, written the way the service writes them, so that
//! neither can differ from what a client receives.

use super::reference;
use crate::problem::{HttpError, Problem};
use crate::schema;
use commerce_core::{
    ChargeId, Code, CouponId, Currency, CustomerId, Error, Key, LedgerEntryId, Money, OrderId,
    OrderStatus, OwnedCouponId, ProductId, Refusal, Shortage, StoreError, Timestamp,
};
use serde_json::{Map, Value, json};

/// The schema of the members that all problems have.
const COMMON: &str = "Problem";

/// The schema of the problems of one code, from samples that have it.
pub(super) fn schema(samples: &[Problem]) -> Value {
    let shown: Vec<Map<String, Value>> = samples.iter().map(members).collect();
    let code = samples.first().map_or("", |sample| sample.code);
    let common = &schema::find(COMMON)["properties"];
    let mut properties = Map::new();
    for (name, value) in shown.iter().flatten().filter(|(name, _)| common.get(name).is_none()) {
        properties.insert(name.clone(), member(code, name, value));
    }
    let in_all = |name: &&String| shown.iter().all(|sample| sample.contains_key(*name));
    let required: Vec<&String> = properties.keys().filter(in_all).collect();
    json!({
        "allOf": [
            reference(COMMON),
            { "required": required, "properties": properties },
        ],
        "examples": shown.first().map(|first| [first]),
    })
}

/// The members of a problem document, but for the name of the request.
fn members(problem: &Problem) -> Map<String, Value> {
    json!(problem).as_object().cloned().unwrap_or_default()
}

/// The schema of a member that the problems of a code have beyond the common ones.
fn member(code: &str, name: &str, value: &Value) -> Value {
    let list = |item: &str| json!({ "type": "array", "items": reference(item) });
    match name {
        "code" => json!({ "type": "string", "const": value }),
        "errors" => list("InvalidMember"),
        "shortages" => list("Shortage"),
        "product_ids" => list("Id"),
        // Bytes; with other codes it is money.
        "limit" if code == HttpError::BodyTooLarge.table().1 => reference("Count"),
        "balance" | "required" | "limit" | "subtotal" => reference("Money"),
        "min_order_amount" => reference("Amount"),
        "quantity" | "rank" | "retry_after" => reference("Count"),
        "valid_from" | "valid_until" => reference("Instant"),
        "order_status" => reference("OrderStatus"),
        id if id.ends_with("_id") => reference("Id"),
        _ => json!({ "type": "string" }),
    }
}

/// Sample problems of a code of the library: more than one where not all have the same members.
pub(super) fn of_code(code: Code) -> Vec<Problem> {
    let of = |error: Error| Problem::of(&error, Currency::KRW);
    errors(code).into_iter().map(of).collect()
}

/// The sample problem of a fault.
pub(super) fn of_fault(fault: HttpError) -> Problem {
    let detail = match fault {
        HttpError::Malformed => "the body is missing: send a JSON object",
        HttpError::KeyMissing => {
            "the header Idempotency-Key is missing: choose a key for each thing that is to happen once, \
             and send it again when you try again"
        }
        HttpError::NoSuchPath => "nothing is here: see /docs",
        HttpError::MethodNotAllowed => "this path takes GET, HEAD, OPTIONS",
        HttpError::TooSlow => "the body did not come in time: send it again",
        HttpError::BodyTooLarge => return Problem::body_too_large(65_536),
        HttpError::NotJson => "send the body as JSON, with Content-Type: application/json",
        HttpError::HeadTooLarge => "path and headers are too large: send less",
    };
    Problem::fault(fault, detail)
}

fn errors(code: Code) -> Vec<Error> {
    let (customer_id, product_id) = (CustomerId::new(1), ProductId::new(1));
    let (order_id, charge_id) = (OrderId::new(7), ChargeId::new(3));
    let (coupon_id, owned_coupon_id) = (CouponId::new(1), OwnedCouponId::new(5));
    let money = Money::from_minor;
    let instant = Timestamp::from_unix(1_769_860_800);
    let refusal = match code {
        Code::InvalidRequest => Refusal::invalid("/amount", "amount must be at least 1"),
        Code::CustomerNotFound => Refusal::CustomerNotFound { customer_id },
        Code::CustomerExists => Refusal::CustomerExists { customer_id },
        Code::ProductNotFound => Refusal::ProductNotFound { product_ids: vec![product_id] },
        Code::ProductExists => Refusal::ProductExists { product_id },
        Code::ProductArchived => Refusal::ProductArchived { product_ids: vec![product_id] },
        Code::OrderNotFound => Refusal::OrderNotFound { order_id },
        Code::ChargeNotFound => Refusal::ChargeNotFound { charge_id },
        Code::DebitNotFound => Refusal::DebitNotFound { debit_id: LedgerEntryId::new(2) },
        Code::CouponNotFound => {
            let of_customer =
                Refusal::CouponNotFound { coupon_id: None, owned_coupon_id: Some(owned_coupon_id) };
            let campaign =
                Refusal::CouponNotFound { coupon_id: Some(coupon_id), owned_coupon_id: None };
            return vec![campaign.into(), of_customer.into()];
        }
        Code::InsufficientBalance => {
            Refusal::InsufficientBalance { balance: money(500), required: money(9_000) }
        }
        Code::BalanceLimit => Refusal::BalanceLimit {
            balance: money(9_007_199_254_740_000),
            limit: commerce_core::limits::MAX_BALANCE,
        },
        Code::InsufficientStock => {
            let shortage = Shortage { product_id, requested: 11, available: 10 };
            Refusal::InsufficientStock { shortages: vec![shortage] }
        }
        Code::NotInCart => Refusal::NotInCart { product_id },
        Code::CartEmpty => Refusal::CartEmpty { customer_id },
        Code::CouponSoldOut => Refusal::CouponSoldOut { coupon_id, quantity: 100 },
        Code::CouponAlreadyClaimed => {
            Refusal::CouponAlreadyClaimed { coupon_id, owned_coupon_id, rank: 5 }
        }
        Code::CouponNotStarted => Refusal::CouponNotStarted { coupon_id, valid_from: instant },
        Code::CouponExpired => Refusal::CouponExpired { coupon_id, valid_until: instant },
        Code::CouponAlreadyUsed => Refusal::CouponAlreadyUsed { owned_coupon_id, order_id },
        Code::CouponNotApplicable => Refusal::CouponNotApplicable {
            owned_coupon_id,
            min_order_amount: money(10_000),
            subtotal: money(9_000),
        },
        Code::OrderNotPayable => {
            Refusal::OrderNotPayable { order_id, order_status: OrderStatus::Paid }
        }
        Code::OrderNotCancellable => {
            Refusal::OrderNotCancellable { order_id, order_status: OrderStatus::Cancelled }
        }
        Code::IdempotencyKeyReused => {
            let Some(key) = Key::new("order-1") else { return Vec::new() };
            Refusal::IdempotencyKeyReused { key }
        }
        Code::PreconditionFailed => Refusal::PreconditionFailed,
        Code::ChargeDeclined => {
            Refusal::ChargeDeclined { charge_id, reason: "insufficient_funds".to_owned() }
        }
        Code::LoginTaken => Refusal::LoginTaken { login: "kim".to_owned() },
        Code::Unauthenticated => Refusal::Unauthenticated,
        Code::InvalidCredentials => Refusal::InvalidCredentials,
        Code::Forbidden => Refusal::Forbidden,
        Code::TooManyRequests => Refusal::TooManyRequests { retry_after: 2 },
        Code::Busy => return vec![StoreError::Busy.into()],
        Code::Storage => return vec![StoreError::Unavailable(String::new()).into()],
    };
    vec![refusal.into()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_has_its_code_and_the_form_that_is_documented() {
        for code in Code::ALL {
            let samples = of_code(code);
            assert!(!samples.is_empty(), "{code}");
            let own = &schema(&samples)["allOf"][1];
            for sample in &samples {
                assert_eq!(sample.code, code.as_str());
                let shown = json!(sample);
                for schema in [schema::find(COMMON), own] {
                    assert_eq!(schema::validate(schema, &shown), [], "{shown}");
                }
            }
        }
    }

    #[test]
    fn a_problem_has_the_members_of_its_code() {
        let balance = schema(&of_code(Code::InsufficientBalance));
        let own = &balance["allOf"][1];
        assert_eq!(own["required"], json!(["balance", "code", "required"]));
        assert_eq!(own["properties"]["balance"], reference("Money"));
        let either = schema(&of_code(Code::CouponNotFound));
        let own = &either["allOf"][1];
        assert_eq!(own["required"], json!(["code"]));
        assert_eq!(own["properties"]["owned_coupon_id"], reference("Id"));
    }
}
