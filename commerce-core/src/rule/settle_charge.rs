//! Settles a charge: records the gateway's result.
//!
//! A charge's final status does not depend on the order or number of the results: collected money is credited
//! exactly once, and a charge is failed only while no payment is known.

use super::Rule;
use super::charge_balance::credit_charge;
use super::validate::{checked_credit, sanitized};
use crate::error::Refusal;
use crate::id::ChargeId;
use crate::model::wallet::ChargeStatus;
use crate::rule::context::{Context, Output};
use crate::state::{Needs, State};
use serde::Serialize;

/// Records the gateway's result of a charge.
///
/// A charge that succeeded stays so, whatever is reported later: its money may have been spent. A failed charge that
/// is reported as paid succeeds after all: the money was collected, so it belongs to the customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettleCharge {
    /// The charge.
    pub charge_id: ChargeId,
    /// The gateway's result.
    pub settlement: Settlement,
}

/// The final result of a charge at its gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// The money was collected.
    Paid,
    /// The money was not collected, for this reason, which the payer may see. Truncated to
    /// [`MAX_TEXT`](crate::limits::MAX_TEXT) characters.
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
                balance = credit_charge(state, &row, balance, context.now);
                row.balance_after = Some(balance);
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
        state.save_charge(row);
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
    use crate::rule::open_charge::OpenCharge;
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
    fn paid_charge_credits_balance_and_writes_ledger_entry() {
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
    fn declined_charge_fails_with_reason_and_moves_no_money() {
        let mut world = opened();
        let Ok(Output::Charge(charge)) = world.run(settle(false)) else { panic!() };
        assert_eq!((charge.status, charge.balance.minor()), (ChargeStatus::Failed, 500));
        assert_eq!(charge.failure.as_deref(), Some("no money"));
        assert!(world.state.ledger.is_empty());
        assert_eq!(world.balance(1), 500);
    }

    /// The reported results in order (true: paid), and the final balance.
    #[rstest]
    #[case::paid_twice(&[true, true], 700)]
    #[case::declined_twice(&[false, false], 500)]
    #[case::declined_after_paid(&[true, false], 700)]
    #[case::paid_after_declined(&[false, true], 700)]
    #[case::alternating(&[false, true, false, true], 700)]
    fn charge_is_credited_once_for_any_order_of_results(
        #[case] results: &[bool],
        #[case] balance: i64,
    ) {
        let mut world = opened();
        for paid in results {
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
    fn settle_charge_refuses_unknown_charges_and_full_balances() {
        let mut world = opened();
        let unknown = SettleCharge { charge_id: ChargeId::new(9), ..settle(true) };
        assert_eq!(code(world.refused(unknown)), "charge_not_found");
        world.set_balance(1, MAX_BALANCE.minor() - 199);
        assert_eq!(code(world.refused(settle(true))), "balance_limit");
        let row = world.state.charges.get(CHARGE).unwrap();
        assert_eq!(
            row.status,
            ChargeStatus::Pending,
            "the charge stays pending and is settled once there is room"
        );
    }
}
