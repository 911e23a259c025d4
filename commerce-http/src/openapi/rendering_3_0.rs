//! The document as OpenAPI 3.0.3, for generators that do not support 3.1.
//!
//! It differs from the 3.1 document in three points. Constructs of 3.1 are translated to 3.0. Problems are listed as
//! `application/json` beside `application/problem+json`, because some of these generators (progenitor among them) read
//! no other type. And where a request may omit a member or send null, which mean the same, 3.0 has it as optional only,
//! because it cannot refer to a schema and allow null.

use super::remove_unused_schemas;
use crate::schema::resolved;
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
    rewrite(&mut rendering);
    // Some were alternatives to null only.
    remove_unused_schemas(&mut rendering);
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
    if let Some(problem) = members.get("application/problem+json").cloned() {
        let media = json!({ "schema": problem["schema"] });
        members.insert("application/json".to_owned(), media);
    }
    // In a change an absent member keeps its value, and null removes it.
    let is_change = members.contains_key("minProperties");
    if members.get("additionalProperties") == Some(&Value::Bool(false)) && !is_change {
        let properties = members.get_mut("properties").and_then(Value::as_object_mut);
        properties.into_iter().flat_map(Map::values_mut).for_each(remove_null);
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

/// Reduces a choice between a reference and null to the reference. A description beside it needs another schema around.
fn remove_null(member: &mut Value) {
    let Some([target, null]) = member["oneOf"].as_array().map(Vec::as_slice) else { return };
    if null["type"] != "null" || target.get("$ref").is_none() {
        return;
    }
    let target = target.clone();
    *member = match member.get("description") {
        Some(description) => json!({ "description": description, "allOf": [target] }),
        None => target,
    };
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
    use super::super::reference;
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

    #[test]
    fn rewrite_keeps_null_where_it_differs_from_an_absent_member() {
        let id = json!({ "oneOf": [reference("Id"), { "type": "null" }] });
        let mut request = json!({
            "additionalProperties": false,
            "properties": { "a": id, "b": { "description": "B.", "oneOf": id["oneOf"] } },
        });
        let mut change = request.clone();
        change["minProperties"] = 1.into();
        rewrite(&mut request);
        rewrite(&mut change);
        let optional = json!({
            "a": reference("Id"),
            "b": { "description": "B.", "allOf": [reference("Id")] },
        });
        assert_eq!(request["properties"], optional);
        for name in ["a", "b"] {
            assert_eq!(change["properties"][name]["nullable"], true, "{name}");
        }
    }
}
