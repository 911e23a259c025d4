//! Settles a refund: records the gateway's result.

use super::Rule;
use super::refund_effects::{settle, take_outside};
use super::settle_charge::Settlement;
use super::validate::sanitized;
use crate::error::Refusal;
use crate::id::RefundId;
use crate::model::refund::{RefundKind, RefundRow, RefundStatus};
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Records the gateway's result of a refund that was requested. A second result changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettleRefund {
    /// The refund.
    pub refund_id: RefundId,
    /// The gateway's result: paid back, or declined.
    pub settlement: Settlement,
}

impl Rule for SettleRefund {
    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.refund(state, self.refund_id);
        if let Some(row) = state.loaded_refund(self.refund_id) {
            needs.whole_charge(state, row.charge_id);
        }
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let refund_id = self.refund_id;
        let is_requested = |row: &&RefundRow| row.kind == RefundKind::Requested;
        let refund = state.refunds.get(refund_id).filter(is_requested).cloned();
        let refund = refund.ok_or(Refusal::RefundNotFound { refund_id })?;
        if refund.status != RefundStatus::Pending {
            return Ok(Output::Refund(refund.to_refund(state.currency)));
        }
        let charge_id = refund.charge_id;
        let charge = state.charges.get(charge_id).cloned();
        let mut charge = charge.ok_or(Refusal::ChargeNotFound { charge_id })?;
        let failure = match &self.settlement {
            Settlement::Paid => None,
            Settlement::Declined(reason) => Some(sanitized(reason)),
        };
        let settled = settle(state, &mut charge, &refund, failure, context.now)?;
        // Refunds made at the gateway may be the reason why this one was declined.
        take_outside(state, &mut charge, context.now);
        state.save_charge(charge);
        Ok(Output::Refund(settled.to_refund(state.currency)))
    }
}
