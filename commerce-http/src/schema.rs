//! The schemas of requests and answers: what the document shows is what requests are held against.
//!
//! Of JSON Schema, what `schemas.json` uses to say the form of things. What a text holds, and what
//! values go together, is for the rules to judge.

use commerce_core::{Invalid, Timestamp};
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// Every schema, by name.
static SCHEMAS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("openapi/schemas.json")).unwrap_or_default()
});

/// How many mistakes of one request are told: a body or query of nothing else would be answered many times
/// its size.
pub(crate) const MOST_TOLD: usize = 32;

/// What a reference to a schema begins with.
pub(crate) const REFERENCE: &str = "#/components/schemas/";

/// Every schema, by name, as the document shows them.
pub(crate) fn all() -> &'static Map<String, Value> {
    &SCHEMAS
}

/// The schema of that name; one that fits nothing when there is none.
pub(crate) fn find(name: &str) -> &'static Value {
    SCHEMAS.get(name).unwrap_or(&Value::Bool(false))
}

/// Whether a body of that form may be left out: it need say nothing.
pub(crate) fn is_optional(schema: &Value) -> bool {
    ["required", "minProperties", "oneOf"].iter().all(|wants| schema.get(wants).is_none())
}

/// Everything that keeps a value from having that form.
pub(crate) fn validate(schema: &Value, value: &Value) -> Vec<Invalid> {
    let mut validate = Vec::new();
    check(schema, value, "", &mut validate);
    validate.truncate(MOST_TOLD);
    validate
}

fn check(schema: &Value, value: &Value, at: &str, validate: &mut Vec<Invalid>) {
    let schema = resolved(schema);
    if let Some(branches) = schema["oneOf"].as_array() {
        return check_branches(branches, value, at, validate);
    }
    if let Some(detail) = kind(schema, value).or_else(|| range(schema, value)) {
        let name = at.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("the body");
        return validate
            .push(Invalid { detail: format!("{name} {detail}"), pointer: at.to_owned() });
    }
    match value {
        Value::Object(members) => check_members(schema, members, at, validate),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check(&schema["items"], item, &format!("{at}/{index}"), validate);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The schema itself, or the one that it refers to.
pub(crate) fn resolved(schema: &Value) -> &Value {
    let name = schema["$ref"].as_str().and_then(|name| name.strip_prefix(REFERENCE));
    name.map_or(schema, |name| resolved(find(name)))
}

/// Reports what is validate with the branch that was most likely meant: one of the right type, if there is one.
fn check_branches(branches: &[Value], value: &Value, at: &str, validate: &mut Vec<Invalid>) {
    let distance = |branch: &&Value| (kind(branch, value).is_some(), foreign(branch, value));
    if let Some(meant) = branches.iter().map(resolved).min_by_key(distance) {
        check(meant, value, at, validate);
    }
}

/// How many of the members that tell the branches apart say that another is meant, which counts most, and
/// how many are missing.
fn foreign(branch: &Value, value: &Value) -> (usize, usize) {
    let required = branch["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let (there, missing): (Vec<&str>, Vec<&str>) =
        required.partition(|name| value.get(name).is_some());
    let says_no = |name: &&&str| {
        let wanted = branch["properties"][**name].get("const");
        wanted.is_some_and(|wanted| *wanted != value[**name])
    };
    (there.iter().filter(says_no).count(), missing.len())
}

fn check_members(
    schema: &Value,
    members: &Map<String, Value>,
    at: &str,
    validate: &mut Vec<Invalid>,
) {
    let known = &schema["properties"];
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !members.contains_key(name) {
            let detail = format!("{name} is missing");
            validate.push(Invalid { detail, pointer: format!("{at}/{name}") });
        }
    }
    for (name, member) in members {
        let pointer = below(at, name);
        match known.get(name) {
            Some(schema) => check(schema, member, &pointer, validate),
            None if schema["additionalProperties"] == false => {
                let detail = format!("{name:?} is not known here");
                validate.push(Invalid { detail, pointer });
            }
            None => {}
        }
    }
}

/// The JSON pointer to a member.
pub(crate) fn below(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Whether it is of another kind than wanted.
fn kind(schema: &Value, value: &Value) -> Option<String> {
    if let Some(allowed) = schema["enum"].as_array() {
        let names: Vec<String> = allowed.iter().map(Value::to_string).collect();
        return (!allowed.contains(value)).then(|| format!("must be one of {}", names.join(", ")));
    }
    if let Some(only) = schema.get("const") {
        return (only != value).then(|| format!("must be {only}"));
    }
    let one = std::slice::from_ref(&schema["type"]);
    let wanted = schema["type"].as_array().map_or(one, Vec::as_slice);
    let wanted: Vec<&str> = wanted.iter().filter_map(Value::as_str).collect();
    let fits = wanted.iter().any(|kind| is_a(kind, value));
    let named: Vec<&str> = wanted.iter().map(|kind| in_words(kind)).collect();
    (!fits && !wanted.is_empty()).then(|| format!("must be {}", named.join(" or ")))
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64() || is_beyond_64_bits(value),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

/// Whether it is a number that no 64-bit integer holds. So large a float has no fraction, and is named as
/// out of range rather than as no whole number.
fn is_beyond_64_bits(value: &Value) -> bool {
    value.is_f64() && value.as_f64().is_some_and(|number| number.abs() >= 9.2e18)
}

fn in_words(kind: &str) -> &str {
    match kind {
        "object" => "an object",
        "array" => "a list",
        "string" => "a text",
        "integer" => "a whole number",
        "boolean" => "true or false",
        kind => kind,
    }
}

/// Whether it is of the kind that is wanted, but too much, too little, or not that.
fn range(schema: &Value, value: &Value) -> Option<String> {
    let length = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let (size, verb, least, most, unit) = match value {
        // What does not fit 64 bits is beyond every maximum, or below every minimum.
        Value::Number(number) => {
            let negative = number.as_f64().is_some_and(f64::is_sign_negative);
            let end = if negative { i64::MIN } else { i64::MAX };
            (number.as_i64().unwrap_or(end), "be", "minimum", "maximum", "")
        }
        Value::String(text) if schema["format"] == "date-time" => {
            return text.parse::<Timestamp>().err().map(|error| format!("is no instant: {error}"));
        }
        Value::String(text) => {
            (length(text.chars().count()), "have", "minLength", "maxLength", " characters")
        }
        Value::Array(items) => (length(items.len()), "have", "minItems", "maxItems", " items"),
        Value::Object(members) => {
            (length(members.len()), "have", "minProperties", "maxProperties", " members")
        }
        Value::Null | Value::Bool(_) => return None,
    };
    if schema["not"].get("const") == Some(value) {
        return Some(format!("must not be {value}"));
    }
    let bound = |name: &str| schema[name].as_i64();
    let less = bound(least).filter(|least| size < *least).map(|least| (least, "least"));
    let more = bound(most).filter(|most| size > *most).map(|most| (most, "most"));
    let (bound, end) = less.or(more)?;
    let unit = if bound == 1 { unit.trim_end_matches('s') } else { unit };
    Some(format!("must {verb} at {end} {bound}{unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use commerce_core::limits;
    use rstest::rstest;
    use serde_json::json;

    fn said(name: &str, value: &Value) -> Vec<String> {
        let validate = validate(find(name), value);
        validate.into_iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect()
    }

    #[rstest]
    #[case::fine("NewCharge", json!({"amount": 5}), &[])]
    #[case::no_object("NewCharge", json!([]), &[": the body must be an object"])]
    #[case::missing("NewCharge", json!({}), &["/amount: amount is missing"])]
    #[case::text("NewCharge", json!({"amount": "5"}), &["/amount: amount must be a whole number"])]
    #[case::fraction("NewCharge", json!({"amount": 5.0}), &["/amount: amount must be a whole number"])]
    #[case::nothing("NewCharge", json!({"amount": 0}), &["/amount: amount must be at least 1"])]
    #[case::huge("NewCharge", json!({"amount": u64::MAX}), &["/amount: amount must be at most 1000000000000"])]
    #[case::beyond_64_bits("NewCharge", json!({"amount": 1e20}), &["/amount: amount must be at most 1000000000000"])]
    #[case::below_64_bits("NewCharge", json!({"amount": -1e20}), &["/amount: amount must be at least 1"])]
    #[case::unknown("NewCharge", json!({"amount": 5, "a/b": 1}), &["/a~1b: \"a/b\" is not known here"])]
    #[case::all_at_once("NewProduct", json!({"name": 1, "stock": -1}),
        &["/price: price is missing", "/name: name must be a text", "/stock: stock must be at least 0"])]
    #[case::inside("NewOrder", json!({"items": [{"product_id": 1, "quantity": 0}]}),
        &["/items/0/quantity: quantity must be at least 1"])]
    #[case::the_branch_that_was_meant("NewOrder", json!({"cart": true, "payment": "never"}),
        &["/payment: payment must be one of \"now\", \"later\""])]
    #[case::the_branch_that_was_named("NewCoupon", json!({"name": "a", "quantity": 1,
        "discount": {"type": "percent", "amount": 5}}),
        &["/discount/percent: percent is missing", "/discount/amount: \"amount\" is not known here"])]
    #[case::null_branch("NewOrder", json!({"cart": true, "payment": null}), &[])]
    #[case::neither("NewOrder", json!({}), &["/items: items is missing"])]
    #[case::not_that("StockChange", json!({"delta": 0, "reason": "a"}), &["/delta: delta must not be 0"])]
    #[case::null("NewCoupon", json!({"name": "a", "quantity": 1, "valid_until": null,
        "discount": {"type": "fixed", "amount": 1}}), &[])]
    #[case::no_instant("NewCoupon", json!({"name": "a", "quantity": 1, "valid_until": "noon",
        "discount": {"type": "percent", "percent": 5}}),
        &["/valid_until: valid_until is no instant: an instant is written as RFC 3339, like \
           2026-01-31T12:00:00Z"])]
    fn forms(#[case] name: &str, #[case] value: Value, #[case] expected: &[&str]) {
        assert_eq!(said(name, &value), expected);
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_example_fits() {
        for (name, schema) in all() {
            let text = schema.to_string();
            for reference in text.split(REFERENCE).skip(1) {
                let target = reference.split('"').next().unwrap();
                assert!(all().contains_key(target), "{name} refers to {target}");
            }
            if let Some(example) = schema.get("example") {
                assert_eq!(said(name, example), [""; 0], "{name}");
            }
        }
    }

    #[test]
    fn limits_are_those_of_the_library() {
        let most = |name: &str, at: &str| find(name).pointer(at).and_then(Value::as_i64);
        let amount = Some(limits::MAX_AMOUNT.minor());
        assert_eq!(most("Amount", "/maximum"), amount);
        let stock = Some(limits::MAX_STOCK);
        assert_eq!(most("NewProduct", "/properties/stock/maximum"), stock);
        assert_eq!(most("StockChange", "/properties/delta/maximum"), stock);
        assert_eq!(most("Quantity", "/properties/quantity/maximum"), stock);
        assert_eq!(most("Units", "/maximum"), stock);
        assert_eq!(most("Money", "/maximum"), Some(limits::MAX_BALANCE.minor()));
        assert_eq!(most("NewCoupon", "/properties/quantity/maximum"), Some(limits::MAX_COUPONS));
        let length = |length: usize| i64::try_from(length).ok();
        assert_eq!(most("Text", "/maxLength"), length(limits::MAX_TEXT));
        assert_eq!(most("Password", "/minLength"), length(limits::MIN_PASSWORD));
        assert_eq!(most("Password", "/maxLength"), length(limits::MAX_PASSWORD));
        assert_eq!(most("IdempotencyKey", "/maxLength"), length(commerce_core::Key::MAX_LENGTH));
        assert_eq!(
            most("NewOrderOfItems", "/properties/items/maxItems"),
            length(limits::MAX_ORDER_LINES)
        );
    }
}
