//! Errors of the command line, printed as one sentence or, with `--json`, as a problem object.

use commerce_core::{Code, Currency, Error, ErrorClass, Refusal, StoreError};
use commerce_http::Problem;
use serde_json::Value;

/// An error with the context that the command line adds. Boxed to keep `Result`s small.
#[derive(Debug)]
pub(crate) struct CliError(Box<Details>);

#[derive(Debug)]
struct Details {
    error: Error,
    currency: Option<Currency>,
    /// Replaces the error's own sentence.
    message: Option<String>,
    /// Precedes the sentence: the location.
    prefix: String,
    /// Follows the sentence: progress so far, or the next step.
    suffix: String,
    /// Additional members of the problem object.
    fields: Vec<(&'static str, Value)>,
}

impl CliError {
    /// A usage error: exit status 2.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Refusal::invalid("", sentence).into()
    }

    /// A failure of something that the service needs: exit status 1.
    pub(crate) fn storage(sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self::from(StoreError::Unavailable(sentence.clone())).with_message(sentence)
    }

    /// Replaces the sentence of the error.
    pub(crate) fn with_message(mut self, message: impl Into<String>) -> Self {
        self.0.message = Some(message.into());
        self
    }

    /// Formats the amounts in the sentence in that currency.
    pub(crate) fn in_currency(mut self, currency: Currency) -> Self {
        self.0.currency = Some(currency);
        self
    }

    /// Puts the location before the sentence.
    pub(crate) fn at(mut self, location: &str) -> Self {
        self.0.prefix = format!("{location}: {}", self.0.prefix);
        self
    }

    /// Appends progress or a next step to the sentence.
    pub(crate) fn with_hint(mut self, hint: &str) -> Self {
        self.0.suffix = format!("{}; {hint}", self.0.suffix);
        self
    }

    /// Adds a member to the problem object.
    pub(crate) fn with_field(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.fields.push((name, value.into()));
        self
    }

    /// The error code.
    pub(crate) fn code(&self) -> Code {
        self.0.error.code()
    }

    /// Returns true if the service failed and the same call may succeed later.
    pub(crate) fn is_retryable(&self) -> bool {
        self.code().is_retryable()
    }

    /// The exit status: 1 if the service failed, 2 for wrong usage, 3 if a rule refused.
    pub(crate) fn exit_status(&self) -> u8 {
        match self.code().class() {
            ErrorClass::RateLimited | ErrorClass::Unavailable => 1,
            ErrorClass::Invalid => 2,
            ErrorClass::NotFound
            | ErrorClass::Conflict
            | ErrorClass::KeyReused
            | ErrorClass::Precondition
            | ErrorClass::Declined
            | ErrorClass::Unauthenticated
            | ErrorClass::Forbidden => 3,
        }
    }

    /// The error as one sentence.
    pub(crate) fn sentence(&self) -> String {
        let sentence = match (&self.0.message, &self.0.error, self.0.currency) {
            (Some(message), ..) => message.clone(),
            (None, Error::Refused(refusal), Some(currency)) => refusal.sentence(currency),
            (None, error, _) => error.to_string(),
        };
        format!("{}{sentence}{}", self.0.prefix, self.0.suffix)
    }

    /// The problem object: the one that the HTTP API returns, with the members added here.
    pub(crate) fn problem(&self) -> Problem {
        let mut problem = Problem::new(&self.0.error, self.sentence());
        let fields = self.0.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        problem.fields.extend(fields);
        problem
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        let (prefix, suffix) = (String::new(), String::new());
        let (currency, message, fields) = (None, None, Vec::new());
        Self(Box::new(Details { error, currency, message, prefix, suffix, fields }))
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        Error::from(refusal).into()
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use commerce_core::Money;

    #[test]
    fn error_sentence_has_location_cause_and_hint() {
        let refusal = Refusal::InsufficientBalance {
            balance: Money::from_minor(100),
            required: Money::from_minor(250),
        };
        let error = CliError::from(refusal)
            .in_currency(Currency::from_code("USD").unwrap())
            .at("orders.csv, line 7")
            .with_hint("2 were imported")
            .with_field("line", 7);
        assert_eq!(
            error.sentence(),
            "orders.csv, line 7: the balance is 1.00 USD and 2.50 USD is needed: charge 1.50 USD more; \
             2 were imported"
        );
        let problem = serde_json::to_value(error.problem()).unwrap();
        assert_eq!((&problem["line"], &problem["required"]), (&7.into(), &250.into()));
        assert_eq!(error.exit_status(), 3);
    }

    #[test]
    fn usage_errors_exit_with_2_and_storage_errors_with_1() {
        assert_eq!(CliError::usage("no").exit_status(), 2);
        assert_eq!(CliError::storage("no").exit_status(), 1);
        assert_eq!(CliError::storage("there is no store").sentence(), "there is no store");
    }
}
