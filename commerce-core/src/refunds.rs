//! Refunds: the calls of a [`Shop`] that pay money of charges back through a payment gateway.
//!
//! A refund is recorded as pending, with its money off the balance, then the gateway is called, then its result is
//! recorded. No transaction is open during the call. A lost answer is only a reason to call again: the reference is the
//! gateway's idempotency key.

use crate::clock::Timestamp;
use crate::entropy::{self, REFERENCE_BYTES};
use crate::error::{Error, Refusal, StoreError};
use crate::gateway::{ChargeResult, PaymentGateway, RefundRequest};
use crate::id::{ChargeId, CustomerId, Key, RefundId};
use crate::limits::MAX_PAGE;
use crate::model::audit_trail::Actor;
use crate::model::refund::{Refund, RefundRow, RefundStatus};
use crate::model::wallet::ChargeRow;
use crate::money::Money;
use crate::query::{List, Page, PageRequest};
use crate::rule::refund_charge::RefundCharge;
use crate::rule::settle_charge::Settlement;
use crate::rule::settle_refund::SettleRefund;
use crate::shop::{Outcome, Shop};
use crate::sync::CancellationToken;

/// A refund to be made: money of a charge to pay back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRefund {
    /// The charge.
    pub charge_id: ChargeId,
    /// The customer that the charge must belong to; `None` for any.
    pub customer_id: Option<CustomerId>,
    /// The amount; `None` for all of the charge that was not paid back or disputed.
    pub amount: Option<Money>,
}

/// The outcome of a call of the gateway about a refund.
pub(crate) enum RefundOutcome {
    /// The result is recorded.
    Settled(Refund),
    /// The refund is still pending; the reason is for the operator.
    Pending(String),
}

/// Calls about refunds of charges.
///
/// # Errors
///
/// As for all calls; each method lists its refusals.
#[expect(clippy::missing_errors_doc, reason = "documented once, above")]
impl Shop {
    /// Pays money of a charge back: immediately if no gateway has collected it, else once the gateway has paid it back. The
    /// money leaves the balance at once, and comes back if the gateway declines: the refund is failed then.
    ///
    /// When the gateway gives no answer, the refund is returned as pending. The same call with the same key calls the
    /// gateway again, and so does [`Shop::settle_charges`]; nothing is paid back twice. `on_pending` gets the reason why it
    /// is pending, in words for the operator.
    ///
    /// Refused as `invalid_request`, `charge_not_found`, `charge_not_refundable`, `refund_above_charge`,
    /// `insufficient_balance`.
    #[must_use]
    pub fn refund_charge(
        &self,
        actor: Option<Actor>,
        refund: &NewRefund,
        key: &Key,
        on_pending: &mut dyn FnMut(&str),
    ) -> Outcome<Refund> {
        let opened = match self.open_refund(actor, refund, key) {
            Ok(opened) => opened,
            Err(error) => return Outcome { result: Err(error.into()), replayed: false },
        };
        match &opened.result {
            Ok(refund) if refund.status == RefundStatus::Pending => {
                let result = self.pay_back(refund, opened.replayed, on_pending);
                Outcome { result, replayed: false }
            }
            _ => opened,
        }
    }

    fn open_refund(
        &self,
        actor: Option<Actor>,
        refund: &NewRefund,
        key: &Key,
    ) -> Result<Outcome<Refund>, StoreError> {
        let NewRefund { charge_id, customer_id, amount } = *refund;
        let reference = Some(entropy::hex::<REFERENCE_BYTES>()?);
        let request = RefundCharge { charge_id, amount, customer_id, reference };
        Ok(self.call(request).by(actor).key(key).outcome())
    }

    /// Calls the gateway about a refund that is pending.
    fn pay_back(
        &self,
        refund: &Refund,
        is_retry: bool,
        on_pending: &mut dyn FnMut(&str),
    ) -> Result<Refund, Error> {
        let Some(_permit) = self.gateway_permits().try_acquire() else {
            on_pending("too many calls wait for the gateway already");
            return Ok(refund.clone());
        };
        let refund_id = refund.id;
        let row = self.store().snapshot()?.refund(refund_id)?;
        let row = row.ok_or(Refusal::RefundNotFound { refund_id })?;
        if row.status != RefundStatus::Pending {
            return Ok(row.to_refund(self.currency()));
        }
        let now = if is_retry { self.now() } else { row.created_at };
        match self.ask_for_refund(&row, now)? {
            RefundOutcome::Settled(refund) => Ok(refund),
            RefundOutcome::Pending(reason) => {
                on_pending(&reason);
                Ok(refund.clone())
            }
        }
    }

    /// Calls the gateway of a refund and records the result.
    fn ask_for_refund(&self, row: &RefundRow, now: Timestamp) -> Result<RefundOutcome, Error> {
        let charge_id = row.charge_id;
        let charge = self.store().snapshot()?.charge(charge_id)?;
        let charge = charge.ok_or(Refusal::ChargeNotFound { charge_id })?;
        match self.gateway() {
            Some(gateway) => self.refund_at(gateway, row, &charge, now),
            None => Ok(RefundOutcome::Pending("there is no gateway to call".to_owned())),
        }
    }

    fn refund_at(
        &self,
        gateway: &dyn PaymentGateway,
        row: &RefundRow,
        charge: &ChargeRow,
        now: Timestamp,
    ) -> Result<RefundOutcome, Error> {
        let source = charge.source.as_ref().filter(|source| source.gateway == gateway.name());
        let Some((source, reference)) = source.zip(row.reference.clone()) else {
            return Ok(RefundOutcome::Pending("it belongs to another gateway".to_owned()));
        };
        let request = RefundRequest {
            reference,
            charge_reference: source.reference.clone(),
            charge_id: charge.id,
            amount: row.amount,
            currency: self.currency(),
            charged_at: charge.created_at,
            created_at: row.created_at,
            now,
        };
        let settlement = match gateway.refund(&request) {
            ChargeResult::Paid => Settlement::Paid,
            ChargeResult::Declined { reason } => Settlement::Declined(reason),
            ChargeResult::Unknown { detail } => return Ok(RefundOutcome::Pending(detail)),
        };
        match self.call(SettleRefund { refund_id: row.id, settlement }).run() {
            // The gateway kept the money; the balance gets it back once there is room for it.
            Err(Error::Refused(refusal @ Refusal::BalanceLimit { .. })) => {
                Ok(RefundOutcome::Pending(refusal.sentence(self.currency())))
            }
            settled => settled.map(RefundOutcome::Settled),
        }
    }

    /// Returns the refunds and disputes of a charge, oldest first. `customer` is the one that it must belong to.
    ///
    /// Refused as `charge_not_found`.
    pub fn refunds(
        &self,
        charge: ChargeId,
        customer: Option<CustomerId>,
        page: &PageRequest,
    ) -> Result<Page<Refund>, Error> {
        let list = List::of_row("refunds", charge.get());
        let snapshot = self.store().snapshot()?;
        let row = snapshot.charge(charge)?;
        let is_wanted = |row: &ChargeRow| customer.is_none_or(|id| id == row.customer_id);
        row.filter(is_wanted).ok_or(Refusal::ChargeNotFound { charge_id: charge })?;
        let start = RefundId::new(page.start(list, 0)?);
        let rows = snapshot.refunds_of(charge, start, page.rows())?;
        let refunds = rows.iter().map(|row| row.to_refund(self.currency())).collect();
        Ok(Page::of(refunds, page, list, |refund: &Refund| refund.id.get()))
    }

    /// Returns the number of requested refunds that are pending.
    pub fn count_pending_refunds(&self) -> Result<u64, Error> {
        Ok(self.store().snapshot()?.count_pending_refunds()?)
    }

    /// Calls the gateway about every refund that has been pending for that many seconds, one after the other, until `stop`
    /// is cancelled, and passes each outcome to `visit`.
    pub(crate) fn settle_refunds(
        &self,
        seconds: i64,
        stop: &CancellationToken,
        visit: &mut dyn FnMut(RefundOutcome),
    ) -> Result<(), Error> {
        let mut start = RefundId::new(0);
        loop {
            let rows = self.store().snapshot()?.pending_refunds(start, MAX_PAGE)?;
            let Some(last) = rows.last() else { return Ok(()) };
            start = RefundId::new(last.id.get().saturating_add(1));
            for row in rows {
                if stop.is_cancelled() {
                    return Ok(());
                }
                if self.now().unix().abs_diff(row.created_at.unix()) >= seconds.unsigned_abs() {
                    visit(self.ask_for_refund(&row, self.now())?);
                }
            }
        }
    }
}
