//! Calls handed in one after another without waiting for each, so that many share a commit, and
//! waited for in the order they were handed in.

use crate::error::CliError;
use commerce_core::{
    Code, Error, Key, Operation, Outcome, PendingCall, ProductId, Refusal, Sequence, Shop,
    Timestamp,
};
use serde_json::Value;
use std::collections::VecDeque;

/// The most calls that are handed in and not waited for: two full batches, so that the next one is
/// ready when a commit ends, whatever the size of the whole.
const WINDOW: usize = 2_048;

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Entry<R> {
    pub(crate) request: R,
    /// The instant it is decided at; the clock's when absent.
    pub(crate) at: Option<Timestamp>,
    /// Makes it safe to repeat. Calls that add something under an id of its own need none.
    pub(crate) key: Option<Key>,
    pub(crate) location: SourceLocation,
}

/// Where a call came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceLocation {
    /// For a person.
    pub(crate) text: String,
    /// The line of a file, for a program.
    pub(crate) line: Option<u64>,
    /// The order in that file, for a program.
    pub(crate) order: Option<String>,
    /// The product of each item of that order, and its line.
    pub(crate) items: Vec<(ProductId, u64)>,
}

impl SourceLocation {
    /// A line of a file.
    pub(crate) fn row(file: &str, line: u64) -> Self {
        Self { text: file.to_owned(), line: Some(line), ..Self::default() }
    }

    /// The error with its place.
    pub(crate) fn mark(&self, error: CliError) -> CliError {
        self.mark_line(error, self.line)
    }

    /// The error with its place: of an order, the line that the error is about.
    fn mark_error(&self, error: Error) -> CliError {
        let line = self.line_of(&error).or(self.line);
        let reused = error.code() == Code::IdempotencyKeyReused;
        let error = CliError::from(error);
        if reused && self.order.is_some() {
            let sentence = "it was imported before with other products or quantities: give it the rows \
                            it had, all together, or name it otherwise";
            return self.mark_line(error.with_message(sentence), line);
        }
        self.mark_line(error, line)
    }

    fn mark_line(&self, error: CliError, line: Option<u64>) -> CliError {
        let mut text = self.text.clone();
        let values =
            [("line", line.map(Value::from)), ("order", self.order.as_deref().map(Value::from))];
        let mut error = error;
        for (name, value) in values {
            let Some(value) = value else { continue };
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text = format!("{text}, {name} {shown}");
            error = error.with(name, value);
        }
        error.at(&text)
    }

    /// The line of the first item that an error names.
    fn line_of(&self, error: &Error) -> Option<u64> {
        let Error::Refused(refusal) = error else { return None };
        if let Refusal::InvalidRequest { errors } = refusal {
            return errors.iter().find_map(|error| {
                let location = error.pointer.strip_prefix("/items/")?.split('/').next()?;
                self.items.get(location.parse::<usize>().ok()?).map(|(_, line)| *line)
            });
        }
        let is_named = |product: ProductId| {
            if let Refusal::InsufficientStock { shortages } = refusal {
                return shortages.iter().any(|shortage| shortage.product_id == product);
            }
            let (Refusal::ProductNotFound { product_ids }
            | Refusal::ProductArchived { product_ids }) = refusal
            else {
                return false;
            };
            product_ids.contains(&product)
        };
        self.items.iter().find(|(product, _)| is_named(*product)).map(|(_, line)| *line)
    }
}

/// How many calls were carried out, and how many had been before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImportCounts {
    pub(crate) done: u64,
    pub(crate) skipped: u64,
}

pub(crate) struct Pipeline<'a, R: Operation> {
    shop: &'a Shop,
    /// Keeps what is on its way behind a refused call from being carried out.
    sequence: Sequence,
    in_flight: VecDeque<(Entry<R>, PendingCall<R::Output>)>,
    counts: ImportCounts,
    error: Option<CliError>,
}

impl<'a, R: Operation + Clone> Pipeline<'a, R> {
    pub(crate) fn new(shop: &'a Shop) -> Self {
        let sequence = Sequence::tolerating(is_there_already);
        let (in_flight, counts) = (VecDeque::new(), ImportCounts::default());
        Self { shop, sequence, in_flight, counts, error: None }
    }

    /// Hands a call in, and waits for the oldest when too many are on their way. Tells whether to go
    /// on: not once a call has failed.
    pub(crate) fn push(&mut self, entry: Entry<R>) -> bool {
        if self.in_flight.len() >= WINDOW {
            self.wait_for_oldest();
        }
        if self.error.is_some() {
            return false;
        }
        let request = entry.request.clone();
        let call = match entry.at {
            Some(at) => self.shop.call_at(request, at),
            None => self.shop.call(request),
        };
        // A refusal leaves the key free, for the row that was refused is corrected and comes again.
        let call = match &entry.key {
            Some(key) => call.key_on_success(key),
            None => call,
        };
        let ticket = call.submit_in(&mut self.sequence);
        self.in_flight.push_back((entry, ticket));
        true
    }

    /// Waits for every call on its way. Gives what was done, and the first error if there was one.
    pub(crate) fn finish(mut self) -> (ImportCounts, Option<CliError>) {
        while !self.in_flight.is_empty() {
            self.wait_for_oldest();
        }
        (self.counts, self.error)
    }

    fn wait_for_oldest(&mut self) {
        let Some((entry, ticket)) = self.in_flight.pop_front() else { return };
        let Outcome { result, replayed } = ticket.outcome();
        match result {
            Ok(_) if replayed => count(&mut self.counts.skipped),
            Ok(_) => count(&mut self.counts.done),
            Err(error) if is_there_already(&error) => count(&mut self.counts.skipped),
            Err(error) => {
                self.error.get_or_insert_with(|| entry.location.mark_error(error));
            }
        }
    }
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
        let key = key.and_then(Key::new);
        Entry { request, at: None, key, location: SourceLocation::row("file", 2) }
    }

    fn run<R: Operation + Clone>(
        shop: &Shop,
        entries: Vec<Entry<R>>,
    ) -> (ImportCounts, Option<String>) {
        let mut pipeline = Pipeline::new(shop);
        for entry in entries {
            if !pipeline.push(entry) {
                break;
            }
        }
        let (counts, error) = pipeline.finish();
        (counts, error.map(|error| error.sentence()))
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
        assert_eq!(
            run(&shop, customers(2).collect()),
            (ImportCounts { done: 2, skipped: 0 }, None)
        );
        assert_eq!(
            run(&shop, customers(3).collect()),
            (ImportCounts { done: 1, skipped: 2 }, None)
        );
    }

    #[test]
    fn a_call_that_was_refused_is_decided_again_and_carried_out_once() {
        let shop = Shop::open(MemoryStore::new(Currency::KRW));
        let kim = shop.call(AddCustomer::new("Kim")).run().unwrap();
        let charge = ChargeBalance { customer_id: kim.id, amount: Money::from_minor(50) };
        let debit =
            commerce_core::DebitBalance { customer_id: kim.id, amount: charge.amount, note: None };
        for _ in 0..2 {
            let (counts, error) = run(&shop, vec![entry(debit.clone(), Some("debit"))]);
            assert_eq!(counts, ImportCounts::default());
            assert!(error.unwrap().starts_with("file, line 2: the balance is 0"));
        }
        shop.call(charge).run().unwrap();
        let once = vec![entry(debit.clone(), Some("debit"))];
        assert_eq!(run(&shop, once.clone()).0, ImportCounts { done: 1, skipped: 0 });
        assert_eq!(run(&shop, once).0, ImportCounts { done: 0, skipped: 1 });
        assert_eq!(shop.balance(kim.id).unwrap().balance, Money::ZERO);
    }
}
