//! Calls: prepared, submitted, and their outcome.

use crate::command::{Command, Decision};
use crate::engine::Pending;
use crate::error::{Error, StoreError};
use crate::id::Key;
use crate::model::audit_trail::Actor;
use crate::rule::context::Output;
use crate::rule::operation::Operation;
use crate::sequence::Sequence;
use crate::shop::Shop;
use crate::version::Version;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The outcome of a call, for callers that need to know whether it was replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome<T> {
    /// The result.
    pub result: Result<T, Error>,
    /// True if the key was used before and this is the stored result of that call.
    pub replayed: bool,
}

/// A call with its options. [`run`](PreparedCall::run) or [`submit`](PreparedCall::submit) carries it out.
#[must_use = "a call does nothing until it is run or submitted"]
pub struct PreparedCall<'a, R> {
    shop: &'a Shop,
    command: Command,
    operation: PhantomData<fn() -> R>,
}

/// A submitted call, to be waited for by a thread ([`PendingCall::wait`]) or awaited as a future on any executor.
///
/// It is carried out even if it is dropped. Only a call behind a full queue ([`MAX_QUEUE`](crate::limits::MAX_QUEUE)) is
/// then withdrawn. A call that is still queued at the end of the shop's timeout fails with
/// [`StoreError::Busy`], whether a thread or a task waits for it.
#[must_use = "the outcome of the call is known only after waiting for it"]
pub struct PendingCall<T> {
    pending: Pending,
    convert: fn(Output) -> Result<T, StoreError>,
}

impl<'a, R> PreparedCall<'a, R> {
    pub(super) fn new(shop: &'a Shop, command: Command) -> Self {
        Self { shop, command, operation: PhantomData }
    }
}

impl<R: Operation> PreparedCall<'_, R> {
    /// Sets the idempotency key: a repeated call with the same key returns the stored result of the first. The key
    /// belongs to the customer whose balance, coupons, cart or order the call is about, and to the shop itself for
    /// products, campaigns, tokens and new customers. Calls that set logins and open sessions ignore keys: repeating them is
    /// harmless.
    pub fn key(self, key: &Key) -> Self {
        Self { command: self.command.with_key(key.clone()), ..self }
    }

    /// Sets the key as [`PreparedCall::key`] does, but a refusal does not bind it: the next call with the key is
    /// decided again, and may be a corrected request. Used for imports, whose keys are derived from their content.
    pub fn key_on_success(self, key: &Key) -> Self {
        Self { command: self.command.with_key(key.clone()).without_refusals(), ..self }
    }

    /// Makes the call conditional on what the caller has read (optimistic concurrency). Unless the product, cart or
    /// order that it changes has one of these versions at that moment, the call is refused as
    /// `precondition_failed`; of two callers with the same version, one succeeds. A version is [`Version::of`] the
    /// [`InCurrency`](crate::money::InCurrency) body.
    pub fn only_if(self, versions: Vec<Version>) -> Self {
        Self { command: self.command.with_versions(versions), ..self }
    }

    /// Sets the author of the call, in place of the shop's ([`ShopBuilder::actor`](crate::ShopBuilder::actor)). The audit
    /// trail records it in the same commit, unless the author is the customer concerned.
    pub fn actor(self, actor: Option<Actor>) -> Self {
        Self { command: self.command.with_actor(actor), ..self }
    }

    /// Sets the author, if there is one.
    pub(crate) fn by(self, actor: Option<Actor>) -> Self {
        if actor.is_some() { self.actor(actor) } else { self }
    }

    /// Sets the trace of the request for its events (W3C `traceparent`).
    pub fn trace(self, trace: Option<String>) -> Self {
        Self { command: self.command.with_trace(trace), ..self }
    }

    /// Submits the call and returns at once.
    pub fn submit(self) -> PendingCall<R::Output> {
        let pending = self.shop.engine.submit(self.command, self.shop.timeout);
        PendingCall { pending, convert: R::output }
    }

    /// Submits the call as the next one of a sequence.
    pub fn submit_in(self, sequence: &mut Sequence) -> PendingCall<R::Output> {
        Self { command: self.command.in_sequence(sequence), ..self }.submit()
    }

    /// Carries the call out.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if a rule refuses it; [`Error::Store`] if the service fails.
    pub fn run(self) -> Result<R::Output, Error> {
        self.outcome().result
    }

    /// Carries the call out, and reports whether its result was replayed.
    #[must_use]
    pub fn outcome(self) -> Outcome<R::Output> {
        let timeout = self.shop.timeout;
        self.outcome_within(timeout)
    }

    pub(super) fn outcome_within(self, timeout: Duration) -> Outcome<R::Output> {
        outcome(self.shop.engine.run(self.command, timeout), R::output)
    }
}

fn outcome<T>(decision: Decision, convert: fn(Output) -> Result<T, StoreError>) -> Outcome<T> {
    let result = decision.result.and_then(|output| convert(output).map_err(Error::from));
    Outcome { result, replayed: decision.replayed }
}

impl<T> PendingCall<T> {
    /// Waits until the call is durable, or refused.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if a rule refuses it; [`Error::Store`] if the service fails.
    pub fn wait(self) -> Result<T, Error> {
        self.outcome().result
    }

    /// Waits as [`PendingCall::wait`] does, and reports whether the result was replayed.
    #[must_use]
    pub fn outcome(self) -> Outcome<T> {
        outcome(self.pending.wait(), self.convert)
    }

    /// Awaits the call as its future does, and reports whether the result was replayed.
    pub async fn outcome_async(mut self) -> Outcome<T> {
        poll_fn(|context| self.poll_outcome(context)).await
    }

    fn poll_outcome(&mut self, context: &mut Context<'_>) -> Poll<Outcome<T>> {
        self.pending.poll(context).map(|decision| outcome(decision, self.convert))
    }
}

impl<T> Future for PendingCall<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_outcome(context).map(|outcome| outcome.result)
    }
}
