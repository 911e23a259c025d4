//! Charges a balance: adds money to it, without a payment gateway.

use super::Rule;
use super::validate::{Checks, checked_credit};
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::id::CustomerId;
use crate::model::audit_trail::Action;
use crate::model::wallet::{Charge, ChargeRow, ChargeStatus, EntryKind};
use crate::money::Money;
use crate::rule::context::{Context, Output};
use crate::state::{Movement, Needs, State};
use serde::Serialize;

/// Adds money to a customer's balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChargeBalance {
    /// The customer.
    pub customer_id: CustomerId,
    /// The amount, 1 to [`MAX_AMOUNT`](crate::limits::MAX_AMOUNT).
    pub amount: Money,
}

impl Rule for ChargeBalance {
    fn key_scope(&self, _state: &State) -> Option<CustomerId> {
        Some(self.customer_id)
    }

    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.account(state, self.customer_id);
    }

    fn action(&self) -> Option<Action> {
        Some(Action::BalanceCharged)
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        Checks::default().amount(self.amount, "/amount").done()?;
        let balance_after =
            checked_credit(state.known_customer(self.customer_id)?.balance, self.amount)?;

        let charge = write_charge(state, self.customer_id, self.amount, balance_after, context.now);
        context.record_field(state, "amount", self.amount);
        Ok(Output::Charge(charge))
    }
}

/// Writes a succeeded charge and its ledger entry. The caller has checked `balance_after`.
pub(super) fn write_charge(
    state: &mut State,
    customer_id: CustomerId,
    amount: Money,
    balance_after: Money,
    now: Timestamp,
) -> Charge {
    let id = state.next_charge_id();
    let mut row = ChargeRow {
        id,
        customer_id,
        amount,
        status: ChargeStatus::Succeeded,
        created_at: now,
        source: None,
        failure: None,
        settled_at: None,
        balance_after: None,
        refunded: Money::ZERO,
        disputed: Money::ZERO,
        reported_refunds: Money::ZERO,
    };
    let balance = credit_charge(state, &row, balance_after, now);
    row.balance_after = Some(balance);
    let charge = row.to_charge(balance, state.currency);
    state.charges.insert(id, row);
    charge
}

/// Adds a charge's amount to the balance and writes its ledger entry. Returns the balance after it and after the debts
/// that it paid.
pub(super) fn credit_charge(
    state: &mut State,
    row: &ChargeRow,
    balance_after: Money,
    now: Timestamp,
) -> Money {
    let movement = Movement {
        customer_id: row.customer_id,
        kind: EntryKind::Charge,
        amount: row.amount,
        balance_after,
        order_id: None,
        charge_id: Some(row.id),
        note: None,
    };
    state.move_money(&movement, now);
    state.accounts.get(row.customer_id).map_or(balance_after, |account| account.balance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_AMOUNT, MAX_BALANCE};
    use crate::rule::testing::{World, code};
    use rstest::rstest;

    #[test]
    fn charge_credits_balance_and_writes_ledger_entry() {
        let mut world = World::default().with_customer(1, 500);
        let request =
            ChargeBalance { customer_id: CustomerId::new(1), amount: Money::from_minor(200) };
        let Ok(Output::Charge(charge)) = world.run(request) else { panic!() };
        assert_eq!(charge.balance, Money::from_minor(700));
        assert_eq!(world.balance(1), 700);
        let entry = world.state.ledger.last().unwrap();
        assert_eq!(
            (entry.kind, entry.amount.minor(), entry.charge_id),
            (EntryKind::Charge, 200, Some(charge.id))
        );
    }

    #[rstest]
    #[case::zero(1, 0, "invalid_request")]
    #[case::negative(1, -5, "invalid_request")]
    #[case::above_limit(1, MAX_AMOUNT.minor() + 1, "invalid_request")]
    #[case::unknown_customer(9, 100, "customer_not_found")]
    #[case::full_balance(2, 100, "balance_limit")]
    fn charge_refuses_invalid_amounts_and_full_balances(
        #[case] customer: i64,
        #[case] amount: i64,
        #[case] refused: &str,
    ) {
        let mut world =
            World::default().with_customer(1, 500).with_customer(2, MAX_BALANCE.minor() - 99);
        let request = ChargeBalance {
            customer_id: CustomerId::new(customer),
            amount: Money::from_minor(amount),
        };
        assert_eq!(code(world.refused(request)), refused);
    }
}
