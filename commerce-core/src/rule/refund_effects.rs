//! Effects of money of a charge that goes back, shared by the rules about refunds and disputes.

use super::validate::checked_credit;
use crate::clock::Timestamp;
use crate::error::Refusal;
use crate::model::refund::{RefundKind, RefundRow, RefundStatus};
use crate::model::wallet::ChargeRow;
use crate::money::Money;
use crate::state::{Movement, State};

/// The reason of a dispute that was won.
pub(super) const WON: &str = "the dispute was won";

/// Money to take from a balance for the payer of a charge.
pub(super) struct Taking {
    pub(super) kind: RefundKind,
    pub(super) amount: Money,
    pub(super) status: RefundStatus,
    pub(super) reference: Option<String>,
}

/// Takes money of a charge from the balance, and writes the refund. What is not on the balance becomes a debt: the entry
/// of the debt lends it, so that the entry of the refund has the whole amount.
pub(super) fn take_back(
    state: &mut State,
    charge: &mut ChargeRow,
    taking: Taking,
    now: Timestamp,
) -> RefundRow {
    let Taking { kind, amount, status, reference } = taking;
    let account = state.accounts.get(charge.customer_id);
    let balance = account.map_or(Money::ZERO, |account| account.balance);
    let is_taken = status != RefundStatus::Failed;
    let amount_taken = if is_taken { amount } else { Money::ZERO };
    let debt = amount_taken.checked_sub(balance).unwrap_or_default().max(Money::ZERO);
    let lent = balance.checked_add(debt).unwrap_or(balance);
    let balance_after = lent.checked_sub(amount_taken).unwrap_or_default();
    let movement = Movement {
        customer_id: charge.customer_id,
        kind: kind.entry_kind(),
        amount: amount_taken.negated(),
        balance_after,
        order_id: None,
        charge_id: Some(charge.id),
        note: None,
    };
    if debt > Money::ZERO {
        state.move_money(&Movement { balance_after: lent, ..movement.of_debt(debt) }, now);
        state.add_debt(charge.customer_id, debt);
    }
    let entry = state.move_money(&movement, now);
    let row = RefundRow {
        id: RefundRow::id_of(entry.id),
        customer_id: charge.customer_id,
        charge_id: charge.id,
        kind,
        amount,
        status,
        balance_after,
        reference,
        failure: (!is_taken).then(|| WON.to_owned()),
        created_at: now,
        settled_at: (status != RefundStatus::Pending).then_some(now),
    };
    count(charge, kind, amount_taken);
    state.refunds.insert(row.id, row.clone());
    row
}

/// Settles a pending refund. One that failed gives its money back; a balance without room for it is refused, before any
/// change.
pub(super) fn settle(
    state: &mut State,
    charge: &mut ChargeRow,
    refund: &RefundRow,
    failure: Option<String>,
    now: Timestamp,
) -> Result<RefundRow, Refusal> {
    let balance = state.account(charge.customer_id)?.balance;
    let has_failed = failure.is_some();
    let balance_after = if has_failed { checked_credit(balance, refund.amount)? } else { balance };

    let status = if has_failed { RefundStatus::Failed } else { RefundStatus::Succeeded };
    let settled = RefundRow { status, failure, settled_at: Some(now), ..refund.clone() };
    if let Some(row) = state.refunds.get_mut(refund.id) {
        row.clone_from(&settled);
    }
    if has_failed {
        let movement = Movement {
            customer_id: charge.customer_id,
            kind: refund.kind.entry_kind(),
            amount: refund.amount,
            balance_after,
            order_id: None,
            charge_id: Some(charge.id),
            note: None,
        };
        state.move_money(&movement, now);
        count(charge, refund.kind, refund.amount.negated());
    }
    Ok(settled)
}

/// Takes what was refunded at the gateway and was not taken yet. A charge has no more to take than its refunds leave: while
/// a refund is pending that the gateway cannot make, the rest is taken once that one has failed.
pub(super) fn take_outside(state: &mut State, charge: &mut ChargeRow, now: Timestamp) {
    let outside = state.refunds_of(charge.id).filter(|row| row.kind == RefundKind::Outside);
    let taken = outside.fold(0_i64, |sum, row| sum.saturating_add(row.taken().minor()));
    let rest = charge.amount.checked_sub(charge.refunded).unwrap_or_default();
    let reported = charge.reported_refunds.minor().saturating_sub(taken);
    let amount = Money::from_minor(reported).min(rest);
    if amount > Money::ZERO {
        let (kind, status) = (RefundKind::Outside, RefundStatus::Succeeded);
        take_back(state, charge, Taking { kind, amount, status, reference: None }, now);
    }
}

fn count(charge: &mut ChargeRow, kind: RefundKind, more: Money) {
    let sum = match kind {
        RefundKind::Dispute => &mut charge.disputed,
        RefundKind::Requested | RefundKind::Outside => &mut charge.refunded,
    };
    *sum = Money::from_minor(sum.minor().saturating_add(more.minor()));
}

#[cfg(test)]
mod tests;
