//! Query parameters: parsed, checked for duplicates and validated against the schemas of the route.

use crate::error::HandlerError;
use crate::route::{Method, Parameter, Route};
use crate::schema;
use commerce_core::{Invalid, Refusal};
use serde_json::Value;
use std::num::IntErrorKind;

/// Parses the query.
pub(crate) fn read(route: &Route, query: &str) -> Result<Vec<(String, String)>, HandlerError> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    let mut errors = Vec::new();
    for (name, text) in form_urlencoded::parse(query.as_bytes()) {
        let pointer = schema::member_pointer("", &name);
        let is_duplicate = parameters.iter().any(|(known, _)| *known == name);
        match route.query.iter().find(|parameter| parameter.name == name) {
            // Third parties append tracking parameters to links: `utm_source`, `fbclid`.
            None if route.method == Method::Get => {}
            None => errors.push(Invalid { detail: format!("{name:?} is not known here"), pointer }),
            Some(_) if is_duplicate => {
                errors.push(Invalid { detail: format!("{name} comes twice"), pointer });
            }
            Some(parameter) => {
                let invalid = schema::validate(parameter.json_schema(), &value(parameter, &text));
                errors.extend(invalid.into_iter().map(|error| Invalid {
                    detail: with_hint(error.detail.replace("the body", &name), parameter, &text),
                    pointer: pointer.clone(),
                }));
                parameters.push((name.into_owned(), text.into_owned()));
            }
        }
    }
    errors.truncate(schema::MAX_ERRORS);
    if errors.is_empty() { Ok(parameters) } else { Err(Refusal::InvalidRequest { errors }.into()) }
}

/// Adds a hint if an instant contains a space: probably an unescaped `+`.
fn with_hint(detail: String, parameter: &Parameter, text: &str) -> String {
    if parameter.json_schema()["format"] == "date-time" && text.contains(' ') {
        return format!(
            "{detail} (a + stands for a space in a query: write the + of an offset as %2B)"
        );
    }
    detail
}

/// The JSON value of a parameter: a number or a truth value if the schema asks for one and the text is in canonical
/// form. A number beyond 64 bits becomes an extreme value that is out of every range.
fn value(parameter: &Parameter, text: &str) -> Value {
    let kind = &parameter.json_schema()["type"];
    if kind == "boolean" {
        return text.parse().map_or_else(|_| text.into(), Value::Bool);
    }
    if kind != "integer" {
        return text.into();
    }
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => number.into(),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => u64::MAX.into(),
        Err(error) if *error.kind() == IntErrorKind::NegOverflow => i64::MIN.into(),
        _ => text.into(),
    }
}

impl Parameter {
    /// The JSON Schema of the parameter.
    pub(crate) fn json_schema(&self) -> &'static Value {
        schema::find(self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROUTES;

    fn detail(query: &str) -> String {
        let route = ROUTES.iter().find(|route| route.query.iter().any(|own| own.name == "limit"));
        match read(route.unwrap(), query) {
            Err(HandlerError::Rejection(rejection)) => rejection.error.to_string(),
            _ => panic!("{query} is not refused"),
        }
    }

    #[test]
    fn query_number_beyond_64_bits_is_out_of_range() {
        assert_eq!(detail("limit=99999999999999999999"), "limit must be at most 100");
        assert_eq!(detail("limit=-99999999999999999999"), "limit must be at least 1");
        assert_eq!(detail("limit=ten"), "limit must be an integer");
    }
}
