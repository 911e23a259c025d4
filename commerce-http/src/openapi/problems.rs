//! The schema of problem documents: one for all codes, with the members of each.
//!
//! Codes and members come from example errors, serialized as the service serializes errors, so that they equal what a
//! client receives. One schema serves every generator, some of which support one error type for an operation, and
//! keeps the document small: a choice of one schema for each code took a third of it.

use super::reference;
use crate::problem::{HttpError, Problem};
use crate::schema;
use commerce_core::{Code, Currency, Error};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The schema of problems, from examples of each code.
pub(super) fn schema(problems: &BTreeMap<&'static str, Vec<Problem>>) -> Value {
    let mut schema = schema::find("Problem").clone();
    let codes: Vec<&&str> = problems.keys().collect();
    schema["properties"]["code"] = json!({ "type": "string", "enum": codes });
    let mut members = Vec::new();
    for (code, examples) in problems {
        let names: BTreeSet<&str> =
            examples.iter().flat_map(|example| example.fields.keys()).map(String::as_str).collect();
        for name in &names {
            schema["properties"][*name] = member(name);
        }
        // The ids of a code need no list.
        let figures: Vec<&str> = names.into_iter().filter(|name| !name.ends_with("_id")).collect();
        if !figures.is_empty() {
            members.push(format!("{code} {}", figures.join(", ")));
        }
    }
    let text = schema["description"].as_str().unwrap_or_default();
    schema["description"] = format!("{text} Members beside ids: {}.", members.join("; ")).into();
    schema
}

/// The schema of a member beyond the common ones. A member has the same schema with every code.
fn member(name: &str) -> Value {
    let list = |item: &str| json!({ "type": "array", "items": reference(item) });
    match name {
        "errors" => list("InvalidMember"),
        "shortages" => list("Shortage"),
        "over_limit" => list("OverLimit"),
        "product_ids" => list("Id"),
        "balance" | "required" | "subtotal" | "refundable" => reference("Money"),
        "min_order_amount" | "requested" => reference("Amount"),
        // Money, or the bytes of a body.
        "limit" | "quantity" | "rank" | "retry_after" | "unpaid_orders" | "pending_charges" => {
            reference("Count")
        }
        "valid_from" | "valid_until" => reference("Instant"),
        "order_status" => reference("OrderStatus"),
        "charge_status" => reference("ChargeStatus"),
        "session_id" => reference("SessionId"),
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

    /// The schema of the problems of all codes of the library.
    fn of_all() -> Value {
        let problems = Code::ALL.into_iter().map(|code| (code.as_str(), of_code(code)));
        schema(&problems.collect())
    }

    #[test]
    fn problem_examples_match_their_schema() {
        let schema = of_all();
        for code in Code::ALL {
            let examples = of_code(code);
            assert!(!examples.is_empty(), "{code}");
            for example in &examples {
                assert_eq!(example.code, code.as_str());
                let document = json!(example);
                assert_eq!(schema::validate(&schema, &document), [], "{document}");
                for name in document.as_object().unwrap().keys() {
                    assert!(schema["properties"][name].is_object(), "{name}");
                }
            }
        }
    }

    /// A member that is not always there must not be required, and a text is no number.
    #[test]
    fn problem_schema_has_the_typed_members_of_each_code() {
        let schema = of_all();
        assert_eq!(schema["required"], json!(["type", "title", "status", "detail", "code"]));
        assert_eq!(schema["properties"]["balance"], reference("Money"));
        assert_eq!(schema["properties"]["shortages"]["items"], reference("Shortage"));
        let text = schema["description"].as_str().unwrap();
        assert!(text.contains(" insufficient_balance balance, required;"), "{text}");
        assert!(!text.contains("order_not_found"), "{text}");
    }
}
