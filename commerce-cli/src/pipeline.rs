//! Calls handed in one after another without waiting for each, so that many share a commit, and
//! waited for in the order they were handed in.

use crate::failure::Failure;
use commerce_core::{Code, Error, Key, Outcome, Request, Shop, Ticket, Timestamp};
use serde_json::Value;
use std::collections::VecDeque;

/// The most calls that are handed in and not waited for: two full batches, so that the next one is
/// ready when a commit ends, whatever the size of the whole.
const WINDOW: usize = 2_048;

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Entry<R> {
    pub(crate) request: R,
    /// When it is decided.
    pub(crate) at: Timestamp,
    /// Makes it safe to repeat. Calls that add something under an id of its own need none.
    pub(crate) key: Option<String>,
    pub(crate) place: Place,
}

/// Where a call came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// For a person.
    pub(crate) text: String,
    /// The line of a file, for a program.
    pub(crate) line: Option<u64>,
    /// The order in that file, for a program.
    pub(crate) order: Option<String>,
}

impl Place {
    /// The failure with what is known of where it happened.
    pub(crate) fn mark(&self, failure: Failure) -> Failure {
        let numbers =
            [("line", self.line.map(Value::from)), ("order", self.order.clone().map(Value::from))];
        let known = numbers.into_iter().filter_map(|(name, value)| Some((name, value?)));
        known.fold(failure.at(&self.text), |failure, (name, value)| failure.with(name, value))
    }
}

/// How many calls were carried out, and how many had been before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) done: u64,
    pub(crate) skipped: u64,
}

pub(crate) struct Pipeline<'a, R: Request> {
    shop: &'a Shop,
    in_flight: VecDeque<(Entry<R>, Ticket<R::Answer>)>,
    tally: Tally,
    failure: Option<Failure>,
}

impl<'a, R: Request + Clone> Pipeline<'a, R> {
    pub(crate) fn new(shop: &'a Shop) -> Self {
        Self { shop, in_flight: VecDeque::new(), tally: Tally::default(), failure: None }
    }

    /// Hands a call in, and waits for the oldest when too many are on their way. Tells whether to go
    /// on: not once a call has failed.
    pub(crate) fn push(&mut self, entry: Entry<R>) -> bool {
        if self.in_flight.len() >= WINDOW {
            self.settle_oldest();
        }
        if self.failure.is_some() {
            return false;
        }
        match call(self.shop, &entry, entry.key.clone()) {
            Ok(ticket) => self.in_flight.push_back((entry, ticket)),
            Err(failure) => self.fail(&entry, failure),
        }
        self.failure.is_none()
    }

    /// Waits for every call on its way. Gives what was done, and the first failure if there was one.
    pub(crate) fn finish(mut self) -> (Tally, Option<Failure>) {
        while !self.in_flight.is_empty() {
            self.settle_oldest();
        }
        (self.tally, self.failure)
    }

    fn settle_oldest(&mut self) {
        let Some((entry, ticket)) = self.in_flight.pop_front() else { return };
        let outcome = self.asked_again(&entry, ticket.outcome());
        match outcome {
            Ok(Outcome { result: Ok(_), replayed: false }) => count(&mut self.tally.done),
            Ok(Outcome { result: Ok(_), replayed: true }) => count(&mut self.tally.skipped),
            Ok(Outcome { result: Err(error), .. }) if is_there_already(&error) => {
                count(&mut self.tally.skipped);
            }
            Ok(Outcome { result: Err(error), .. }) => self.fail(&entry, error.into()),
            Err(failure) => self.fail(&entry, failure),
        }
    }

    /// A refusal is kept with its key, and would be given again for ever, even when what caused it is
    /// put right. So a call that an earlier run was refused is made anew, with the next key. That it
    /// is never carried out twice follows: a key is left only after its own, lasting refusal.
    fn asked_again(
        &self,
        entry: &Entry<R>,
        first: Outcome<R::Answer>,
    ) -> Result<Outcome<R::Answer>, Failure> {
        let mut outcome = first;
        let mut attempt = 1_u64;
        while let (true, Err(Error::Refused(_)), Some(key)) =
            (outcome.replayed, &outcome.result, &entry.key)
        {
            attempt = attempt.saturating_add(1);
            outcome = call(self.shop, entry, Some(format!("{key}:{attempt}")))?.outcome();
        }
        Ok(outcome)
    }

    fn fail(&mut self, entry: &Entry<R>, failure: Failure) {
        self.failure.get_or_insert_with(|| entry.place.mark(failure));
    }
}

fn call<R: Request + Clone>(
    shop: &Shop,
    entry: &Entry<R>,
    key: Option<String>,
) -> Result<Ticket<R::Answer>, Failure> {
    let call = shop.call_at(entry.request.clone(), entry.at);
    let Some(text) = key else { return Ok(call.submit()) };
    let sentence =
        format!("{text:?} is no key: it needs 1 to {} visible ASCII characters", Key::MAX_LENGTH);
    let key = Key::new(&text).ok_or_else(|| Failure::usage(sentence))?;
    Ok(call.key(&key).submit())
}

fn is_there_already(error: &Error) -> bool {
    matches!(error.code(), Code::ProductExists | Code::CustomerExists)
}

fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use commerce_core::{AddCustomer, ChargeBalance, Currency, CustomerId, MemoryStore, Money};

    fn entry<R>(request: R, key: Option<&str>) -> Entry<R> {
        let key = key.map(str::to_owned);
        let place = Place { text: "line 2".to_owned(), line: Some(2), order: None };
        Entry { request, at: Timestamp::from_unix(0), key, place }
    }

    fn run<R: Request + Clone>(shop: &Shop, entries: Vec<Entry<R>>) -> (Tally, Option<String>) {
        let mut pipeline = Pipeline::new(shop);
        for entry in entries {
            if !pipeline.push(entry) {
                break;
            }
        }
        let (tally, failure) = pipeline.finish();
        (tally, failure.map(|failure| failure.sentence()))
    }

    #[test]
    fn what_is_there_already_is_skipped() {
        let shop = Shop::open(MemoryStore::new(Currency::KRW));
        let customers = |count| {
            let id = |number| Some(CustomerId::new(number));
            (1..=count).map(move |number| {
                entry(AddCustomer { id: id(number), ..AddCustomer::new("Kim") }, None)
            })
        };
        assert_eq!(run(&shop, customers(2).collect()), (Tally { done: 2, skipped: 0 }, None));
        assert_eq!(run(&shop, customers(3).collect()), (Tally { done: 1, skipped: 2 }, None));
    }

    #[test]
    fn a_call_that_was_refused_once_is_made_anew_and_carried_out_once() {
        let shop = Shop::open(MemoryStore::new(Currency::KRW));
        let kim = shop.call(AddCustomer::new("Kim")).run().unwrap();
        let charge = ChargeBalance { customer_id: kim.id, amount: Money::from_minor(50) };
        let debit =
            commerce_core::DebitBalance { customer_id: kim.id, amount: charge.amount, note: None };
        for _ in 0..2 {
            let (tally, failure) = run(&shop, vec![entry(debit.clone(), Some("debit"))]);
            assert_eq!(tally, Tally::default());
            assert!(failure.unwrap().starts_with("line 2: the balance is 0"));
        }
        shop.call(charge).run().unwrap();
        let once = vec![entry(debit.clone(), Some("debit"))];
        assert_eq!(run(&shop, once.clone()).0, Tally { done: 1, skipped: 0 });
        assert_eq!(run(&shop, once).0, Tally { done: 0, skipped: 1 });
        assert_eq!(shop.balance(kim.id).unwrap().balance, Money::ZERO);
    }
}
