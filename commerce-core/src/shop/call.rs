//! A call on its way: prepared, handed in, waited for, and how it ended.

use super::Shop;
use crate::command::{AnyOutput, Command, Decision, Operation};
use crate::engine::Pending;
use crate::error::{Error, StoreError};
use crate::id::Key;
use crate::sequence::Sequence;
use crate::version::Version;
use std::marker::PhantomData;

/// How a call ended, for callers that need to know whether it is an answer given before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<T> {
    /// The answer.
    pub result: Result<T, Error>,
    /// Whether the key was used before and this is the answer it was given then.
    pub replayed: bool,
}

/// A call being prepared: give it a key, then [`run`](PreparedCall::run) or [`submit`](PreparedCall::submit) it.
#[must_use = "a call does nothing until it is run or submitted"]
pub struct PreparedCall<'a, R> {
    shop: &'a Shop,
    command: Command,
    answer: PhantomData<fn() -> R>,
}

/// A call that was submitted. Dropped without waiting, it is carried out all the same.
#[must_use = "whether the call succeeded is known only after waiting for it"]
pub struct PendingCall<A> {
    pending: Result<Pending, StoreError>,
    answer: PhantomData<fn() -> A>,
}

impl<'a, R> PreparedCall<'a, R> {
    pub(super) fn new(shop: &'a Shop, command: Command) -> Self {
        Self { shop, command, answer: PhantomData }
    }
}

impl<R: Operation> PreparedCall<'_, R> {
    /// Makes the call safe to repeat: with the same key it is answered as the first time. The key belongs
    /// to the customer whose money, coupons, cart or order it is about, and to the shop itself when it is
    /// about products, campaigns and new customers. [`ExpireOrders`](crate::rule::ExpireOrders) and calls about logins take no notice
    /// of keys: repeated, they do no harm.
    pub fn key(self, key: &Key) -> Self {
        Self { command: self.command.with_key(key.clone()), ..self }
    }

    /// As [`PreparedCall::key`], but a refusal does not bind the key: the next call with it is decided afresh, and
    /// may be a corrected request. For imports, whose keys follow from what is imported.
    pub fn key_on_success(self, key: &Key) -> Self {
        Self { command: self.command.with_key(key.clone()).without_refusals(), ..self }
    }

    /// Makes the call depend on what the caller has read: unless the product, cart or order that it changes has one
    /// of these versions at that moment, it is refused as `precondition_failed`. So of two callers who read the same
    /// version, one wins. A version is [`Version::of`] the [`InCurrency`](crate::money::InCurrency) body.
    pub fn only_if(self, versions: Vec<Version>) -> Self {
        Self { command: self.command.with_versions(versions), ..self }
    }

    /// Has events carry the trace of the request on (W3C `traceparent`).
    pub fn trace(self, trace: Option<String>) -> Self {
        Self { command: self.command.with_trace(trace), ..self }
    }

    /// Hands the call in and goes on; the answer is waited for later. When very many calls wait
    /// already, this waits for room first.
    pub fn submit(self) -> PendingCall<R::Output> {
        let pending = self.shop.engine.submit(self.command, self.shop.timeout);
        PendingCall { pending, answer: PhantomData }
    }

    /// As [`PreparedCall::submit`], as the next call of a sequence.
    pub fn submit_in(self, sequence: &mut Sequence) -> PendingCall<R::Output> {
        Self { command: self.command.in_sequence(sequence), ..self }.submit()
    }

    /// Carries the call out.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the rule that said no; [`Error::Store`] when the service failed.
    pub fn run(self) -> Result<R::Output, Error> {
        self.outcome().result
    }

    /// As [`PreparedCall::run`], and tells whether the answer was given before.
    #[must_use]
    pub fn outcome(self) -> Outcome<R::Output> {
        Outcome::of(self.shop.engine.run(self.command, self.shop.timeout))
    }
}

impl<A: TryFrom<AnyOutput, Error = StoreError>> Outcome<A> {
    pub(super) fn of(decision: Decision) -> Self {
        let answer = |answer| A::try_from(AnyOutput(answer)).map_err(Error::from);
        Self { result: decision.result.and_then(answer), replayed: decision.replayed }
    }
}

impl<A: TryFrom<AnyOutput, Error = StoreError>> PendingCall<A> {
    /// Waits until the call is on disk, or refused.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the rule that said no; [`Error::Store`] when the service failed.
    pub fn wait(self) -> Result<A, Error> {
        self.outcome().result
    }

    /// As [`PendingCall::wait`], and tells whether the answer was given before.
    #[must_use]
    pub fn outcome(self) -> Outcome<A> {
        match self.pending {
            Ok(pending) => Outcome::of(pending.wait()),
            Err(error) => Outcome { result: Err(error.into()), replayed: false },
        }
    }
}
