//! Using money from a balance outside an order.

use super::Rule;
use super::validate::{Checks, checked_debit};
use crate::error::Refusal;
use crate::id::CustomerId;
use crate::model::wallet::{ChargeStatus, Debit, EntryKind};
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Movement, Needs, State};
use serde::Serialize;

/// Uses money from a balance outside an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DebitBalance {
    /// Whose balance.
    pub customer_id: CustomerId,
    /// How much, 1 to [`MAX_AMOUNT`](crate::limits::MAX_AMOUNT).
    pub amount: Money,
    /// A remark for the ledger.
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
    fn a_debit_may_take_the_last_unit_and_is_negative_in_the_ledger() {
        let mut world = World::default().with_customer(1, 500);
        let Ok(Output::Debit(debit)) = world.run(debit(1, 500)) else { panic!() };
        assert_eq!((debit.amount.minor(), debit.balance.minor()), (500, 0));
        assert_eq!(world.balance(1), 0);
        assert_eq!(world.state.ledger.last().unwrap().amount, Money::from_minor(-500));
    }

    #[test]
    fn a_debit_beyond_the_balance_is_told_both_numbers() {
        let mut world = World::default().with_customer(1, 500);
        let told = Refusal::InsufficientBalance {
            balance: Money::from_minor(500),
            required: Money::from_minor(501),
        };
        assert_eq!(world.refused(debit(1, 501)), told);
    }

    #[rstest]
    #[case::nothing(1, 0, "invalid_request")]
    #[case::negative(1, -5, "invalid_request")]
    #[case::nobody(9, 100, "customer_not_found")]
    fn refusals(#[case] customer: i64, #[case] amount: i64, #[case] refused: &str) {
        let mut world = World::default().with_customer(1, 500);
        assert_eq!(code(world.refused(debit(customer, amount))), refused);
    }
}
