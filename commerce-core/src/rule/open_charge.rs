//! Opening a charge that a payment gateway is to collect: written down before anybody is asked for money.

use super::Rule;
use super::validate::{Checks, checked_credit};
use crate::error::Refusal;
use crate::id::CustomerId;
use crate::limits::{MAX_PENDING_CHARGES, SETTLE_AFTER_SECONDS};
use crate::model::wallet::{ChargeRow, ChargeSource, ChargeStatus};
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Opens a charge: it is pending until [`SettleCharge`](super::SettleCharge) says what the gateway did.
/// [`Shop::charge`](crate::shop::Shop::charge) does both, and asks the gateway in between.
///
/// To idempotency keys it is the same request as a [`ChargeBalance`](super::ChargeBalance) of that amount:
/// who repeats a charge need not know whether there is a gateway now, or was one then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenCharge {
    /// Whose balance it is for.
    pub customer_id: CustomerId,
    /// How much, 1 to [`MAX_AMOUNT`](crate::limits::MAX_AMOUNT).
    pub amount: Money,
    /// What the gateway is to take it from, as it names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_method: Option<String>,
    /// The gateway's name.
    #[serde(skip)]
    pub gateway: String,
    /// What the gateway is to know the charge by: unlike any other, so another one each time it is asked.
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

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let mut checks = Checks::default();
        checks.amount(self.amount, "/amount");
        if let Some(method) = &self.payment_method {
            checks.text(method, "/payment_method");
        }
        checks.done()?;
        let balance = state.account(self.customer_id)?.balance;
        let pending: Vec<Money> = self.pending(state).collect();
        if pending.len() >= MAX_PENDING_CHARGES {
            return Err(Refusal::TooManyPendingCharges { retry_after: SETTLE_AFTER_SECONDS });
        }
        // There is room for this one even when all that are pending succeed.
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
        };
        let charge = row.to_charge(balance, state.currency);
        state.charges.insert(id, row);
        Ok(Output::Charge(charge))
    }
}

impl OpenCharge {
    /// What the customer has been asked for and nobody has heard of since.
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
    fn a_charge_is_written_down_and_moves_nothing() {
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
    #[case::nothing(request(1, 0), "invalid_request")]
    #[case::too_much(request(1, MAX_AMOUNT.minor() + 1), "invalid_request")]
    #[case::no_method(
        OpenCharge { payment_method: Some(" ".to_owned()), ..request(1, 1) },
        "invalid_request"
    )]
    #[case::nobody(request(9, 100), "customer_not_found")]
    #[case::a_full_balance(request(2, 100), "balance_limit")]
    #[case::no_room_once_the_others_succeed(request(3, 60), "balance_limit")]
    #[case::too_many_pending(request(4, 1), "too_many_requests")]
    fn refusals(#[case] request: OpenCharge, #[case] refused: &str) {
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
