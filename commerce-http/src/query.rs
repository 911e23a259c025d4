//! The query of a request: every parameter that the route knows, once, and of the form it asks for.

use crate::api::HandlerError;
use crate::route::{Method, Parameter, Route};
use crate::schema;
use commerce_core::{Invalid, Refusal};
use serde_json::Value;
use std::num::IntErrorKind;

/// Reads the query.
pub(crate) fn read(route: &Route, query: &str) -> Result<Vec<(String, String)>, HandlerError> {
    let mut read: Vec<(String, String)> = Vec::new();
    let mut errors = Vec::new();
    for (name, text) in form_urlencoded::parse(query.as_bytes()) {
        let pointer = schema::below("", &name);
        let twice = read.iter().any(|(known, _)| *known == name);
        match route.query.iter().find(|parameter| parameter.name == name) {
            // Links to what can be read carry what others have added: `utm_source`, `fbclid`.
            None if route.method == Method::Get => {}
            None => errors.push(Invalid { detail: format!("{name:?} is not known here"), pointer }),
            Some(_) if twice => {
                errors.push(Invalid { detail: format!("{name} comes twice"), pointer });
            }
            Some(parameter) => {
                let validate = schema::validate(parameter.form(), &value(parameter, &text));
                errors.extend(validate.into_iter().map(|error| Invalid {
                    detail: hinted(error.detail.replace("the body", &name), parameter, &text),
                    pointer: pointer.clone(),
                }));
                read.push((name.into_owned(), text.into_owned()));
            }
        }
    }
    errors.truncate(schema::MOST_TOLD);
    if errors.is_empty() { Ok(read) } else { Err(Refusal::InvalidRequest { errors }.into()) }
}

/// With what is likely validate where an instant has a space: a `+` that was not escaped.
fn hinted(detail: String, parameter: &Parameter, text: &str) -> String {
    if parameter.form()["format"] == "date-time" && text.contains(' ') {
        return format!(
            "{detail} (a + stands for a space in a query: write the + of an offset as %2B)"
        );
    }
    detail
}

/// What the text stands for: a number where one is wanted, and it is written as one. A number that does
/// not fit 64 bits stands for the nearest that does not pass for another: it is out of every range.
fn value(parameter: &Parameter, text: &str) -> Value {
    if parameter.form()["type"] != "integer" {
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
    /// Its JSON Schema.
    pub(crate) fn form(&self) -> &'static Value {
        schema::find(self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROUTES;

    fn told(query: &str) -> String {
        let route = ROUTES.iter().find(|route| route.query.iter().any(|own| own.name == "limit"));
        match read(route.unwrap(), query) {
            Err(HandlerError::Rejection(refused)) => refused.error.to_string(),
            _ => panic!("{query} is not refused"),
        }
    }

    #[test]
    fn a_number_that_does_not_fit_is_out_of_range() {
        assert_eq!(told("limit=99999999999999999999"), "limit must be at most 100");
        assert_eq!(told("limit=-99999999999999999999"), "limit must be at least 1");
        assert_eq!(told("limit=ten"), "limit must be a whole number");
    }
}
