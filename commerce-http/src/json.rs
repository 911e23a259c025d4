//! A strict JSON parser: rejects duplicate members, and parses integers without rounding.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Parses a document. The error is a sentence for the client.
pub(crate) fn parse(text: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(text).map_err(|error| {
        format!("the body is not UTF-8: see byte {}", error.valid_up_to().saturating_add(1))
    })?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict.deserialize(&mut reader);
    let value = value.and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| format!("the body is not valid JSON: {error}"))
}

/// Builds a value, and rejects objects with duplicate members.
#[derive(Clone, Copy)]
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number too large"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self)?;
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the member {name:?} comes twice")));
            }
            object.insert(name, value);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::not_utf8(b"{\"a\":\"\xff\"}", "not UTF-8: see byte 7")]
    #[case::twice(br#"{"a":1,"b":{"c":1,"c":2}}"#, "\"c\" comes twice")]
    #[case::nan(br#"{"a":NaN}"#, "line 1")]
    #[case::too_large(br#"{"a":1e999}"#, "out of range")]
    #[case::cut_short(br#"{"a":1"#, "EOF")]
    #[case::more(b"{} {}", "trailing")]
    #[case::nothing(b"", "EOF")]
    #[case::comment(b"{/* 1 */}", "line 1")]
    fn parse_rejects_invalid_json(#[case] text: &[u8], #[case] expected: &str) {
        let error = parse(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn parse_limits_nesting() {
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).unwrap_err().contains("recursion"));
    }

    #[test]
    fn parse_keeps_integers_exact() {
        let value = parse(b"[9223372036854775807, -1, 18446744073709551615, 1.5]").unwrap();
        assert_eq!(value.to_string(), "[9223372036854775807,-1,18446744073709551615,1.5]");
    }
}
