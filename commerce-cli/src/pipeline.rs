//! Submits calls without waiting for each, so that many share a commit (group commit), and collects their
//! outcomes in the order of submission.

use crate::error::CliError;
use commerce_core::{
    Code, Error, Key, Operation, Outcome, PendingCall, ProductId, Refusal, Sequence, Shop,
    Timestamp,
};
use serde_json::Value;
use std::collections::VecDeque;

/// The maximum number of calls in flight: two full batches, so that the next batch is ready when a commit ends.
/// It bounds memory whatever the size of the input.
const WINDOW: usize = 2_048;

/// One call to submit.
#[derive(Clone, Debug)]
pub(crate) struct Submission<R> {
    pub(crate) request: R,
    /// The time to decide it at; `None` is the current time.
    pub(crate) at: Option<Timestamp>,
    /// The idempotency key. Calls that add a row with an explicit id need none.
    pub(crate) key: Option<Key>,
    pub(crate) location: SourceLocation,
}

/// The origin of a call, for error messages.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceLocation {
    /// The file or row, as text.
    pub(crate) text: String,
    /// The line of the file, also a member of the problem object.
    pub(crate) line: Option<u64>,
    /// The order in the file, also a member of the problem object.
    pub(crate) order: Option<String>,
    /// The product and the line of each item of the order.
    pub(crate) items: Vec<(ProductId, u64)>,
}

impl SourceLocation {
    /// A line of a file.
    pub(crate) fn row(file: &str, line: u64) -> Self {
        Self { text: file.to_owned(), line: Some(line), ..Self::default() }
    }

    /// Adds the location to an error.
    pub(crate) fn annotate(&self, error: CliError) -> CliError {
        self.annotate_line(error, self.line)
    }

    /// Adds the location to the error of a call: in an order, the line of the item at fault.
    fn annotate_error(&self, error: Error) -> CliError {
        let line = self.line_of(&error).or(self.line);
        let reused = error.code() == Code::IdempotencyKeyReused;
        let error = CliError::from(error);
        if reused && self.order.is_some() {
            let message = "it was imported before with other products or quantities: restore its original rows, \
                           all together, or give the order another name";
            return self.annotate_line(error.with_message(message), line);
        }
        self.annotate_line(error, line)
    }

    fn annotate_line(&self, error: CliError, line: Option<u64>) -> CliError {
        let mut text = self.text.clone();
        let values =
            [("line", line.map(Value::from)), ("order", self.order.as_deref().map(Value::from))];
        let mut error = error;
        for (name, value) in values {
            let Some(value) = value else { continue };
            let rendered = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text = format!("{text}, {name} {rendered}");
            error = error.with_field(name, value);
        }
        error.at(&text)
    }

    /// The line of the first item that the error refers to.
    fn line_of(&self, error: &Error) -> Option<u64> {
        let Error::Refused(refusal) = error else { return None };
        if let Refusal::InvalidRequest { errors } = refusal {
            return errors.iter().find_map(|error| {
                let index = error.pointer.strip_prefix("/items/")?.split('/').next()?;
                self.items.get(index.parse::<usize>().ok()?).map(|(_, line)| *line)
            });
        }
        let is_at_fault = |product: ProductId| {
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
        self.items.iter().find(|(product, _)| is_at_fault(*product)).map(|(_, line)| *line)
    }
}

/// The numbers of calls executed, and of calls skipped because they were executed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImportCounts {
    pub(crate) done: u64,
    pub(crate) skipped: u64,
}

/// Submits calls of one kind to a shop.
pub(crate) struct Pipeline<'a, R: Operation> {
    shop: &'a Shop,
    /// Cancels the calls in flight behind a refused one.
    sequence: Sequence,
    in_flight: VecDeque<(Submission<R>, PendingCall<R::Output>)>,
    counts: ImportCounts,
    error: Option<CliError>,
}

impl<'a, R: Operation + Clone> Pipeline<'a, R> {
    pub(crate) fn new(shop: &'a Shop) -> Self {
        let sequence = Sequence::tolerating(exists_already);
        let (in_flight, counts) = (VecDeque::new(), ImportCounts::default());
        Self { shop, sequence, in_flight, counts, error: None }
    }

    /// Submits a call, and first waits for the oldest if too many are in flight. Returns false once a call has
    /// failed: the caller must stop.
    pub(crate) fn push(&mut self, submission: Submission<R>) -> bool {
        if self.in_flight.len() >= WINDOW {
            self.wait_for_oldest();
        }
        if self.error.is_some() {
            return false;
        }
        let request = submission.request.clone();
        let call = match submission.at {
            Some(at) => self.shop.call_at(request, at),
            None => self.shop.call(request),
        };
        // A refusal does not use up the key, because the corrected row is imported again under it.
        let call = match &submission.key {
            Some(key) => call.key_on_success(key),
            None => call,
        };
        let pending = call.submit_in(&mut self.sequence);
        self.in_flight.push_back((submission, pending));
        true
    }

    /// Waits for every call in flight. Returns the counts, and the first error if any.
    pub(crate) fn finish(mut self) -> (ImportCounts, Option<CliError>) {
        while !self.in_flight.is_empty() {
            self.wait_for_oldest();
        }
        (self.counts, self.error)
    }

    fn wait_for_oldest(&mut self) {
        let Some((submission, pending)) = self.in_flight.pop_front() else { return };
        let Outcome { result, replayed, .. } = pending.outcome();
        match result {
            Ok(_) if replayed => count(&mut self.counts.skipped),
            Ok(_) => count(&mut self.counts.done),
            Err(error) if exists_already(&error) => count(&mut self.counts.skipped),
            Err(error) => {
                self.error.get_or_insert_with(|| submission.location.annotate_error(error));
            }
        }
    }
}

fn exists_already(error: &Error) -> bool {
    matches!(error.code(), Code::ProductExists | Code::CustomerExists)
}

fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use commerce_core::{AddCustomer, ChargeBalance, Currency, CustomerId, MemoryStore, Money};

    fn submission<R>(request: R, key: Option<&str>) -> Submission<R> {
        let key = key.and_then(Key::new);
        Submission { request, at: None, key, location: SourceLocation::row("file", 2) }
    }

    fn run<R: Operation + Clone>(
        shop: &Shop,
        submissions: Vec<Submission<R>>,
    ) -> (ImportCounts, Option<String>) {
        let mut pipeline = Pipeline::new(shop);
        for submission in submissions {
            if !pipeline.push(submission) {
                break;
            }
        }
        let (counts, error) = pipeline.finish();
        (counts, error.map(|error| error.sentence()))
    }

    #[test]
    fn pipeline_skips_existing_rows() {
        let shop = Shop::open(MemoryStore::new(Currency::KRW));
        let customers = |count| {
            let id = |number| Some(CustomerId::new(number));
            (1..=count).map(move |number| {
                submission(AddCustomer { id: id(number), ..AddCustomer::new("Kim") }, None)
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
    fn pipeline_retries_a_refused_call_with_the_same_key() {
        let shop = Shop::open(MemoryStore::new(Currency::KRW));
        let kim = shop.call(AddCustomer::new("Kim")).run().unwrap();
        let charge = ChargeBalance { customer_id: kim.id, amount: Money::from_minor(50) };
        let debit =
            commerce_core::DebitBalance { customer_id: kim.id, amount: charge.amount, note: None };
        for _ in 0..2 {
            let (counts, error) = run(&shop, vec![submission(debit.clone(), Some("debit"))]);
            assert_eq!(counts, ImportCounts::default());
            assert!(error.unwrap().starts_with("file, line 2: the balance is 0"));
        }
        shop.call(charge).run().unwrap();
        let once = vec![submission(debit.clone(), Some("debit"))];
        assert_eq!(run(&shop, once.clone()).0, ImportCounts { done: 1, skipped: 0 });
        assert_eq!(run(&shop, once).0, ImportCounts { done: 0, skipped: 1 });
        assert_eq!(shop.balance(kim.id).unwrap().balance, Money::ZERO);
    }
}
