//! Records a notice of the gateway about money that it has paid back by itself: refunds of its dashboard, and disputes.
//!
//! Notices come late, twice and in any order. A dispute has a row from its first notice on. Refunds that the shop did not ask
//! for are known by their greatest sum, so that a repeated or outdated notice changes nothing. Those that it did ask for are
//! left to [`SettleRefund`](super::settle_refund::SettleRefund), by their references, whatever their notices state.

use super::Rule;
use super::charge_balance::credit_charge;
use super::refund_effects::{Taking, WON, settle, take_back, take_outside};
use super::validate::{Checks, checked_credit};
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::gateway::ReportedRefund;
use crate::id::ChargeId;
use crate::model::refund::{RefundKind, RefundRow, RefundStatus};
use crate::model::wallet::{ChargeRow, ChargeStatus};
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Records a notice of the gateway about a charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordNotice {
    /// The charge.
    pub charge_id: ChargeId,
    /// The notice.
    pub notice: Notice,
}

/// A notice of the gateway about money of a charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The gateway has refunded money of the charge.
    Refunded {
        /// All refunds of the charge at the gateway, requested ones and others.
        refunds: Vec<ReportedRefund>,
    },
    /// The payer disputes the charge, and the bank has taken the money back.
    DisputeOpened {
        /// The gateway's id of the dispute.
        dispute: String,
        /// The amount, 1 to [`MAX_AMOUNT`](crate::limits::MAX_AMOUNT).
        amount: Money,
    },
    /// A dispute has ended.
    DisputeClosed {
        /// The gateway's id of the dispute.
        dispute: String,
        /// The amount.
        amount: Money,
        /// True if the money came back.
        is_won: bool,
    },
}

impl Rule for RecordNotice {
    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.whole_charge(state, self.charge_id);
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        if let Notice::DisputeOpened { amount, .. } | Notice::DisputeClosed { amount, .. } =
            &self.notice
        {
            Checks::default().amount(*amount, "/amount").done()?;
        }
        let charge_id = self.charge_id;
        let charge = state.charges.get(charge_id).cloned();
        let mut charge = charge.ok_or(Refusal::ChargeNotFound { charge_id })?;
        let balance = state.account(charge.customer_id)?.balance;
        // The gateway pays back only what it has collected: the notice of the collection is late or lost.
        let is_credited = charge.status == ChargeStatus::Succeeded;
        let credited = if is_credited { balance } else { checked_credit(balance, charge.amount)? };

        // A dispute that was won may find no room for its money and be refused then: its charge was credited by the notice of
        // its beginning, so that nothing has changed before.
        if !is_credited {
            (charge.status, charge.failure) = (ChargeStatus::Succeeded, None);
            charge.settled_at = Some(context.now);
            charge.balance_after = Some(credit_charge(state, &charge, credited, context.now));
        }
        self.record(state, &mut charge, context.now)?;
        let balance = state.account(charge.customer_id)?.balance;
        let answer = charge.to_charge(balance, state.currency);
        state.save_charge(charge);
        Ok(Output::Charge(answer))
    }
}

impl RecordNotice {
    /// Returns the sum of the refunds that the shop did not ask for.
    fn outside(&self, state: &State, refunds: &[ReportedRefund]) -> Money {
        let known: Vec<&str> =
            state.refunds_of(self.charge_id).filter_map(|row| row.reference.as_deref()).collect();
        let is_known = |refund: &&ReportedRefund| {
            refund.reference.as_deref().is_some_and(|it| known.contains(&it))
        };
        let outside = refunds.iter().filter(|refund| !is_known(refund));
        let sum =
            outside.fold(0_i64, |sum, refund| sum.saturating_add(refund.amount.minor().max(0)));
        Money::from_minor(sum)
    }

    fn record(
        &self,
        state: &mut State,
        charge: &mut ChargeRow,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let (dispute, amount, end) = match &self.notice {
            Notice::Refunded { refunds } => {
                let outside = self.outside(state, refunds);
                charge.reported_refunds = charge.reported_refunds.max(outside);
                take_outside(state, charge, now);
                return Ok(());
            }
            Notice::DisputeOpened { dispute, amount } => (dispute, *amount, None),
            Notice::DisputeClosed { dispute, amount, is_won } => (dispute, *amount, Some(*is_won)),
        };
        let is_known = |row: &&RefundRow| row.reference.as_ref() == Some(dispute);
        let known = state.refunds_of(self.charge_id).find(is_known).cloned();
        match (known, end) {
            (None, end) => {
                let status = match end {
                    None => RefundStatus::Pending,
                    Some(false) => RefundStatus::Succeeded,
                    // The notice of its beginning may still come, and must not take the money then.
                    Some(true) => RefundStatus::Failed,
                };
                let (kind, reference) = (RefundKind::Dispute, Some(dispute.clone()));
                take_back(state, charge, Taking { kind, amount, status, reference }, now);
            }
            (Some(row), Some(is_won)) if row.status == RefundStatus::Pending => {
                settle(state, charge, &row, is_won.then(|| WON.to_owned()), now)?;
            }
            (Some(_), _) => {}
        }
        Ok(())
    }
}
