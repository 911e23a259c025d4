//! The schemas of problem documents: one per code, with its fields and an example.
//!
//! Members and examples come from example errors, serialized as the service serializes errors, so that they equal
//! what a client receives.

use super::reference;
use crate::problem::{HttpError, Problem};
use crate::schema;
use commerce_core::{Code, Currency, Error};
use serde_json::{Map, Value, json};

/// The schema of the members that all problems share.
const COMMON: &str = "Problem";

/// The schema of the problems of one code, from its examples.
pub(super) fn schema(examples: &[Problem]) -> Value {
    let documents: Vec<Map<String, Value>> = examples.iter().map(members).collect();
    let code = examples.first().map_or("", |example| example.code);
    let common = &schema::find(COMMON)["properties"];
    let mut properties = Map::new();
    for (name, value) in documents.iter().flatten().filter(|(name, _)| common.get(name).is_none()) {
        properties.insert(name.clone(), member(code, name, value));
    }
    let in_all = |name: &&String| documents.iter().all(|example| example.contains_key(*name));
    let required: Vec<&String> = properties.keys().filter(in_all).collect();
    json!({
        "allOf": [
            reference(COMMON),
            { "required": required, "properties": properties },
        ],
        "examples": documents.first().map(|first| [first]),
    })
}

/// The members of a problem document, without the request id.
fn members(problem: &Problem) -> Map<String, Value> {
    json!(problem).as_object().cloned().unwrap_or_default()
}

/// The schema of a member beyond the common ones.
fn member(code: &str, name: &str, value: &Value) -> Value {
    let list = |item: &str| json!({ "type": "array", "items": reference(item) });
    match name {
        "code" => json!({ "type": "string", "const": value }),
        "errors" => list("InvalidMember"),
        "shortages" => list("Shortage"),
        "product_ids" => list("Id"),
        // In bytes; for other codes it is money.
        "limit" if code == HttpError::BodyTooLarge.code() => reference("Count"),
        "balance" | "required" | "limit" | "subtotal" => reference("Money"),
        "min_order_amount" => reference("Amount"),
        "quantity" | "rank" | "retry_after" => reference("Count"),
        "valid_from" | "valid_until" => reference("Instant"),
        "order_status" => reference("OrderStatus"),
        id if id.ends_with("_id") => reference("Id"),
        _ => json!({ "type": "string" }),
    }
}

/// Example problems of a code of the library: more than one if not all have the same members.
pub(super) fn of_code(code: Code) -> Vec<Problem> {
    Error::examples(code).iter().map(|error| Problem::of(error, Currency::KRW)).collect()
}

/// The example problem of an HTTP error.
pub(super) fn of_http(error: HttpError) -> Problem {
    let detail = match error {
        HttpError::Malformed => "the body is missing: send a JSON object",
        HttpError::KeyMissing => {
            "the header Idempotency-Key is missing: choose a key for each intended effect, and \
             repeat it with every retry"
        }
        HttpError::PathNotFound => "nothing is here: see /docs",
        HttpError::MethodNotAllowed => "this path takes GET, HEAD, OPTIONS",
        HttpError::BodyTimeout => "the body did not come in time: send it again",
        HttpError::BodyTooLarge => return Problem::body_too_large(65_536),
        HttpError::NotJson => "send the body as JSON, with Content-Type: application/json",
        HttpError::HeadTooLarge => "path and headers are too large: send less",
    };
    Problem::of_http(error, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_examples_match_their_schemas() {
        for code in Code::ALL {
            let examples = of_code(code);
            assert!(!examples.is_empty(), "{code}");
            let own = &schema(&examples)["allOf"][1];
            for example in &examples {
                assert_eq!(example.code, code.as_str());
                let document = json!(example);
                for schema in [schema::find(COMMON), own] {
                    assert_eq!(schema::validate(schema, &document), [], "{document}");
                }
            }
        }
    }

    #[test]
    fn problem_schema_has_the_fields_of_its_code() {
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
