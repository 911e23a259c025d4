//! What went wrong, ready to be told to a person in one sentence or to a program as a problem object.

use commerce_core::{Code, Currency, Error, Refusal, StoreError};
use commerce_http::{Problem, status_of};
use serde_json::Value;

/// An error with what the command line knows beyond it. Boxed, since results are handed along often and
/// fail seldom.
#[derive(Debug)]
pub(crate) struct CliError(Box<Details>);

#[derive(Debug)]
struct Details {
    error: Error,
    currency: Option<Currency>,
    /// Said instead of the error's own sentence.
    sentence: Option<String>,
    /// Said before the sentence: where it happened.
    before: String,
    /// Said after the sentence: what was done all the same.
    after: String,
    numbers: Vec<(&'static str, Value)>,
}

impl CliError {
    /// The caller asked for something that makes no sense.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Refusal::invalid("", sentence).into()
    }

    /// Something that the service needs does not work.
    pub(crate) fn storage(sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self::from(StoreError::Unavailable(sentence.clone())).with_message(sentence)
    }

    /// Said in other words than the error's own.
    pub(crate) fn with_message(mut self, sentence: impl Into<String>) -> Self {
        self.0.sentence = Some(sentence.into());
        self
    }

    /// With amounts written as that currency writes them.
    pub(crate) fn in_currency(mut self, currency: Currency) -> Self {
        self.0.currency = Some(currency);
        self
    }

    /// With where it happened.
    pub(crate) fn at(mut self, location: &str) -> Self {
        self.0.before = format!("{location}: {}", self.0.before);
        self
    }

    /// With what else is to be said.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.0.after = format!("{}; {more}", self.0.after);
        self
    }

    /// With one more member of the problem object.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.numbers.push((name, value.into()));
        self
    }

    /// What kind of error it is.
    pub(crate) fn code(&self) -> Code {
        self.0.error.code()
    }

    /// Whether it is the service that failed, and the same call may yet succeed.
    pub(crate) fn is_retryable(&self) -> bool {
        self.code().is_retryable()
    }

    /// The exit status that the one table gives it.
    pub(crate) fn exit_status(&self) -> u8 {
        status_of(self.code()).exit
    }

    /// The sentence for a person.
    pub(crate) fn sentence(&self) -> String {
        let sentence = match (&self.0.sentence, &self.0.error, self.0.currency) {
            (Some(sentence), ..) => sentence.clone(),
            (None, Error::Refused(refusal), Some(currency)) => refusal.sentence(currency),
            (None, error, _) => error.to_string(),
        };
        format!("{}{sentence}{}", self.0.before, self.0.after)
    }

    /// The problem object for a program: the one that HTTP gives, and what is known beyond it.
    pub(crate) fn problem(&self) -> Problem {
        let mut problem = Problem::new(&self.0.error, self.sentence());
        let known = self.0.numbers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        problem.numbers.extend(known);
        problem
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        let (before, after) = (String::new(), String::new());
        let (currency, sentence, numbers) = (None, None, Vec::new());
        Self(Box::new(Details { error, currency, sentence, before, after, numbers }))
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
    fn a_failure_says_where_what_and_what_else() {
        let refusal = Refusal::InsufficientBalance {
            balance: Money::from_minor(100),
            required: Money::from_minor(250),
        };
        let error = CliError::from(refusal)
            .in_currency(Currency::from_code("USD").unwrap())
            .at("orders.csv, line 7")
            .and("2 were imported")
            .with("line", 7);
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
    fn usage_and_storage_have_their_exit_status() {
        assert_eq!(CliError::usage("no").exit_status(), 2);
        assert_eq!(CliError::storage("no").exit_status(), 1);
        assert_eq!(CliError::storage("there is no store").sentence(), "there is no store");
    }
}
