//! Debits a balance outside an order.

use super::Rule;
use super::validate::{Checks, checked_debit};
use crate::error::Refusal;
use crate::id::CustomerId;
use crate::model::audit_trail::Action;
use crate::model::wallet::{ChargeStatus, Debit, EntryKind};
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Movement, Needs, State};
use serde::Serialize;

/// Takes money from a customer's balance outside an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DebitBalance {
    /// The customer.
    pub customer_id: CustomerId,
    /// The amount, 1 to [`MAX_AMOUNT`](crate::limits::MAX_AMOUNT).
    pub amount: Money,
    /// A note for the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Rule for DebitBalance {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(self.customer_id)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.account(state, self.customer_id);
    }

    fn action(&self) -> Option<Action> {
        Some(Action::BalanceDebited)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let mut checks = Checks::default();
        checks.amount(self.amount, "/amount");
        if let Some(note) = &self.note {
            checks.text(note, "/note");
        }
        checks.done()?;
        let balance_after = checked_debit(state.account(self.customer_id)?.balance, self.amount)?;

        let movement = Movement {
            customer_id: self.customer_id,
            kind: EntryKind::Debit,
            amount: self.amount.negated(),
            balance_after,
            order_id: None,
            charge_id: None,
            note: self.note.as_deref(),
        };
        let entry = state.move_money(&movement, context.now);
        context.record_field(state, "amount", self.amount);
        Ok(Output::Debit(Debit {
            id: entry.id,
            customer_id: self.customer_id,
            amount: self.amount,
            status: ChargeStatus::Succeeded,
            balance: balance_after,
            currency: state.currency,
            created_at: context.now,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::testing::{World, code};
    use rstest::rstest;

    fn debit(customer: i64, amount: i64) -> DebitBalance {
        DebitBalance {
            customer_id: CustomerId::new(customer),
            amount: Money::from_minor(amount),
            note: None,
        }
    }

    #[test]
    fn debit_can_empty_the_balance_and_is_negative_in_the_ledger() {
        let mut world = World::default().with_customer(1, 500);
        let Ok(Output::Debit(debit)) = world.run(debit(1, 500)) else { panic!() };
        assert_eq!((debit.amount.minor(), debit.balance.minor()), (500, 0));
        assert_eq!(world.balance(1), 0);
        assert_eq!(world.state.ledger.last().unwrap().amount, Money::from_minor(-500));
    }

    #[test]
    fn debit_above_balance_is_refused_with_both_amounts() {
        let mut world = World::default().with_customer(1, 500);
        let refusal = Refusal::InsufficientBalance {
            balance: Money::from_minor(500),
            required: Money::from_minor(501),
        };
        assert_eq!(world.refused(debit(1, 501)), refusal);
    }

    #[rstest]
    #[case::zero(1, 0, "invalid_request")]
    #[case::negative(1, -5, "invalid_request")]
    #[case::unknown_customer(9, 100, "customer_not_found")]
    fn debit_refuses_invalid_amounts_and_unknown_customers(
        #[case] customer: i64,
        #[case] amount: i64,
        #[case] refused: &str,
    ) {
        let mut world = World::default().with_customer(1, 500);
        assert_eq!(code(world.refused(debit(customer, amount))), refused);
    }
}
