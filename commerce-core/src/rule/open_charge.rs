//! Opens a charge that a payment gateway is to collect: recorded before the gateway is called.

use super::Rule;
use super::validate::{Checks, checked_credit};
use crate::error::Refusal;
use crate::id::CustomerId;
use crate::limits::{MAX_PENDING_CHARGES, SETTLE_AFTER_SECONDS};
use crate::model::audit_trail::Action;
use crate::model::wallet::{ChargeRow, ChargeSource, ChargeStatus};
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Opens a charge: it stays pending until [`SettleCharge`](super::SettleCharge) records the gateway's result.
/// [`Shop::charge`](crate::shop::Shop::charge) does both, with the gateway call in between.
///
/// Its idempotency fingerprint equals that of a [`ChargeBalance`](super::ChargeBalance) of the same amount: a
/// caller that retries a charge need not know whether a gateway is configured now, or was at the first call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenCharge {
    /// The customer.
    pub customer_id: CustomerId,
    /// The amount, 1 to [`MAX_AMOUNT`](crate::limits::MAX_AMOUNT).
    pub amount: Money,
    /// The payment method, as the gateway names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_method: Option<String>,
    /// The gateway's name.
    #[serde(skip)]
    pub gateway: String,
    /// The charge's unique reference at the gateway; a new one for each request.
    #[serde(skip)]
    pub reference: String,
}

impl Rule for OpenCharge {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(self.customer_id)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.account(state, self.customer_id);
        if !state.pending_charges.contains(&self.customer_id) {
            needs.pending_charges.insert(self.customer_id);
        }
    }

    fn action(&self) -> Option<Action> {
        Some(Action::ChargeOpened)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let mut checks = Checks::default();
        checks.amount(self.amount, "/amount");
        if let Some(method) = &self.payment_method {
            checks.text(method, "/payment_method");
        }
        checks.done()?;
        let balance = state.known_customer(self.customer_id)?.balance;
        let pending: Vec<Money> = self.pending(state).collect();
        if pending.len() >= MAX_PENDING_CHARGES {
            return Err(Refusal::TooManyPendingCharges { retry_after: SETTLE_AFTER_SECONDS });
        }
        // The balance must have room for this charge even if all pending ones succeed.
        pending.into_iter().chain([self.amount]).try_fold(balance, checked_credit)?;

        let id = state.next_charge_id();
        let row = ChargeRow {
            id,
            customer_id: self.customer_id,
            amount: self.amount,
            status: ChargeStatus::Pending,
            created_at: context.now,
            source: Some(ChargeSource {
                gateway: self.gateway.clone(),
                reference: self.reference.clone(),
                payment_method: self.payment_method.clone(),
            }),
            failure: None,
            settled_at: None,
            balance_after: None,
            refunded: Money::ZERO,
            disputed: Money::ZERO,
            reported_refunds: Money::ZERO,
        };
        let charge = row.to_charge(balance, state.currency);
        state.charges.insert(id, row);
        context.record_field(state, "amount", self.amount);
        Ok(Output::Charge(charge))
    }
}

impl OpenCharge {
    /// Returns the amounts of the customer's pending charges.
    fn pending(&self, state: &State) -> impl Iterator<Item = Money> {
        let pending = |row: &&ChargeRow| row.status == ChargeStatus::Pending;
        state.charges_of(self.customer_id).filter(pending).map(|row| row.amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_AMOUNT, MAX_BALANCE};
    use crate::rule::testing::{NOW, World, code};
    use rstest::rstest;

    fn request(customer: i64, amount: i64) -> OpenCharge {
        OpenCharge {
            customer_id: CustomerId::new(customer),
            amount: Money::from_minor(amount),
            payment_method: Some("card".to_owned()),
            gateway: "double".to_owned(),
            reference: format!("{customer}-{amount}"),
        }
    }

    #[test]
    fn open_charge_is_recorded_as_pending_and_moves_no_money() {
        let mut world = World::default().with_customer(1, 500);
        let Ok(Output::Charge(charge)) = world.run(request(1, 200)) else { panic!() };
        assert_eq!((charge.status, charge.balance.minor()), (ChargeStatus::Pending, 500));
        let row = world.state.charges.get(charge.id).unwrap();
        let source = row.source.as_ref().unwrap();
        assert_eq!((source.gateway.as_str(), source.reference.as_str()), ("double", "1-200"));
        assert_eq!((row.created_at, row.settled_at, row.balance_after), (NOW, None, None));
        assert!(world.state.ledger.is_empty());
        assert_eq!(world.balance(1), 500);
    }

    #[rstest]
    #[case::zero(request(1, 0), "invalid_request")]
    #[case::above_limit(request(1, MAX_AMOUNT.minor() + 1), "invalid_request")]
    #[case::blank_payment_method(
        OpenCharge { payment_method: Some(" ".to_owned()), ..request(1, 1) },
        "invalid_request"
    )]
    #[case::unknown_customer(request(9, 100), "customer_not_found")]
    #[case::full_balance(request(2, 100), "balance_limit")]
    #[case::no_room_if_pending_ones_succeed(request(3, 60), "balance_limit")]
    #[case::too_many_pending(request(4, 1), "too_many_requests")]
    fn open_charge_refuses_invalid_requests_and_full_balances(
        #[case] request: OpenCharge,
        #[case] refused: &str,
    ) {
        let mut world = World::default()
            .with_customer(1, 500)
            .with_customer(2, MAX_BALANCE.minor() - 99)
            .with_customer(3, MAX_BALANCE.minor() - 99)
            .with_customer(4, 0);
        world.run(self::request(3, 40)).unwrap();
        for _ in 0..MAX_PENDING_CHARGES {
            world.run(self::request(4, 1)).unwrap();
        }
        assert_eq!(code(world.refused(request)), refused);
    }
}
