//! Commands: one enum of everything that changes a store, and how each is answered once and only once.

use crate::clock::Timestamp;
use crate::digest::{self, Digested, Fnv, KeyUse};
use crate::error::{Error, Refusal, StoreError};
use crate::id::{Key, OrderId};
use crate::limits::MAX_TEXT;
use crate::model::cart::Cart;
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::idempotency::{GLOBAL_SCOPE, IdempotencyRecord, StoredResult};
use crate::model::order::Order;
use crate::model::product::Product;
use crate::model::wallet::{Charge, ChargeRow, ChargeStatus, Customer, Debit};
use crate::money::Money;
use crate::rule::context::{Context, Output};
#[cfg(test)]
use crate::rule::testing::Careless;
use crate::rule::{
    AddCoupon, AddCustomer, AddProduct, AdjustStock, CancelOrder, ChargeBalance, ClaimCoupon,
    CloseSession, DebitBalance, EditCart, EventLease, ExpireOrders, OpenCharge, OpenSession,
    PayOrder, PlaceOrder, RecordLoginAttempt, RelayEvents, ReplayEvents, RetryEvents, Rule,
    SetCredentials, SettleCharge, UnlockLogin, UpdateProduct, expire_orders,
};
use crate::sequence::{Progress, Sequence};
use crate::state::{Needs, State};
use crate::version::Version;
use serde::Serialize;
use std::sync::Arc;

/// A typed request: what is asked, and the type of its answer. Implemented by the request types of
/// this crate.
pub trait Operation: Into<AnyOperation> {
    /// What is answered.
    type Output: TryFrom<AnyOutput, Error = StoreError>;
}

/// An answer that [`Operation::Output`] can be taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyOutput(pub(crate) Output);

macro_rules! operations {
    ($($(#[$meta:meta])* $([$only:meta])? $request:ident => $variant:ident($answer:ty);)+) => {
        /// Everything that can be asked of a store that changes it.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[expect(missing_docs, reason = "each variant is explained at the request it holds")]
        pub enum AnyOperation {
            $($(#[$meta])* $(#[$only])? $request($request),)+
        }

        impl AnyOperation {
            fn rule(&self) -> &dyn Rule {
                match self {
                    $($(#[$only])? Self::$request(request) => request,)+
                }
            }
        }

        $(
            $(#[$only])?
            impl From<$request> for AnyOperation {
                fn from(request: $request) -> Self {
                    Self::$request(request)
                }
            }

            $(#[$only])?
            impl Operation for $request {
                type Output = $answer;
            }
        )+
    };
}

operations! {
    AddCustomer => Customer(Customer);
    AddProduct => Product(Product);
    UpdateProduct => Product(Product);
    AdjustStock => Product(Product);
    AddCoupon => Coupon(Coupon);
    ChargeBalance => Charge(Charge);
    #[serde(rename = "charge_balance")]
    OpenCharge => Charge(Charge);
    SettleCharge => Charge(Charge);
    DebitBalance => Debit(Debit);
    EditCart => Cart(Cart);
    ClaimCoupon => OwnedCoupon(OwnedCoupon);
    PlaceOrder => Order(Order);
    PayOrder => Order(Order);
    CancelOrder => Order(Order);
    ExpireOrders => Expired(Vec<OrderId>);
    SetCredentials => Customer(Customer);
    RecordLoginAttempt => Done(());
    UnlockLogin => Customer(Customer);
    OpenSession => Done(());
    CloseSession => Done(());
    RelayEvents => EventLease(EventLease);
    RetryEvents => Count(u64);
    ReplayEvents => Count(u64);
    [cfg(test)] Careless => Done(());
}

macro_rules! outputs {
    ($($variant:ident => $answer:ty;)+) => {$(
        impl TryFrom<AnyOutput> for $answer {
            type Error = StoreError;
            fn try_from(reply: AnyOutput) -> Result<Self, StoreError> {
                match reply.0 {
                    Output::$variant(answer) => Ok(answer),
                    other => Err(StoreError::Corrupt(format!("an answer of another kind: {other:?}"))),
                }
            }
        }
    )+};
}

outputs! {
    Customer => Customer;
    Product => Product;
    Coupon => Coupon;
    Charge => Charge;
    Debit => Debit;
    Cart => Cart;
    OwnedCoupon => OwnedCoupon;
    Order => Order;
    Expired => Vec<OrderId>;
    Done => ();
    EventLease => EventLease;
    Count => u64;
}

/// One thing asked of a store, with all it needs to be decided.
#[derive(Clone, Debug)]
pub struct Command {
    action: AnyOperation,
    key: Option<Key>,
    /// Whether a refusal binds the key, as an answer does.
    binds_refusals: bool,
    /// The instant the rule decides at: the clock's, or an earlier one for history.
    now: Timestamp,
    /// The instant of the clock. Only this one ends the holds of other orders.
    clock: Timestamp,
    trace: Option<String>,
    fingerprint: i64,
    sequence: Option<Arc<Progress>>,
    /// The versions that the row to be changed may have; any when absent.
    only_if: Option<Vec<Version>>,
}

/// How a command ended.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) result: Result<Output, Error>,
    pub(crate) replayed: bool,
}

impl Command {
    /// A command to be decided at the instant that the clock shows.
    pub fn new(action: impl Into<AnyOperation>, clock: Timestamp) -> Self {
        Self {
            action: action.into(),
            key: None,
            binds_refusals: true,
            now: clock,
            clock,
            trace: None,
            fingerprint: 0,
            sequence: None,
            only_if: None,
        }
    }

    /// Decides at another instant than the clock's; one ahead of the clock is refused as
    /// `invalid_request`. Overdue orders are released by the clock all the same.
    #[must_use]
    pub fn decided_at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// With an idempotency key: sent again, it is answered as the first time and changes nothing.
    #[must_use]
    pub fn with_key(mut self, key: Key) -> Self {
        self.fingerprint = fingerprint(&self.action);
        self.key = Some(key);
        self
    }

    /// Keeps the key free when the command is refused: only an answer binds it, and a corrected
    /// request may be sent with the same key.
    #[must_use]
    pub fn without_refusals(mut self) -> Self {
        self.binds_refusals = false;
        self
    }

    /// With the versions that what it changes may have at that moment; see
    /// [`PreparedCall::only_if`](crate::shop::PreparedCall::only_if). They are no part of the fingerprint: a repeated call keeps its
    /// answer.
    #[must_use]
    pub fn with_versions(mut self, versions: Vec<Version>) -> Self {
        self.only_if = Some(versions);
        self
    }

    /// With the trace of the request, which its events carry on; one that is too long is left out.
    #[must_use]
    pub fn with_trace(mut self, trace: Option<String>) -> Self {
        self.trace = trace.filter(|trace| trace.len() <= MAX_TEXT);
        self
    }

    /// Makes the command a part of a sequence.
    #[must_use]
    pub(crate) fn in_sequence(mut self, sequence: &Sequence) -> Self {
        self.sequence = Some(sequence.progress());
        self
    }

    pub(crate) fn sequence(&self) -> Option<&Arc<Progress>> {
        self.sequence.as_ref()
    }

    /// Tells a request from others made with the same key. It takes in everything that was asked,
    /// and neither the instant nor the trace. 0 without a key.
    #[must_use]
    pub fn fingerprint(&self) -> i64 {
        self.fingerprint
    }

    /// How much of a batch it takes, counted in rows it may touch.
    pub(crate) fn weight(&self) -> usize {
        self.action.rule().weight()
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        let rule = self.action.rule();
        rule.needs(state, needs);
        if let Some(wanted) = &mut needs.due_events {
            wanted.now = wanted.now.max(self.now.min(self.clock));
        }
        let (Some(key), Some(owner)) = (&self.key, rule.key_scope(state)) else { return };
        if owner != GLOBAL_SCOPE {
            needs.account(state, owner);
        }
        if !state.is_key_loaded(key, owner) {
            needs.keys.insert((key.clone(), owner));
            return;
        }
        match state.key(key, owner).map(|record| &record.answer) {
            Some(StoredResult::Order(id, _)) => needs.order(state, *id),
            Some(StoredResult::OpenedCharge(id)) => needs.charge(state, *id),
            _ => {}
        }
    }

    /// Whether the row that it is answered with is one that it makes, and not one that was there.
    fn makes(&self) -> bool {
        matches!(
            self.action,
            AnyOperation::PlaceOrder(_)
                | AnyOperation::ChargeBalance(_)
                | AnyOperation::OpenCharge(_)
                | AnyOperation::DebitBalance(_)
                | AnyOperation::ClaimCoupon(_)
        )
    }

    /// Releases what is overdue before this command, unless that is all the command is for. Whether
    /// anything was.
    pub(crate) fn releases(&self, state: &mut State) -> bool {
        !self.is_sweep() && !expire_orders::expire_due(state, self.clock).is_empty()
    }

    /// Whether to release overdue orders is all that the command is for.
    pub(crate) fn is_sweep(&self) -> bool {
        matches!(self.action, AnyOperation::ExpireOrders(_))
    }

    /// Whether all it may touch is loaded. An earlier command of the batch may have made what names more:
    /// an order, whose customer's keys nobody has looked for.
    pub(crate) fn is_ready(&self, state: &State) -> bool {
        let mut needs = Needs::default();
        self.needs(state, &mut needs);
        needs.is_empty()
    }

    /// Decides the command on a state that has everything loaded, and changes the state accordingly.
    pub(crate) fn decide(&self, state: &mut State, hold_seconds: i64) -> Decision {
        let expired = expire_orders::expire_due(state, self.clock);
        if self.is_sweep() && self.now <= self.clock {
            return Decision { result: Ok(Output::Expired(expired)), replayed: false };
        }
        let rule = self.action.rule();
        let owner = rule.key_scope(state);
        if let (Some(key), Some(owner)) = (&self.key, owner)
            && let Some(record) = state.key(key, owner)
        {
            return self.replay(key, record, state);
        }
        // After the key: what was answered once stays answered when the clock is set back.
        if self.now > self.clock {
            let refusal = ahead_of_clock(self.now, self.clock);
            return Decision { result: Err(refusal.into()), replayed: false };
        }
        let context = Context { now: self.now, hold_seconds, trace: self.trace.as_deref() };
        // On the rows that the rule is about to change, in the same transaction.
        let current = self.only_if.as_ref().map_or(Ok(()), |allowed| {
            let version = rule.version(state)?;
            if allowed.contains(&version) { Ok(()) } else { Err(Refusal::PreconditionFailed) }
        });
        let result = current.and_then(|()| rule.decide(state, context));
        let binds = self.binds_refusals || result.is_ok();
        if let (Some(key), Some(owner), Some(answer)) = (&self.key, owner, recorded(&result))
            && binds
            && (owner == GLOBAL_SCOPE || state.accounts.get(owner).is_some())
        {
            let (fingerprint, created_at) = (self.fingerprint, self.now);
            let used = KeyUse { key, scope: owner, fingerprint, created_at };
            let made = Digested::answered_by(&answer).filter(|_| self.makes());
            let digest = made.is_none().then(|| digest::of_key(&used, &answer));
            if let Some(row) = made {
                state.made_with_key(row, key.clone(), owner);
            }
            let record = IdempotencyRecord { fingerprint, answer, created_at, digest };
            state.add_key(key.clone(), owner, record);
        }
        Decision { result: result.map_err(Error::from), replayed: false }
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
            StoredResult::Cart(cart) => Ok(Output::Cart(cart)),
            StoredResult::Refused(refusal) => Err(refusal.into()),
            StoredResult::Order(id, status) => match state.orders.get(id) {
                Some(order) => Ok(Output::Order(order.as_of(status))),
                None => Err(StoreError::Corrupt(format!("key {key} names no order {id}")).into()),
            },
        };
        Decision { result, replayed: true }
    }
}

/// What has become of a charge that was opened, for whoever asked for it.
fn charge_output(row: &ChargeRow, state: &State) -> Result<Output, Error> {
    if let Some(reason) = row.failure.clone() {
        return Err(Refusal::ChargeDeclined { charge_id: row.id, reason }.into());
    }
    let balance = state.accounts.get(row.customer_id).map_or(Money::ZERO, |own| own.balance);
    Ok(Output::Charge(row.to_charge(balance, state.currency)))
}

/// The refusal of an instant that has not come. Local time written with a `Z` is the usual cause.
fn ahead_of_clock(now: Timestamp, clock: Timestamp) -> Refusal {
    let detail = format!(
        "{now} is ahead of the clock, which shows {clock}: give an instant that has passed, and \
         check its offset from UTC"
    );
    Refusal::invalid("", detail)
}

/// What these commands may touch and `state` has not loaded yet. Asked again after each loading, since
/// what is loaded may name more.
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

/// What a key is to remember. Requests that made no sense are not worth it: corrected, they may come
/// again under the same key. Nor are those that came too early, or named an old version.
fn recorded(result: &Result<Output, Refusal>) -> Option<StoredResult> {
    match result {
        Ok(Output::Order(order)) => Some(StoredResult::Order(order.id, order.status)),
        Ok(Output::Charge(charge)) if charge.status == ChargeStatus::Pending => {
            Some(StoredResult::OpenedCharge(charge.id))
        }
        Ok(Output::Charge(charge)) => Some(StoredResult::Charge(charge.clone())),
        Ok(Output::Debit(debit)) => Some(StoredResult::Debit(debit.clone())),
        Ok(Output::OwnedCoupon(owned)) => Some(StoredResult::OwnedCoupon(owned.clone())),
        Ok(Output::Product(product)) => Some(StoredResult::Product(product.clone())),
        Ok(Output::Coupon(coupon)) => Some(StoredResult::Coupon(coupon.clone())),
        Ok(Output::Customer(customer)) => Some(StoredResult::Customer(customer.clone())),
        Ok(Output::Cart(cart)) => Some(StoredResult::Cart(cart.clone())),
        Err(
            Refusal::InvalidRequest { .. }
            | Refusal::PreconditionFailed
            | Refusal::TooManyRequests { .. }
            | Refusal::TooManyPendingCharges { .. },
        )
        | Ok(Output::Expired(_) | Output::Done(()) | Output::EventLease(_) | Output::Count(_)) => {
            None
        }
        Err(refusal) => Some(StoredResult::Refused(refusal.clone())),
    }
}

/// The hash of the request's JSON. It need only tell one caller's requests under one key apart.
fn fingerprint(action: &AnyOperation) -> i64 {
    let mut hash = Fnv::default();
    // Neither the sink nor plain structs with string keys can fail to be written.
    let _ = serde_json::to_writer(&mut hash, action);
    hash.all()
}
