//! Refunds of charges, disputes, and the debts that they leave.

use super::{CURRENCY, Decision, MAX_AMOUNT, Model, invalid, is_amount, validate};
use commerce_core::store::{ChargeRow, RefundRow};
use commerce_core::testing::{Notice, RecordNotice, SettleRefund, Settlement};
use commerce_core::{
    ChargeId, ChargeStatus, EntryKind, LedgerEntry, Money, Refund, RefundCharge, RefundId,
    RefundKind, RefundStatus, Refusal, Timestamp,
};

const WON: &str = "the dispute was won";

/// Returns the kind of the ledger entries of a refund.
fn entry_kind(kind: RefundKind) -> EntryKind {
    if kind == RefundKind::Dispute { EntryKind::Chargeback } else { EntryKind::ChargeRefund }
}

/// Returns a refund as it is shown.
pub(super) fn output(row: &RefundRow) -> Refund {
    Refund {
        id: row.id,
        charge_id: row.charge_id,
        customer_id: row.customer_id,
        kind: row.kind,
        amount: row.amount,
        status: row.status,
        balance: row.balance_after,
        currency: CURRENCY,
        failure: row.failure.clone(),
        created_at: row.created_at,
    }
}

impl Model {
    /// Appends an entry that names a charge, and pays debts if it is a credit.
    fn book_of_charge(
        &mut self,
        charge: ChargeId,
        kind: EntryKind,
        amount: i64,
        now: Timestamp,
    ) -> LedgerEntry {
        let customer = self.charges[&charge].customer_id;
        let entry = self.book(customer, kind, amount, None, now);
        self.ledger.last_mut().unwrap().charge_id = Some(charge);
        let entry = LedgerEntry { charge_id: Some(charge), ..entry };
        if amount > 0 && kind != EntryKind::Debt {
            self.pay_debt(&entry, now);
        }
        entry
    }

    /// Pays the debt of a customer from a credit that was booked.
    pub(super) fn pay_debt(&mut self, credit: &LedgerEntry, now: Timestamp) {
        let account = self.accounts.get_mut(&credit.customer_id).unwrap();
        let paid = account.debt.minor().min(credit.amount.minor());
        if paid <= 0 {
            return;
        }
        account.debt = Money::from_minor(account.debt.minor() - paid);
        self.book(credit.customer_id, EntryKind::Debt, -paid, credit.order_id, now);
        self.ledger.last_mut().unwrap().charge_id = credit.charge_id;
    }

    /// Takes money of a charge from its customer, and adds the row.
    fn take(
        &mut self,
        charge: ChargeId,
        kind: RefundKind,
        amount: i64,
        status: RefundStatus,
        reference: Option<String>,
        now: Timestamp,
    ) -> RefundRow {
        let is_void = status == RefundStatus::Failed;
        let taken = if is_void { 0 } else { amount };
        let customer_id = self.charges[&charge].customer_id;
        let balance = self.accounts[&customer_id].balance.minor();
        if taken > balance {
            self.book_of_charge(charge, EntryKind::Debt, taken - balance, now);
            let account = self.accounts.get_mut(&customer_id).unwrap();
            account.debt = Money::from_minor(account.debt.minor() + taken - balance);
        }
        let entry = self.book_of_charge(charge, entry_kind(kind), -taken, now);
        let row = RefundRow {
            id: RefundId::new(entry.id.get()),
            customer_id,
            charge_id: charge,
            kind,
            amount: Money::from_minor(amount),
            status,
            balance_after: entry.balance_after,
            reference,
            failure: is_void.then(|| WON.to_owned()),
            created_at: now,
            settled_at: (status != RefundStatus::Pending).then_some(now),
        };
        self.refunds.insert(row.id, row.clone());
        self.sum_up(charge);
        row
    }

    /// Ends a pending refund; with a failure its money comes back.
    fn end(&mut self, id: RefundId, failure: Option<&str>, now: Timestamp) {
        let row = self.refunds.get_mut(&id).unwrap();
        row.settled_at = Some(now);
        row.failure = failure.map(str::to_owned);
        row.status = match failure {
            Some(_) => RefundStatus::Failed,
            None => RefundStatus::Succeeded,
        };
        let (charge, kind, amount) = (row.charge_id, row.kind, row.amount.minor());
        if failure.is_some() {
            self.book_of_charge(charge, entry_kind(kind), amount, now);
        }
        self.sum_up(charge);
    }

    /// Sums up what went back of a charge, from its refunds.
    fn sum_up(&mut self, charge: ChargeId) {
        let sum = |is_dispute: bool| -> i64 {
            let rows = self.refunds.values().filter(|row| row.charge_id == charge);
            let rows = rows.filter(|row| row.status != RefundStatus::Failed);
            let rows = rows.filter(|row| (row.kind == RefundKind::Dispute) == is_dispute);
            rows.map(|row| row.amount.minor()).sum()
        };
        let (refunded, disputed) = (sum(false), sum(true));
        let row = self.charges.get_mut(&charge).unwrap();
        row.refunded = Money::from_minor(refunded);
        row.disputed = Money::from_minor(disputed);
    }

    /// Takes what was refunded at the gateway and is not taken yet, as far as the charge has money left.
    fn take_outside(&mut self, charge: ChargeId, now: Timestamp) {
        let rows = self.refunds.values();
        let outside = rows.filter(|row| row.charge_id == charge && row.kind == RefundKind::Outside);
        let known: i64 = outside.map(|row| row.amount.minor()).sum();
        let row = &self.charges[&charge];
        let left = row.amount.minor() - row.refunded.minor();
        let more = (row.reported_refunds.minor() - known).min(left);
        if more > 0 {
            self.take(charge, RefundKind::Outside, more, RefundStatus::Succeeded, None, now);
        }
    }

    fn charge_row(&self, charge_id: ChargeId) -> Result<&ChargeRow, Refusal> {
        self.charges.get(&charge_id).ok_or(Refusal::ChargeNotFound { charge_id })
    }

    pub(super) fn refund_charge(&mut self, request: &RefundCharge, now: Timestamp) -> Decision {
        let charge_id = request.charge_id;
        validate(&[(request.amount.is_none_or(is_amount), "/amount")])?;
        let row = self.charge_row(charge_id)?.clone();
        if request.customer_id.is_some_and(|customer| customer != row.customer_id) {
            return Err(Refusal::ChargeNotFound { charge_id });
        }
        if row.status != ChargeStatus::Succeeded {
            return Err(Refusal::ChargeNotRefundable { charge_id, charge_status: row.status });
        }
        if row.source.is_some() && request.reference.is_none() {
            return Err(invalid(["/reference".to_owned()]));
        }
        let left = row.amount.minor() - row.refunded.minor() - row.disputed.minor();
        let refundable = Money::from_minor(left.max(0));
        let amount = request.amount.unwrap_or(refundable);
        if amount > refundable || amount == Money::ZERO {
            let requested = request.amount.unwrap_or(row.amount);
            return Err(Refusal::RefundAboveCharge { charge_id, requested, refundable });
        }
        self.check_funds(row.customer_id, amount.minor())?;
        let (status, reference) = match row.source {
            Some(_) => (RefundStatus::Pending, request.reference.clone()),
            None => (RefundStatus::Succeeded, None),
        };
        let kind = RefundKind::Requested;
        let row = self.take(charge_id, kind, amount.minor(), status, reference, now);
        Ok(output(&row).into())
    }

    pub(super) fn settle_refund(&mut self, request: &SettleRefund, now: Timestamp) -> Decision {
        let refund_id = request.refund_id;
        let row = self.refunds.get(&refund_id).cloned();
        let row = row.filter(|row| row.kind == RefundKind::Requested);
        let row = row.ok_or(Refusal::RefundNotFound { refund_id })?;
        if row.status == RefundStatus::Pending {
            match &request.settlement {
                Settlement::Paid => self.end(refund_id, None, now),
                Settlement::Declined(reason) => {
                    self.check_room(row.customer_id, row.amount.minor())?;
                    self.end(refund_id, Some(reason), now);
                }
            }
            self.take_outside(row.charge_id, now);
        }
        Ok(output(&self.refunds[&refund_id]).into())
    }

    pub(super) fn notice(&mut self, request: &RecordNotice, now: Timestamp) -> Decision {
        let charge = request.charge_id;
        let is_right = match &request.notice {
            Notice::Refunded { .. } => true,
            Notice::DisputeOpened { amount, .. } | Notice::DisputeClosed { amount, .. } => {
                (1..=MAX_AMOUNT).contains(&amount.minor())
            }
        };
        validate(&[(is_right, "/amount")])?;
        let row = self.charge_row(charge)?.clone();
        let known = |name: &str| {
            let mut rows = self.refunds.values().filter(|row| row.charge_id == charge);
            rows.find(|row| row.reference.as_deref() == Some(name)).cloned()
        };
        let is_collected = row.status == ChargeStatus::Succeeded;
        if !is_collected {
            self.check_room(row.customer_id, row.amount.minor())?;
        }
        if let Notice::DisputeClosed { dispute, is_won: true, .. } = &request.notice
            && let Some(open) = known(dispute).filter(|row| row.status == RefundStatus::Pending)
        {
            self.check_room(row.customer_id, open.amount.minor())?;
        }
        let known = match &request.notice {
            Notice::DisputeOpened { dispute, .. } | Notice::DisputeClosed { dispute, .. } => {
                known(dispute)
            }
            Notice::Refunded { .. } => None,
        };
        if !is_collected {
            self.credit_charge(charge, now);
            let row = self.charges.get_mut(&charge).unwrap();
            (row.status, row.failure, row.settled_at) = (ChargeStatus::Succeeded, None, Some(now));
        }
        let (name, amount, end) = match &request.notice {
            Notice::Refunded { refunds } => {
                let is_ours = |name: &str| {
                    let mut rows = self.refunds.values().filter(|row| row.charge_id == charge);
                    rows.any(|row| row.reference.as_deref() == Some(name))
                };
                let others = refunds
                    .iter()
                    .filter(|refund| !refund.reference.as_deref().is_some_and(is_ours));
                let sum: i64 = others.map(|refund| refund.amount.minor()).sum();
                let row = self.charges.get_mut(&charge).unwrap();
                row.reported_refunds = row.reported_refunds.max(Money::from_minor(sum));
                self.take_outside(charge, now);
                return Ok(self.charge_output(&self.charges[&charge]).into());
            }
            Notice::DisputeOpened { dispute, amount } => (dispute, amount, None),
            Notice::DisputeClosed { dispute, amount, is_won } => (dispute, amount, Some(*is_won)),
        };
        match (known, end) {
            (None, end) => {
                let status = match end {
                    None => RefundStatus::Pending,
                    Some(true) => RefundStatus::Failed,
                    Some(false) => RefundStatus::Succeeded,
                };
                let (kind, reference) = (RefundKind::Dispute, Some(name.clone()));
                self.take(charge, kind, amount.minor(), status, reference, now);
            }
            (Some(row), Some(is_won)) if row.status == RefundStatus::Pending => {
                self.end(row.id, is_won.then_some(WON), now);
            }
            (Some(_), _) => {}
        }
        Ok(self.charge_output(&self.charges[&charge]).into())
    }
}
