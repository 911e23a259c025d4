//! Charges whose money a payment gateway collects: the calls of a [`Shop`] that ask one.
//!
//! A charge is written down as pending, then the gateway is asked, then what it did is written down. No
//! transaction is open while it is asked. Whatever happens in between, the charge is there with the reference
//! that the gateway knows it by, and to ask again with that reference collects nothing twice: so a lost
//! answer is no more than a reason to ask again.

use crate::clock::Timestamp;
use crate::entropy;
use crate::error::{Error, Refusal, StoreError};
use crate::gateway::{ChargeResult, CollectRequest, InvalidWebhook, PaymentGateway};
use crate::id::{ChargeId, CustomerId, Key};
use crate::limits::MAX_PAGE;
use crate::model::wallet::{Charge, ChargeRow, ChargeStatus};
use crate::money::Money;
use crate::query::List;
use crate::query::{Page, PageRequest};
use crate::rule::{ChargeBalance, OpenCharge, SettleCharge, Settlement};
use crate::shop::account;
use crate::shop::{Outcome, Shop};
use serde::Serialize;
use std::fmt;

/// Random bytes of a reference: 128 bits, so that no two charges of any two stores have the same.
const REFERENCE_BYTES: usize = 16;

/// Money that is to come onto a balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCharge {
    /// Whose balance.
    pub customer_id: CustomerId,
    /// How much, 1 to [`MAX_AMOUNT`](crate::limits::MAX_AMOUNT).
    pub amount: Money,
    /// What the gateway is to take it from, as it names it.
    pub payment_method: Option<String>,
}

/// What became of the charges that were pending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReconcileSummary {
    /// So many succeeded.
    pub succeeded: u64,
    /// So many failed.
    pub failed: u64,
    /// So many are pending still.
    pub pending: u64,
    /// Why the last of those is, for the operator.
    pub why: Option<String>,
}

/// What came of a notice that a gateway sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// It was about nothing that matters here.
    Nothing,
    /// No charge has that reference: the gateway serves another store as well, or this one lost a charge.
    UnknownCharge {
        /// The reference.
        reference: String,
    },
    /// The charge is now as shown.
    Charge(Charge),
}

/// Why a notice came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// It is not to be believed.
    #[error(transparent)]
    Bad(#[from] InvalidWebhook),
    /// It is believed, and could not be written down: it should come again.
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
/// As all calls; the refusals are named at each.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Shop {
    /// Whether charges are collected by a gateway.
    #[must_use]
    pub fn has_gateway(&self) -> bool {
        self.gateway().is_some()
    }

    /// Something that the operator of the gateway should know, once.
    #[must_use]
    pub fn gateway_warning(&self) -> Option<String> {
        self.gateway()?.warning()
    }

    /// Puts money onto a balance: at once where there is no gateway, else once the gateway has collected it.
    ///
    /// When the gateway gives no answer, or [`MAX_GATEWAY_CALLS`](crate::limits::MAX_GATEWAY_CALLS) wait for it already, the charge is answered
    /// as pending. The same call with the same key
    /// asks the gateway again, and so does [`Shop::settle_charges`]; nothing is collected twice.
    ///
    /// Refused as `invalid_request`, `customer_not_found`, `balance_limit`, `charge_declined`, and
    /// `too_many_requests` while too many charges of that customer are pending.
    #[must_use]
    pub fn charge_from(&self, charge: &NewCharge, key: &Key) -> Outcome<Charge> {
        self.charge_with_diagnostics(charge, key, &mut |_| {})
    }

    /// As [`Shop::charge_from`]; `tell` hears why the charge is pending, in words for the operator.
    #[must_use]
    pub fn charge_with_diagnostics(
        &self,
        charge: &NewCharge,
        key: &Key,
        tell: &mut dyn FnMut(&str),
    ) -> Outcome<Charge> {
        let Some(gateway) = self.gateway() else { return self.charge_without_gateway(charge, key) };
        let opened = match self.open_charge(gateway, charge, key) {
            Ok(opened) => opened,
            Err(error) => return Outcome { result: Err(error.into()), replayed: false },
        };
        match &opened.result {
            Ok(charge) if charge.status == ChargeStatus::Pending => {
                let result = self.collect_open_charge(gateway, charge.id, opened.replayed, tell);
                Outcome { result, replayed: false }
            }
            _ => opened,
        }
    }

    fn charge_without_gateway(&self, charge: &NewCharge, key: &Key) -> Outcome<Charge> {
        let NewCharge { customer_id, amount, ref payment_method } = *charge;
        if payment_method.is_some() {
            let detail = "there is no gateway that could take the money from a payment method";
            let result = Err(Refusal::invalid("/payment_method", detail).into());
            return Outcome { result, replayed: false };
        }
        self.call(ChargeBalance { customer_id, amount }).key(key).outcome()
    }

    fn open_charge(
        &self,
        gateway: &dyn PaymentGateway,
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
        Ok(self.call(request).key(key).outcome())
    }

    /// Asks for the money of a charge that was found pending.
    fn collect_open_charge(
        &self,
        gateway: &dyn PaymentGateway,
        id: ChargeId,
        is_asked_again: bool,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Charge, Error> {
        let permit = self.gateway_permits().try_acquire();
        let unknown = Refusal::ChargeNotFound { charge_id: id };
        let row = self.store().snapshot()?.charge(id)?.ok_or(unknown)?;
        if permit.is_none() {
            tell("too many charges wait for the gateway already");
            return self.shown(&row);
        }
        let now = if is_asked_again { self.now() } else { row.created_at };
        match self.collect(gateway, &row, now)? {
            CollectOutcome::ReconcileSummary(Charge { id, failure: Some(reason), .. }) => {
                Err(Refusal::ChargeDeclined { charge_id: id, reason }.into())
            }
            CollectOutcome::ReconcileSummary(charge) => Ok(charge),
            CollectOutcome::Pending(why) => {
                tell(&why);
                self.shown(&row)
            }
        }
    }

    /// Asks a charge's gateway what became of it, and writes that down.
    fn collect(
        &self,
        gateway: &dyn PaymentGateway,
        row: &ChargeRow,
        now: Timestamp,
    ) -> Result<CollectOutcome, Error> {
        let Some(source) = row.source.as_ref().filter(|source| source.gateway == gateway.name())
        else {
            return Ok(CollectOutcome::Pending("another gateway was asked for it".to_owned()));
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
            ChargeResult::Unknown { why } => return Ok(CollectOutcome::Pending(why)),
        };
        match settled {
            // The money is at the gateway, and comes in once there is room for it.
            Err(Error::Refused(refusal @ Refusal::BalanceLimit { .. })) => {
                Ok(CollectOutcome::Pending(refusal.sentence(self.currency())))
            }
            settled => settled.map(CollectOutcome::ReconcileSummary),
        }
    }

    fn settle(&self, charge_id: ChargeId, settlement: Settlement) -> Result<Charge, Error> {
        self.call(SettleCharge { charge_id, settlement }).run()
    }

    fn shown(&self, row: &ChargeRow) -> Result<Charge, Error> {
        let balance = account(&*self.store().snapshot()?, row.customer_id)?.balance;
        Ok(row.to_charge(balance, self.currency()))
    }

    /// A customer's charge. Refused as `charge_not_found`, of another customer's too.
    pub fn charge_of(&self, customer: CustomerId, id: ChargeId) -> Result<Charge, Error> {
        let row = self.store().snapshot()?.charge(id)?.filter(|row| row.customer_id == customer);
        self.shown(&row.ok_or(Refusal::ChargeNotFound { charge_id: id })?)
    }

    /// Charges whose gateway has not answered, by customer and id.
    pub fn pending_charges(&self, page: &PageRequest) -> Result<Page<Charge>, Error> {
        const LIST: List = List::of_shop("pending-charges");
        let snapshot = self.store().snapshot()?;
        let first = ChargeId::new(page.start(LIST, 0)?);
        // A cursor names a charge, which may have been settled since: its place stays.
        let start = snapshot.charge(first)?.map(|row| (row.customer_id, row.id));
        let rows = snapshot.pending_charges(start.unwrap_or(FIRST), page.rows())?;
        let mut charges = Vec::with_capacity(rows.len());
        for row in rows {
            let balance = account(&*snapshot, row.customer_id)?.balance;
            charges.push(row.to_charge(balance, self.currency()));
        }
        Ok(Page::of(charges, page, LIST, |charge| charge.id.get()))
    }

    /// How many charges there are whose gateway has not answered.
    pub fn count_pending_charges(&self) -> Result<u64, Error> {
        Ok(self.store().snapshot()?.count_pending_charges()?)
    }

    /// Asks the gateway about every charge that has been pending for so many seconds, one after the other,
    /// as long as `go_on` says so, and writes down what it did.
    ///
    /// To be called again and again: see [`SETTLE_AFTER_SECONDS`](crate::limits::SETTLE_AFTER_SECONDS).
    pub fn settle_charges(
        &self,
        seconds: i64,
        go_on: &dyn Fn() -> bool,
    ) -> Result<ReconcileSummary, Error> {
        let mut settled = ReconcileSummary::default();
        let mut start = FIRST;
        loop {
            let rows = self.store().snapshot()?.pending_charges(start, MAX_PAGE)?;
            let Some(last) = rows.last() else { return Ok(settled) };
            start = (last.customer_id, ChargeId::new(last.id.get().saturating_add(1)));
            for row in rows {
                if !go_on() {
                    return Ok(settled);
                }
                // One of the future was made while the clock was ahead: how old it is nobody knows, and it must
                // not wait until the gateway has forgotten its reference.
                let age = self.now().unix().abs_diff(row.created_at.unix());
                if age >= seconds.unsigned_abs() {
                    settled.add(self.ask_again(&row)?);
                }
            }
        }
    }

    fn ask_again(&self, row: &ChargeRow) -> Result<CollectOutcome, Error> {
        match self.gateway() {
            Some(gateway) => self.collect(gateway, row, self.now()),
            None => Ok(CollectOutcome::Pending("there is no gateway to ask".to_owned())),
        }
    }

    /// Takes in what the gateway sent by itself. `signature` is the header that proves it. A notice may come
    /// late, twice, and in any order.
    pub fn handle_webhook(
        &self,
        signature: Option<&str>,
        body: &[u8],
    ) -> Result<WebhookOutcome, WebhookError> {
        let gateway =
            self.gateway().ok_or_else(|| InvalidWebhook("there is no gateway".to_owned()))?;
        let Some(notice) = gateway.parse_webhook(signature, body, self.now())? else {
            return Ok(WebhookOutcome::Nothing);
        };
        let reference = notice.reference;
        let row = self.store().snapshot()?.charge_by_reference(&reference)?;
        let is_theirs = |row: &ChargeRow| {
            row.source.as_ref().is_some_and(|source| source.gateway == gateway.name())
        };
        let Some(row) = row.filter(is_theirs) else {
            return Ok(WebhookOutcome::UnknownCharge { reference });
        };
        let settlement = match notice.collected {
            ChargeResult::Paid
                if (notice.amount, notice.currency) != (row.amount, self.currency()) =>
            {
                let paid = format!("{} {}", notice.amount, notice.currency);
                let due = format!("{} {}", row.amount, self.currency());
                let text = format!("it has {paid} for charge {}, which is of {due}", row.id);
                return Err(InvalidWebhook(text).into());
            }
            ChargeResult::Paid => Settlement::Paid,
            ChargeResult::Declined { reason } => Settlement::Declined(reason),
            ChargeResult::Unknown { .. } => return Ok(WebhookOutcome::Nothing),
        };
        Ok(WebhookOutcome::Charge(self.settle(row.id, settlement)?))
    }
}

/// Where the list of pending charges begins.
const FIRST: (CustomerId, ChargeId) = (CustomerId::new(0), ChargeId::new(0));

/// What came of asking a gateway.
enum CollectOutcome {
    /// It is written down.
    ReconcileSummary(Charge),
    /// The charge is pending still; why, for the operator.
    Pending(String),
}

/// As a sentence for a person.
impl fmt::Display for ReconcileSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { succeeded, failed, pending, why } = self;
        write!(f, "{succeeded} succeeded, {failed} failed, {pending} pending still")?;
        why.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

impl ReconcileSummary {
    fn add(&mut self, asked: CollectOutcome) {
        let count = match asked {
            CollectOutcome::ReconcileSummary(charge) if charge.failure.is_some() => {
                &mut self.failed
            }
            CollectOutcome::ReconcileSummary(_) => &mut self.succeeded,
            CollectOutcome::Pending(why) => {
                self.why = Some(why);
                &mut self.pending
            }
        };
        *count = count.saturating_add(1);
    }
}
