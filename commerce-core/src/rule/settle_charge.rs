//! Settling a charge: what its gateway did with it is written down, once.
//!
//! Whatever order answers come in, and however often, the end is the same: money that was collected is on the
//! balance once, and a charge has failed only as long as nobody knows of money.

use super::Rule;
use super::charge_balance::enter;
use super::validate::{checked_credit, sanitized};
use crate::error::Refusal;
use crate::id::ChargeId;
use crate::model::wallet::ChargeStatus;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Writes down what a gateway did with a charge.
///
/// A charge that succeeded stays as it is, whatever is said later: its money may be spent. A charge that failed
/// and was paid all the same succeeds after all: the money is there, so it is the customer's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettleCharge {
    /// Which charge.
    pub charge_id: ChargeId,
    /// What the gateway did.
    pub settlement: Settlement,
}

/// What a gateway did with a charge, for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// It collected the money.
    Paid,
    /// It did not; why, as the payer may be told. Cut to [`MAX_TEXT`](crate::limits::MAX_TEXT) characters.
    Declined(String),
}

impl Rule for SettleCharge {
    fn needs(&self, state: &State, needs: &mut Needs) {
        needs.charge(state, self.charge_id);
        if let Some(row) = state.loaded_charge(self.charge_id) {
            needs.account(state, row.customer_id);
        }
    }

    fn decide(&self, state: &mut State, context: Context<'_>) -> Result<Output, Refusal> {
        let charge_id = self.charge_id;
        let unknown = Refusal::ChargeNotFound { charge_id };
        let mut row = state.charges.get(charge_id).cloned().ok_or(unknown)?;
        let mut balance = state.account(row.customer_id)?.balance;
        match (&self.settlement, row.status) {
            (Settlement::Paid, ChargeStatus::Pending | ChargeStatus::Failed) => {
                balance = checked_credit(balance, row.amount)?;
                (row.status, row.failure) = (ChargeStatus::Succeeded, None);
                row.balance_after = Some(balance);
                enter(state, &row, balance, context.now);
            }
            (Settlement::Declined(reason), ChargeStatus::Pending) => {
                row.status = ChargeStatus::Failed;
                row.failure = Some(sanitized(reason));
            }
            (Settlement::Paid | Settlement::Declined(_), _) => {
                return Ok(Output::Charge(row.to_charge(balance, state.currency)));
            }
        }
        row.settled_at = Some(context.now);
        let charge = row.to_charge(balance, state.currency);
        if let Some(kept) = state.charges.get_mut(charge_id) {
            *kept = row;
        }
        Ok(Output::Charge(charge))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CustomerId;
    use crate::limits::MAX_BALANCE;
    use crate::model::wallet::EntryKind;
    use crate::money::Money;
    use crate::rule::OpenCharge;
    use crate::rule::testing::{NOW, World, code};
    use rstest::rstest;

    const CHARGE: ChargeId = ChargeId::new(1);

    fn opened() -> World {
        let mut world = World::default().with_customer(1, 500);
        let request = OpenCharge {
            customer_id: CustomerId::new(1),
            amount: Money::from_minor(200),
            payment_method: None,
            gateway: "double".to_owned(),
            reference: "a".to_owned(),
        };
        world.run(request).unwrap();
        world.now = NOW.plus_seconds(5);
        world
    }

    fn settle(paid: bool) -> SettleCharge {
        let declined = || Settlement::Declined("no money".to_owned());
        let settlement = if paid { Settlement::Paid } else { declined() };
        SettleCharge { charge_id: CHARGE, settlement }
    }

    #[test]
    fn a_paid_charge_grows_the_balance_and_the_ledger_says_why() {
        let mut world = opened();
        let Ok(Output::Charge(charge)) = world.run(settle(true)) else { panic!() };
        assert_eq!((charge.status, charge.balance.minor()), (ChargeStatus::Succeeded, 700));
        assert_eq!(world.balance(1), 700);
        let entry = world.state.ledger.last().unwrap();
        assert_eq!((entry.kind, entry.charge_id), (EntryKind::Charge, Some(CHARGE)));
        assert_eq!((entry.amount.minor(), entry.created_at), (200, world.now));
        let row = world.state.charges.get(CHARGE).unwrap();
        assert_eq!((row.settled_at, row.created_at), (Some(world.now), NOW));
    }

    #[test]
    fn a_declined_charge_says_why_and_moves_nothing() {
        let mut world = opened();
        let Ok(Output::Charge(charge)) = world.run(settle(false)) else { panic!() };
        assert_eq!((charge.status, charge.balance.minor()), (ChargeStatus::Failed, 500));
        assert_eq!(charge.failure.as_deref(), Some("no money"));
        assert!(world.state.ledger.is_empty());
        assert_eq!(world.balance(1), 500);
    }

    /// What is said, in the order it is said, and the balance in the end.
    #[rstest]
    #[case::paid_twice(&[true, true], 700)]
    #[case::declined_twice(&[false, false], 500)]
    #[case::declined_after_paid(&[true, false], 700)]
    #[case::paid_after_declined(&[false, true], 700)]
    #[case::all_of_it(&[false, true, false, true], 700)]
    fn repeated_and_in_any_order_money_counts_once(#[case] said: &[bool], #[case] balance: i64) {
        let mut world = opened();
        for paid in said {
            world.run(settle(*paid)).unwrap();
        }
        assert_eq!(world.balance(1), balance);
        assert_eq!(world.state.ledger.len(), usize::from(balance > 500));
        let row = world.state.charges.get(CHARGE).unwrap();
        assert_eq!(row.status == ChargeStatus::Succeeded, balance > 500);
        assert_eq!(row.failure.is_some(), balance == 500);
        let Ok(Output::Charge(charge)) = world.run(settle(false)) else { panic!() };
        assert_eq!(charge.balance.minor(), balance, "the balance right after it");
    }

    #[test]
    fn refusals() {
        let mut world = opened();
        let unknown = SettleCharge { charge_id: ChargeId::new(9), ..settle(true) };
        assert_eq!(code(world.refused(unknown)), "charge_not_found");
        world.set_balance(1, MAX_BALANCE.minor() - 199);
        assert_eq!(code(world.refused(settle(true))), "balance_limit");
        let row = world.state.charges.get(CHARGE).unwrap();
        assert_eq!(row.status, ChargeStatus::Pending, "it is tried again once there is room");
    }
}
