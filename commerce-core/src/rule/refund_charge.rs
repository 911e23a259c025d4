//! Refunds a charge: the money leaves the balance before the gateway is asked, so that it cannot be spent meanwhile.

use super::Rule;
use super::refund_effects::{Taking, take_back};
use super::validate::{Checks, checked_debit};
use crate::error::Refusal;
use crate::id::{ChargeId, CustomerId};
use crate::model::audit_trail::Action;
use crate::model::refund::{RefundKind, RefundStatus};
use crate::model::wallet::ChargeStatus;
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Pays money of a charge back to its payer.
///
/// Without a gateway the refund succeeds at once. The refund of a charge that a gateway has collected stays pending until
/// the gateway's result is recorded; [`Shop::refund_charge`](crate::shop::Shop::refund_charge) does both, with the gateway
/// call in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefundCharge {
    /// The charge.
    pub charge_id: ChargeId,
    /// The amount; `None` for all of the charge that was not paid back or disputed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// The customer that the charge must belong to; `None` for any.
    #[serde(skip)]
    pub customer_id: Option<CustomerId>,
    /// The refund's unique reference at the gateway, a new one for each request; `None` only for a charge without a gateway.
    #[serde(skip)]
    pub reference: Option<String>,
}

impl RefundCharge {
    /// Refunds all of a charge that was not paid back or disputed.
    #[must_use]
    pub const fn new(charge_id: ChargeId) -> Self {
        Self { charge_id, amount: None, customer_id: None, reference: None }
    }
}

impl Rule for RefundCharge {
    fn key_scope(&self, state: &State) -> Option<CustomerId> {
        state.loaded_charge(self.charge_id).map(|row| row.customer_id)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.whole_charge(state, self.charge_id);
    }

    fn action(&self) -> Option<Action> {
        Some(Action::ChargeRefunded)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        if let Some(amount) = self.amount {
            Checks::default().amount(amount, "/amount").done()?;
        }
        let charge_id = self.charge_id;
        let charge = state.charges.get(charge_id);
        let is_wanted = |id| self.customer_id.is_none_or(|wanted| wanted == id);
        let charge = charge.filter(|row| is_wanted(row.customer_id)).cloned();
        let mut charge = charge.ok_or(Refusal::ChargeNotFound { charge_id })?;
        if charge.status != ChargeStatus::Succeeded {
            return Err(Refusal::ChargeNotRefundable { charge_id, charge_status: charge.status });
        }
        if charge.source.is_some() && self.reference.is_none() {
            let detail = "a gateway has collected this charge: name the reference of its refund";
            return Err(Refusal::invalid("/reference", detail));
        }
        let refundable = charge.refundable();
        let requested = self.amount.unwrap_or(refundable);
        if requested > refundable || requested == Money::ZERO {
            let requested = self.amount.unwrap_or(charge.amount);
            return Err(Refusal::RefundAboveCharge { charge_id, requested, refundable });
        }
        checked_debit(state.account(charge.customer_id)?.balance, requested)?;

        let status = match charge.source {
            Some(_) => RefundStatus::Pending,
            None => RefundStatus::Succeeded,
        };
        let reference = self.reference.clone().filter(|_| charge.source.is_some());
        let kind = RefundKind::Requested;
        let taking = Taking { kind, amount: requested, status, reference };
        let refund = take_back(state, &mut charge, taking, context.now);
        state.save_charge(charge);
        context.record_field(state, "amount", requested);
        Ok(Output::Refund(refund.to_refund(state.currency)))
    }
}
