//! The document as OpenAPI 3.0.3, for generators that do not support 3.1.
//!
//! It differs from the 3.1 document in two points. Constructs of 3.1 are translated to 3.0. And all problems have
//! the schema `AnyProblem`, a choice of all problems, because some of these generators (progenitor among them)
//! support one error type per operation; they also read errors as `application/json` only, which is therefore listed
//! beside `application/problem+json`.

use super::{one_of_problems, reference};
use crate::schema::{REFERENCE, resolved};
use serde_json::{Map, Value, json};

/// The URL of the licence: 3.0 has no SPDX identifiers.
const LICENSE: &str = "https://spdx.org/licenses/MIT.html";

/// Converts the document to 3.0.3.
pub(super) fn rendering(document: &Value) -> Value {
    let mut rendering = document.clone();
    rendering["openapi"] = "3.0.3".into();
    if let Some(license) = rendering["info"]["license"].as_object_mut() {
        license.remove("identifier");
        license.insert("url".to_owned(), LICENSE.into());
    }
    let schemas = document["components"]["schemas"].as_object().into_iter().flatten();
    let problems = schemas.filter(|(_, schema)| schema["allOf"][0] == reference("Problem"));
    let codes: Vec<&str> = problems.map(|(name, _)| name.as_str()).collect();
    rendering["components"]["schemas"]["AnyProblem"] = one_of_problems(&codes);
    rewrite(&mut rendering);
    // Removes schemas whose only references were alternatives to null.
    let text = rendering.to_string();
    let is_used = |name: &str| text.contains(&format!("\"{REFERENCE}{name}\""));
    if let Some(schemas) = rendering["components"]["schemas"].as_object_mut() {
        schemas.retain(|name, _| is_used(name));
    }
    rendering
}

fn rewrite(value: &mut Value) {
    match value {
        Value::Object(members) => rewrite_object(members),
        Value::Array(items) => items.iter_mut().for_each(rewrite),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn rewrite_object(members: &mut Map<String, Value>) {
    if let Some(Value::Array(kinds)) = members.get("type").cloned() {
        let kind = kinds.into_iter().find(|kind| kind != "null");
        members.insert("type".to_owned(), json!(kind));
        members.insert("nullable".to_owned(), true.into());
    }
    if members.get("const").is_some_and(|only| !only.is_object())
        && let Some(only) = members.remove("const")
    {
        members.insert("enum".to_owned(), json!([only]));
    }
    if let Some(Value::Array(examples)) = members.get("examples").cloned() {
        members.remove("examples");
        members.insert("example".to_owned(), json!(examples.first()));
    }
    if members.contains_key("application/problem+json") {
        for media in ["application/problem+json", "application/json"] {
            members.insert(media.to_owned(), json!({ "schema": reference("AnyProblem") }));
        }
    }
    if let Some(nullable) = members.get("oneOf").and_then(nullable) {
        members.remove("oneOf");
        for (name, value) in nullable {
            members.entry(name).or_insert(value);
        }
    }
    for (name, member) in members {
        // An example is data, not a schema, whatever the names of its members.
        if name != "example" {
            rewrite(member);
        }
    }
}

/// Translates a choice between a schema and null to that schema, inlined and nullable. A reference does not work,
/// because a 3.0 reference has no siblings and its target excludes null.
fn nullable(branches: &Value) -> Option<Map<String, Value>> {
    let branches = branches.as_array()?;
    branches.iter().find(|branch| branch["type"] == "null")?;
    let other = branches.iter().find(|branch| branch["type"] != "null")?;
    let mut schema = resolved(other).as_object()?.clone();
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.push(Value::Null);
    }
    schema.insert("nullable".to_owned(), true.into());
    Some(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrite_translates_null_const_and_examples_to_3_0() {
        let mut schema = json!({
            "properties": {
                "a": { "type": ["integer", "null"] },
                "type": { "type": "string", "const": "fixed" },
                "when": { "oneOf": [reference("PaymentKind"), { "type": "null" }] },
            },
            "examples": [{ "type": "fixed", "const": 1 }],
        });
        rewrite(&mut schema);
        let expected = json!({
            "properties": {
                "a": { "type": "integer", "nullable": true },
                "type": { "type": "string", "enum": ["fixed"] },
                "when": { "type": "string", "enum": ["payment", "refund", null], "nullable": true },
            },
            "example": { "type": "fixed", "const": 1 },
        });
        assert_eq!(schema, expected);
    }
}
