//! JSON Schemas of requests and responses: requests are validated against the schemas that the document shows.
//!
//! Implements the part of JSON Schema that `schemas.json` uses. The rules check the content of texts and the
//! combination of values.

use commerce_core::{Invalid, Timestamp};
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// All schemas by name.
static SCHEMAS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("openapi/schemas.json")).unwrap_or_default()
});

/// The maximum number of errors in a response. Without a limit a request of errors only would get a response of
/// many times its size.
pub(crate) const MAX_ERRORS: usize = 32;

/// The prefix of references to schemas.
pub(crate) const REFERENCE: &str = "#/components/schemas/";

/// All schemas by name, as shown in the document.
pub(crate) fn all() -> &'static Map<String, Value> {
    &SCHEMAS
}

/// The schema with that name, or one that matches nothing.
pub(crate) fn find(name: &str) -> &'static Value {
    SCHEMAS.get(name).unwrap_or(&Value::Bool(false))
}

/// Returns true if a body with that schema may be omitted, because it has no required content.
pub(crate) fn is_optional(schema: &Value) -> bool {
    ["required", "minProperties", "oneOf"].iter().all(|keyword| schema.get(keyword).is_none())
}

/// Validates a value against a schema and returns all errors, up to [`MAX_ERRORS`].
pub(crate) fn validate(schema: &Value, value: &Value) -> Vec<Invalid> {
    let mut errors = Vec::new();
    check(schema, value, &Place::Body, &mut errors);
    errors.truncate(MAX_ERRORS);
    errors
}

/// The place of a value in a body. It becomes text only for an error, since most bodies are valid.
enum Place<'a> {
    Body,
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn pointer(&self) -> String {
        match self {
            Self::Body => String::new(),
            Self::Member(outer, name) => member_pointer(&outer.pointer(), name),
            Self::Item(outer, index) => format!("{}/{index}", outer.pointer()),
        }
    }
}

fn check(schema: &Value, value: &Value, at: &Place<'_>, errors: &mut Vec<Invalid>) {
    let schema = resolved(schema);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        check(part, value, at, errors);
    }
    if let Some(branches) = schema["oneOf"].as_array() {
        return check_branches(branches, value, at, errors);
    }
    if let Some(detail) = type_error(schema, value).or_else(|| range_error(schema, value)) {
        let pointer = at.pointer();
        let name = pointer.rsplit('/').next().filter(|name| !name.is_empty());
        let detail = format!("{} {detail}", name.unwrap_or("the body"));
        return errors.push(Invalid { detail, pointer });
    }
    match value {
        Value::Object(members) => check_members(schema, members, at, errors),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check(&schema["items"], item, &Place::Item(at, index), errors);
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

/// Reports the errors of the branch that was most likely meant: one with the right type, if there is one.
fn check_branches(branches: &[Value], value: &Value, at: &Place<'_>, errors: &mut Vec<Invalid>) {
    if let Some((name, detail)) = unknown_tag(branches, value) {
        return errors.push(Invalid { detail, pointer: Place::Member(at, name).pointer() });
    }
    let distance = |branch: &&Value| (type_error(branch, value).is_some(), mismatch(branch, value));
    if let Some(meant) = branches.iter().map(resolved).min_by_key(distance) {
        check(meant, value, at, errors);
    }
}

/// The member that distinguishes branches by a `const`, with the error if a value has it and no branch has that value.
fn unknown_tag<'a>(branches: &'a [Value], value: &Value) -> Option<(&'a str, String)> {
    let tag_of = |branch: &'a Value, name: &str| resolved(branch)["properties"][name].get("const");
    let properties = resolved(branches.first()?)["properties"].as_object()?;
    let is_tag = |name: &&String| branches.iter().all(|branch| tag_of(branch, name).is_some());
    let name = properties.keys().find(is_tag)?;
    let found = value.get(name)?;
    let tags: Vec<&Value> = branches.iter().filter_map(|branch| tag_of(branch, name)).collect();
    let names: Vec<String> = tags.iter().map(ToString::to_string).collect();
    (!tags.contains(&found))
        .then(|| (name.as_str(), format!("{name} must be one of {}", names.join(", "))))
}

/// The distance of a value to a branch: the number of required `const` members that contradict it, then the number of
/// required members that are missing.
fn mismatch(branch: &Value, value: &Value) -> (usize, usize) {
    let required = branch["required"].as_array().map_or(&[][..], Vec::as_slice);
    let required = required.iter().filter_map(Value::as_str);
    let missing = required.clone().filter(|name| value.get(name).is_none()).count();
    let contradicts = |name: &&str| {
        let expected = branch["properties"][*name].get("const");
        expected.zip(value.get(*name)).is_some_and(|(expected, found)| expected != found)
    };
    (required.filter(contradicts).count(), missing)
}

fn check_members(
    schema: &Value,
    members: &Map<String, Value>,
    at: &Place<'_>,
    errors: &mut Vec<Invalid>,
) {
    let known = &schema["properties"];
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !members.contains_key(name) {
            let detail = format!("{name} is missing");
            errors.push(Invalid { detail, pointer: Place::Member(at, name).pointer() });
        }
    }
    for (name, member) in members {
        let place = Place::Member(at, name);
        match known.get(name) {
            Some(schema) => check(schema, member, &place, errors),
            None if schema["additionalProperties"] == false => {
                let detail = format!("{name:?} is not known here");
                errors.push(Invalid { detail, pointer: place.pointer() });
            }
            None => {}
        }
    }
}

/// The JSON pointer to a member.
pub(crate) fn member_pointer(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The error if a value has the wrong type or is not one of the allowed values.
fn type_error(schema: &Value, value: &Value) -> Option<String> {
    if let Some(allowed) = schema["enum"].as_array() {
        return (!allowed.contains(value)).then(|| {
            let names: Vec<String> = allowed.iter().map(Value::to_string).collect();
            format!("must be one of {}", names.join(", "))
        });
    }
    if let Some(only) = schema.get("const") {
        return (only != value).then(|| format!("must be {only}"));
    }
    let one = std::slice::from_ref(&schema["type"]);
    let types = schema["type"].as_array().map_or(one, Vec::as_slice);
    let types = types.iter().filter_map(Value::as_str);
    if types.clone().any(|name| has_type(name, value)) {
        return None;
    }
    let names: Vec<&str> = types.map(in_words).collect();
    (!names.is_empty()).then(|| format!("must be {}", names.join(" or ")))
}

fn has_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64() || is_beyond_64_bits(value),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

/// Returns true for a number that exceeds 64-bit integers. So large a float has no fraction, so it is reported as out
/// of range and not as a fraction.
fn is_beyond_64_bits(value: &Value) -> bool {
    value.is_f64() && value.as_f64().is_some_and(|number| number.abs() >= 9.2e18)
}

fn in_words(name: &str) -> &str {
    match name {
        "object" => "an object",
        "array" => "a list",
        "string" => "a text",
        "integer" => "an integer",
        "boolean" => "true or false",
        name => name,
    }
}

/// The error if a value of the right type is out of range, or excluded.
fn range_error(schema: &Value, value: &Value) -> Option<String> {
    let length = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let (size, verb, least, most, unit) = match value {
        // A number beyond 64 bits exceeds every maximum or minimum.
        Value::Number(number) => {
            let negative = number.as_f64().is_some_and(f64::is_sign_negative);
            let end = if negative { i64::MIN } else { i64::MAX };
            (number.as_i64().unwrap_or(end), "be", "minimum", "maximum", "")
        }
        Value::String(text) if schema["format"] == "date-time" => {
            return text
                .parse::<Timestamp>()
                .err()
                .map(|error| format!("is not a timestamp: {error}"));
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

    fn errors(name: &str, value: &Value) -> Vec<String> {
        let errors = validate(find(name), value);
        errors.into_iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect()
    }

    #[rstest]
    #[case::fine("NewCharge", json!({"amount": 5}), &[])]
    #[case::no_object("NewCharge", json!([]), &[": the body must be an object"])]
    #[case::missing("NewCharge", json!({}), &["/amount: amount is missing"])]
    #[case::text("NewCharge", json!({"amount": "5"}), &["/amount: amount must be an integer"])]
    #[case::fraction("NewCharge", json!({"amount": 5.0}), &["/amount: amount must be an integer"])]
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
    #[case::no_branch_has_the_tag("NewCoupon", json!({"name": "a", "quantity": 1, "discount": {"type": "half"}}),
        &["/discount/type: type must be one of \"fixed\", \"percent\""])]
    #[case::null_branch("NewOrder", json!({"cart": true, "payment": null}), &[])]
    #[case::neither("NewOrder", json!({}), &["/items: items is missing"])]
    #[case::not_that("StockChange", json!({"delta": 0, "reason": "a"}), &["/delta: delta must not be 0"])]
    #[case::null("NewCoupon", json!({"name": "a", "quantity": 1, "valid_until": null,
        "discount": {"type": "fixed", "amount": 1}}), &[])]
    #[case::no_instant("NewCoupon", json!({"name": "a", "quantity": 1, "valid_until": "noon",
        "discount": {"type": "percent", "percent": 5}}),
        &["/valid_until: valid_until is not a timestamp: an instant is written as RFC 3339, like \
           2026-01-31T12:00:00Z"])]
    fn validate_reports_each_error_with_its_pointer(
        #[case] name: &str,
        #[case] value: Value,
        #[case] expected: &[&str],
    ) {
        assert_eq!(errors(name, &value), expected);
    }

    #[test]
    fn schema_references_resolve_and_examples_are_valid() {
        for (name, schema) in all() {
            let text = schema.to_string();
            for reference in text.split(REFERENCE).skip(1) {
                let target = reference.split('"').next().unwrap();
                assert!(all().contains_key(target), "{name} refers to {target}");
            }
            if let Some(example) = schema.get("example") {
                assert_eq!(errors(name, example), [""; 0], "{name}");
            }
        }
    }

    /// The members of a response have the examples, and the document is short.
    #[test]
    fn schema_has_an_example_if_it_is_a_value_or_a_request() {
        let is_response = |schema: &Value| {
            schema["properties"].is_object() && schema["additionalProperties"] != false
        };
        let has_example = |schema: &Value| schema.get("example").is_some();
        let responses = all().iter().filter(|(_, schema)| is_response(schema));
        let superfluous: Vec<&String> =
            responses.filter(|(_, schema)| has_example(schema)).map(|(name, _)| name).collect();
        assert_eq!(superfluous, [""; 0], "remove their examples");
        let bodies = crate::routes::ROUTES.iter().filter_map(|route| route.body);
        let missing: Vec<&str> = bodies.filter(|body| !has_example(find(body))).collect();
        assert_eq!(missing, [""; 0], "add examples, which the tests and the page send");
    }

    #[test]
    fn schema_limits_equal_library_limits() {
        let limit = |name: &str, at: &str| find(name).pointer(at).and_then(Value::as_i64);
        let amount = Some(limits::MAX_AMOUNT.minor());
        assert_eq!(limit("Amount", "/maximum"), amount);
        let stock = Some(limits::MAX_STOCK);
        assert_eq!(limit("StockLevel", "/maximum"), stock);
        assert_eq!(limit("StockChange", "/properties/delta/maximum"), stock);
        assert_eq!(limit("Quantity", "/properties/quantity/maximum"), stock);
        assert_eq!(limit("Units", "/maximum"), stock);
        assert_eq!(limit("Money", "/maximum"), Some(limits::MAX_BALANCE.minor()));
        assert_eq!(limit("NewCoupon", "/properties/quantity/maximum"), Some(limits::MAX_COUPONS));
        let length = |length: usize| i64::try_from(length).ok();
        assert_eq!(limit("Text", "/maxLength"), length(limits::MAX_TEXT));
        assert_eq!(limit("Password", "/minLength"), length(limits::MIN_PASSWORD));
        assert_eq!(limit("Password", "/maxLength"), length(limits::MAX_PASSWORD));
        assert_eq!(limit("IdempotencyKey", "/maxLength"), length(commerce_core::Key::MAX_LENGTH));
        assert_eq!(
            limit("NewOrderOfItems", "/properties/items/maxItems"),
            length(limits::MAX_ORDER_LINES)
        );
    }
}
