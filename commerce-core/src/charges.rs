//! Charges: the calls of a [`Shop`] that collect money through a payment gateway.
//!
//! A charge is recorded as pending, then the gateway is called, then its result is recorded. No transaction is open
//! during the call. Whatever happens in between, the charge is stored with its reference, the gateway's idempotency
//! key: a repeated call collects nothing twice, so a lost answer is only a reason to call again.

use crate::clock::Timestamp;
use crate::entropy::{self, REFERENCE_BYTES};
use crate::error::{Error, Refusal, StoreError};
use crate::gateway::{
    ChargeResult, CollectRequest, InvalidWebhook, PaymentGateway, WebhookEvent, WebhookNotice,
};
use crate::id::{ChargeId, CustomerId, Key};
use crate::limits::{MAX_AMOUNT, MAX_PAGE};
use crate::model::audit_trail::Actor;
use crate::model::wallet::{Charge, ChargeRow, ChargeStatus};
use crate::money::Money;
use crate::query::{List, Page, PageRequest};
use crate::refunds::RefundOutcome;
use crate::rule::charge_balance::ChargeBalance;
use crate::rule::open_charge::OpenCharge;
use crate::rule::record_notice::{Notice, RecordNotice};
use crate::rule::settle_charge::{SettleCharge, Settlement};
use crate::shop::{Outcome, Shop, account};
use crate::sync::CancellationToken;
use serde::Serialize;
use std::fmt;

/// A charge to be made: money to add to a balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCharge {
    /// The customer to charge.
    pub customer_id: CustomerId,
    /// The amount, 1 to [`MAX_AMOUNT`](crate::limits::MAX_AMOUNT).
    pub amount: Money,
    /// The payment method to collect from, by the gateway's name for it.
    pub payment_method: Option<String>,
}

/// The results of [`Shop::settle_charges`], by number of charges and refunds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReconcileSummary {
    /// The charges and refunds that succeeded.
    pub succeeded: u64,
    /// The charges and refunds that failed.
    pub failed: u64,
    /// The charges and refunds that are still pending.
    pub pending: u64,
    /// The reason why the last of those is still pending, for the operator.
    pub last_error: Option<String>,
}

/// The outcome of [`Shop::handle_webhook`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// The event concerns no charge, or settles none.
    Ignored,
    /// No charge has that reference: the gateway serves another store as well, or this one lost a charge.
    UnknownCharge {
        /// The reference.
        reference: String,
    },
    /// The charge after the event.
    Charge(Charge),
}

/// The error of [`Shop::handle_webhook`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The request is not authentic or cannot be read.
    #[error(transparent)]
    Invalid(#[from] InvalidWebhook),
    /// The event is authentic and could not be recorded: the gateway should send it again.
    #[error(transparent)]
    NotSettled(#[from] Error),
}

impl From<StoreError> for WebhookError {
    fn from(error: StoreError) -> Self {
        Self::NotSettled(error.into())
    }
}

/// Calls about charges.
///
/// # Errors
///
/// As for all calls; each method lists its refusals.
#[expect(clippy::missing_errors_doc, reason = "documented once, above")]
impl Shop {
    /// Returns true if a gateway collects the money of charges.
    #[must_use]
    pub fn has_gateway(&self) -> bool {
        self.gateway().is_some()
    }

    /// Returns the gateway's warning for its operator, once.
    #[must_use]
    pub fn gateway_warning(&self) -> Option<String> {
        self.gateway()?.warning()
    }

    /// Charges a balance as [`Shop::charge_from`] does, without a particular payment method.
    ///
    /// Refused as `invalid_request`, `customer_not_found`, `balance_limit`, `too_many_requests`,
    /// `charge_declined`.
    pub fn charge(&self, customer: CustomerId, amount: Money, key: &Key) -> Result<Charge, Error> {
        let charge = NewCharge { customer_id: customer, amount, payment_method: None };
        self.charge_from(&charge, key).result
    }

    /// Adds money to a balance: immediately without a gateway, else once the gateway has collected it.
    ///
    /// When the gateway gives no answer, or [`MAX_GATEWAY_CALLS`](crate::limits::MAX_GATEWAY_CALLS) calls of it
    /// are under way, the charge is returned as pending. The same call with the same key calls the gateway again, and so does [`Shop::settle_charges`];
    /// nothing is collected twice.
    ///
    /// Refused as `invalid_request`, `customer_not_found`, `balance_limit`, `charge_declined`, and
    /// `too_many_requests` while too many charges of that customer are pending.
    #[must_use]
    pub fn charge_from(&self, charge: &NewCharge, key: &Key) -> Outcome<Charge> {
        self.charge_by(None, charge, key, &mut |_| {})
    }

    /// Charges a balance as [`Shop::charge_from`] does, on behalf of that author instead of the shop's
    /// ([`ShopBuilder::actor`](crate::ShopBuilder::actor)). `on_pending` gets the reason why the charge is pending, in words
    /// for the operator.
    #[must_use]
    pub fn charge_by(
        &self,
        actor: Option<Actor>,
        charge: &NewCharge,
        key: &Key,
        on_pending: &mut dyn FnMut(&str),
    ) -> Outcome<Charge> {
        let Some(gateway) = self.gateway() else {
            return self.charge_without_gateway(actor, charge, key);
        };
        let opened = match self.open_charge(gateway, actor, charge, key) {
            Ok(opened) => opened,
            Err(error) => return Outcome { result: Err(error.into()), replayed: false },
        };
        match &opened.result {
            Ok(charge) if charge.status == ChargeStatus::Pending => {
                let result =
                    self.collect_open_charge(gateway, charge.id, opened.replayed, on_pending);
                Outcome { result, replayed: false }
            }
            _ => opened,
        }
    }

    fn charge_without_gateway(
        &self,
        actor: Option<Actor>,
        charge: &NewCharge,
        key: &Key,
    ) -> Outcome<Charge> {
        let NewCharge { customer_id, amount, ref payment_method } = *charge;
        if payment_method.is_some() {
            let detail = "there is no gateway that could take the money from a payment method";
            let result = Err(Refusal::invalid("/payment_method", detail).into());
            return Outcome { result, replayed: false };
        }
        self.call(ChargeBalance { customer_id, amount }).by(actor).key(key).outcome()
    }

    fn open_charge(
        &self,
        gateway: &dyn PaymentGateway,
        actor: Option<Actor>,
        charge: &NewCharge,
        key: &Key,
    ) -> Result<Outcome<Charge>, StoreError> {
        let request = OpenCharge {
            customer_id: charge.customer_id,
            amount: charge.amount,
            payment_method: charge.payment_method.clone(),
            gateway: gateway.name().to_owned(),
            reference: entropy::hex::<REFERENCE_BYTES>()?,
        };
        Ok(self.call(request).by(actor).key(key).outcome())
    }

    /// Calls the gateway about a charge that is pending.
    fn collect_open_charge(
        &self,
        gateway: &dyn PaymentGateway,
        id: ChargeId,
        is_retry: bool,
        on_pending: &mut dyn FnMut(&str),
    ) -> Result<Charge, Error> {
        let permit = self.gateway_permits().try_acquire();
        let unknown = Refusal::ChargeNotFound { charge_id: id };
        let row = self.store().snapshot()?.charge(id)?.ok_or(unknown)?;
        if permit.is_none() {
            on_pending("too many charges wait for the gateway already");
            return self.to_charge(&row);
        }
        let now = if is_retry { self.now() } else { row.created_at };
        match self.collect(gateway, &row, now)? {
            CollectOutcome::Settled(Charge { id, failure: Some(reason), .. }) => {
                Err(Refusal::ChargeDeclined { charge_id: id, reason }.into())
            }
            CollectOutcome::Settled(charge) => Ok(charge),
            CollectOutcome::Pending(reason) => {
                on_pending(&reason);
                self.to_charge(&row)
            }
        }
    }

    /// Calls the gateway of a charge and records the result.
    fn collect(
        &self,
        gateway: &dyn PaymentGateway,
        row: &ChargeRow,
        now: Timestamp,
    ) -> Result<CollectOutcome, Error> {
        let Some(source) = row.source.as_ref().filter(|source| source.gateway == gateway.name())
        else {
            return Ok(CollectOutcome::Pending("it belongs to another gateway".to_owned()));
        };
        let request = CollectRequest {
            reference: source.reference.clone(),
            charge_id: row.id,
            customer_id: row.customer_id,
            amount: row.amount,
            currency: self.currency(),
            payment_method: source.payment_method.clone(),
            created_at: row.created_at,
            now,
        };
        let settled = match gateway.collect(&request) {
            ChargeResult::Paid => self.settle(row.id, Settlement::Paid),
            ChargeResult::Declined { reason } => self.settle(row.id, Settlement::Declined(reason)),
            ChargeResult::Unknown { detail } => return Ok(CollectOutcome::Pending(detail)),
        };
        match settled {
            // The gateway holds the money; the balance gets it once there is room for it.
            Err(Error::Refused(refusal @ Refusal::BalanceLimit { .. })) => {
                Ok(CollectOutcome::Pending(refusal.sentence(self.currency())))
            }
            settled => settled.map(CollectOutcome::Settled),
        }
    }

    fn settle(&self, charge_id: ChargeId, settlement: Settlement) -> Result<Charge, Error> {
        self.call(SettleCharge { charge_id, settlement }).run()
    }

    fn to_charge(&self, row: &ChargeRow) -> Result<Charge, Error> {
        let balance = account(&*self.store().snapshot()?, row.customer_id)?.balance;
        Ok(row.to_charge(balance, self.currency()))
    }

    /// Returns a charge of a customer. Refused as `charge_not_found`, also if it is another customer's.
    pub fn charge_of(&self, customer: CustomerId, id: ChargeId) -> Result<Charge, Error> {
        let row = self.store().snapshot()?.charge(id)?.filter(|row| row.customer_id == customer);
        self.to_charge(&row.ok_or(Refusal::ChargeNotFound { charge_id: id })?)
    }

    /// Lists the pending charges, by customer and id.
    pub fn pending_charges(&self, page: &PageRequest) -> Result<Page<Charge>, Error> {
        const LIST: List = List::of_shop("pending-charges");
        let snapshot = self.store().snapshot()?;
        let first = ChargeId::new(page.start(LIST, 0)?);
        // The cursor names a charge; its position in the order stays valid after it is settled.
        let start = snapshot.charge(first)?.map(|row| (row.customer_id, row.id));
        let rows = snapshot.pending_charges(start.unwrap_or(FIRST), page.rows())?;
        let mut charges = Vec::with_capacity(rows.len());
        for row in rows {
            let balance = account(&*snapshot, row.customer_id)?.balance;
            charges.push(row.to_charge(balance, self.currency()));
        }
        Ok(Page::of(charges, page, LIST, |charge| charge.id.get()))
    }

    /// Returns the number of pending charges.
    pub fn count_pending_charges(&self) -> Result<u64, Error> {
        Ok(self.store().snapshot()?.count_pending_charges()?)
    }

    /// Calls the gateway about every refund and every charge that has been pending for that many seconds, one after the other, until
    /// `stop` is cancelled, and records the results.
    ///
    /// [`Shop::start_reconciler`] does so in the background, with
    /// [`SETTLE_AFTER_SECONDS`](crate::limits::SETTLE_AFTER_SECONDS).
    pub fn settle_charges(
        &self,
        seconds: i64,
        stop: &CancellationToken,
    ) -> Result<ReconcileSummary, Error> {
        let mut summary = ReconcileSummary::default();
        self.settle_refunds(seconds, stop, &mut |outcome| summary.add_refund(outcome))?;
        let mut start = FIRST;
        loop {
            let rows = self.store().snapshot()?.pending_charges(start, MAX_PAGE)?;
            let Some(last) = rows.last() else { return Ok(summary) };
            start = (last.customer_id, ChargeId::new(last.id.get().saturating_add(1)));
            for row in rows {
                if stop.is_cancelled() {
                    return Ok(summary);
                }
                // A charge of the future was opened while the clock was ahead. Its age is unknown, and it must not
                // wait until the gateway has forgotten its reference.
                let age = self.now().unix().abs_diff(row.created_at.unix());
                if age >= seconds.unsigned_abs() {
                    summary.add(self.collect_again(&row)?);
                }
            }
        }
    }

    fn collect_again(&self, row: &ChargeRow) -> Result<CollectOutcome, Error> {
        match self.gateway() {
            Some(gateway) => self.collect(gateway, row, self.now()),
            None => Ok(CollectOutcome::Pending("there is no gateway to call".to_owned())),
        }
    }

    /// Handles a webhook request of the gateway. `signature` is the header that proves its origin. Events may come
    /// late, twice, and in any order.
    pub fn handle_webhook(
        &self,
        signature: Option<&str>,
        body: &[u8],
    ) -> Result<WebhookOutcome, WebhookError> {
        let gateway =
            self.gateway().ok_or_else(|| InvalidWebhook("there is no gateway".to_owned()))?;
        let Some(event) = gateway.parse_webhook(signature, body, self.now())? else {
            return Ok(WebhookOutcome::Ignored);
        };
        let reference = event.reference;
        let row = self.store().snapshot()?.charge_by_reference(&reference)?;
        let is_of_gateway = |row: &ChargeRow| {
            row.source.as_ref().is_some_and(|source| source.gateway == gateway.name())
        };
        let Some(row) = row.filter(is_of_gateway) else {
            return Ok(WebhookOutcome::UnknownCharge { reference });
        };
        let WebhookEvent { amount, currency, notice, .. } = event;
        let stated = || format!("it has {amount} {currency} for charge {}", row.id);
        let notice = match notice {
            WebhookNotice::Charge(result) => {
                let settlement = match result {
                    ChargeResult::Paid if (amount, currency) != (row.amount, self.currency()) => {
                        let due = format!("{} {}", row.amount, self.currency());
                        return Err(
                            InvalidWebhook(format!("{}, which is of {due}", stated())).into()
                        );
                    }
                    ChargeResult::Paid => Settlement::Paid,
                    ChargeResult::Declined { reason } => Settlement::Declined(reason),
                    ChargeResult::Unknown { .. } => return Ok(WebhookOutcome::Ignored),
                };
                return Ok(WebhookOutcome::Charge(self.settle(row.id, settlement)?));
            }
            // A gateway reports no money while all refunds have failed.
            _ if currency != self.currency() || amount < Money::ZERO || amount > MAX_AMOUNT => {
                let shop = self.currency();
                return Err(
                    InvalidWebhook(format!("{}, and the shop is in {shop}", stated())).into()
                );
            }
            WebhookNotice::Refunded { refunds } => Notice::Refunded { refunds },
            WebhookNotice::DisputeOpened { dispute } => Notice::DisputeOpened { dispute, amount },
            WebhookNotice::DisputeClosed { dispute, is_won } => {
                Notice::DisputeClosed { dispute, amount, is_won }
            }
        };
        let noted = self.call(RecordNotice { charge_id: row.id, notice }).run()?;
        Ok(WebhookOutcome::Charge(noted))
    }
}

/// The start of the list of pending charges.
const FIRST: (CustomerId, ChargeId) = (CustomerId::new(0), ChargeId::new(0));

/// The outcome of a call of the gateway.
enum CollectOutcome {
    /// The result is recorded.
    Settled(Charge),
    /// The charge is still pending; the reason is for the operator.
    Pending(String),
}

/// A sentence for the operator.
impl fmt::Display for ReconcileSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { succeeded, failed, pending, last_error } = self;
        write!(f, "{succeeded} succeeded, {failed} failed, {pending} still pending")?;
        last_error.as_ref().map_or(Ok(()), |error| write!(f, ": {error}"))
    }
}

impl ReconcileSummary {
    fn add_refund(&mut self, outcome: RefundOutcome) {
        let count = match outcome {
            RefundOutcome::Settled(refund) if refund.failure.is_some() => &mut self.failed,
            RefundOutcome::Settled(_) => &mut self.succeeded,
            RefundOutcome::Pending(reason) => {
                self.last_error = Some(reason);
                &mut self.pending
            }
        };
        *count = count.saturating_add(1);
    }

    fn add(&mut self, outcome: CollectOutcome) {
        let count = match outcome {
            CollectOutcome::Settled(charge) if charge.failure.is_some() => &mut self.failed,
            CollectOutcome::Settled(_) => &mut self.succeeded,
            CollectOutcome::Pending(reason) => {
                self.last_error = Some(reason);
                &mut self.pending
            }
        };
        *count = count.saturating_add(1);
    }
}
