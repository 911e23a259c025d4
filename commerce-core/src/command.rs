//! Commands: an operation with its key, instant, trace and conditions. A command is decided once; repeated with the same
//! key, it gets the stored result.

use crate::clock::Timestamp;
use crate::digest::{self, Digested, Fnv, KeyUse};
use crate::error::{Error, Refusal, StoreError};
use crate::id::Key;
use crate::id::OrderId;
use crate::idempotency::{GLOBAL_SCOPE, IdempotencyRecord, RefusedRequest, StoredResult};
use crate::limits::MAX_TEXT;
use crate::model::audit_trail::{Actor, AuditEntry};
use crate::model::order::OrderStatus;
use crate::model::token::Token;
use crate::model::wallet::{ChargeRow, ChargeStatus};
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::rule::expire_orders;
use crate::rule::operation::AnyOperation;
use crate::sequence::{Progress, Sequence};
use crate::state::{Needs, NextIds, State};
use crate::version::Version;
use serde_json::Value;
use std::mem;
use std::sync::Arc;

/// An operation with everything that is needed to decide it.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    operation: AnyOperation,
    key: Option<Key>,
    /// True if a refusal binds the key, as a success does.
    binds_refusals: bool,
    /// The instant the rule decides at: the clock's, or an earlier one for imported history.
    now: Timestamp,
    /// The instant of the clock. Only this one ends the holds of other orders.
    clock: Timestamp,
    actor: Option<Actor>,
    trace: Option<String>,
    fingerprint: i64,
    sequence: Option<Arc<Progress>>,
    /// The versions that the row to change may have; `None` for any.
    only_if: Option<Vec<Version>>,
}

/// The outcome of a command.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) result: Result<Output, Error>,
    /// True if the result is the stored one of an earlier command with the same key.
    pub(crate) replayed: bool,
}

impl Command {
    /// Returns a command that is decided at the instant of the clock.
    pub(crate) fn new(operation: impl Into<AnyOperation>, clock: Timestamp) -> Self {
        Self {
            operation: operation.into(),
            key: None,
            binds_refusals: true,
            now: clock,
            clock,
            actor: None,
            trace: None,
            fingerprint: 0,
            sequence: None,
            only_if: None,
        }
    }

    /// Decides at another instant than the clock's. An instant ahead of the clock is refused as `invalid_request`.
    /// Overdue orders are released by the clock regardless.
    #[must_use]
    pub(crate) fn decided_at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// Sets the idempotency key: a repeated command returns the stored result and changes nothing.
    #[must_use]
    pub(crate) fn with_key(mut self, key: Key) -> Self {
        self.fingerprint = fingerprint(&self.operation);
        self.key = Some(key);
        self
    }

    /// Leaves the key free if the command is refused: only a success binds it, and a corrected request may use the
    /// same key.
    #[must_use]
    pub(crate) fn without_refusals(mut self) -> Self {
        self.binds_refusals = false;
        self
    }

    /// Sets the versions that the row to change may have when the command is decided; see
    /// [`PreparedCall::only_if`](crate::shop::PreparedCall::only_if). They are not part of the fingerprint, so that
    /// a repeated command gets its stored result.
    #[must_use]
    pub(crate) fn with_versions(mut self, versions: Vec<Version>) -> Self {
        self.only_if = Some(versions);
        self
    }

    /// Sets the author. It is recorded in the audit trail, unless it is the customer concerned.
    #[must_use]
    pub(crate) fn with_actor(mut self, actor: Option<Actor>) -> Self {
        self.actor = actor;
        self
    }

    /// Sets the trace of the request for its events. A trace that is too long is dropped.
    #[must_use]
    pub(crate) fn with_trace(mut self, trace: Option<String>) -> Self {
        self.trace = trace.filter(|trace| trace.len() <= MAX_TEXT);
        self
    }

    /// Makes the command part of a sequence.
    #[must_use]
    pub(crate) fn in_sequence(mut self, sequence: &Sequence) -> Self {
        self.sequence = Some(sequence.progress());
        self
    }

    pub(crate) fn sequence(&self) -> Option<&Arc<Progress>> {
        self.sequence.as_ref()
    }

    /// The share of a batch that the command takes, in rows it may touch.
    pub(crate) fn weight(&self) -> usize {
        self.operation.rule().weight()
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        let rule = self.operation.rule();
        rule.needs(state, needs);
        if let Some(query) = &mut needs.due_events {
            query.now = query.now.max(self.now.min(self.clock));
        }
        let (Some(key), Some(scope)) = (&self.key, rule.key_scope(state)) else { return };
        if scope != GLOBAL_SCOPE {
            needs.account(state, scope);
        }
        if !state.is_key_loaded(key, scope) {
            needs.keys.insert((key.clone(), scope));
            return;
        }
        match state.key(key, scope).map(|record| &record.answer) {
            Some(StoredResult::Order(id, _) | StoredResult::OrderAfter(id, ..)) => {
                needs.order(state, *id);
            }
            Some(StoredResult::Refund(id)) => needs.refund(state, *id),
            Some(StoredResult::OpenedCharge(id)) => needs.charge(state, *id),
            _ => {}
        }
    }

    /// Returns true if the operation creates the row that it returns, rather than changing an existing one.
    fn makes_row(&self) -> bool {
        matches!(
            self.operation,
            AnyOperation::PlaceOrder(_)
                | AnyOperation::ChargeBalance(_)
                | AnyOperation::OpenCharge(_)
                | AnyOperation::RefundCharge(_)
                | AnyOperation::DebitBalance(_)
                | AnyOperation::ClaimCoupon(_)
        )
    }

    /// Releases overdue orders before this command, unless the command is the sweep itself. Returns true if any
    /// were released.
    pub(crate) fn releases(&self, state: &mut State) -> bool {
        !self.is_sweep() && !expire_orders::expire_due(state, self.clock).is_empty()
    }

    /// Returns true if the command does nothing but release overdue orders.
    pub(crate) fn is_sweep(&self) -> bool {
        matches!(self.operation, AnyOperation::ExpireOrders(_))
    }

    /// Returns true if the whole read set is loaded. An earlier command of the batch may have created a row that
    /// extends it: for an order, the key is looked up in the scope of its customer, and was not loaded.
    pub(crate) fn is_ready(&self, state: &State) -> bool {
        let mut needs = Needs::default();
        self.needs(state, &mut needs);
        needs.is_empty()
    }

    /// Decides the command on a state with its whole read set loaded, and changes the state accordingly.
    pub(crate) fn decide(&self, state: &mut State, hold_seconds: i64) -> Decision {
        let expired = expire_orders::expire_due(state, self.clock);
        if self.is_sweep() && self.now <= self.clock {
            return Decision { result: Ok(Output::Expired(expired)), replayed: false };
        }
        let rule = self.operation.rule();
        let scope = rule.key_scope(state);
        if let (Some(key), Some(scope)) = (&self.key, scope)
            && let Some(record) = state.key(key, scope)
        {
            return self.replay(key, record, state);
        }
        // After the key, so that a stored result stays available when the clock is set back.
        if self.now > self.clock {
            let refusal = ahead_of_clock(self.now, self.clock);
            return Decision { result: Err(refusal.into()), replayed: false };
        }
        let action = rule.action();
        let is_recorded = |actor: &Actor| {
            let is_own = scope.map(Actor::Customer) == Some(*actor);
            action.is_some_and(|action| action.is_recorded_for(*actor, is_own))
        };
        let actor = self.actor.filter(is_recorded);
        let context = Context { now: self.now, hold_seconds, actor, trace: self.trace.as_deref() };
        // Checked on the rows that the rule is about to change, in the same transaction (optimistic concurrency).
        let current = self.only_if.as_ref().map_or(Ok(()), |allowed| {
            let version = rule.version(state, self.now)?;
            if allowed.contains(&version) { Ok(()) } else { Err(Refusal::PreconditionFailed) }
        });
        let result = current.and_then(|()| rule.decide(state, context));
        let changes = mem::take(&mut state.field_changes);
        if let (Ok(output), Some(actor), Some(action)) = (&result, actor, action)
            && !(action.needs_change() && changes.as_json().is_none())
        {
            let (id, created_at) = (state.next_audit_entry_id(), self.clock);
            let subject = output.subject();
            let entry = AuditEntry { id, created_at, actor, action, subject, changes };
            state.audit_trail.push(entry);
        }
        let binds = self.binds_refusals || result.is_ok();
        if let (Some(key), Some(scope), Some(answer)) = (&self.key, scope, stored_result(&result))
            && binds
            && (scope == GLOBAL_SCOPE || state.accounts.get(scope).is_some())
        {
            let (fingerprint, created_at) = (self.fingerprint, self.now);
            let used = KeyUse { key, scope, fingerprint, created_at };
            let row = Digested::answered_by(&answer).filter(|_| self.makes_row());
            let digest = row.is_none().then(|| digest::of_key(&used, &answer));
            if let Some(row) = row {
                state.made_with_key(row, key.clone(), scope);
            }
            let is_refused = matches!(answer, StoredResult::Refused(_));
            let request = is_refused.then(|| self.refused_request(state));
            let record = IdempotencyRecord { fingerprint, answer, created_at, digest, request };
            state.add_key(key.clone(), scope, record);
        }
        Decision { result: result.map_err(Error::from), replayed: false }
    }

    /// Returns what is stored of the request if it is refused. Texts that may be personal data are left out, so that the
    /// erasure of a customer need not look for them: a new operation keeps none until it is listed here.
    fn refused_request(&self, state: &State) -> RefusedRequest {
        let is_impersonal = matches!(
            self.operation,
            AnyOperation::PlaceOrder(_)
                | AnyOperation::PayOrder(_)
                | AnyOperation::CancelOrder(_)
                | AnyOperation::ClaimCoupon(_)
                | AnyOperation::EditCart(_)
                | AnyOperation::ChargeBalance(_)
                | AnyOperation::RefundCharge(_)
                | AnyOperation::AddProduct(_)
                | AnyOperation::UpdateProduct(_)
                | AnyOperation::AdjustStock(_)
                | AnyOperation::AddCoupon(_)
        );
        // Plain structs with string keys can always be written.
        let operation = if is_impersonal {
            serde_json::to_string(&self.operation)
        } else {
            serde_json::to_value(&self.operation).map(|whole| without_texts(whole).to_string())
        };
        let newest = |next: i64| next.saturating_sub(1);
        let ids = state.ids.unwrap_or(NextIds::FIRST);
        RefusedRequest {
            operation: operation.unwrap_or_default(),
            is_redacted: !is_impersonal,
            last_order: OrderId::new(newest(ids.order)),
            last_movement: newest(ids.stock_movement),
            last_event: newest(ids.event),
        }
    }

    fn replay(&self, key: &Key, record: &IdempotencyRecord, state: &State) -> Decision {
        if record.fingerprint != self.fingerprint {
            let refusal = Refusal::IdempotencyKeyReused { key: key.clone() };
            return Decision { result: Err(refusal.into()), replayed: false };
        }
        let result = match record.answer.clone() {
            StoredResult::Charge(charge) => Ok(Output::Charge(charge)),
            StoredResult::OpenedCharge(id) => match state.charges.get(id) {
                Some(row) => charge_output(row, state),
                None => Err(StoreError::Corrupt(format!("key {key} names no charge {id}")).into()),
            },
            StoredResult::Debit(debit) => Ok(Output::Debit(debit)),
            StoredResult::OwnedCoupon(owned) => Ok(Output::OwnedCoupon(owned)),
            StoredResult::Product(product) => Ok(Output::Product(product)),
            StoredResult::Coupon(coupon) => Ok(Output::Coupon(coupon)),
            StoredResult::Customer(customer) => Ok(Output::Customer(customer)),
            StoredResult::Token(token) => Ok(Output::Token(token)),
            StoredResult::Cart(cart) => Ok(Output::Cart(cart)),
            StoredResult::Refused(refusal) => Err(refusal.into()),
            StoredResult::Refund(id) => match state.refunds.get(id) {
                Some(row) => Ok(Output::Refund(row.to_refund(state.currency))),
                None => Err(StoreError::Corrupt(format!("key {key} names no refund {id}")).into()),
            },
            StoredResult::Order(id, status) => order(state, key, id, status, 0),
            StoredResult::OrderAfter(id, status, cancellations) => {
                order(state, key, id, status, cancellations)
            }
        };
        Decision { result, replayed: true }
    }
}

/// The order as it was after the request of a key.
fn order(
    state: &State,
    key: &Key,
    id: OrderId,
    status: OrderStatus,
    cancellations: usize,
) -> Result<Output, Error> {
    match state.orders.get(id) {
        Some(order) => Ok(Output::Order(order.as_of(status, cancellations))),
        None => Err(StoreError::Corrupt(format!("key {key} names no order {id}")).into()),
    }
}

/// Replaces each text in a value by null.
fn without_texts(value: Value) -> Value {
    match value {
        Value::String(_) => Value::Null,
        Value::Array(items) => items.into_iter().map(without_texts).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, without_texts(value))).collect()
        }
        value @ (Value::Null | Value::Bool(_) | Value::Number(_)) => value,
    }
}

/// The current outcome of an opened charge, for a repeated request.
fn charge_output(row: &ChargeRow, state: &State) -> Result<Output, Error> {
    if let Some(reason) = row.failure.clone() {
        return Err(Refusal::ChargeDeclined { charge_id: row.id, reason }.into());
    }
    let balance = state.accounts.get(row.customer_id).map_or(Money::ZERO, |own| own.balance);
    Ok(Output::Charge(row.to_charge(balance, state.currency)))
}

/// The refusal of an instant in the future. Local time written with a `Z` is the usual cause.
fn ahead_of_clock(now: Timestamp, clock: Timestamp) -> Refusal {
    let detail = format!(
        "{now} is ahead of the clock, which shows {clock}: give an instant that has passed, and \
         check its offset from UTC"
    );
    Refusal::invalid("", detail)
}

/// The read set: the rows that these commands may touch and that `state` does not have yet. The engine repeats
/// this after each load, since loaded rows may name more.
pub(crate) fn needs<'a>(commands: impl Iterator<Item = &'a Command>, state: &State) -> Needs {
    let mut needs = Needs { ids: state.ids.is_none(), ..Needs::default() };
    for command in commands {
        command.needs(state, &mut needs);
        if state.due_orders.is_none() {
            needs.due_orders = needs.due_orders.max(Some(command.clock));
        }
    }
    for &id in state.due_orders.iter().flatten() {
        needs.whole_order(state, id);
    }
    needs
}

/// The result to store with a key. Invalid requests are not stored, so that a corrected one may use the same key;
/// nor are rate-limited requests, or those with an outdated version.
fn stored_result(result: &Result<Output, Refusal>) -> Option<StoredResult> {
    match result {
        Ok(Output::Order(order)) => Some(match order.cancellations.len() {
            0 => StoredResult::Order(order.id, order.status),
            _ if order.status.is_final() => StoredResult::Order(order.id, order.status),
            number => StoredResult::OrderAfter(order.id, order.status, number),
        }),
        Ok(Output::Refund(refund)) => Some(StoredResult::Refund(refund.id)),
        Ok(Output::Charge(charge)) if charge.status == ChargeStatus::Pending => {
            Some(StoredResult::OpenedCharge(charge.id))
        }
        Ok(Output::Charge(charge)) => Some(StoredResult::Charge(charge.clone())),
        Ok(Output::Debit(debit)) => Some(StoredResult::Debit(debit.clone())),
        Ok(Output::OwnedCoupon(owned)) => Some(StoredResult::OwnedCoupon(owned.clone())),
        Ok(Output::Product(product)) => Some(StoredResult::Product(product.clone())),
        Ok(Output::Coupon(coupon)) => Some(StoredResult::Coupon(coupon.clone())),
        Ok(Output::Customer(customer)) => Some(StoredResult::Customer(customer.clone())),
        Ok(Output::Token(token)) => {
            Some(StoredResult::Token(Token { hash: String::new(), ..token.clone() }))
        }
        Ok(Output::Cart(cart)) => Some(StoredResult::Cart(cart.clone())),
        Err(
            Refusal::InvalidRequest { .. }
            | Refusal::PreconditionFailed
            | Refusal::TooManyRequests { .. }
            | Refusal::TooManyPendingCharges { .. },
        )
        | Ok(
            Output::Expired(_)
            | Output::Done(())
            | Output::EventLease(_)
            | Output::Count(_)
            | Output::Settings(_),
        ) => None,
        Err(refusal) => Some(StoredResult::Refused(refusal.clone())),
    }
}

/// The hash of the request's JSON. It only has to distinguish the requests with one key in one scope, so that 64
/// bits are enough. It covers the whole request, and neither the instant nor the trace.
pub(crate) fn fingerprint(operation: &AnyOperation) -> i64 {
    let mut hash = Fnv::default();
    // The sink cannot fail, and plain structs with string keys can always be written.
    let _ = serde_json::to_writer(&mut hash, operation);
    hash.all()
}
