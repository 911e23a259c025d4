//! The balance report: the prepaid money that the shop owes to its customers at an instant.

use super::sealed::Build;
use super::{Facts, Source};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::CustomerId;
use crate::model::wallet::EntryKind;
use crate::money::Money;
use serde::Serialize;
use std::collections::HashMap;

/// Requests a balance report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BalanceReportRequest {
    /// The instant. Default: now.
    pub at: Option<Timestamp>,
}

/// The prepaid money at an instant: what was charged, less debits,
/// payments and what was returned, and with refunds and debts, is outstanding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BalanceReport {
    /// The instant, up to and including which entries of the ledger count.
    pub at: Timestamp,
    /// Money put onto balances.
    pub charged: Money,
    /// Money used outside of orders.
    pub debited: Money,
    /// Payments of orders.
    pub spent: Money,
    /// Money paid back for cancelled orders.
    pub refunded: Money,
    /// Money of charges that went back to its payers: refunds and disputes.
    pub returned: Money,
    /// Money that customers owe, since it was spent and then taken back.
    pub debts: Money,
    /// The sum of all balances.
    pub outstanding: Money,
    /// The number of customers with money on their balance.
    pub customers: usize,
}

/// The sums of the ledger up to an instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    charged: i64,
    debited: i64,
    spent: i64,
    refunded: i64,
    returned: i64,
    debts: i64,
    balances: HashMap<CustomerId, i64>,
}

impl Sums {
    /// Adds a movement; `amount` is negative for money that leaves the balance.
    pub(super) fn add(&mut self, customer: CustomerId, kind: EntryKind, amount: Money) {
        let sum = match kind {
            EntryKind::Charge => &mut self.charged,
            EntryKind::Debit => &mut self.debited,
            EntryKind::Payment => &mut self.spent,
            EntryKind::Refund => &mut self.refunded,
            EntryKind::ChargeRefund | EntryKind::Chargeback => &mut self.returned,
            EntryKind::Debt => &mut self.debts,
        };
        let (all, back) = (amount.minor().saturating_abs(), amount.minor().saturating_neg());
        *sum = sum.saturating_add(match kind {
            EntryKind::ChargeRefund | EntryKind::Chargeback => back,
            EntryKind::Debt => amount.minor(),
            EntryKind::Charge | EntryKind::Debit | EntryKind::Payment | EntryKind::Refund => all,
        });
        let balance = self.balances.entry(customer).or_default();
        *balance = balance.saturating_add(amount.minor());
    }
}

impl Build for BalanceReportRequest {
    type Report = BalanceReport;

    fn build(&self, source: Source<'_>, facts: &dyn Facts) -> Result<BalanceReport, Error> {
        let at = self.at.unwrap_or(source.now);
        let sums = facts.balances(at)?;
        let balances = sums.balances.values();
        let outstanding = balances.clone().fold(0_i64, |sum, one| sum.saturating_add(*one));
        Ok(BalanceReport {
            at,
            charged: Money::from_minor(sums.charged),
            debited: Money::from_minor(sums.debited),
            spent: Money::from_minor(sums.spent),
            refunded: Money::from_minor(sums.refunded),
            returned: Money::from_minor(sums.returned),
            debts: Money::from_minor(sums.debts),
            outstanding: Money::from_minor(outstanding),
            customers: balances.filter(|balance| **balance > 0).count(),
        })
    }
}
